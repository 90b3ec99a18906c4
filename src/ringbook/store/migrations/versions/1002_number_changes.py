"""On SQLite, triggers store the latest changes of the table `numbers`: see store/number_changes.py.

Joined pushes take fewer indexes, and on PostgreSQL no foreign key of `announced`: see docs/decisions/0003. SQLite could
only drop a foreign key with the table, and its own costs little.
"""

from alembic import op

revision = "1002"
down_revision = "1001"

# A change has the first 20 of the 63 bits of a keyed number, and who found the user by it. The latest 1,000 are left.
CHANGED = "INSERT INTO number_changes (part, discoverable)"
OLD, NEW = (f"{row}.number >> 43, {row}.discoverable" for row in ("OLD", "NEW"))
DIFFERS = "NEW.number <> OLD.number OR NEW.discoverable <> OLD.discoverable"
FORGET = "DELETE FROM number_changes WHERE id <= last_insert_rowid() - 1000"
OF_SQLITE = (
    "CREATE TABLE number_changes (id INTEGER PRIMARY KEY, part INTEGER NOT NULL, discoverable INTEGER NOT NULL)",
    f"CREATE TRIGGER numbers_added AFTER INSERT ON numbers BEGIN {CHANGED} VALUES ({NEW}); {FORGET}; END",
    f"CREATE TRIGGER numbers_changed AFTER UPDATE ON numbers BEGIN {CHANGED} VALUES ({OLD});"
    f" {CHANGED} SELECT {NEW} WHERE {DIFFERS}; {FORGET}; END",
    f"CREATE TRIGGER numbers_removed AFTER DELETE ON numbers BEGIN {CHANGED} VALUES ({OLD}); {FORGET}; END",
)
OF_POSTGRESQL = ("ALTER TABLE announced DROP CONSTRAINT announced_owner_id_fkey",)
INDEXES = (
    "DROP INDEX pushes_about",
    "DROP INDEX pushes_sender",
    "CREATE INDEX pushes_sender ON pushes (about_user_id, lane, turn)",
    "CREATE INDEX pushes_sent ON pushes (about_user_id) WHERE outcome IS NULL AND event_id IS NOT NULL",
)


def upgrade() -> None:
    own = OF_SQLITE if op.get_bind().dialect.name == "sqlite" else OF_POSTGRESQL
    for statement in (*own, *INDEXES):
        op.execute(statement)
    op.execute("UPDATE schema_state SET revision = '1002', serves_from = '1002'")
