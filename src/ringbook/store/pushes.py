"""Pushes: the queue of what is to be sent and, once settled, what became of it.

add                              into the queue
claim, postpone, settle          one attempt: taken, to be tried again, over
drop_about, sweep                erased with the user whom it is about; forgotten when it is old
retry, of_user, by_id, waiting   for whoever looks after them
told, queue, parked              counted, for whoever looks after them
page, queue_of, parked_of        the same for one application, at a cost that does not grow with the table
"""

from collections.abc import Sequence

from .db import Row, Rows, Tx

ACCEPTED, PARKED, WAITING = "accepted", "parked", "waiting"
FAILED = (PARKED, "gone", "expired")
SHOWN = (
    "id, user_id, app_id, subscription_id, joined_id, event_id, about_user_id, channel, environment, created_at,"
    " due_at, expires_at, attempts, outcome, reason, settled_at"
)


def add(
    tx: Tx,
    app_id: int,
    about_user_id: int,
    rows: Sequence[tuple[int, int, str, str, str, int | None]],
    *,
    joined_id: int | None = None,
    now: int,
    expires_at: int,
) -> int:
    """Put pushes into the queue, each due at once; how many were new.

    rows   user_id, subscription_id (0: the application's webhook), channel, environment, message, event_id of each
    """
    return tx.run(
        "INSERT INTO pushes (user_id, app_id, subscription_id, joined_id, event_id, about_user_id, channel,"
        " environment, message, created_at, due_at, expires_at, attempts)"
        " SELECT r.user_id, :app_id, r.subscription_id, :joined_id, r.event_id, :about, r.channel, r.environment,"
        " r.message, :now, :now, :expires_at, 0 FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT (user_id, joined_id, subscription_id) DO NOTHING",
        rows=Rows(
            {
                "user_id": int,
                "subscription_id": int,
                "channel": str,
                "environment": str,
                "message": str,
                "event_id": int,
            },
            rows,
        ),
        app_id=app_id,
        about=about_user_id,
        joined_id=joined_id,
        now=now,
        expires_at=expires_at,
    )


def claim(tx: Tx, now: int, until: int, limit: int, busy: Sequence[str]) -> list[Row]:
    """Take up to `limit` due pushes: until then nobody else does. Each counts as attempted.

    busy   lanes, `app_id:channel`, of which none is taken

    The condition stands twice: without the outer one two claims at once would both get what the inner one found.
    """
    tx.alone("claiming pushes")
    return tx.all(
        "UPDATE pushes SET due_at = :until, attempts = attempts + 1"
        " WHERE due_at <= :now AND outcome IS NULL AND id IN"
        " (SELECT id FROM pushes WHERE due_at <= :now AND outcome IS NULL"
        " AND NOT (app_id || ':' || channel IN :busy) ORDER BY due_at LIMIT :limit)"
        " RETURNING id, user_id, app_id, subscription_id, joined_id, channel, environment, message, created_at,"
        " expires_at, attempts",
        now=now,
        until=until,
        limit=limit,
        busy=Rows({"lane": str}, [(lane,) for lane in busy]),
    )


def postpone(tx: Tx, rows: Sequence[tuple[int, int, int, int, str]]) -> None:
    """Let pushes be tried again.

    rows   user_id, id, attempts, due_at, reason; where somebody else has made an attempt since, nothing is changed
    """
    tx.run(
        "UPDATE pushes SET due_at = r.due_at, reason = r.reason FROM :rows AS r WHERE pushes.user_id = r.user_id"
        " AND pushes.id = r.id AND pushes.attempts = r.attempts AND pushes.outcome IS NULL",
        rows=Rows({"user_id": int, "id": int, "attempts": int, "due_at": int, "reason": str}, rows),
    )


def settle(tx: Tx, rows: Sequence[tuple[int, int, int, str, str]], now: int) -> None:
    """Write down what became of pushes; their texts are blanked, but for those that are parked.

    rows   user_id, id, attempts, outcome, reason

    That a provider has one counts whenever we hear of it; anything else only if nobody has made an attempt since.
    """
    tx.run(
        "UPDATE pushes SET outcome = r.outcome, reason = r.reason, settled_at = :now,"
        f" message = CASE WHEN r.outcome = '{PARKED}' THEN message END"
        " FROM :rows AS r WHERE pushes.user_id = r.user_id AND pushes.id = r.id"
        f" AND ((r.outcome = '{ACCEPTED}' AND COALESCE(pushes.outcome, '{PARKED}') = '{PARKED}')"
        " OR (pushes.outcome IS NULL AND pushes.attempts = r.attempts))",
        rows=Rows({"user_id": int, "id": int, "attempts": int, "outcome": str, "reason": str}, rows),
        now=now,
    )


def drop_about(tx: Tx, user_id: int) -> None:
    """Remove the pushes that tell of a user, whoever they are for."""
    tx.run("DELETE FROM pushes WHERE about_user_id = :user_id", user_id=user_id)


def sweep(tx: Tx, before: int, limit: int) -> int:
    """Forget up to `limit` pushes that were settled or parked before then; how many that were."""
    return tx.run(
        "DELETE FROM pushes WHERE settled_at < :before AND id IN"
        " (SELECT id FROM pushes WHERE settled_at < :before LIMIT :limit)",
        before=before,
        limit=limit,
    )


def retry(
    tx: Tx,
    app_id: int,
    ids: Sequence[int] | None,
    now: int,
    expires_at: int,
    limit: int,
    *,
    channel: str = "",
    reason: str | None = None,
) -> int:
    """Put up to `limit` parked pushes of an application, all or those that are named, back into the queue."""
    chosen = "" if ids is None else " AND id IN :ids"
    chosen += " AND channel = :channel" if channel else ""
    chosen += "" if reason is None else " AND COALESCE(reason, '') = :reason"
    return tx.run(
        "UPDATE pushes SET outcome = NULL, settled_at = NULL, due_at = :now,"
        " expires_at = CASE WHEN expires_at > :expires_at THEN expires_at ELSE :expires_at END"
        f" WHERE app_id = :app_id AND outcome = '{PARKED}' AND id IN (SELECT id FROM pushes"
        f" WHERE app_id = :app_id AND outcome = '{PARKED}' AND outcome <> '{ACCEPTED}'{chosen} LIMIT :limit)",
        app_id=app_id,
        now=now,
        expires_at=expires_at,
        limit=limit,
        **({} if ids is None else {"ids": Rows.of("id", ids)}),
        **({"channel": channel} if channel else {}),
        **({} if reason is None else {"reason": reason}),
    )


def by_id(tx: Tx, push_id: int) -> Row | None:
    """One push, without its text."""
    return tx.one(f"SELECT {SHOWN} FROM pushes WHERE id = :id", id=push_id)


def of_user(tx: Tx, user_id: int, limit: int) -> list[Row]:
    """A user's latest pushes, the newest first, without their texts."""
    return tx.all(
        f"SELECT {SHOWN} FROM pushes WHERE user_id = :user_id ORDER BY id DESC LIMIT :limit",
        user_id=user_id,
        limit=limit,
    )


def waiting(tx: Tx, most: int) -> tuple[int, int | None]:
    """How many pushes wait to be sent, counted up to `most`, and since when the first could have been."""
    count = tx.tuples("SELECT COUNT(*) FROM (SELECT 1 FROM pushes WHERE outcome IS NULL LIMIT :most) AS w", most=most)
    first = tx.tuples("SELECT MIN(due_at) FROM pushes WHERE outcome IS NULL")
    return int(count[0][0]), first[0][0]


def told(tx: Tx, about_user_id: int, joined_ids: Sequence[int]) -> list[Row]:
    """How many pushes have come of these facts about a user: joined_id, outcome (None: it waits) and count."""
    return tx.all(
        "SELECT joined_id, outcome, COUNT(*) AS count FROM pushes"
        " WHERE about_user_id = :about AND joined_id IN :ids GROUP BY joined_id, outcome ORDER BY joined_id, outcome",
        about=about_user_id,
        ids=Rows.of("id", joined_ids),
    )


def queue(tx: Tx, now: int) -> list[Row]:
    """What waits, by app_id and channel: how many pushes, how many of them are due, and since when the first is."""
    return tx.all(
        "SELECT app_id, channel, COUNT(*) AS waiting, SUM(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due,"
        " MIN(due_at) AS first_due_at FROM pushes WHERE outcome IS NULL"
        " GROUP BY app_id, channel ORDER BY app_id, channel",
        now=now,
    )


def parked(tx: Tx) -> list[Row]:
    """What is parked, by app_id, channel and reason: how many pushes, and when the last of them was."""
    return tx.all(
        "SELECT app_id, channel, reason, COUNT(*) AS count, MAX(settled_at) AS last_at FROM pushes"
        f" WHERE settled_at IS NOT NULL AND outcome = '{PARKED}'"
        " GROUP BY app_id, channel, reason ORDER BY app_id, channel, COUNT(*) DESC, reason",
    )


def page(
    tx: Tx, app_id: int, before: int, outcome: str, channel: str, *, limit: int, among: int
) -> tuple[list[Row], int | None]:
    """Up to `limit` of an application's pushes with ids below `before`, the newest first, and where to go on.

    outcome, channel   only with these, unless they are ""; the outcome "waiting" stands for none yet
    among              how many are looked at; where to go on is None when there are no more
    """
    narrow = "app_id = :app_id AND id < :before"
    values: dict[str, int | str] = {"app_id": app_id, "before": before}
    if outcome in FAILED:
        narrow += f" AND outcome = :outcome AND outcome <> '{ACCEPTED}'"
    # By the index alone: how far down a page may look for what is rare.
    floor = tx.tuples(
        f"SELECT id FROM pushes WHERE {narrow} ORDER BY id DESC LIMIT 1 OFFSET :among",
        among=among - 1,
        **values,
        **({"outcome": outcome} if outcome in FAILED else {}),
    )
    last = floor[0][0] if floor else None
    wanted = narrow + ("" if last is None else " AND id >= :last") + (" AND channel = :channel" if channel else "")
    if outcome and outcome not in FAILED:
        wanted += " AND outcome IS NULL" if outcome == WAITING else " AND outcome = :outcome"
    values |= {"channel": channel} if channel else {}
    values |= {"outcome": outcome} if outcome and outcome != WAITING else {}
    values |= {} if last is None else {"last": last}
    rows = tx.all(f"SELECT {SHOWN} FROM pushes WHERE {wanted} ORDER BY id DESC LIMIT :limit", limit=limit + 1, **values)
    return (rows[:limit], rows[limit - 1]["id"]) if len(rows) > limit else (rows, last)


def queue_of(tx: Tx, app_id: int, now: int, among: int) -> list[Row]:
    """What waits of an application by channel, among so many that wait: waiting, due, and since when the first is."""
    return tx.all(
        "SELECT channel, COUNT(*) AS waiting, SUM(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due,"
        " MIN(due_at) AS first_due_at"
        " FROM (SELECT app_id, channel, due_at FROM pushes WHERE outcome IS NULL ORDER BY due_at LIMIT :among) AS first"
        " WHERE app_id = :app_id GROUP BY channel ORDER BY channel",
        app_id=app_id,
        now=now,
        among=among,
    )


def parked_of(tx: Tx, app_id: int, among: int) -> list[Row]:
    """The latest that are parked of an application, so many, by channel and reason: count, and when the last was."""
    return tx.all(
        "SELECT channel, reason, COUNT(*) AS count, MAX(settled_at) AS last_at FROM"
        " (SELECT channel, COALESCE(reason, '') AS reason, settled_at FROM pushes"
        f" WHERE app_id = :app_id AND outcome = '{PARKED}' AND outcome <> '{ACCEPTED}'"
        " ORDER BY id DESC LIMIT :among) AS latest"
        " GROUP BY channel, reason ORDER BY COUNT(*) DESC, channel, reason",
        app_id=app_id,
        among=among,
    )
