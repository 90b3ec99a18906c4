package android.text;

import java.util.ArrayList;
import java.util.List;

public class TextUtils {
    public static boolean isEmpty(CharSequence text) {
        return text == null || text.length() == 0;
    }

    public static boolean equals(CharSequence one, CharSequence other) {
        return one == null ? other == null : other != null && one.toString().contentEquals(other);
    }

    public static boolean isDigitsOnly(CharSequence text) {
        return text.chars().allMatch(Character::isDigit);
    }

    public static String join(CharSequence between, Object[] parts) {
        return join(between, List.of(parts));
    }

    public static String join(CharSequence between, Iterable<?> parts) {
        List<String> texts = new ArrayList<>();
        parts.forEach(part -> texts.add(String.valueOf(part)));
        return String.join(between, texts);
    }
}
