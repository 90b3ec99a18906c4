"""Results of verification: verified numbers, and the ids of users at outside services.

is_verified                    does somebody have this number, verified?
holders, verify, release       who answers to a number, and who no longer does
still                          those users who still have a number
wait_for_imports               no import is writing these users
verified_of, numbers_of        a user's own verified number; all numbers
by_uid, set_uid                users by Firebase's or an identity provider's id
by_email, drop_email           who has an e-mail, and who no longer does
by_external_id                 whom an import has brought with an id of the provider's
end_import_trust               imported values of a user no longer open the account
end_import                     an imported account is the user's own
"""

from collections.abc import Sequence
from typing import Literal

from . import discoverable, numbers, profiles
from .db import Row, Rows, Tx
from .imports import UNTOUCHED

Source = Literal["firebase_uid", "cidp_uid"]


def is_verified(tx: Tx, app_id: int, number: int) -> bool:
    """Has a user of the application verified this number?"""
    return bool(
        tx.tuples(
            "SELECT 1 FROM numbers WHERE app_id = :app_id AND number = :number AND verified_at IS NOT NULL LIMIT 1",
            app_id=app_id,
            number=numbers.keyed(tx, app_id, number),
        )
    )


def holders(tx: Tx, app_id: int, number: int) -> list[Row]:
    """Each user who answers to the number, the last used first: user_id, verified_at, used_at and

    imported      1: the number came with an import, which is trusted; it was neither typed nor verified here
    unused        1: imported, and never here since; used_at is then the time that the import named, or the import
    """
    return tx.all(
        "SELECT h.* FROM ("
        " SELECT n.user_id, n.verified_at, n.imported,"
        " CASE WHEN u.imported_at > COALESCE(l.last_request_at, 0) AND s.used_at IS NULL THEN 1 ELSE 0 END AS unused,"
        " CASE WHEN s.used_at > COALESCE(l.last_request_at, 0) THEN s.used_at"
        " ELSE COALESCE(l.last_request_at, u.imported_at, u.created_at) END AS used_at"
        " FROM numbers AS n JOIN users AS u ON u.id = n.user_id"
        " LEFT JOIN (SELECT user_id, MAX(last_used_at) AS used_at FROM sessions WHERE user_id IN"
        " (SELECT user_id FROM numbers WHERE app_id = :app_id AND number = :number) GROUP BY user_id) AS s"
        " ON s.user_id = n.user_id"
        " LEFT JOIN (SELECT user_id, last_request_at FROM seen WHERE user_id IN"
        " (SELECT user_id FROM numbers WHERE app_id = :app_id AND number = :number)) AS l ON l.user_id = n.user_id"
        " WHERE n.app_id = :app_id AND n.number = :number) AS h ORDER BY h.used_at DESC, h.user_id",
        app_id=app_id,
        number=numbers.keyed(tx, app_id, number),
    )


def still(tx: Tx, users: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Those of these users who still have the number.

    users   app_id, keyed number and user_id; so is the answer
    """
    return tx.tuples(
        "SELECT n.app_id, n.number, n.user_id FROM :users AS j JOIN numbers AS n"
        " ON n.app_id = j.app_id AND n.number = j.number AND n.user_id = j.user_id",
        users=Rows({"app_id": int, "number": int, "user_id": int}, users),
    )


def wait_for_imports(tx: Tx, user_ids: Sequence[int]) -> None:
    """None that is under way writes these users: it is over, or will find that they are its business no longer."""
    ids = Rows.of("id", user_ids)
    # Most sign-ins find no imported user, and a write that changes nothing still costs much on a cluster.
    if tx.tuples("SELECT 1 FROM users WHERE id IN :ids AND as_imported = 1 LIMIT 1", ids=ids):
        tx.run("UPDATE users SET as_imported = 1 WHERE id IN :ids AND as_imported = 1", ids=ids)


def verify(tx: Tx, app_id: int, user_id: int, number: int, now: int, *, renew: bool = False) -> None:
    """Make this the user's only number, verified.

    renew   a number that the user has verified before counts as verified now

    Most sign-ins change nothing, and write nothing: on a cluster, each write waits for all others of the table.
    """
    keyed = numbers.keyed(tx, app_id, number)
    found = tx.tuples("SELECT number, verified_at, imported FROM numbers WHERE user_id = :user_id", user_id=user_id)
    if any(row[0] != keyed for row in found):
        tx.run("DELETE FROM numbers WHERE user_id = :user_id AND number <> :keyed", user_id=user_id, keyed=keyed)
    if not renew and any(row[0] == keyed and row[1] is not None and not row[2] for row in found):
        return
    tx.run(
        "INSERT INTO numbers (app_id, number, user_id, digits, verified_at, discoverable)"
        " VALUES (:app_id, :keyed, :user_id, :digits, :now, :discoverable)"
        " ON CONFLICT (app_id, number, user_id) DO UPDATE SET imported = 0, verified_at ="
        " CASE WHEN :renew = 0 THEN COALESCE(numbers.verified_at, excluded.verified_at) ELSE excluded.verified_at END",
        app_id=app_id,
        keyed=keyed,
        digits=numbers.digits(tx, "numbers", app_id, keyed, number),
        user_id=user_id,
        now=now,
        discoverable=discoverable.of_user(tx, user_id),
        renew=int(renew),
    )


def release(tx: Tx, user_id: int, now: int) -> None:
    """Remove the user's number, also from the profile."""
    tx.run("DELETE FROM numbers WHERE user_id = :user_id", user_id=user_id)
    tx.run("UPDATE users SET phone = NULL, updated_at = :now WHERE id = :user_id", user_id=user_id, now=now)


def verified_of(tx: Tx, user_id: int) -> int | None:
    """The user's verified number."""
    rows = tx.tuples(
        "SELECT app_id, number, digits FROM numbers WHERE user_id = :id AND verified_at IS NOT NULL", id=user_id
    )
    return numbers.opened(tx, "numbers", *rows[0]) if rows else None


def numbers_of(tx: Tx, user_id: int) -> list[tuple[int, bool]]:
    """The user's numbers, and whether each is verified."""
    rows = tx.tuples("SELECT app_id, number, digits, verified_at FROM numbers WHERE user_id = :id", id=user_id)
    return [(numbers.opened(tx, "numbers", *row[:3]), row[3] is not None) for row in rows]


def by_uid(tx: Tx, app_id: int, source: Source, uid: str) -> int | None:
    """The user with this id at an outside service."""
    column = {"firebase_uid": "firebase_uid", "cidp_uid": "cidp_uid"}[source]
    row = tx.one(f"SELECT id FROM users WHERE app_id = :app_id AND {column} = :uid", app_id=app_id, uid=uid)
    return row["id"] if row else None


def set_uid(tx: Tx, user_id: int, source: Source, uid: str) -> None:
    """Store the user's id at an outside service."""
    column = {"firebase_uid": "firebase_uid", "cidp_uid": "cidp_uid"}[source]
    tx.run(f"UPDATE users SET {column} = :uid WHERE id = :user_id", user_id=user_id, uid=uid)


def by_email(tx: Tx, app_id: int, folded: str) -> Row | None:
    """The user with this e-mail: id, firebase_uid and `as_imported` (1 while unchanged since its import)."""
    return tx.one(
        "SELECT id, firebase_uid, as_imported FROM users WHERE app_id = :app_id AND email_keyed = :keyed",
        app_id=app_id,
        keyed=profiles.found_by(tx, app_id, profiles.UNIQUE["email"], folded),
    )


def drop_email(tx: Tx, user_id: int, now: int) -> None:
    """Remove the user's e-mail."""
    tx.run(
        "UPDATE users SET email = NULL, email_keyed = NULL, updated_at = :now WHERE id = :user_id",
        user_id=user_id,
        now=now,
    )


def by_external_id(tx: Tx, app_id: int, external_id: str) -> Row | None:
    """The id of the one imported user with this external id who never signed in; None for none or several.

    Other users can give themselves any external id, so theirs do not count.
    """
    rows = tx.all(
        "SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.external_id = :external_id"
        f" AND {UNTOUCHED} LIMIT 2",
        app_id=app_id,
        external_id=external_id,
    )
    return rows[0] if len(rows) == 1 else None


def end_import(tx: Tx, user_id: int) -> None:
    """Mark an imported account as the user's own: no import writes it any more. Writes nothing for other accounts."""
    if tx.tuples("SELECT 1 FROM users WHERE id = :id AND as_imported = 1", id=user_id):
        tx.run("UPDATE users SET as_imported = 0 WHERE id = :id", id=user_id)


def end_import_trust(tx: Tx, user_id: int, *, verified: bool) -> None:
    """Imported values of the user no longer open the account, and no import writes it any more.

    verified   a number that was imported as verified stays verified
    """
    end_import(tx, user_id)
    if not tx.tuples("SELECT 1 FROM numbers WHERE user_id = :id AND imported = 1", id=user_id):
        return
    tx.run(
        "UPDATE numbers SET imported = 0, verified_at = CASE WHEN :verified = 1 THEN verified_at END"
        " WHERE user_id = :id AND imported = 1",
        id=user_id,
        verified=int(verified),
    )
