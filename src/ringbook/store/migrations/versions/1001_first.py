"""The first schema. `day` is a number of days since 1970, UTC; every other time is in seconds since then.

Written so that the same tables can be spread over a Citus cluster: see docs/decisions/0003-schema-for-citus.md.
"""

import secrets

import sqlalchemy
from alembic import op

from ringbook.store.migrations.words import statements

revision = "1001"
down_revision = None

SCHEMA = """
CREATE TABLE schema_state (revision TEXT NOT NULL, serves_from TEXT NOT NULL);

CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('current', 'next')),
    created_at BIGINT NOT NULL,
    place TEXT NOT NULL DEFAULT ''
) {keyed};
CREATE UNIQUE INDEX keys_state ON keys (state);

CREATE TABLE sequences (name TEXT PRIMARY KEY, value BIGINT NOT NULL) {keyed};
INSERT INTO sequences VALUES ('application_ids', 0), ('user_ids', 0), ('subscription_ids', 0), ('session_ids', 0),
    ('event_ids', 0), ('joined_ids', 0), ('push_ids', 0), ('audit_ids', 0);

CREATE TABLE locks (name {bytes} PRIMARY KEY) {keyed};

CREATE TABLE applications (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    auth_key TEXT NOT NULL UNIQUE,
    auth_secret {bytes} NOT NULL,
    hash_key {bytes} NOT NULL,
    vapid_public_key TEXT NOT NULL,
    vapid_private_key {bytes} NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    verified_since BIGINT
);

CREATE TABLE admins (
    email {bytes} PRIMARY KEY,
    sealed {bytes} NOT NULL,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('owner', 'viewer')),
    created_at BIGINT NOT NULL
) {keyed};

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES applications (id),
    login TEXT,
    login_folded {folded},
    login_sealed {bytes},
    login_keyed {bytes},
    email {bytes},
    email_keyed {bytes},
    full_name TEXT,
    full_name_folded {folded},
    phone {bytes},
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
    firebase_uid TEXT,
    cidp_uid TEXT,
    imported_at BIGINT,
    as_imported INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX users_login ON users (app_id, login_keyed);
CREATE UNIQUE INDEX users_email ON users (app_id, email_keyed);
CREATE UNIQUE INDEX users_external_user_id ON users (app_id, external_user_id);
CREATE UNIQUE INDEX users_facebook_id ON users (app_id, facebook_id);
CREATE UNIQUE INDEX users_firebase_uid ON users (app_id, firebase_uid);
CREATE UNIQUE INDEX users_cidp_uid ON users (app_id, cidp_uid);
CREATE INDEX users_app ON users (app_id, id);
CREATE INDEX users_newest ON users (app_id, created_at, id);
CREATE INDEX users_external_id ON users (app_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_twitter_id ON users (app_id, twitter_id) WHERE twitter_id IS NOT NULL;
CREATE INDEX users_login_folded ON users (app_id, login_folded) WHERE login_folded IS NOT NULL;
CREATE INDEX users_full_name ON users (app_id, full_name_folded, id) WHERE full_name_folded IS NOT NULL;
CREATE INDEX users_guest_until ON users (guest_until) WHERE guest_until IS NOT NULL;

CREATE TABLE seen (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    last_request_at BIGINT NOT NULL
) {keyed};

CREATE TABLE numbers (
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digits {bytes} NOT NULL,
    verified_at BIGINT,
    imported INTEGER NOT NULL DEFAULT 0,
    spelling INTEGER NOT NULL DEFAULT 0,
    discoverable INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, number, user_id)
) {keyed};
CREATE INDEX numbers_user ON numbers (user_id);

CREATE TABLE preferences (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    announce INTEGER NOT NULL DEFAULT 0,
    discoverable INTEGER NOT NULL DEFAULT 0,
    notify INTEGER NOT NULL DEFAULT 1,
    quiet_from INTEGER,
    quiet_to INTEGER,
    time_zone TEXT,
    digest INTEGER,
    locale TEXT
) {keyed};

CREATE TABLE tags (
    app_id INTEGER NOT NULL,
    tag {folded} NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (app_id, tag, user_id)
) {keyed};
CREATE INDEX tags_user ON tags (user_id);

CREATE TABLE words (
    app_id INTEGER NOT NULL,
    word {folded} NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (app_id, word, user_id)
) {keyed};
CREATE INDEX words_user ON words (user_id);

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
    version BIGINT NOT NULL DEFAULT 0,
    reports {bytes},
    reported_version BIGINT,
    PRIMARY KEY (owner_id, book),
    UNIQUE (owner_id, device)
) {keyed};

CREATE TABLE totals (
    owner_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    contacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    announce_until BIGINT NOT NULL DEFAULT 0
) {keyed};

CREATE TABLE total_changes (
    owner_id INTEGER PRIMARY KEY,
    app_id INTEGER NOT NULL,
    users BIGINT NOT NULL,
    books BIGINT NOT NULL,
    contacts BIGINT NOT NULL
) {keyed};

CREATE TABLE app_totals (
    app_id INTEGER PRIMARY KEY,
    users BIGINT NOT NULL,
    books BIGINT NOT NULL,
    contacts BIGINT NOT NULL,
    recounted_users BIGINT NOT NULL,
    recounted_books BIGINT NOT NULL,
    recounted_contacts BIGINT NOT NULL
) {keyed};

CREATE TABLE sweeps (
    name TEXT PRIMARY KEY,
    place BIGINT NOT NULL,
    at BIGINT NOT NULL
) {keyed};

CREATE TABLE contacts (
    owner_id INTEGER NOT NULL,
    book INTEGER NOT NULL,
    number BIGINT NOT NULL,
    app_id INTEGER NOT NULL,
    entry BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    sealed {bytes} NOT NULL,
    PRIMARY KEY (owner_id, book, number)
) {keyed};
CREATE INDEX contacts_number ON contacts (app_id, number, owner_id);

CREATE TABLE discovered (
    owner_id INTEGER NOT NULL,
    book INTEGER NOT NULL,
    app_id INTEGER NOT NULL,
    incarnation BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    sealed {bytes} NOT NULL,
    PRIMARY KEY (owner_id, book)
) {keyed};

CREATE TABLE removed (
    owner_id INTEGER NOT NULL,
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    digits {bytes} NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (owner_id, number)
) {keyed};
CREATE INDEX removed_at ON removed (at);

CREATE TABLE buckets (
    name {bytes} PRIMARY KEY,
    sealed {bytes} NOT NULL,
    used {real} NOT NULL,
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX buckets_expiry ON buckets (expires_at);

CREATE TABLE subscriptions (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
sqlite:id INTEGER PRIMARY KEY,
postgres:id integer NOT NULL,
    app_id INTEGER NOT NULL,
    device TEXT NOT NULL,
    platform TEXT NOT NULL,
    channel TEXT NOT NULL,
    environment TEXT NOT NULL,
    bundle TEXT,
    token {bytes} NOT NULL,
    token_key {bytes} NOT NULL,
    web_auth {bytes},
    web_p256dh TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    answered_at BIGINT,
    silent_since BIGINT,
    locale TEXT,
postgres:PRIMARY KEY (user_id, id),
    UNIQUE (user_id, device, channel, environment)
);
CREATE INDEX subscriptions_token ON subscriptions (app_id, channel, token_key);

CREATE TABLE codes (
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    digits {bytes} NOT NULL,
    request_id TEXT NOT NULL,
    typed {bytes} NOT NULL,
    code_hash {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    answered_at BIGINT,
    PRIMARY KEY (app_id, number)
) {keyed};
CREATE UNIQUE INDEX codes_request ON codes (app_id, request_id);
CREATE INDEX codes_expiry ON codes (expires_at);

CREATE TABLE resets (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    language TEXT NOT NULL,
    token_hash {bytes},
    created_at BIGINT NOT NULL,
    due_at BIGINT,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL
);
CREATE UNIQUE INDEX resets_token ON resets (token_hash);
CREATE INDEX resets_due ON resets (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX resets_expiry ON resets (expires_at);

CREATE TABLE joined (
    id {id} PRIMARY KEY,
    app_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    number BIGINT,
    digits {bytes},
    verified INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    told_up_to INTEGER NOT NULL,
    armed BIGINT,
    done_at BIGINT,
    result TEXT
);
CREATE INDEX joined_waiting ON joined (due_at, id) WHERE done_at IS NULL;
CREATE INDEX joined_done ON joined (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX joined_user ON joined (user_id, created_at);

CREATE TABLE announced (
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    digits {bytes} NOT NULL,
    verified INTEGER NOT NULL,
    at BIGINT NOT NULL,
    joined_id BIGINT NOT NULL,
    joined_user_id INTEGER NOT NULL,
    place BIGINT NOT NULL,
    digest BIGINT,
    PRIMARY KEY (owner_id, number)
) {keyed};
CREATE INDEX announced_place ON announced (owner_id, place);
CREATE INDEX announced_digest ON announced (joined_id, owner_id) WHERE digest IS NOT NULL;

CREATE TABLE joined_lists (
    owner_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL,
    incarnation BIGINT NOT NULL,
    last_place BIGINT NOT NULL,
    joined_id BIGINT NOT NULL DEFAULT 0,
    seen_up_to BIGINT NOT NULL,
    window_at BIGINT NOT NULL,
    window_count INTEGER NOT NULL
) {keyed};

CREATE TABLE pushes (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
sqlite:id INTEGER PRIMARY KEY,
postgres:id bigint NOT NULL,
    app_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    joined_id BIGINT,
    event_id INTEGER,
    about_user_id INTEGER NOT NULL,
    channel TEXT NOT NULL,
    environment TEXT NOT NULL,
    message {bytes},
    number BIGINT,
    digits {bytes},
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    outcome TEXT,
    reason TEXT,
    settled_at BIGINT,
    lane TEXT NOT NULL DEFAULT '',
    turn BIGINT NOT NULL DEFAULT 0,
    cause TEXT,
    digest BIGINT,
    waits TEXT,
postgres:PRIMARY KEY (id, user_id),
    UNIQUE (user_id, joined_id, subscription_id)
);
CREATE INDEX pushes_due ON pushes (due_at) WHERE COALESCE(outcome, 'none') = 'none';
CREATE INDEX pushes_settled ON pushes (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX pushes_about ON pushes (about_user_id);
CREATE INDEX pushes_first ON pushes (lane, turn) WHERE outcome IS NULL AND turn > 0;
CREATE INDEX pushes_repeats ON pushes (lane, due_at) WHERE outcome IS NULL AND turn = 0;
CREATE INDEX pushes_sender ON pushes (about_user_id, lane, turn) WHERE outcome IS NULL;
CREATE INDEX pushes_recipient ON pushes (user_id, subscription_id) WHERE outcome IS NULL AND event_id IS NOT NULL;
CREATE INDEX pushes_waits ON pushes (app_id, waits) WHERE outcome IS NULL AND waits IS NOT NULL;
CREATE INDEX pushes_app ON pushes (app_id, created_at, id);
CREATE INDEX pushes_failed ON pushes (app_id, outcome, created_at, id) WHERE outcome <> 'accepted';

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    message {bytes} NOT NULL,
    waiting INTEGER NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX events_user ON events (user_id);
CREATE INDEX events_expires ON events (expires_at);

CREATE TABLE admin_sessions (
    token_hash {bytes} PRIMARY KEY,
    email {bytes} NOT NULL REFERENCES admins (email) ON DELETE CASCADE ON UPDATE CASCADE,
    address TEXT NOT NULL,
    browser TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX admin_sessions_email ON admin_sessions (email);
CREATE INDEX admin_sessions_expiry ON admin_sessions (expires_at);

CREATE TABLE admin_invitations (
    token_hash {bytes} PRIMARY KEY,
    sealed {bytes} NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('owner', 'viewer')),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX admin_invitations_expiry ON admin_invitations (expires_at);

CREATE TABLE admin_answers (
    name {bytes} PRIMARY KEY,
    sealed {bytes} NOT NULL,
    expires_at BIGINT NOT NULL
) {keyed};
CREATE INDEX admin_answers_expiry ON admin_answers (expires_at);

CREATE TABLE audit (
    id {id} PRIMARY KEY,
    at BIGINT NOT NULL,
    app_id INTEGER,
    admin {bytes} NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject {bytes} NOT NULL,
    sealed {bytes} NOT NULL
);
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_log_ins ON audit (admin, at) WHERE action = 'logged in';

CREATE TABLE daily (
    app_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (app_id, day, name)
) {keyed};

CREATE TABLE activity (
    app_id INTEGER NOT NULL,
    at BIGINT NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (app_id, at, name)
) {keyed};
CREATE INDEX activity_at ON activity (at);

CREATE TABLE refusals (
    app_id INTEGER NOT NULL,
    request TEXT NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    count BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, request, cause, reason)
) {keyed};
CREATE INDEX refusals_latest ON refusals (app_id, last_at);
CREATE INDEX refusals_last ON refusals (last_at);

CREATE TABLE erasures (database_id TEXT NOT NULL, count BIGINT NOT NULL, rewritten BIGINT NOT NULL);

INSERT INTO schema_state VALUES ('1001', '1001');
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
    insert = sqlalchemy.text("INSERT INTO erasures VALUES (:database_id, 0, 0)")
    op.get_bind().execute(insert, {"database_id": secrets.token_hex(8)})
