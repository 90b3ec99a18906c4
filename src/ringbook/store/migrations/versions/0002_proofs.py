"""Proofs of who somebody is: Firebase and identity providers name users, numbers are verified, codes are asked for."""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0002"
down_revision = "0001"

SCHEMA = """
ALTER TABLE applications ADD COLUMN verified_since BIGINT;

ALTER TABLE users ADD COLUMN firebase_uid TEXT;
ALTER TABLE users ADD COLUMN cidp_uid TEXT;
ALTER TABLE users ADD COLUMN imported_at BIGINT;
CREATE UNIQUE INDEX users_firebase_uid ON users (app_id, firebase_uid);
CREATE UNIQUE INDEX users_cidp_uid ON users (app_id, cidp_uid);

CREATE TABLE codes (
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    typed TEXT NOT NULL,
    code_hash {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    answered_at BIGINT,
    PRIMARY KEY (app_id, number)
) {keyed};
CREATE UNIQUE INDEX codes_request ON codes (app_id, request_id);
CREATE INDEX codes_expiry ON codes (expires_at);

UPDATE schema_state SET revision = '0002', serves_from = '0001';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
