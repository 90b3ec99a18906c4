package android.webkit;

public class MimeTypeMap {
    public static MimeTypeMap getSingleton() {
        return new MimeTypeMap();
    }

    public static String getFileExtensionFromUrl(String url) {
        return "";
    }

    public String getMimeTypeFromExtension(String extension) {
        return null;
    }
}
