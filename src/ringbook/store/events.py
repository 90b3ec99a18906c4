"""Events that users have sent: who, when, and how long. The text is stored with the pushes that wait (`pushes`).

add, page, count, by_id, delete    a user's own events
sweep                              deletes those that are no longer kept
"""

from ..model import SentEvent
from .db import Tx

COLUMNS = "id, user_id, environment, channel, created_at, expires_at"
KEPT = "user_id = :user_id AND kept_until > :now"


def add(
    tx: Tx,
    event_id: int,
    user_id: int,
    *,
    environment: str,
    channel: str,
    now: int,
    expires_at: int,
    kept_until: int,
) -> None:
    """Add an event."""
    tx.run(
        "INSERT INTO sent_events (id, user_id, environment, channel, created_at, expires_at, kept_until)"
        " VALUES (:id, :user_id, :environment, :channel, :now, :expires_at, :kept_until)",
        id=event_id,
        user_id=user_id,
        environment=environment,
        channel=channel,
        now=now,
        expires_at=expires_at,
        kept_until=kept_until,
    )


def page(tx: Tx, user_id: int, now: int, *, limit: int, offset: int) -> list[SentEvent]:
    """A user's events that are kept, newest first."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM sent_events WHERE {KEPT} ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset",
        user_id=user_id,
        now=now,
        limit=limit,
        offset=offset,
    )
    return [SentEvent(**row) for row in rows]


def count(tx: Tx, user_id: int, now: int) -> int:
    """How many of a user's events are kept."""
    return int(tx.tuples(f"SELECT COUNT(*) FROM sent_events WHERE {KEPT}", user_id=user_id, now=now)[0][0])


def by_id(tx: Tx, user_id: int, event_id: int, now: int) -> SentEvent | None:
    """One of a user's events, if it is kept."""
    row = tx.one(f"SELECT {COLUMNS} FROM sent_events WHERE id = :id AND {KEPT}", id=event_id, user_id=user_id, now=now)
    return SentEvent(**row) if row else None


def delete(tx: Tx, user_id: int, event_id: int, now: int) -> int:
    """Delete one of a user's events; 0 when there is no such event."""
    return tx.run(f"DELETE FROM sent_events WHERE id = :id AND {KEPT}", id=event_id, user_id=user_id, now=now)


def sweep(tx: Tx, now: int, limit: int) -> int:
    """Delete up to `limit` events that are no longer kept; return how many."""
    return tx.run(
        "DELETE FROM sent_events WHERE kept_until <= :now"
        " AND id IN (SELECT id FROM sent_events WHERE kept_until <= :now LIMIT :limit)",
        now=now,
        limit=limit,
    )
