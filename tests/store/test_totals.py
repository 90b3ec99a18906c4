"""Revision 0006 computes the totals of the users who are there already."""

from contextlib import closing

from alembic import command
from store.test_migrations import config, empty

from ringbook.model import Contact
from ringbook.store import books, migrations, users
from ringbook.store import db as databases

__all__ = ["empty"]  # the fixture


def test_the_totals_of_existing_contacts_are_computed(empty):
    with migrations.connection(empty) as connected:
        older = config()
        older.attributes["connection"] = connected
        command.upgrade(older, "0005")
    with closing(databases.connect(empty)) as db, db.write() as tx:
        tx.run(
            "INSERT INTO applications (name, auth_key, auth_secret, hash_key, vapid_public_key, vapid_private_key,"
            " settings, created_at) VALUES ('a', 'k', 's', :key, '', '', '{}', 0)",
            key=b"",
        )
        ann, bob, _nobody = (users.insert(tx, 1, {}, 0) for _ in range(3))
        books.put(tx, 1, ann, 0, [Contact(12025550101, "é", None, 1), Contact(12025550102, "😀", "+1 202", 2)])
        books.put(tx, 1, ann, 1, [Contact(12025550101, "x", None, 1)])
        books.put(tx, 1, bob, 0, [Contact(12025550101, "Bob", None, 1)])
        books.put(tx, 1, 4711, 0, [Contact(12025550101, "orphan", None, 1)])
    migrations.migrate(empty)
    with closing(databases.connect(empty)) as db, db.read() as tx:
        rows = tx.tuples("SELECT owner_id, app_id, contacts, bytes FROM totals ORDER BY owner_id")
    assert rows == [(ann, 1, 3, 2 + 4 + 6 + 1), (bob, 1, 1, 3)]
