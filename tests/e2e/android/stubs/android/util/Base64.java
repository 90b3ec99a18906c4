package android.util;

import java.nio.charset.StandardCharsets;
import java.util.Base64.Encoder;

public class Base64 {
    public static final int DEFAULT = 0;
    public static final int NO_PADDING = 1;
    public static final int NO_WRAP = 2;
    public static final int URL_SAFE = 8;

    public static byte[] decode(String text, int flags) {
        return decode(text.getBytes(StandardCharsets.US_ASCII), flags);
    }

    public static byte[] decode(byte[] text, int flags) {
        return (flags & URL_SAFE) == 0 ? java.util.Base64.getMimeDecoder().decode(text) : java.util.Base64.getUrlDecoder().decode(text);
    }

    public static byte[] encode(byte[] bytes, int flags) {
        return encodeToString(bytes, flags).getBytes(StandardCharsets.US_ASCII);
    }

    /** As Android does it: lines of 76 characters, each with a line feed, unless NO_WRAP is given. */
    public static String encodeToString(byte[] bytes, int flags) {
        boolean one = (flags & NO_WRAP) != 0;
        Encoder encoder = (flags & URL_SAFE) != 0
                ? java.util.Base64.getUrlEncoder()
                : one ? java.util.Base64.getEncoder() : java.util.Base64.getMimeEncoder(76, new byte[] {'\n'});
        String text = ((flags & NO_PADDING) != 0 ? encoder.withoutPadding() : encoder).encodeToString(bytes);
        return one ? text : text + "\n";
    }
}
