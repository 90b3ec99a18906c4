"""The commands: one file per noun. `__main__` registers them, `common` holds what every command needs."""
