package android.util;

/** The log, which is not shown: the drivers print only their checks. */
public class Log {
    public static int v(String tag, String text) {
        return 0;
    }

    public static int d(String tag, String text) {
        return 0;
    }

    public static int d(String tag, String text, Throwable cause) {
        return 0;
    }

    public static int i(String tag, String text) {
        return 0;
    }

    public static int w(String tag, String text) {
        return 0;
    }

    public static int w(String tag, String text, Throwable cause) {
        return 0;
    }

    public static int e(String tag, String text) {
        return 0;
    }

    public static int e(String tag, String text, Throwable cause) {
        return 0;
    }
}
