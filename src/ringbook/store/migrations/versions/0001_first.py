"""The first schema: applications, users, sessions, address books, subscriptions, and the limits' memory.

Written so that the same tables can be spread over a Citus cluster: see docs/decisions/0003-schema-for-citus.md.
"""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0001"
down_revision = None

SCHEMA = """
CREATE TABLE schema_state (revision TEXT NOT NULL, serves_from TEXT NOT NULL);

postgres:CREATE SEQUENCE application_ids AS integer;
postgres:CREATE SEQUENCE user_ids AS integer;
postgres:CREATE SEQUENCE subscription_ids AS integer;
postgres:CREATE SEQUENCE session_ids AS integer CYCLE;
sqlite:CREATE TABLE sequences (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
sqlite:INSERT INTO sequences VALUES ('session_ids', 0);

CREATE TABLE applications (
sqlite:id {id},
postgres:id integer PRIMARY KEY DEFAULT nextval('application_ids'),
    name TEXT NOT NULL,
    auth_key TEXT NOT NULL UNIQUE,
    auth_secret TEXT NOT NULL,
    hash_key {bytes} NOT NULL,
    vapid_public_key TEXT NOT NULL,
    vapid_private_key TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE admins (
    email TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
sqlite:id {id},
postgres:id integer PRIMARY KEY DEFAULT nextval('user_ids'),
    app_id INTEGER NOT NULL REFERENCES applications (id),
    login TEXT,
    login_folded {folded},
    login_private INTEGER NOT NULL DEFAULT 0,
    email TEXT,
    email_folded {folded},
    full_name TEXT,
    full_name_folded {folded},
    phone {folded},
    password_hash TEXT,
    one_time_until BIGINT,
    external_id {folded},
    external_user_id BIGINT,
    facebook_id {folded},
    twitter_id {folded},
    website TEXT,
    avatar TEXT,
    custom_data TEXT,
    timezone INTEGER,
    user_tags {folded},
    is_guest INTEGER NOT NULL,
    guest_until BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_request_at BIGINT
);
CREATE UNIQUE INDEX users_login ON users (app_id, login_folded);
CREATE UNIQUE INDEX users_email ON users (app_id, email_folded);
CREATE UNIQUE INDEX users_external_user_id ON users (app_id, external_user_id);
CREATE UNIQUE INDEX users_facebook_id ON users (app_id, facebook_id);
CREATE INDEX users_external_id ON users (app_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_twitter_id ON users (app_id, twitter_id) WHERE twitter_id IS NOT NULL;
CREATE INDEX users_full_name ON users (app_id, full_name_folded) WHERE full_name_folded IS NOT NULL;
CREATE INDEX users_guest_until ON users (guest_until) WHERE guest_until IS NOT NULL;

CREATE TABLE numbers (
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    verified_at BIGINT,
    PRIMARY KEY (app_id, number, user_id)
) {keyed};
CREATE INDEX numbers_user ON numbers (user_id);

CREATE TABLE tags (
    app_id INTEGER NOT NULL,
    tag {folded} NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (app_id, tag, user_id)
) {keyed};
CREATE INDEX tags_user ON tags (user_id);

CREATE TABLE sessions (
    token_hash {bytes} PRIMARY KEY,
    id INTEGER NOT NULL,
    app_id INTEGER NOT NULL REFERENCES applications (id),
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    nonce BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    guest_until BIGINT
) {keyed};
CREATE INDEX sessions_user ON sessions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE nonces (
    app_id INTEGER NOT NULL,
    signature TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, signature)
) {keyed};
CREATE INDEX nonces_expiry ON nonces (expires_at);

CREATE TABLE books (
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    book INTEGER NOT NULL,
    app_id INTEGER NOT NULL,
    device TEXT NOT NULL,
    size INTEGER NOT NULL,
    next_seq BIGINT NOT NULL,
    synced_at BIGINT NOT NULL,
    PRIMARY KEY (owner_id, book),
    UNIQUE (owner_id, device)
) {keyed};

CREATE TABLE contacts (
    owner_id INTEGER NOT NULL,
    book INTEGER NOT NULL,
    number BIGINT NOT NULL,
    app_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    typed TEXT,
    seq BIGINT NOT NULL,
    PRIMARY KEY (owner_id, book, number)
) {keyed};
CREATE INDEX contacts_number ON contacts (app_id, number, owner_id);

CREATE TABLE removed (
    owner_id INTEGER NOT NULL,
    hash BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (owner_id, hash)
) {keyed};
CREATE INDEX removed_at ON removed (at);

CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    used {real} NOT NULL,
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX buckets_expiry ON buckets (expires_at);

CREATE TABLE subscriptions (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
sqlite:id {id},
postgres:id integer NOT NULL DEFAULT nextval('subscription_ids'),
    app_id INTEGER NOT NULL,
    device TEXT NOT NULL,
    platform TEXT NOT NULL,
    channel TEXT NOT NULL,
    environment TEXT NOT NULL,
    bundle TEXT,
    token TEXT NOT NULL,
    token_hash {bytes} NOT NULL,
    web_auth TEXT,
    web_p256dh TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
postgres:PRIMARY KEY (user_id, id),
    UNIQUE (user_id, device, channel, environment)
);
CREATE INDEX subscriptions_token ON subscriptions (app_id, channel, token_hash);

INSERT INTO schema_state VALUES ('0001', '0001');
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
