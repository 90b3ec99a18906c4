"""Links to a new password: one row for each user who asked for one, with the hash of the link's token.

A row with a token has a MAC (`row_macs.py`): a link that was written without the key is not valid.

put                       a mail is asked for
is_due, claim             a mail is to be sent; its token is stored with the claim
sent, later, drop         what became of it
by_token, use_up          a link is followed; a password was chosen with it
of_user, sweep            for the export of a user; forget those whose time is over
"""

from . import profiles, row_macs
from .db import Row, Tx


def put(tx: Tx, app_id: int, email: str, language: str, now: int) -> None:
    """Queue a mail to the user with this e-mail, which must be folded. Nothing happens when there is none.

    A link that was sent before stays valid until the new mail is sent. The user is read in a statement of its own: a
    cluster has the two tables in different places.
    """
    found = tx.tuples(
        "SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.email_keyed = :email AND u.is_guest = 0",
        app_id=app_id,
        email=profiles.found_by(tx, app_id, profiles.UNIQUE["email"], email),
    )
    for (user_id,) in found:
        tx.run(
            "INSERT INTO resets (user_id, app_id, language, created_at, due_at, expires_at, attempts)"
            " VALUES (:user_id, :app_id, :language, :now, :now, :now, 0)"
            " ON CONFLICT (user_id) DO UPDATE SET language = excluded.language, created_at = excluded.created_at,"
            " due_at = excluded.due_at, attempts = 0",
            user_id=user_id,
            app_id=app_id,
            language=language,
            now=now,
        )


def is_due(tx: Tx, now: int) -> bool:
    """Is a mail to be sent?"""
    return bool(tx.tuples("SELECT 1 FROM resets WHERE due_at <= :now LIMIT 1", now=now))


def claim(tx: Tx, token_hash: bytes, now: int, until: int, expires_at: int) -> Row | None:
    """Take the mail that has waited longest, until a time, and store its token: user_id, app_id, language, attempts."""
    row = tx.one(
        "UPDATE resets SET due_at = :until, attempts = attempts + 1, token_hash = :token_hash,"
        " expires_at = :expires_at WHERE due_at <= :now AND user_id IN"
        " (SELECT user_id FROM resets WHERE due_at <= :now ORDER BY due_at, user_id LIMIT 1)"
        " RETURNING user_id, app_id, language, attempts",
        token_hash=token_hash,
        now=now,
        until=until,
        expires_at=expires_at,
    )
    if row:
        tx.run(
            "UPDATE resets SET mac = :mac WHERE token_hash = :token_hash",
            token_hash=token_hash,
            mac=row_macs.of_reset(row_macs.key(tx), token_hash, row["app_id"], row["user_id"], expires_at),
        )
    return row


def sent(tx: Tx, token_hash: bytes) -> None:
    """The mail with this token was sent."""
    tx.run("UPDATE resets SET due_at = NULL WHERE token_hash = :token_hash", token_hash=token_hash)


def later(tx: Tx, token_hash: bytes, due_at: int) -> None:
    """The mail with this token is to be sent again, at a time."""
    tx.run("UPDATE resets SET due_at = :due_at WHERE token_hash = :token_hash", token_hash=token_hash, due_at=due_at)


def drop(tx: Tx, user_id: int) -> None:
    """Forget the user's link, and the mail that waits."""
    tx.run("DELETE FROM resets WHERE user_id = :user_id", user_id=user_id)


def by_token(tx: Tx, token_hash: bytes, now: int) -> Row | None:
    """user_id and app_id of a link that is valid."""
    row = tx.one(
        "SELECT user_id, app_id, expires_at, mac FROM resets WHERE token_hash = :token_hash AND expires_at > :now",
        token_hash=token_hash,
        now=now,
    )
    if row is None:
        return None
    right = row_macs.of_reset(row_macs.key(tx), token_hash, row["app_id"], row["user_id"], row.pop("expires_at"))
    return row if row_macs.holds("resets", row.pop("mac"), right) else None


def use_up(tx: Tx, token_hash: bytes, now: int) -> bool:
    """Use up a link; False when it is no longer valid."""
    done = tx.run(
        "DELETE FROM resets WHERE token_hash = :token_hash AND expires_at > :now", token_hash=token_hash, now=now
    )
    return done == 1


def of_user(tx: Tx, user_id: int) -> list[Row]:
    """When the user's last link was asked for, and until when it is valid or waits."""
    return tx.all("SELECT created_at, expires_at FROM resets WHERE user_id = :user_id", user_id=user_id)


def sweep(tx: Tx, now: int, asked_before: int, limit: int) -> int:
    """Delete up to `limit` links that have expired, and mails asked for before a time; return how many."""
    over = "expires_at <= :now AND (due_at IS NULL OR created_at <= :asked_before)"
    return tx.run(
        f"DELETE FROM resets WHERE {over} AND user_id IN (SELECT user_id FROM resets WHERE {over} LIMIT :limit)",
        now=now,
        asked_before=asked_before,
        limit=limit,
    )
