package android.os;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

public class Bundle {
    private final Map<String, Object> values = new HashMap<>();

    public void putAll(Bundle other) {
        values.putAll(other.values);
    }

    public void putInt(String key, int value) {
        values.put(key, value);
    }

    public void putLong(String key, long value) {
        values.put(key, value);
    }

    public void putBoolean(String key, boolean value) {
        values.put(key, value);
    }

    public void putString(String key, String value) {
        values.put(key, value);
    }

    public void putSerializable(String key, Serializable value) {
        values.put(key, value);
    }

    public void putStringArrayList(String key, ArrayList<String> value) {
        values.put(key, value);
    }

    public Object get(String key) {
        return values.get(key);
    }

    public int getInt(String key) {
        return getInt(key, 0);
    }

    public int getInt(String key, int otherwise) {
        return (Integer) values.getOrDefault(key, otherwise);
    }

    public long getLong(String key) {
        return (Long) values.getOrDefault(key, 0L);
    }

    public boolean getBoolean(String key) {
        return getBoolean(key, false);
    }

    public boolean getBoolean(String key, boolean otherwise) {
        return (Boolean) values.getOrDefault(key, otherwise);
    }

    public String getString(String key) {
        return (String) values.get(key);
    }

    public Serializable getSerializable(String key) {
        return (Serializable) values.get(key);
    }

    public boolean containsKey(String key) {
        return values.containsKey(key);
    }

    public Set<String> keySet() {
        return values.keySet();
    }

    public boolean isEmpty() {
        return values.isEmpty();
    }
}
