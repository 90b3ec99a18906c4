package android.os;

/** A timer that never ends: sessions are too short here for the one that QuickBlox's SDK starts. */
public abstract class CountDownTimer {
    public CountDownTimer(long milliseconds, long interval) {}

    public abstract void onTick(long left);

    public abstract void onFinish();

    public final CountDownTimer start() {
        return this;
    }

    public final void cancel() {}
}
