"""The commands: one file per noun; `__main__` enters them, `common` holds what every command needs."""
