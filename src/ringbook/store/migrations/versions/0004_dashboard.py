"""The dashboard: who is logged in, who did what, what happened on each day, and what was refused lately."""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0004"
down_revision = "0003"

# On a Citus cluster all four stay on the coordinator. `day` is a number of days since 1970, UTC.
SCHEMA = """
CREATE TABLE admin_sessions (
    token_hash {bytes} PRIMARY KEY,
    email TEXT NOT NULL REFERENCES admins (email) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX admin_sessions_email ON admin_sessions (email);
CREATE INDEX admin_sessions_expiry ON admin_sessions (expires_at);

postgres:CREATE SEQUENCE audit_ids;
CREATE TABLE audit (
sqlite:id {id},
postgres:id bigint PRIMARY KEY DEFAULT nextval('audit_ids'),
    at BIGINT NOT NULL,
    app_id INTEGER,
    admin TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT,
    detail TEXT
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE daily (
    app_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (app_id, day, name)
) {keyed};

CREATE TABLE refusals (
    app_id INTEGER NOT NULL,
    route TEXT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    count BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, route, status, reason)
) {keyed};
CREATE INDEX refusals_latest ON refusals (app_id, last_at);

CREATE INDEX users_app ON users (app_id, id);
CREATE INDEX pushes_app ON pushes (app_id, id);
CREATE INDEX pushes_failed ON pushes (app_id, outcome, id) WHERE outcome <> 'accepted';

UPDATE schema_state SET revision = '0004', serves_from = '0001';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
