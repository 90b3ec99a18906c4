"""Pushes: facts that wait to be told, who has been told, and the queue of what is sent. What was imported."""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0003"
down_revision = "0002"

# On a Citus cluster `announced` and `pushes` lie with the user who owns them, `joined` stays on the coordinator.
SCHEMA = """
ALTER TABLE users ADD COLUMN as_imported INTEGER NOT NULL DEFAULT 0;
UPDATE users SET as_imported = 1 WHERE imported_at = updated_at AND COALESCE(last_request_at, 0) < imported_at
    AND password_hash IS NULL AND firebase_uid IS NULL AND cidp_uid IS NULL;
ALTER TABLE numbers ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
UPDATE numbers SET imported = 1 WHERE user_id IN (SELECT id FROM users WHERE as_imported = 1);

postgres:CREATE SEQUENCE joined_ids;
postgres:CREATE SEQUENCE push_ids;
postgres:CREATE SEQUENCE event_ids AS integer CYCLE;
sqlite:INSERT INTO sequences VALUES ('event_ids', 0);

CREATE TABLE joined (
sqlite:id {id},
postgres:id bigint PRIMARY KEY DEFAULT nextval('joined_ids'),
    app_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    number BIGINT,
    verified INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    told_up_to INTEGER NOT NULL,
    done_at BIGINT,
    result TEXT
);
CREATE INDEX joined_waiting ON joined (id) WHERE done_at IS NULL;
CREATE INDEX joined_done ON joined (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX joined_user ON joined (user_id, created_at);

CREATE TABLE announced (
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash BIGINT NOT NULL,
    verified INTEGER NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (owner_id, hash)
) {keyed};

CREATE TABLE pushes (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
sqlite:id {id},
postgres:id bigint NOT NULL DEFAULT nextval('push_ids'),
    app_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    joined_id BIGINT,
    event_id INTEGER,
    about_user_id INTEGER NOT NULL,
    channel TEXT NOT NULL,
    environment TEXT NOT NULL,
    message TEXT,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    outcome TEXT,
    reason TEXT,
    settled_at BIGINT,
postgres:PRIMARY KEY (user_id, id),
    UNIQUE (user_id, joined_id, subscription_id)
);
postgres:CREATE INDEX pushes_id ON pushes (id);
CREATE INDEX pushes_due ON pushes (due_at) WHERE outcome IS NULL;
CREATE INDEX pushes_settled ON pushes (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX pushes_about ON pushes (about_user_id);

UPDATE schema_state SET revision = '0003', serves_from = '0001';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
