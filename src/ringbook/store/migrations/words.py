"""Placeholders for the parts of table definitions that differ between the two databases.

statements(sql, sqlite)    the statements of a script, with {placeholders} replaced for one database
"""

SQLITE = {
    "id": "INTEGER",  # no other type makes it the row's own number, which is 64 bits wide
    "folded": "TEXT",
    "bytes": "BLOB",
    "real": "REAL",
    "keyed": "WITHOUT ROWID",
}
POSTGRES = {
    "id": "bigint",
    "folded": 'text COLLATE "C"',
    "bytes": "bytea",
    "real": "double precision",
    "keyed": "",
}


def statements(sql: str, *, sqlite: bool) -> list[str]:
    """Split a script at semicolons. Lines that begin with `sqlite:` or `postgres:` are for that database only."""
    mine, other = ("sqlite:", "postgres:") if sqlite else ("postgres:", "sqlite:")
    lines = [line.removeprefix(mine) for line in sql.splitlines() if not line.startswith(other)]
    text = "\n".join(lines)
    for word, meaning in (SQLITE if sqlite else POSTGRES).items():
        text = text.replace("{" + word + "}", meaning)
    return [statement.strip() for statement in text.split(";") if statement.strip()]
