"""The audit log: who changed or revealed what, when, and from where.

The admin, the subject and the detail of an entry are one sealed text. The admin and the subject are also keyed, so that
entries can be found by them. The address is not sealed.

insert        one entry
page          the newest first, from one entry on
log_in_addresses  where an admin has logged in from
sweep         forgotten when it is old
"""

from typing import Any

import msgspec

from ..seal import Seal
from .db import Row, Tx

COLUMNS = "id, at, app_id, address, action, sealed"
FOUND_BY = ("admin", "subject")  # columns that hold a keyed value


def keyed(seal: Seal, column: str, value: str) -> bytes:
    """The keyed value by which entries of an admin, or about a subject, are found."""
    return seal.lookup(f"audit.{column}", 0, value)


def under(seal: Seal, entry_id: int, admin: str, subject: str, detail: str) -> dict[str, bytes]:
    """The keyed and sealed columns of an entry, under this key."""
    text = msgspec.json.encode((admin, subject, detail)).decode()
    return {
        "admin": keyed(seal, "admin", admin),
        "subject": keyed(seal, "subject", subject),
        "sealed": seal.text(text, "audit", "sealed", entry_id),
    }


def open_under(seal: Seal, entry_id: int, sealed: bytes) -> tuple[str, str, str]:
    """Admin, subject and detail of an entry, under this key; errors.Unreadable."""
    text = seal.open(sealed, "audit", "sealed", entry_id)
    return msgspec.json.decode(text, type=tuple[str, str, str])


def opened(tx: Tx, row: Row) -> Row:
    """An entry with admin, subject and detail in place of the sealed text; errors.Unreadable."""
    admin, subject, detail = open_under(tx.seal, row["id"], row.pop("sealed"))
    return row | {"admin": admin, "subject": subject, "detail": detail}


def insert(
    tx: Tx, at: int, app_id: int | None, admin: str, address: str, action: str, subject: str, detail: str
) -> None:
    """Add an entry; app_id is None for a change outside any application."""
    entry_id = tx.next_id("audit_ids")
    tx.run(
        "INSERT INTO audit (id, at, app_id, admin, address, action, subject, sealed)"
        " VALUES (:id, :at, :app_id, :admin, :address, :action, :subject, :sealed)",
        id=entry_id,
        at=at,
        app_id=app_id,
        address=address,
        action=action,
        **under(tx.seal, entry_id, admin, subject, detail),
    )


def page(tx: Tx, before: int, limit: int, **equal: int | str) -> list[Row]:
    """Up to `limit` entries older than the one with the id `before`, newest first; all if there is none.

    equal   app_id, admin, action, subject: only entries with exactly these
    """
    chosen = "".join(f" AND {name} = :{name}" for name in equal)
    values: dict[str, Any] = {
        name: keyed(tx.seal, name, str(value)) if name in FOUND_BY else value for name, value in equal.items()
    }
    last = tx.tuples("SELECT at FROM audit WHERE id = :before", before=before)
    older = "(at, id) < (:last, :before)" if last else "1 = 1"
    rows = tx.all(
        f"SELECT {COLUMNS} FROM audit WHERE {older}{chosen} ORDER BY at DESC, id DESC LIMIT :limit",
        limit=limit,
        **({"last": last[0][0], "before": before} if last else {}),
        **values,
    )
    return [opened(tx, row) for row in rows]


def log_in_addresses(tx: Tx, admin: str, since: int) -> list[str]:
    """The distinct addresses from which an admin has logged in since a time."""
    rows = tx.tuples(
        "SELECT DISTINCT address FROM audit WHERE action = 'logged in' AND admin = :admin AND at >= :since",
        admin=keyed(tx.seal, "admin", admin),
        since=since,
    )
    return [row[0] for row in rows]


def sweep(tx: Tx, before: int, limit: int) -> int:
    """Delete up to `limit` entries from before a time; return how many."""
    return tx.run(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < :before LIMIT :limit)",
        before=before,
        limit=limit,
    )
