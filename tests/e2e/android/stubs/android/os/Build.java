package android.os;

public class Build {
    public static final String BOARD = "stub";
    public static final String BOOTLOADER = "stub";
    public static final String BRAND = "stub";
    public static final String DEVICE = "stub";
    public static final String DISPLAY = "stub";
    public static final String FINGERPRINT = "stub";
    public static final String HARDWARE = "stub";
    public static final String HOST = "stub";
    public static final String ID = "stub";
    public static final String MANUFACTURER = "stub";
    public static final String MODEL = "stub";
    public static final String PRODUCT = "stub";
    public static final String SERIAL = "stub";
    public static final String TAGS = "stub";
    public static final String TYPE = "stub";
    public static final String USER = "stub";

    public static class VERSION {
        public static final String CODENAME = "REL";
        public static final String RELEASE = "13";
        public static final int SDK_INT = 33;
    }

    public static class VERSION_CODES {
        public static final int JELLY_BEAN = 16;
        public static final int JELLY_BEAN_MR2 = 18;
        public static final int KITKAT = 19;
        public static final int LOLLIPOP = 21;
        public static final int M = 23;
        public static final int N = 24;
        public static final int O = 26;
    }
}
