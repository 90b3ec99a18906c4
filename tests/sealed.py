"""What sealed rows hold, for tests that look into tables.

application_behind(server, id)          an application
contacts(tx), contacts_behind(server)   every contact: owner, book and the opened contact
buckets(tx), bucket(name)               what is used of every bucket, by name; the value by which a bucket is found
entries(db), entries_behind(server)     the audit log, the newest entry first
answers_behind(server)                  what is kept for the next page of a session of the dashboard
add_number(tx, …)                       a user answers to one more number
subscription(user_id, token)            a new subscription of an Android device
with_number(…)                          a contact as `books.put` takes it
"""

from contextlib import closing

from servers import SEAL, Server

from ringbook import model, phone
from ringbook.core import applications, audit
from ringbook.core.audit import Entry
from ringbook.model import App, Contact, Placed, Subscription
from ringbook.seal import contact_texts, halves
from ringbook.store import admin_answers, discoverable, numbers
from ringbook.store import db as databases
from ringbook.store.db import Database, Tx


def contacts(tx: Tx) -> list[tuple[int, int, Contact]]:
    """Owner, book and contact of every row, by owner, book and number."""
    rows = tx.tuples("SELECT app_id, owner_id, book, number, sealed, seq FROM contacts")
    found = [(row[1], row[2], Contact(*tx.seal.open_contact(*row[:5]), row[5])) for row in rows]
    return sorted(found, key=lambda one: (one[0], one[1], one[2].number))


def contacts_behind(server: Server) -> set[tuple[int, int]]:
    """Owner and number of every contact in a server's database."""
    with closing(databases.connect(server.database_url, seal=SEAL, pool=1)) as db, db.read() as tx:
        return {(owner_id, one.number) for owner_id, _, one in contacts(tx)}


def application_behind(server: Server, app_id: int) -> App:
    """An application in a server's database, with its secrets and settings."""
    with closing(databases.connect(server.database_url, seal=SEAL, pool=1)) as db:
        return applications.get(db, app_id)


def buckets(tx: Tx) -> dict[str, float]:
    """What is used of every bucket, by its name."""
    rows = tx.tuples("SELECT name, sealed, used FROM buckets")
    return {tx.seal.open(sealed, "buckets", "sealed", *halves(key)): used for key, sealed, used in rows}


def bucket(name: str) -> bytes:
    """The keyed value by which a bucket is found."""
    return SEAL.lookup("bucket", 0, name)


def entries(db: Database, **filters: str | int) -> list[Entry]:
    """The entries of the audit log that these filters find (`audit.page`), the newest first."""
    return audit.page(db, 1_000, **filters)  # type: ignore[arg-type]  # each filter has its own type


def entries_behind(server: Server, **filters: str | int) -> list[Entry]:
    """The same of a server's database."""
    with closing(databases.connect(server.database_url, seal=SEAL, pool=1)) as db:
        return entries(db, **filters)


def with_number(app_id: int, owner_id: int, book: int, one: Contact) -> Placed:
    """The contact as it is stored in this book."""
    keyed = SEAL.number(app_id, one.number)
    sent = model.Entry(one.typed or phone.digits(one.number), one.name)
    (entry,) = SEAL.entries(phone.reading(), app_id, owner_id, book, [sent])
    (text,) = contact_texts([(one.number, one.name, one.typed)])
    assert text
    return keyed, entry, one.seq, text


def answers_behind(server: Server) -> list[str]:
    """What is kept for the next page of a session of the dashboard."""
    with closing(databases.connect(server.database_url, seal=SEAL, pool=1)) as db, db.read() as tx:
        rows = tx.all("SELECT name, sealed FROM admin_answers")
        return [admin_answers.opened(tx, admin_answers.TABLE, row["name"], row["sealed"]) for row in rows]


def add_number(tx: Tx, app_id: int, user_id: int, number: int, verified_at: int | None = None) -> None:
    """The user answers to this number, too."""
    keyed = numbers.keyed(tx, app_id, number)
    tx.run(
        "INSERT INTO numbers (app_id, number, user_id, digits, verified_at, discoverable)"
        " VALUES (:app_id, :keyed, :user_id, :digits, :verified_at, :discoverable)",
        app_id=app_id,
        keyed=keyed,
        user_id=user_id,
        digits=numbers.digits(tx, "numbers", app_id, keyed, number),
        verified_at=verified_at,
        discoverable=discoverable.of_user(tx, user_id),
    )


def subscription(user_id: int, token: str) -> Subscription:
    """A new subscription of the user's Android device."""
    return Subscription(
        id=0,
        user_id=user_id,
        device="phone",
        platform="android",
        channel="gcm",
        environment="production",
        bundle=None,
        token=token,
    )
