package android.os;

import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Runs what is posted, one after the other, in one thread. */
public class Handler {
    private static final ScheduledExecutorService MAIN = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "main looper");
        thread.setDaemon(true);
        return thread;
    });

    public interface Callback {
        boolean handleMessage(Message message);
    }

    public Handler() {}

    public Handler(Looper looper) {}

    public void handleMessage(Message message) {}

    public final boolean post(Runnable task) {
        return postDelayed(task, 0);
    }

    public final boolean postDelayed(Runnable task, long milliseconds) {
        MAIN.schedule(task, milliseconds, TimeUnit.MILLISECONDS);
        return true;
    }

    public final boolean sendMessage(Message message) {
        return post(() -> handleMessage(message));
    }

    public final boolean sendEmptyMessage(int what) {
        return sendMessage(obtainMessage(what));
    }

    public final Message obtainMessage() {
        return new Message();
    }

    public final Message obtainMessage(int what) {
        Message message = obtainMessage();
        message.what = what;
        return message;
    }

    public final Message obtainMessage(int what, Object object) {
        Message message = obtainMessage(what);
        message.obj = object;
        return message;
    }

    public final void removeCallbacks(Runnable task) {}

    public final void removeCallbacksAndMessages(Object token) {}

    public final Looper getLooper() {
        return Looper.getMainLooper();
    }
}
