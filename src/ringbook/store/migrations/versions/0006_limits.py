"""Totals, spent permits and the other state that the limits of this revision need.

Code before this revision neither maintains the totals nor writes the journal of erasures, so it may not serve here.
"""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0006"
down_revision = "0005"

SCHEMA = """
CREATE TABLE totals (
    owner_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    contacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL
) {keyed};
INSERT INTO totals (owner_id, app_id, contacts, bytes)
SELECT c.owner_id, MIN(u.app_id), COUNT(*),
sqlite:SUM(LENGTH(CAST(c.name AS BLOB)) + LENGTH(CAST(COALESCE(c.typed, '') AS BLOB)))
postgres:SUM(OCTET_LENGTH(c.name) + OCTET_LENGTH(COALESCE(c.typed, '')))
FROM contacts AS c JOIN users AS u ON u.id = c.owner_id GROUP BY c.owner_id;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    message TEXT NOT NULL,
    waiting INTEGER NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX events_user ON events (user_id);
CREATE INDEX events_expires ON events (expires_at);

ALTER TABLE pushes ADD COLUMN lane TEXT NOT NULL DEFAULT '';
ALTER TABLE pushes ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pushes ADD COLUMN cause TEXT;
UPDATE pushes SET lane = app_id || ':' || channel WHERE outcome IS NULL OR outcome = 'parked';
CREATE INDEX pushes_first ON pushes (lane, turn) WHERE outcome IS NULL AND turn > 0;
CREATE INDEX pushes_repeats ON pushes (lane, due_at) WHERE outcome IS NULL AND turn = 0;
CREATE INDEX pushes_sender ON pushes (about_user_id, lane, turn) WHERE outcome IS NULL;
CREATE INDEX pushes_recipient ON pushes (user_id, subscription_id) WHERE outcome IS NULL AND event_id IS NOT NULL;

ALTER TABLE subscriptions ADD COLUMN answered_at BIGINT;
ALTER TABLE subscriptions ADD COLUMN silent_since BIGINT;
UPDATE subscriptions SET answered_at = (SELECT MAX(p.settled_at) FROM pushes AS p
    WHERE p.user_id = subscriptions.user_id AND p.subscription_id = subscriptions.id AND p.outcome = 'accepted')
    WHERE channel = 'web';

CREATE INDEX audit_log_ins ON audit (admin, at) WHERE action = 'logged in';
UPDATE schema_state SET revision = '0006', serves_from = '0006';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
