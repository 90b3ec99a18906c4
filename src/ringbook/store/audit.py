"""The audit log: who changed or revealed what, when, and from where.

insert        one entry
page          the newest first, from one entry on
log_in_addresses  where an admin has logged in from
sweep         forgotten when it is old
"""

from .db import Row, Tx


def insert(
    tx: Tx, at: int, app_id: int | None, admin: str, address: str, action: str, subject: str, detail: str
) -> None:
    """Add an entry; app_id is None for a change outside any application."""
    tx.run(
        "INSERT INTO audit (id, at, app_id, admin, address, action, subject, detail)"
        " VALUES (:id, :at, :app_id, :admin, :address, :action, :subject, :detail)",
        id=tx.next_id("audit_ids"),
        at=at,
        app_id=app_id,
        admin=admin,
        address=address,
        action=action,
        subject=subject,
        detail=detail,
    )


def page(tx: Tx, before: int, limit: int, **equal: int | str) -> list[Row]:
    """Up to `limit` entries older than the one with the id `before`, newest first; all if there is none.

    equal   app_id, admin, action, subject: only entries with exactly these
    """
    chosen = "".join(f" AND {name} = :{name}" for name in equal)
    last = tx.tuples("SELECT at FROM audit WHERE id = :before", before=before)
    older = "(at, id) < (:last, :before)" if last else "1 = 1"
    return tx.all(
        "SELECT id, at, app_id, admin, address, action, subject, detail FROM audit"
        f" WHERE {older}{chosen} ORDER BY at DESC, id DESC LIMIT :limit",
        limit=limit,
        **({"last": last[0][0], "before": before} if last else {}),
        **equal,
    )


def log_in_addresses(tx: Tx, admin: str, since: int) -> list[str]:
    """The distinct addresses from which an admin has logged in since a time."""
    rows = tx.tuples(
        "SELECT DISTINCT address FROM audit WHERE action = 'logged in' AND admin = :admin AND at >= :since",
        admin=admin,
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
