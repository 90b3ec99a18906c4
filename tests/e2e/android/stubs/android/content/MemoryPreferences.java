package android.content;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** Preferences in memory. An edit takes effect when it is committed or applied. */
final class MemoryPreferences implements SharedPreferences {
    private final Map<String, Object> values = new HashMap<>();

    @SuppressWarnings("unchecked")
    private synchronized <T> T read(String key, T otherwise) {
        return (T) values.getOrDefault(key, otherwise);
    }

    @Override
    public synchronized Map<String, ?> getAll() {
        return new HashMap<>(values);
    }

    @Override
    public String getString(String key, String otherwise) {
        return read(key, otherwise);
    }

    @Override
    public Set<String> getStringSet(String key, Set<String> otherwise) {
        return read(key, otherwise);
    }

    @Override
    public int getInt(String key, int otherwise) {
        return read(key, otherwise);
    }

    @Override
    public long getLong(String key, long otherwise) {
        return read(key, otherwise);
    }

    @Override
    public float getFloat(String key, float otherwise) {
        return read(key, otherwise);
    }

    @Override
    public boolean getBoolean(String key, boolean otherwise) {
        return read(key, otherwise);
    }

    @Override
    public synchronized boolean contains(String key) {
        return values.containsKey(key);
    }

    @Override
    public Editor edit() {
        return new MemoryEditor();
    }

    @Override
    public void registerOnSharedPreferenceChangeListener(OnSharedPreferenceChangeListener listener) {}

    @Override
    public void unregisterOnSharedPreferenceChangeListener(OnSharedPreferenceChangeListener listener) {}

    private synchronized void change(boolean all, Map<String, Object> changes) {
        if (all) {
            values.clear();
        }
        changes.forEach((key, value) -> {
            if (value == null) {
                values.remove(key);
            } else {
                values.put(key, value);
            }
        });
    }

    private final class MemoryEditor implements Editor {
        private final Map<String, Object> changes = new HashMap<>();
        private boolean all;

        private Editor put(String key, Object value) {
            changes.put(key, value);
            return this;
        }

        @Override
        public Editor putString(String key, String value) {
            return put(key, value);
        }

        @Override
        public Editor putStringSet(String key, Set<String> values) {
            return put(key, values);
        }

        @Override
        public Editor putInt(String key, int value) {
            return put(key, value);
        }

        @Override
        public Editor putLong(String key, long value) {
            return put(key, value);
        }

        @Override
        public Editor putFloat(String key, float value) {
            return put(key, value);
        }

        @Override
        public Editor putBoolean(String key, boolean value) {
            return put(key, value);
        }

        @Override
        public Editor remove(String key) {
            return put(key, null);
        }

        @Override
        public Editor clear() {
            all = true;
            return this;
        }

        @Override
        public boolean commit() {
            change(all, changes);
            return true;
        }

        @Override
        public void apply() {
            commit();
        }
    }
}
