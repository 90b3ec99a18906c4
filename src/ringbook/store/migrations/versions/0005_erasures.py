"""Which database it is, how many users were erased, and how many of them before the file was last rewritten."""

import hashlib
import secrets

import sqlalchemy
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # One row. On a Citus cluster it stays on the coordinator.
    op.execute("CREATE TABLE erasures (database_id TEXT NOT NULL, count BIGINT NOT NULL, rewritten BIGINT NOT NULL)")
    insert = sqlalchemy.text("INSERT INTO erasures VALUES (:database_id, 0, 0)")
    op.get_bind().execute(insert, {"database_id": database_id()})
    op.execute("UPDATE schema_state SET revision = '0005', serves_from = '0001'")


def database_id() -> str:
    """Sixteen letters that no other database has.

    A backup of before this revision comes to the same ones when it is restored: they are of the first application.
    """
    first = op.get_bind().execute(sqlalchemy.text("SELECT hash_key FROM applications ORDER BY id LIMIT 1")).fetchone()
    return hashlib.sha256(bytes(first[0])).hexdigest()[:16] if first else secrets.token_hex(8)
