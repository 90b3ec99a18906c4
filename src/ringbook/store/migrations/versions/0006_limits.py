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

UPDATE schema_state SET revision = '0006', serves_from = '0006';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
