"""Totals, spent permits and the other state that the limits of this revision need.

Code before this revision neither maintains the totals nor writes the journal of erasures, so it may not serve here.
"""

from alembic import op

from ringbook.store.migrations.words import statements

revision = "0006"
down_revision = "0005"

SCHEMA = """
UPDATE schema_state SET revision = '0006', serves_from = '0006';
"""


def upgrade() -> None:
    for statement in statements(SCHEMA, sqlite=op.get_bind().dialect.name == "sqlite"):
        op.execute(statement)
