"""Links to a new password: one row for each link, with the hash of its token.

A row without a token is a mail that waits. A row with a token has a MAC (`row_macs.py`): a link that was written
without the key is not valid.

user_with                 the user who has an e-mail
live, put                 the user's links that are valid or wait; a mail is asked for
is_due, claim             a mail is to be sent; its token is stored with the claim
sent, later, give_up      what became of it
drop                      forget all links of a user
by_token, use_up          a link is followed; a password was chosen with it
of_user, sweep            for the export of a user; forget those whose time is over
"""

import secrets

from . import profiles, row_macs
from .db import Row, Tx

ID_BITS = 62


def user_with(tx: Tx, app_id: int, email: str) -> int | None:
    """The id of the user with this e-mail, which must be folded."""
    found = tx.tuples(
        "SELECT u.id FROM users AS u WHERE u.app_id = :app_id AND u.email_keyed = :email AND u.is_guest = 0",
        app_id=app_id,
        email=profiles.found_by(tx, app_id, profiles.UNIQUE["email"], email),
    )
    return int(found[0][0]) if found else None


def live(tx: Tx, user_id: int, now: int) -> list[Row]:
    """The user's links that are valid, and mails that wait: whether the asker was known, and the attempts so far."""
    return tx.all(
        "SELECT known, attempts FROM resets WHERE user_id = :user_id AND (due_at IS NOT NULL OR expires_at > :now)",
        user_id=user_id,
        now=now,
    )


def put(tx: Tx, app_id: int, user_id: int, language: str, now: int, *, known: bool, wanted: bool) -> None:
    """Queue a mail with a link to the user.

    known    it was asked for from a network where the user has signed in
    wanted   False: nothing is queued. The statement is the same, so that its time does not tell who has an account
    """
    tx.run(
        "INSERT INTO resets (id, user_id, app_id, language, known, created_at, due_at, expires_at, attempts)"
        " SELECT :id, :user_id, :app_id, :language, :known, :now, :now, :now, 0 WHERE :wanted = 1",
        id=secrets.randbits(ID_BITS),
        user_id=user_id,
        app_id=app_id,
        language=language,
        known=int(known),
        now=now,
        wanted=int(wanted),
    )


def is_due(tx: Tx, now: int) -> bool:
    """Is a mail to be sent?"""
    return bool(tx.tuples("SELECT 1 FROM resets WHERE due_at <= :now LIMIT 1", now=now))


def claim(tx: Tx, token_hash: bytes, now: int, until: int, expires_at: int) -> Row | None:
    """Take the next mail, until a time, and store its token: user_id, app_id, language, attempts.

    Mails that were asked for from known networks come first, then those that have waited longest. A mail that is sent
    again after a failure has a new token; other links of the user stay as they are.
    """
    row = tx.one(
        "UPDATE resets SET due_at = :until, attempts = attempts + 1, token_hash = :token_hash,"
        " expires_at = :expires_at WHERE due_at <= :now AND id IN"
        " (SELECT id FROM resets WHERE due_at <= :now ORDER BY known DESC, due_at, id LIMIT 1)"
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


def give_up(tx: Tx, token_hash: bytes) -> None:
    """Forget the mail with this token."""
    tx.run("DELETE FROM resets WHERE token_hash = :token_hash", token_hash=token_hash)


def drop(tx: Tx, user_id: int) -> None:
    """Forget all links of the user, and the mails that wait."""
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
    """When each of the user's links was asked for, and until when it is valid or waits."""
    return tx.all(
        "SELECT created_at, expires_at FROM resets WHERE user_id = :user_id ORDER BY created_at, id", user_id=user_id
    )


def sweep(tx: Tx, now: int, asked_before: int, limit: int) -> int:
    """Delete up to `limit` links that have expired, and mails asked for before a time; return how many."""
    over = "expires_at <= :now AND (due_at IS NULL OR created_at <= :asked_before)"
    return tx.run(
        f"DELETE FROM resets WHERE {over} AND id IN (SELECT id FROM resets WHERE {over} LIMIT :limit)",
        now=now,
        asked_before=asked_before,
        limit=limit,
    )
