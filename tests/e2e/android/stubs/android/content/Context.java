package android.content;

import android.content.pm.ApplicationInfo;
import android.content.pm.PackageManager;
import android.os.Looper;
import java.io.File;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The application. Its preferences live as long as the process. */
public class Context {
    public static final int MODE_PRIVATE = 0;
    private final Map<String, SharedPreferences> preferences = new ConcurrentHashMap<>();

    public Context getApplicationContext() {
        return this;
    }

    public SharedPreferences getSharedPreferences(String name, int mode) {
        return preferences.computeIfAbsent(name, ignored -> new MemoryPreferences());
    }

    public String getPackageName() {
        return "com.example.app";
    }

    public File getCacheDir() {
        return new File(System.getProperty("java.io.tmpdir"));
    }

    public File getFilesDir() {
        return getCacheDir();
    }

    public ContentResolver getContentResolver() {
        return new ContentResolver();
    }

    public PackageManager getPackageManager() {
        return new PackageManager();
    }

    public ApplicationInfo getApplicationInfo() {
        return new ApplicationInfo();
    }

    public Looper getMainLooper() {
        return Looper.getMainLooper();
    }

    public Object getSystemService(String name) {
        return null;
    }
}
