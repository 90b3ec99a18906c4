"""The world: what the databases hold, a file per noun. Only `db/` and `migrations/` know which database it is."""
