"""Pushes: the queue, and the outcome of each push once it is settled.

A joined push has no text, but the keyed number of the contact, with its digits sealed. The texts of all other pushes
are sealed.

add, add_joined, add_waiting     into the queue; joined pushes to all devices of many holders
sealed, opened, message          the text of one push
keep_text, texts, sealed_text, opened_text   the text of an event, stored once for all of its pushes
waiting_of, waiting_at           how many events of a sender wait, and how many at each subscription
is_due, lanes, claim_first, claim_repeats, postpone, settle      one attempt: taken, to be tried again, over
withhold_others, attempted       the other pushes of a fact, where one is withheld
wait, end_wait, waits_of         pushes that wait for the end of quiet hours, or of the 24 hours of a digest
drop_about, drop_for, drop_of_event, sweep, sweep_texts                removed with a user; forgotten when they are old
retry, of_user, by_id, waiting   for whoever looks after them
told, queue                      counted, for whoever looks after them
page, queue_of, parked_of        the same for one application; none of them costs more when the table grows
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, pairwise
from typing import Any

from .. import errors
from . import numbers
from .db import Row, Rows, Tx
from .joined import NOT_APART, OF_LISTED, REACHED, WINDOW_SECONDS, Choices, Holders, Listed, listed
from .subscriptions import LANE

# user_id, subscription_id (0: the application's webhook), channel, environment, message (None: stored by `keep_text`,
# or composed for the attempt), event_id, lane
NewPush = tuple[int, int, str, str, str | None, int | None, str]
AMONG = 2_000
SPARE = 100  # ids, for devices that are registered while joined pushes are added
_FIRST = "outcome IS NULL AND turn > 0"
_REPEATS = "outcome IS NULL AND turn = 0"
# Waiting pushes of all lanes, for the index pushes_due alone: while it served for `outcome IS NULL` too, PostgreSQL
# looked for the repeats of a lane among all pushes that wait.
_BY_TIME = "COALESCE(outcome, 'none') = 'none'"
# Waiting pushes whose ids or sender are known, written so that no index of waiting pushes serves: PostgreSQL without
# statistics of a new queue read the whole queue through such an index, for each claim.
_STILL_WAITING = "COALESCE(outcome, '') = ''"
_STILL_FIRST = f"{_STILL_WAITING} AND turn + 0 > 0"
_STILL_REPEATS = f"{_STILL_WAITING} AND turn + 0 = 0 AND due_at + 0 <= :now"

ACCEPTED, PARKED, WAITING = "accepted", "parked", "waiting"
QUIET, DIGEST = "quiet", "digest"  # what a push waits for
FAILED = (PARKED, "gone", "expired")
SHOWN = (
    "id, user_id, app_id, subscription_id, joined_id, event_id, about_user_id, channel, environment, created_at,"
    " due_at, expires_at, attempts, outcome, cause, reason, settled_at, digest, waits"
)


def lane(app_id: int, channel: str) -> str:
    """Returns the lane of an application's channel. `subscriptions.of_users` names the lanes of subscriptions."""
    return f"{app_id}:{channel}"


def channel_of(lane: str) -> str:
    """Returns the channel of a lane."""
    return lane.partition(":")[2].removesuffix("?")


def add(
    tx: Tx,
    app_id: int,
    about_user_id: int,
    rows: Sequence[NewPush],
    *,
    joined_id: int | None = None,
    number: int | None = None,
    now: int,
    expires_at: int,
) -> int:
    """Add pushes to the queue, each due at once; return how many were new.

    number   of joined pushes: the contact's number; the webhook's row gets none

    Each push gets a turn in its lane. The turns of one sender follow each other, and the first is the lowest turn that
    waits in the lane, so that a claim in the order of turns takes from each sender in rotation.
    """
    added = _rows(tx, app_id, about_user_id, rows)
    message = "r.message" if "message" in added.columns else "NULL"
    contact = {} if number is None else _contact(tx, app_id, number)
    of_device = "CASE WHEN r.subscription_id > 0 THEN {} END" if contact else "NULL"
    return tx.run(
        "INSERT INTO pushes (user_id, id, app_id, subscription_id, joined_id, event_id, about_user_id, channel,"
        " environment, message, number, digits, created_at, due_at, expires_at, attempts, lane, turn)"
        " SELECT r.user_id, r.id, :app_id, r.subscription_id, :joined_id, r.event_id, :about, r.channel, r.environment,"
        f" {message}, {of_device.format(':number')}, {of_device.format(':digits')},"
        " :now, :now, :expires_at, 0, r.lane, r.turn FROM :rows AS r WHERE 1 = 1"
        " ON CONFLICT (user_id, joined_id, subscription_id) DO NOTHING",
        rows=added,
        app_id=app_id,
        about=about_user_id,
        joined_id=joined_id,
        now=now,
        expires_at=expires_at,
        **contact,
    )


def add_joined(
    tx: Tx,
    holders: Holders,
    about_user_id: int,
    lanes: Mapping[str, int],
    *,
    now: int,
    life: int,
    choices: Choices | None = None,
) -> int:
    """Add a joined push to each device of those of these holders who were notified of the fact; return how many.

    lanes     their devices, from `joined.devices`. Where the answer is another number, devices came or went meanwhile:
              undo the transaction and try again
    life      in seconds, from the moment at which it is due
    choices   of the holders, where any may have chosen or got the fact for a digest: who gets no push now is left out

    The rows are made inside the database. On a cluster the coordinator gathers them, because it numbers them.
    """
    params = holders.params(tx) | {"now": now, "life": life}
    if choices is None:
        return _add_joined(tx, holders, about_user_id, lanes, _AT_ONCE, REACHED, params)
    return _add_joined(tx, holders, about_user_id, lanes, _AT_ONCE, NOT_APART, params | {"apart": choices.apart})


def add_waiting(
    tx: Tx, holders: Holders, about_user_id: int, lanes: Mapping[str, int], waiting: Listed, *, now: int, life: int
) -> int:
    """The same for the holders who wait: their pushes are due when quiet hours, or the 24 hours of a digest, are over.

    A holder has one push of a digest for each device. One that is there already does not count.
    """
    params = listed(tx, holders, waiting) | {"now": now, "life": life}
    return _add_joined(tx, holders, about_user_id, lanes, _WAITING, OF_LISTED, params)


def _add_joined(
    tx: Tx,
    holders: Holders,
    about_user_id: int,
    lanes: Mapping[str, int],
    what: Mapping[str, str],
    reached: str,
    params: Mapping[str, Any],
) -> int:
    placed = (
        f"SELECT s.user_id, s.id AS subscription_id, s.channel, s.environment, {LANE} AS lane{what['read']},"
        f" ROW_NUMBER() OVER (PARTITION BY {LANE} ORDER BY s.user_id, s.created_at, s.id) AS place {reached}"
    )
    return tx.run(
        "INSERT INTO pushes (user_id, id, app_id, subscription_id, joined_id, about_user_id, channel, environment,"
        " number, digits, created_at, due_at, expires_at, attempts, lane, turn, digest, waits)"
        f" SELECT p.user_id, t.before_first + p.place, :app_id, p.subscription_id, {what['joined_id']},"
        f" {what['about']}, p.channel, p.environment, {what['number']}, {what['digits']}, :now, {what['due_at']},"
        f" {what['due_at']} + :life, 0, p.lane, {what['turn']}, {what['digest']}, {what['waits']}"
        f" FROM ({placed}) AS p JOIN :turns AS t ON t.lane = p.lane AND p.place >= t.first AND p.place <= t.last"
        f" {what['if_there']}",
        turns=_places(tx, about_user_id, lanes),
        about=about_user_id,
        digits=_contact(tx, holders.app_id, holders.number)["digits"],
        **params,
    )


_AT_ONCE = {
    "read": "",
    "if_there": "",
    "joined_id": ":joined_id",
    "about": ":about",
    "number": ":keyed",
    "digits": ":digits",
    "due_at": ":now",
    "turn": "t.turn + p.place",
    "digest": "NULL",
    "waits": "NULL",
}
# A push of a digest is about its recipient, and has the beginning of the 24 hours in place of a fact. What is due later
# has no turn: it is claimed like a repeat.
_WAITING = {
    "read": ", a.digest, h.over_at",
    "if_there": "WHERE 1 = 1 ON CONFLICT (user_id, joined_id, subscription_id) DO NOTHING",
    "joined_id": "COALESCE(-p.digest, :joined_id)",
    "about": "CASE WHEN p.digest IS NULL THEN :about ELSE p.user_id END",
    "number": "CASE WHEN p.digest IS NULL THEN :keyed END",
    "digits": "CASE WHEN p.digest IS NULL THEN :digits END",
    "due_at": f"COALESCE(p.digest + {WINDOW_SECONDS}, p.over_at)",
    "turn": "0",
    "digest": "p.digest",
    "waits": f"CASE WHEN p.digest IS NULL THEN '{QUIET}' ELSE '{DIGEST}' END",
}


def _places(tx: Tx, about_user_id: int, lanes: Mapping[str, int]) -> Rows:
    """The ids and turns of a sender's next pushes: for places `first` to `last` in a lane, what is added to the place.

    A lane has a row for each run of ids that follow each other, and some more places for devices that have just come.
    """
    rows = []
    for lane in sorted(lanes):
        turn, first = _next_turn(tx, about_user_id, lane) - 1, 1
        for run in _runs(tx.next_ids("push_ids", lanes[lane] + SPARE)):
            rows.append((lane, first, first + len(run) - 1, run.start - first, turn))
            first += len(run)
    return Rows({"lane": str, "first": int, "last": int, "before_first": int, "turn": int}, rows)


def _runs(ids: Sequence[int]) -> list[range]:
    """Ids as ranges."""
    breaks = [0, *(n for n in range(1, len(ids)) if ids[n] != ids[n - 1] + 1), len(ids)]
    return [range(ids[start], ids[end - 1] + 1) for start, end in pairwise(breaks)]


def _rows(tx: Tx, app_id: int, about_user_id: int, rows: Sequence[NewPush]) -> Rows:
    """The pushes with their ids and turns; with the column `message` only where one has a text."""
    turns = _turns(tx, about_user_id, [row[-1] for row in rows])
    ids = tx.next_ids("push_ids", len(rows))
    columns: dict[str, type] = {"user_id": int, "subscription_id": int, "channel": str, "environment": str}
    columns |= {"event_id": int, "lane": str, "turn": int, "id": int}
    added = [(*row[:4], *row[5:], turn, push_id) for row, turn, push_id in zip(rows, turns, ids, strict=True)]
    if all(row[4] is None for row in rows):
        return Rows(columns, added)
    texts = (sealed(tx, app_id, row[0], push_id, row[4]) for row, push_id in zip(rows, ids, strict=True))
    with_texts = [(*values, text) for values, text in zip(added, texts, strict=True)]
    return Rows(columns | {"message": bytes}, with_texts)


def _contact(tx: Tx, app_id: int, number: int) -> dict[str, Any]:
    keyed = numbers.keyed(tx, app_id, number)
    return {"number": keyed, "digits": numbers.digits(tx, "pushes", app_id, keyed, number)}


def sealed(tx: Tx, app_id: int, user_id: int, push_id: int, message: str | None) -> bytes | None:
    """The text of a push, sealed for its row."""
    return None if message is None else tx.seal.text(message, "pushes", "message", app_id, user_id, push_id)


def opened(tx: Tx, row: Row) -> str | None:
    """The text in a row with app_id, user_id, id and message; None where there is none. errors.Unreadable."""
    if row["message"] is None:
        return None
    return tx.seal.open(row["message"], "pushes", "message", row["app_id"], row["user_id"], row["id"])


def message(tx: Tx, row: Row) -> str | None:
    """The same; None also where the text does not open."""
    with suppress(errors.Unreadable):
        return opened(tx, row)
    return None


def _turns(tx: Tx, about_user_id: int, lanes: Sequence[str]) -> list[int]:
    """Returns the turns of a sender's next pushes to these lanes."""
    following = {name: count(_next_turn(tx, about_user_id, name)) for name in sorted(set(lanes))}
    return [next(following[name]) for name in lanes]


def _next_turn(tx: Tx, about_user_id: int, lane: str) -> int:
    own = tx.tuples(
        f"SELECT turn FROM pushes WHERE about_user_id = :about AND lane = :lane AND turn > 0 AND {_STILL_WAITING}"
        " ORDER BY turn DESC LIMIT 1",
        about=about_user_id,
        lane=lane,
    )
    lowest = tx.tuples(
        "SELECT turn FROM pushes WHERE lane = :lane AND outcome IS NULL AND turn > 0 ORDER BY turn LIMIT 1", lane=lane
    )
    return max(own[0][0] + 1 if own else 1, lowest[0][0] if lowest else 1)


# ── texts of events ──────────────────────────────────────────────────────────────────────────────────────────────────


def keep_text(tx: Tx, event_id: int, user_id: int, message: str, waiting: int, expires_at: int) -> None:
    """Store the text of an event once, for the `waiting` pushes that will be sent with it."""
    tx.run(
        "INSERT INTO events (id, user_id, message, waiting, expires_at)"
        " VALUES (:id, :user_id, :message, :waiting, :expires_at)",
        id=event_id,
        user_id=user_id,
        message=sealed_text(tx, user_id, event_id, message),
        waiting=waiting,
        expires_at=expires_at,
    )


def texts(tx: Tx, event_ids: Sequence[int]) -> dict[int, str]:
    """Returns the texts of events by their ids, without those that do not open."""
    rows = tx.tuples("SELECT id, user_id, message FROM events WHERE id IN :ids", ids=Rows.of("id", event_ids))
    found = {}
    for event_id, user_id, text in rows:
        with suppress(errors.Unreadable):
            found[event_id] = opened_text(tx, user_id, event_id, text)
    return found


def sealed_text(tx: Tx, user_id: int, event_id: int, text: str) -> bytes:
    """The text of an event, sealed for its row."""
    return tx.seal.text(text, "events", "message", user_id, event_id)


def opened_text(tx: Tx, user_id: int, event_id: int, message: bytes) -> str:
    """The text in the row of an event; errors.Unreadable."""
    return tx.seal.open(message, "events", "message", user_id, event_id)


def _release(tx: Tx, event_ids: Iterable[int | None]) -> None:
    """Delete the texts that no waiting push needs. `event_ids` has an id once for each push that is over."""
    over = Counter(event_id for event_id in event_ids if event_id is not None)
    for event_id in sorted(over):  # in a fixed order, so that two workers cannot deadlock
        tx.run("UPDATE events SET waiting = waiting - :over WHERE id = :id", id=event_id, over=over[event_id])
    if over:
        tx.run("DELETE FROM events WHERE id IN :ids AND waiting <= 0", ids=Rows.of("id", sorted(over)))


def waiting_of(tx: Tx, user_id: int, most: int) -> int:
    """Returns how many event pushes of a sender wait, counted up to `most`."""
    found = tx.tuples(
        "SELECT COUNT(*) FROM (SELECT 1 FROM pushes WHERE about_user_id = :user_id AND outcome IS NULL"
        " AND event_id IS NOT NULL LIMIT :most) AS w",
        user_id=user_id,
        most=most,
    )
    return int(found[0][0])


def waiting_at(tx: Tx, user_ids: Sequence[int]) -> dict[tuple[int, int], int]:
    """Returns how many event pushes wait at the subscriptions of these users, by (user_id, subscription_id)."""
    found = tx.tuples(
        "SELECT user_id, subscription_id, COUNT(*) FROM pushes WHERE user_id IN :users AND outcome IS NULL"
        " AND event_id IS NOT NULL GROUP BY user_id, subscription_id",
        users=Rows.of("user_id", user_ids),
    )
    return {(user_id, subscription_id): int(waiting) for user_id, subscription_id, waiting in found}


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def lanes(tx: Tx) -> list[str]:
    """Returns the lanes in which pushes wait. Reads one row of an index for each, however many pushes there are."""
    return sorted({name for which in (_FIRST, _REPEATS) for name in _lanes(tx, which)})


def _lanes(tx: Tx, which: str) -> Iterator[str]:
    # One statement for each lane: a cluster has no recursive query on a distributed table.
    found = _next_lane(tx, which)
    while found is not None:
        yield found
        found = _next_lane(tx, f"{which} AND lane > :last", last=found)


def _next_lane(tx: Tx, which: str, **last: str) -> str | None:
    ((found,),) = tx.tuples(f"SELECT MIN(lane) FROM pushes WHERE {which}", **last)
    return None if found is None else str(found)


def lock_claims(tx: Tx) -> None:
    """Let no other transaction claim pushes until this one ends."""
    tx.lock("claiming pushes")


def claim_first(tx: Tx, lane: str, until: int, limit: int) -> list[Row]:
    """Claim up to `limit` pushes of a lane that were never attempted, in the order of their turns.

    The conditions stand twice: a push that another claim took between the two statements is left to it.
    """
    chosen = f"SELECT id FROM pushes WHERE lane = :lane AND {_FIRST} ORDER BY turn, id LIMIT :limit"
    return _claimed(tx, _STILL_FIRST, chosen, until, lane=lane, limit=limit)


def claim_first_of_others(tx: Tx, lane: str, until: int, limit: int, crowding: Sequence[int], each: int) -> list[Row]:
    """The same, but nothing of the senders in `crowding`, and at most `each` of one sender.

    Only the first AMONG pushes are looked at: the lowest turns, where every sender who waits has some.
    """
    first = (
        "SELECT id, turn, about_user_id, ROW_NUMBER() OVER (PARTITION BY about_user_id ORDER BY turn, id) AS place"
        f" FROM (SELECT id, turn, about_user_id FROM pushes WHERE lane = :lane AND {_FIRST}"
        f" ORDER BY turn, id LIMIT {AMONG}) AS lowest"
    )
    chosen = (
        f"SELECT id FROM ({first}) AS first WHERE place <= :each AND NOT (about_user_id IN :crowding)"
        " ORDER BY turn, id LIMIT :limit"
    )
    crowd = Rows.of("user_id", crowding)
    return _claimed(tx, _STILL_FIRST, chosen, until, lane=lane, limit=limit, each=each, crowding=crowd)


def claim_repeats(tx: Tx, lane: str, now: int, until: int, limit: int) -> list[Row]:
    """Claim up to `limit` pushes of a lane that are due for another attempt, the one that waits longest first."""
    chosen = f"SELECT id FROM pushes WHERE lane = :lane AND due_at <= :now AND {_REPEATS} ORDER BY due_at LIMIT :limit"
    return _claimed(tx, _STILL_REPEATS, chosen, until, lane=lane, limit=limit, now=now)


def _claimed(tx: Tx, still: str, chosen: str, until: int, **values: Any) -> list[Row]:
    # Two statements: in one, PostgreSQL without statistics of a new queue looked for each id through the whole lane.
    ids = [row[0] for row in tx.tuples(chosen, **values)]
    if not ids:
        return []
    with tx.prefer_indexes():
        return tx.all(
            "UPDATE pushes SET due_at = :until, attempts = attempts + 1, turn = 0, waits = NULL"
            f" WHERE {still} AND id IN :ids"
            " RETURNING id, user_id, app_id, subscription_id, joined_id, event_id, about_user_id, channel, environment,"
            " message, number, created_at, expires_at, attempts, lane, digest",
            ids=Rows.of("id", ids),
            until=until,
            **values,
        )


def is_due(tx: Tx, now: int) -> bool:
    """Is a push due?"""
    return bool(tx.tuples(f"SELECT 1 FROM pushes WHERE {_BY_TIME} AND due_at <= :now LIMIT 1", now=now))


def postpone(tx: Tx, rows: Sequence[tuple[int, int, int, int, str, str]]) -> None:
    """Schedule another attempt of pushes.

    rows   user_id, id, attempts, due_at, cause, reason; a push that was claimed again since is left as it is
    """
    with tx.prefer_indexes():
        tx.run(
            "UPDATE pushes SET due_at = r.due_at, cause = r.cause, reason = r.reason FROM :rows AS r"
            " WHERE pushes.user_id = r.user_id AND pushes.id = r.id AND pushes.attempts = r.attempts"
            " AND pushes.outcome IS NULL",
            rows=Rows({"user_id": int, "id": int, "attempts": int, "due_at": int, "cause": str, "reason": str}, rows),
        )


def wait(tx: Tx, rows: Sequence[tuple[int, int, int, int, int]]) -> None:
    """Give back pushes that were claimed during quiet hours of their recipients. It does not count as an attempt.

    rows   user_id, id, attempts, due_at, and when it expires at the earliest
    """
    with tx.prefer_indexes():
        tx.run(
            f"UPDATE pushes SET due_at = r.due_at, attempts = r.attempts - 1, waits = '{QUIET}', expires_at ="
            " CASE WHEN pushes.expires_at > r.expires_at THEN pushes.expires_at ELSE r.expires_at END"
            " FROM :rows AS r WHERE pushes.user_id = r.user_id AND pushes.id = r.id AND pushes.attempts = r.attempts"
            " AND pushes.outcome IS NULL",
            rows=Rows({"user_id": int, "id": int, "attempts": int, "due_at": int, "expires_at": int}, rows),
        )


def end_wait(tx: Tx, user_id: int, *, digests: bool) -> int:
    """Make due what waits for the end of a user's quiet hours; return how many.

    digests   also what waits for the end of the 24 hours of a digest
    """
    which = "waits IS NOT NULL" if digests else f"waits = '{QUIET}'"
    return tx.run(
        f"UPDATE pushes SET due_at = created_at WHERE user_id = :user_id AND outcome IS NULL AND {which}",
        user_id=user_id,
    )


def settle(tx: Tx, rows: Sequence[tuple[int, int, int, str, str, str]], now: int) -> None:
    """Store the outcome of pushes. Their texts and numbers are deleted, except those of parked pushes.

    rows   user_id, id, attempts, outcome, cause, reason

    That a provider has one counts whenever we hear of it; anything else only if nobody has made an attempt since.
    """
    with tx.prefer_indexes():
        over = tx.tuples(
            "UPDATE pushes SET outcome = r.outcome, cause = r.cause, reason = r.reason, settled_at = :now,"
            f" message = CASE WHEN r.outcome = '{PARKED}' THEN message END,"
            f" number = CASE WHEN r.outcome = '{PARKED}' THEN number END,"
            f" digits = CASE WHEN r.outcome = '{PARKED}' THEN digits END"
            " FROM :rows AS r WHERE pushes.user_id = r.user_id AND pushes.id = r.id"
            f" AND ((r.outcome = '{ACCEPTED}' AND COALESCE(pushes.outcome, '{PARKED}') = '{PARKED}')"
            " OR (pushes.outcome IS NULL AND pushes.attempts = r.attempts))"
            " RETURNING pushes.event_id, pushes.outcome",
            rows=Rows({"user_id": int, "id": int, "attempts": int, "outcome": str, "cause": str, "reason": str}, rows),
            now=now,
        )
    _release(tx, (event_id for event_id, outcome in over if outcome != PARKED))


def withhold_others(tx: Tx, joined_id: int, user_ids: Sequence[int], cause: str, reason: str, now: int) -> int:
    """Settle the pushes of a fact to these users that nobody has attempted yet; return how many."""
    return tx.run(
        "UPDATE pushes SET outcome = 'gone', cause = :cause, reason = :reason, settled_at = :now, turn = 0,"
        " number = NULL, digits = NULL WHERE joined_id = :joined_id AND user_id IN :ids AND subscription_id > 0"
        " AND attempts = 0 AND outcome IS NULL",
        joined_id=joined_id,
        ids=Rows.of("id", user_ids),
        cause=cause,
        reason=reason,
        now=now,
    )


def attempted(tx: Tx, joined_id: int, user_ids: Sequence[int], without: Sequence[int] = ()) -> set[int]:
    """Those of these users to whom a push of the fact was sent, or is perhaps being sent now.

    without   ids of pushes that do not count
    """
    rows = tx.tuples(
        "SELECT DISTINCT user_id FROM pushes WHERE joined_id = :joined_id AND user_id IN :ids AND subscription_id > 0"
        f" AND COALESCE(outcome, '{ACCEPTED}') IN ('{ACCEPTED}', '{PARKED}') AND attempts > 0"
        " AND NOT (id IN :without)",
        joined_id=joined_id,
        ids=Rows.of("id", user_ids),
        without=Rows.of("id", without),
    )
    return {user_id for (user_id,) in rows}


def drop_about(tx: Tx, user_id: int) -> None:
    """Delete the pushes about a user, for any recipient."""
    tx.run("DELETE FROM pushes WHERE about_user_id = :user_id", user_id=user_id)


def drop_for(tx: Tx, user_id: int) -> None:
    """Delete the pushes for a user, and the texts that no other push needs."""
    dropped = tx.all("DELETE FROM pushes WHERE user_id = :user_id RETURNING event_id, outcome", user_id=user_id)
    _release(tx, _unsettled(dropped))


def drop_of_event(tx: Tx, user_id: int, event_id: int) -> None:
    """Delete the pushes of a user's event that are not sent yet, and the text with the last of them."""
    dropped = tx.all(
        "DELETE FROM pushes WHERE about_user_id = :user_id AND event_id = :event_id"
        f" AND COALESCE(outcome, '{PARKED}') = '{PARKED}' RETURNING event_id, outcome",
        user_id=user_id,
        event_id=event_id,
    )
    _release(tx, _unsettled(dropped))


def _unsettled(rows: Sequence[Row]) -> Iterable[int | None]:
    return (row["event_id"] for row in rows if row["outcome"] in (None, PARKED))


def sweep(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` pushes that were settled or parked before a time; return how many."""
    forgotten = tx.all(
        "DELETE FROM pushes WHERE settled_at < :before AND id IN"
        " (SELECT id FROM pushes WHERE settled_at < :before LIMIT :limit) RETURNING event_id, outcome",
        before=before,
        limit=limit,
    )
    _release(tx, _unsettled(forgotten))
    return len(forgotten)


def sweep_texts(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` texts of events that expired before a time and that no push needs; return how many.

    There are such texts only where a recipient was erased at the moment in which the event was sent. Pushes are read in
    a statement of their own, because a cluster joins no local table with a distributed one.
    """
    after, deleted = 0, 0
    while deleted < limit and (page := _expired(tx, before, after, limit)):
        after = page[-1][0]
        if unneeded := sorted({event_id for event_id, _ in page} - _needed(tx, page)):
            deleted += tx.run("DELETE FROM events WHERE id IN :ids", ids=Rows.of("id", unneeded[: limit - deleted]))
    return deleted


def _expired(tx: Tx, before: int, after: int, limit: int) -> list[tuple[int, int]]:
    """The next events that expired before a time: id and user_id."""
    found = tx.tuples(
        "SELECT id, user_id FROM events WHERE expires_at < :before AND id > :after ORDER BY id LIMIT :limit",
        before=before,
        after=after,
        limit=limit,
    )
    return [(event_id, user_id) for event_id, user_id in found]


def _needed(tx: Tx, events: Sequence[tuple[int, int]]) -> set[int]:
    """Those of these events whose texts a push needs."""
    found = tx.tuples(
        "SELECT DISTINCT event_id FROM pushes WHERE about_user_id IN :senders AND event_id IN :ids"
        f" AND (outcome IS NULL OR outcome = '{PARKED}')",
        senders=Rows.of("user_id", sorted({user_id for _, user_id in events})),
        ids=Rows.of("id", [event_id for event_id, _ in events]),
    )
    return {event_id for (event_id,) in found}


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
    """Put up to `limit` parked pushes of an application, all or those with `ids`, back into the queue."""
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
    """The latest pushes of a user, newest first, without their texts."""
    return tx.all(
        f"SELECT {SHOWN} FROM pushes WHERE user_id = :user_id ORDER BY created_at DESC, id DESC LIMIT :limit",
        user_id=user_id,
        limit=limit,
    )


def waiting(tx: Tx, most: int) -> tuple[int, int | None]:
    """How many pushes wait, counted up to `most`, and since when the first has been due."""
    count = tx.tuples(f"SELECT COUNT(*) FROM (SELECT 1 FROM pushes WHERE {_BY_TIME} LIMIT :most) AS w", most=most)
    first = tx.tuples(f"SELECT MIN(due_at) FROM pushes WHERE {_BY_TIME}")
    return int(count[0][0]), first[0][0]


def waits_of(tx: Tx, app_id: int, most: int) -> dict[str, int]:
    """How many pushes of an application wait for quiet hours and for a digest, each counted up to `most`."""
    return {kind: _waiting_for(tx, app_id, kind, most) for kind in (QUIET, DIGEST)}


def _waiting_for(tx: Tx, app_id: int, kind: str, most: int) -> int:
    ((count,),) = tx.tuples(
        "SELECT COUNT(*) FROM (SELECT 1 FROM pushes"
        f" WHERE app_id = :app_id AND outcome IS NULL AND waits = '{kind}' LIMIT :most) AS w",
        app_id=app_id,
        most=most,
    )
    return int(count)


def told(tx: Tx, about_user_id: int, joined_ids: Sequence[int]) -> list[Row]:
    """The number of pushes for these facts about a user: joined_id, outcome (None: waiting) and count."""
    return tx.all(
        "SELECT joined_id, outcome, COUNT(*) AS count FROM pushes"
        " WHERE about_user_id = :about AND joined_id IN :ids GROUP BY joined_id, outcome ORDER BY joined_id, outcome",
        about=about_user_id,
        ids=Rows.of("id", joined_ids),
    )


def queue(tx: Tx, now: int, among: int) -> list[Row]:
    """Waiting pushes by app_id and channel, among the first that are due: waiting, due, and the first due time."""
    return tx.all(
        "SELECT app_id, channel, COUNT(*) AS waiting, SUM(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due,"
        " MIN(due_at) AS first_due_at FROM"
        f" (SELECT app_id, channel, due_at FROM pushes WHERE {_BY_TIME} ORDER BY due_at LIMIT :among) AS first"
        " GROUP BY app_id, channel ORDER BY app_id, channel",
        now=now,
        among=among,
    )


def page(
    tx: Tx, app_id: int, before: int, outcome: str, channel: str, *, limit: int, among: int
) -> tuple[list[Row], int | None]:
    """Up to `limit` pushes of an application, newest first, and the start of the next page.

    before             the id of the last push of the page before; the first page where there is no such push

    outcome, channel   only with these, unless they are ""; the outcome "waiting" stands for none yet
    among              how many are looked at; where to go on is None when there are no more
    """
    narrow, values = "app_id = :app_id", dict[str, int | str](app_id=app_id)
    if before_at := tx.tuples("SELECT created_at FROM pushes WHERE id = :before", before=before):
        narrow += " AND (created_at, id) < (:before_at, :before)"
        values |= {"before_at": before_at[0][0], "before": before}
    if outcome in FAILED:
        narrow += f" AND outcome = :outcome AND outcome <> '{ACCEPTED}'"
    # Reads the index only: limits how far a page searches for rare pushes.
    floor = tx.tuples(
        f"SELECT id, created_at FROM pushes WHERE {narrow} ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET :among",
        among=among - 1,
        **values,
        **({"outcome": outcome} if outcome in FAILED else {}),
    )
    last, last_at = floor[0] if floor else (None, None)
    wanted = (
        narrow
        + ("" if last is None else " AND (created_at, id) >= (:last_at, :last)")
        + (" AND channel = :channel" if channel else "")
    )
    if outcome and outcome not in FAILED:
        wanted += " AND outcome IS NULL" if outcome == WAITING else " AND outcome = :outcome"
    values |= {"channel": channel} if channel else {}
    values |= {"outcome": outcome} if outcome and outcome != WAITING else {}
    values |= {} if last is None else {"last": last, "last_at": last_at}
    sql = f"SELECT {SHOWN} FROM pushes WHERE {wanted} ORDER BY created_at DESC, id DESC LIMIT :limit"
    rows = tx.all(sql, limit=limit + 1, **values)
    return (rows[:limit], rows[limit - 1]["id"]) if len(rows) > limit else (rows, last)


def queue_of(tx: Tx, app_id: int, now: int, among: int) -> list[Row]:
    """Waiting pushes of an application by channel, counted up to a limit: waiting, due, and the first due time."""
    return tx.all(
        "SELECT channel, COUNT(*) AS waiting, SUM(CASE WHEN due_at <= :now THEN 1 ELSE 0 END) AS due,"
        " MIN(due_at) AS first_due_at"
        f" FROM (SELECT app_id, channel, due_at FROM pushes WHERE {_BY_TIME} ORDER BY due_at LIMIT :among) AS first"
        " WHERE app_id = :app_id GROUP BY channel ORDER BY channel",
        app_id=app_id,
        now=now,
        among=among,
    )


def parked_of(tx: Tx, app_id: int, among: int) -> list[Row]:
    """The latest parked pushes of an application, up to a limit, by channel and reason: count, and the last time."""
    return tx.all(
        "SELECT channel, reason, COUNT(*) AS count, MAX(settled_at) AS last_at FROM"
        " (SELECT channel, COALESCE(reason, '') AS reason, settled_at FROM pushes"
        f" WHERE app_id = :app_id AND outcome = '{PARKED}' AND outcome <> '{ACCEPTED}'"
        " ORDER BY created_at DESC, id DESC LIMIT :among) AS latest"
        " GROUP BY channel, reason ORDER BY COUNT(*) DESC, channel, reason",
        app_id=app_id,
        among=among,
    )
