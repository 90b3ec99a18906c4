"""The cost of overwriting deleted data in SQLite, and what remains: `PRAGMA secure_delete` OFF, FAST and ON.

Each round creates a new database for each setting and does the same work on it in this process: 40 users upload 500
contacts each, rename all of them, remove half of them, and are erased. Then the file is searched for the sealed
contacts that the erased users had; the log is empty at this time.
"""

import datetime
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

from keyed import SEAL, migrate
from machine import facts
from raw import Cost, timed

from ringbook.config import Limits
from ringbook.core import applications, discovery, users
from ringbook.core.profile import columns
from ringbook.model import Caller, Entry
from ringbook.store import db as databases
from ringbook.store.db import sqlite

SETTINGS = ("OFF", "FAST", "ON")
ROUNDS, PEOPLE, BOOK = 7, 40, 500
LIMITS = Limits(
    new_accounts_per_hour=0,
    network_accounts_per_hour=0,
    permits=0,
    address_permits_per_day=0,
    network_permits_per_day=0,
    app_permits_per_day=10**12,
)
AS_SHIPPED = sqlite.PRAGMAS
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, and write the table."""
    rounds = []
    for number in range(ROUNDS + 1):
        order = random.Random(number).sample(SETTINGS, len(SETTINGS))
        rounds.append({setting: round_of(setting, number) for setting in order})
        print(f"round {number} of {ROUNDS}", file=sys.stderr)
    text = report([{name: one[name][0] for name in SETTINGS} for one in rounds[1:]])
    left = {name: sum(one[name][1] for one in rounds) for name in SETTINGS}
    text += f"\nOf {len(rounds) * PEOPLE} erased users a contact, still sealed, was left in the file of: "
    text += ", ".join(f"{name} {count}" for name, count in left.items()) + ".\n"
    (RESULTS / "secure-delete.md").write_text(text)
    print(text)


def round_of(setting: str, number: int) -> tuple[dict[str, Cost], int]:
    """Run one round; the cost of each operation, and the number of erased users of whom data is left."""
    sqlite.PRAGMAS = tuple(
        f"PRAGMA secure_delete = {setting}" if "secure_delete" in pragma else pragma for pragma in AS_SHIPPED
    )
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ringbook.db"
        migrate(url)
        db = databases.connect(url, seal=SEAL)
        app, choose = applications.create(db, "bench", 1), random.Random(number)
        owners = [added(db, app, n) for n in range(PEOPLE)]
        books = {owner: book(owner, choose) for owner in owners}
        renamed = {owner: [Entry(phone=one.phone, name=f"{one.name} jr") for one in books[owner]] for owner in owners}

        sealed: dict[int, set[bytes]] = {owner: set() for owner in owners}

        def note() -> None:
            with db.read() as tx:
                for owner, text in tx.tuples("SELECT owner_id, sealed FROM contacts"):
                    sealed[owner].add(text)

        def upload(entries: dict[int, list[Entry]], *, force: bool = False) -> None:
            for owner, some in entries.items():
                caller = Caller(app=app, user_id=owner, is_guest=False, address="192.0.2.1")
                discovery.upload(db, LIMITS, caller, some, force=force, now=1)

        costs = {"20,000 new contacts": timed(lambda: upload(books))[0]}
        note()
        costs["all of them renamed"] = timed(lambda: upload(renamed))[0]
        note()
        costs |= {
            "half of them removed": timed(lambda: upload({o: b[::2] for o, b in renamed.items()}, force=True))[0],
            "the other half, with their 40 owners": timed(lambda: [users.erase(db, owner) for owner in owners])[0],
        }
        db.scrub()
        db.close()
        held = Path(f"{folder}/ringbook.db").read_bytes()
    return costs, sum(any(text in held for text in sealed[owner]) for owner in owners)


def added(db: databases.Database, app: applications.App, n: int) -> int:
    with db.write() as tx:
        return users.add(tx, app, columns({"login": f"login-{n}"}), 1).id


def book(owner: int, choose: random.Random) -> list[Entry]:
    """A book of numbers that belong to no phone."""
    numbers = choose.sample(range(80_000), BOOK)
    return [
        Entry(phone=f"1{200 + n // 100}55501{n % 100:02}", name=f"of {owner:05} {choose.randrange(10**9)}")
        for n in numbers
    ]


def report(rounds: list[dict[str, dict[str, Cost]]]) -> str:
    """A table: medians, and the ratios to OFF within each round."""
    load = os.getloadavg()[0]
    head = facts() | {"load": f"{load:.1f} processes on average in the last minute, the bench included"}
    lines = [f"# secure_delete on SQLite, {datetime.date.today()}", "", "|  |  |", "| :-- | :-- |"]
    lines += [f"| {name} | {value} |" for name, value in head.items()]
    lines += [
        "",
        f"Medians of {len(rounds)} rounds; how long it takes against OFF, in the same round, with quartiles.",
        "",
    ]
    lines += ["| work | OFF CPU ms | FAST CPU ms | ON CPU ms | FAST/OFF, CPU | ON/OFF, CPU | ON/OFF, clock |"]
    lines += ["| :-- | --: | --: | --: | --: | --: | --: |"]
    for work in rounds[0]["OFF"]:
        cpu = [f"{1000 * statistics.median(one[name][work].cpu for one in rounds):,.0f}" for name in SETTINGS]
        ratios = [quartiles([one[name][work].cpu / one["OFF"][work].cpu for one in rounds]) for name in ("FAST", "ON")]
        clock = quartiles([one["ON"][work].clock / one["OFF"][work].clock for one in rounds])
        lines.append(f"| {work} | {' | '.join(cpu)} | {' | '.join(ratios)} | {clock} |")
    return "\n".join(lines) + "\n"


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


if __name__ == "__main__":
    main()
