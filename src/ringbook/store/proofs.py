"""What proofs leave behind: verified numbers, and the ids that outside services know users by.

holders, verify, release       who answers to a number, and who no longer does
verified_of                    a user's own verified number
by_uid, set_uid                users by Firebase's or an identity provider's id
by_email, drop_email           who has an e-mail, and who no longer does
"""

from typing import Literal

from .db import Row, Tx

Source = Literal["firebase_uid", "cidp_uid"]
# An import writes both moments at once, and every change of a profile moves the one.
AS_IMPORTED = "CASE WHEN u.imported_at = u.updated_at THEN 1 ELSE 0 END"


def holders(tx: Tx, app_id: int, number: int) -> list[Row]:
    """Each user who answers to the number, the last used first: user_id, verified_at, used_at and

    as_imported   1: an import has written the profile, its number included, and nobody has changed it since
    unused        1: imported, and never here since; used_at is then the time that the import named, or the import
    """
    return tx.all(
        "SELECT h.* FROM ("
        f" SELECT n.user_id, n.verified_at, {AS_IMPORTED} AS as_imported,"
        " CASE WHEN u.imported_at > COALESCE(u.last_request_at, 0) AND s.used_at IS NULL THEN 1 ELSE 0 END AS unused,"
        " CASE WHEN s.used_at > COALESCE(u.last_request_at, 0) THEN s.used_at"
        " ELSE COALESCE(u.last_request_at, u.imported_at, u.created_at) END AS used_at"
        " FROM numbers AS n JOIN users AS u ON u.id = n.user_id"
        " LEFT JOIN (SELECT user_id, MAX(last_used_at) AS used_at FROM sessions WHERE user_id IN"
        " (SELECT user_id FROM numbers WHERE app_id = :app_id AND number = :number) GROUP BY user_id) AS s"
        " ON s.user_id = n.user_id"
        " WHERE n.app_id = :app_id AND n.number = :number) AS h ORDER BY h.used_at DESC, h.user_id",
        app_id=app_id,
        number=number,
    )


def verify(tx: Tx, app_id: int, user_id: int, number: int, now: int) -> None:
    """The user answers to this number, proven now, and to no other."""
    tx.run("DELETE FROM numbers WHERE user_id = :user_id AND number <> :number", user_id=user_id, number=number)
    tx.run(
        "INSERT INTO numbers (app_id, number, user_id, verified_at) VALUES (:app_id, :number, :user_id, :now)"
        " ON CONFLICT (app_id, number, user_id) DO UPDATE SET verified_at = excluded.verified_at",
        app_id=app_id,
        number=number,
        user_id=user_id,
        now=now,
    )


def release(tx: Tx, user_id: int, now: int) -> None:
    """The user answers to no number any more, and the profile shows none."""
    tx.run("DELETE FROM numbers WHERE user_id = :user_id", user_id=user_id)
    tx.run("UPDATE users SET phone = NULL, updated_at = :now WHERE id = :user_id", user_id=user_id, now=now)


def verified_of(tx: Tx, user_id: int) -> int | None:
    """The user's verified number."""
    row = tx.one("SELECT number FROM numbers WHERE user_id = :id AND verified_at IS NOT NULL", id=user_id)
    return row["number"] if row else None


def by_uid(tx: Tx, app_id: int, source: Source, uid: str) -> int | None:
    """The user whom a service knows by this id."""
    column = {"firebase_uid": "firebase_uid", "cidp_uid": "cidp_uid"}[source]
    row = tx.one(f"SELECT id FROM users WHERE app_id = :app_id AND {column} = :uid", app_id=app_id, uid=uid)
    return row["id"] if row else None


def set_uid(tx: Tx, user_id: int, source: Source, uid: str) -> None:
    """Remember by which id a service knows the user."""
    column = {"firebase_uid": "firebase_uid", "cidp_uid": "cidp_uid"}[source]
    tx.run(f"UPDATE users SET {column} = :uid WHERE id = :user_id", user_id=user_id, uid=uid)


def by_email(tx: Tx, app_id: int, folded: str) -> Row | None:
    """id, firebase_uid and `as_imported` (see `holders`) of the user with this e-mail."""
    return tx.one(
        f"SELECT u.id, u.firebase_uid, {AS_IMPORTED} AS as_imported FROM users AS u"
        " WHERE u.app_id = :app_id AND u.email_folded = :folded",
        app_id=app_id,
        folded=folded,
    )


def drop_email(tx: Tx, user_id: int, now: int) -> None:
    """The user has no e-mail any more."""
    tx.run(
        "UPDATE users SET email = NULL, email_folded = NULL, updated_at = :now WHERE id = :user_id",
        user_id=user_id,
        now=now,
    )
