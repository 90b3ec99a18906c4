"""On SQLite, triggers store the latest changes of the table `numbers`: see store/number_changes.py."""

from alembic import op

revision = "1002"
down_revision = "1001"

# A change has the first 20 of the 63 bits of a keyed number. The latest 1,000 changes are left.
CHANGED = "INSERT INTO number_changes (part)"
FORGET = "DELETE FROM number_changes WHERE id <= last_insert_rowid() - 1000"
OF_SQLITE = (
    "CREATE TABLE number_changes (id INTEGER PRIMARY KEY, part INTEGER NOT NULL)",
    f"CREATE TRIGGER numbers_added AFTER INSERT ON numbers BEGIN {CHANGED} VALUES (NEW.number >> 43); {FORGET}; END",
    f"CREATE TRIGGER numbers_changed AFTER UPDATE ON numbers BEGIN {CHANGED} VALUES (OLD.number >> 43);"
    f" {CHANGED} SELECT NEW.number >> 43 WHERE NEW.number <> OLD.number; {FORGET}; END",
    f"CREATE TRIGGER numbers_removed AFTER DELETE ON numbers BEGIN {CHANGED} VALUES (OLD.number >> 43); {FORGET}; END",
)


def upgrade() -> None:
    for statement in OF_SQLITE if op.get_bind().dialect.name == "sqlite" else ():
        op.execute(statement)
    op.execute("UPDATE schema_state SET revision = '1002', serves_from = '1002'")
