"""Users see the events that they have sent: see store/events.py."""

from alembic import op

revision = "1003"
down_revision = "1002"

STATEMENTS = (
    "CREATE TABLE sent_events (id INTEGER PRIMARY KEY,"
    " user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE, environment TEXT NOT NULL,"
    " channel TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, kept_until BIGINT NOT NULL)",
    "CREATE INDEX sent_events_user ON sent_events (user_id, created_at, id)",
    "CREATE INDEX sent_events_kept ON sent_events (kept_until)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    # No release has schema 1002, so nobody upgrades processes of it one by one.
    op.execute("UPDATE schema_state SET revision = '1003', serves_from = '1003'")
