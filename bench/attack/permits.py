"""Simulates attackers who look up millions of numbers, with the real limiter and a simulated clock.

    ATTACKS                       the attacks and their bounds, for `python bench/attack permits`
    rows()                        the table of docs/privacy.md, which `make docs` writes
    attack, verified, accounts    the simulation: until 10 million numbers, with verified numbers, with new accounts

The simulation does not know the limits. An attacker charges as much as the limiter allows, waits for a step, and
continues. The database is a real SQLite file. The functions that serve requests create, verify and erase the accounts.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `make docs` runs this file by itself

from attack import Attack, Figure  # noqa: E402  (the path comes first)
from keyed import SEAL, migrate  # noqa: E402
from msgspec import structs  # noqa: E402

from ringbook import errors, logs
from ringbook.config import Limits
from ringbook.core import app_totals, applications, codes, privacy, proofs, stats, users
from ringbook.model import App, Caller
from ringbook.outbound.requests import Outgoing
from ringbook.store import db as databases
from ringbook.store import established
from ringbook.store import stats as figures_store
from ringbook.store.db import Database
from ringbook.times import DAY, HOUR

MILLION = 1_000_000
GOAL = 10 * MILLION
YEAR = 8766 * HOUR
START = 1_800_000_000
LIMITS = Limits()
NUMBERS = [f"+1202555010{n}" for n in range(5)]
BEGIN, END = "<!-- permits: written by make docs -->", "<!-- end of permits -->"
SMALL, LARGE = 1_000, 400_000
SIGN_UPS = 3_300
MOST_REFUSED = 8  # the ceiling is divided by the last three bits of a user's id


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attack: numbers at the first moment and in the first 24 hours, and the time for `GOAL`.

    alarm   a shared limit raised the alarm
    """

    at_once: int
    in_a_day: int
    seconds: int
    alarm: bool


class World:
    """An application with so many established users."""

    def __init__(self, db: Database, members: int) -> None:
        self.db = db
        self.now = START
        self.likely = 1  # the amount that the next account will probably get
        self.app: App = applications.create(db, "Attacked", START)
        stats.forget()
        with db.write() as tx:
            figures_store.add(tx, [(self.app.id, figures_store.EVER, established.COUNTED, members)])

    def alarm(self) -> bool:
        """Has a shared limit raised the alarm?"""
        stats.flush(self.db, self.now)
        with self.db.read() as tx:
            return any(name.startswith(stats.NEAR) for name in figures_store.totals(tx, self.app.id))


@contextmanager
def world(members: int = SMALL) -> Iterator[World]:
    """A new database with one application."""
    with tempfile.TemporaryDirectory(prefix="ringbook-permits-") as folder:
        url = f"sqlite:///{folder}/permits.db"
        migrate(url)
        db = databases.connect(url, seal=SEAL)
        try:
            yield World(db, members)
        finally:
            db.close()


# ── attackers ────────────────────────────────────────────────────────────────────────────────────────────────────────


def most(charge: Callable[[int], None], likely: int) -> int:
    """Charge as much as the limiter allows; the amount.

    likely   the amount that is tried first. With the amount of the previous account, two tries are needed, not twenty
    """
    total = likely if taken(charge, likely) else 0
    if not taken(charge, 1):
        return total
    total, cost = total + 1, 1 << 16
    while cost:
        if taken(charge, cost):
            total += cost
        else:
            cost //= 2
    return total


def taken(charge: Callable[[int], None], cost: int) -> bool:
    """Charge so much; False if it is refused."""
    try:
        charge(cost)
    except errors.TooMany:
        return False
    return True


def asked(world: World, user_id: int, address: str) -> int:
    """One account charges as many numbers as it can."""
    caller = Caller(app=world.app, user_id=user_id, is_guest=False, address=address)

    def charge(cost: int) -> None:
        with world.db.write() as tx:
            privacy.pay(tx, LIMITS, caller, cost, world.now)

    got = most(charge, world.likely)
    world.likely = got or world.likely
    return got


def verified(numbers: list[str]) -> Callable[[World], int]:
    """Accounts with verified numbers that are deleted and created again, each from its own address."""

    def turn(world: World) -> int:
        got = 0
        for place, number in enumerate(numbers):
            address = f"2001:db8:{place:x}::1"
            for _ in range(2):  # the second time, nothing is left
                user_id = proofs.by_phone(world.db, LIMITS, world.app, number, address, world.now)
                got += asked(world, user_id, address)
                users.erase(world.db, user_id)
        return got

    return turn


def accounts(addresses: Callable[[int], str]) -> Callable[[World], int]:
    """New accounts, each from the next address, until MOST_REFUSED in a row get no number."""
    place = count()

    def turn(world: World) -> int:
        got, nothing = 0, 0
        while nothing < MOST_REFUSED:
            address = addresses(next(place))
            user_id = signed_up(world, address)
            some = asked(world, user_id, address) if user_id else 0
            got, nothing = got + some, 0 if some else nothing + 1
        return got

    return turn


def signed_up(world: World, address: str) -> int:
    """Create an account without a password, because hashing is slow; its id, or 0 if it is refused."""
    with suppress(errors.TooMany), world.db.write() as tx:
        users.charge_account(tx, LIMITS, address, world.now)
        return users.add(tx, world.app, {}, world.now).id
    return 0


def one_address(_: int) -> str:
    return "2001:db8::1"


def one_56(place: int) -> str:
    return f"2001:db8:0:{place % 256:x}::1"


def one_48(place: int) -> str:
    return f"2001:db8:0:{place % 256 * 256:x}::1"  # a /56 of its own each


def anywhere(place: int) -> str:
    return f"2001:db8:{place % 65_536:x}::1"


def attack(turn: Callable[[World], int], step: int, *, members: int = SMALL) -> Outcome:
    """Charge as much as possible, wait for a step, and repeat until `GOAL` is reached.

    step   seconds; the first step is at most a day. A step longer than a bucket takes to refill would waste permits

    The last step is shorter: the missing numbers at the rate of the step before.
    """
    with world(members) as attacked:
        got = at_once = turn(attacked)
        in_a_day, waits, gained = got, min(step, DAY), 0
        while got < GOAL:
            if gained > GOAL - got:
                waits = -(-waits * (GOAL - got) // gained)
            attacked.now += waits
            gained = turn(attacked)
            got += gained
            if attacked.now <= START + DAY:
                in_a_day = got
            else:
                waits = step
        return Outcome(at_once, in_a_day, attacked.now - START, attacked.alarm())


# ── the table of docs/privacy.md ─────────────────────────────────────────────────────────────────────────────────────

FIVE = verified(NUMBERS)
PEOPLE = [
    ("one verified number", verified(NUMBERS[:1])),
    ("5 verified numbers, whose accounts are deleted and made again at will", FIVE),
]
PLACES = [
    ("one IPv4 address or /64, with any number of new accounts", one_address),
    ("a /56, the same", one_56),
    ("a /24 of IPv4 or a /48, the same", one_48),
    ("any number of networks, the same", anywhere),
]


HEAD = (
    f"| who asks | at once | in 24 hours | 10 million numbers, of {SMALL:,} established users | of {LARGE:,} |"
    " alarm |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


def rows() -> list[Callable[[], str]]:
    """The rows of the table in Markdown. Each is a function that runs its simulation."""
    return [
        *(partial(people, who, turn) for who, turn in PEOPLE),
        *(partial(places, who, addresses) for who, addresses in PLACES),
    ]


@cache
def by_people(turn: Callable[[World], int]) -> Outcome:
    """The row of attackers with verified numbers. In 300 days a user's permits do not come back completely."""
    return attack(turn, 300 * DAY)


@cache
def by_place(addresses: Callable[[int], str], members: int) -> Outcome:
    return attack(accounts(addresses), DAY, members=members)


def people(who: str, turn: Callable[[World], int]) -> str:
    one = by_people(turn)
    took = span(one.seconds)
    return f"| {who} | {one.at_once:,} | {one.in_a_day:,} | {took} | {took} | {'yes' if one.alarm else 'no'} |"


def places(who: str, addresses: Callable[[int], str]) -> str:
    small, large = by_place(addresses, SMALL), by_place(addresses, LARGE)
    cells = [both(small.at_once, large.at_once), both(small.in_a_day, large.in_a_day)]
    return (
        f"| {who} | {cells[0]} | {cells[1]} | {span(small.seconds)} | {span(large.seconds)}"
        f" | {'yes' if small.alarm and large.alarm else 'no'} |"
    )


def both(small: int, large: int) -> str:
    return f"{small:,}" if small == large else f"{small:,}; {large:,}"


def span(seconds: int) -> str:
    """A time in whole years or days, rounded down."""
    if seconds >= YEAR:
        return f"{seconds // YEAR} years"
    days = seconds / DAY
    return f"{int(days)} days" if days >= 2 else f"{seconds // HOUR} hours"


def written(page: str) -> str:
    """The page with the new table between its markers."""
    text = "\n".join([HEAD, *(row() for row in rows())])
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


# ── the bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def five_numbers() -> list[Figure]:
    """5 accounts with verified numbers that are deleted and created again."""
    years = by_people(FIVE).seconds / YEAR
    return [Figure("10 million numbers, years", f"{years:.1f}", "at least 37", years >= 37)]


def network(members: int) -> list[Figure]:
    """One /48 that creates accounts freely."""
    seen = attack(accounts(one_48), DAY, members=members)
    days = seen.seconds / DAY
    return [
        Figure("10 million numbers, days", f"{days:.1f}", "at least 5", days >= 5),
        Figure("alarm", "yes" if seen.alarm else "no", "yes", seen.alarm),
    ]


def raised() -> list[Figure]:
    """Accounts that an attacker makes do not raise the ceiling, and many of them raise an alarm."""
    with world() as attacked:
        before = accounts(anywhere)(attacked)
    with world() as attacked:
        for place in range(SIGN_UPS):
            signed_up(attacked, anywhere(place))
        stats.flush(attacked.db, attacked.now)
        while app_totals.collect(attacked.db, attacked.now):
            pass
        stats.check_sign_ups(attacked.db, LIMITS, attacked.now)
        alarm = attacked.alarm()
        after = accounts(anywhere)(attacked)
    return [
        Figure(f"numbers at once after {SIGN_UPS:,} sign-ups", f"{after:,}", f"{before:,} as before", after <= before),
        Figure("alarm", "yes" if alarm else "no", "yes", alarm),
    ]


def starved() -> list[Figure]:
    """Three addresses use up what they can; then honest users elsewhere upload and add an e-mail address."""
    with world() as attacked:
        for place in range(13):
            address = f"198.51.{100 + place % 3}.7"
            asked(attacked, signed_up(attacked, address), address)
        home = "203.0.113.9"
        newcomer = signed_up(attacked, home)
        verified_user = proofs.by_phone(attacked.db, LIMITS, attacked.app, NUMBERS[0], home, attacked.now)
        refused = not looked_up(attacked, newcomer, home, 500), not looked_up(attacked, verified_user, home, 300)
        accounts(anywhere)(attacked)  # strangers in any number of networks
        other = proofs.by_phone(attacked.db, LIMITS, attacked.app, NUMBERS[1], home, attacked.now)
        small = not looked_up(attacked, other, home, 300)
        e_mail = not changed(attacked, newcomer, home, "ann@example.com")
    return [
        Figure("a first upload of 500 elsewhere is refused", yes(refused[0]), "no", not refused[0]),
        Figure("one of 300 of a verified number is refused", yes(refused[1]), "no", not refused[1]),
        Figure("the same, when strangers everywhere use up what they can", yes(small), "no", not small),
        Figure("an e-mail that is added to an account is refused then", yes(e_mail), "no", not e_mail),
    ]


def shut_out() -> list[Figure]:
    """A stranger requests six codes; then the owner requests one, enters it, and could do so before."""
    with world() as attacked:
        own = {"sms_gateway": "console", "sms_regions": "US"}
        app = structs.replace(attacked.app, settings=structs.replace(attacked.app.settings, **own))

        def request(address: str) -> str:
            try:
                sent = codes.send(attacked.db, LIMITS, app, Outgoing(), NUMBERS[0], address, attacked.now)
            except errors.TooMany:
                return ""
            return sent.request_id

        before, home = request("203.0.113.9"), "203.0.113.9"
        for place in range(6):
            attacked.now += 31
            request(f"198.51.100.{place}")
        with attacked.db.write() as tx:
            valid = tx.tuples("SELECT 1 FROM codes WHERE request_id = :before", before=before)
        attacked.now += 600
        after = request(home)
    return [
        Figure("the owner's code is valid still", yes(bool(valid)), "yes", bool(valid)),
        Figure("the owner's next request is refused", yes(not after), "no", bool(after)),
    ]


def looked_up(world: World, user_id: int, address: str, cost: int) -> bool:
    """Charge a user for so many numbers; False if it is refused."""
    caller = Caller(app=world.app, user_id=user_id, is_guest=False, address=address)

    def charge(cost: int) -> None:
        with world.db.write() as tx:
            privacy.pay(tx, LIMITS, caller, cost, world.now)

    return taken(charge, cost)


def changed(world: World, user_id: int, address: str, email: str) -> bool:
    """Give a user an e-mail; False if it is refused."""
    caller = Caller(app=world.app, user_id=user_id, is_guest=False, address=address)
    try:
        users.update(world.db, LIMITS, caller, user_id, {"email": email}, session=b"", now=world.now)
    except errors.TooMany:
        return False
    return True


def yes(it_is: bool) -> str:
    return "yes" if it_is else "no"


def quiet(run: Callable[[], list[Figure]]) -> list[Figure]:
    """Log nothing; otherwise each simulated day of the alarm writes a line."""
    logs.start("error")
    return run()


ATTACKS = (
    Attack("permits: 5 verified numbers that delete and return", partial(quiet, five_numbers)),
    Attack("permits: a /48, 1,000 users", partial(quiet, partial(network, SMALL))),
    Attack("permits: a /48, 400,000 users", partial(quiet, partial(network, LARGE))),
    Attack("permits: a /48, 10,000,000 users", partial(quiet, partial(network, 10 * MILLION))),
    Attack("permits: 3,300 sign-ups before the look-ups (A1)", partial(quiet, raised)),
    Attack("codes: six are requested by a stranger (A22)", partial(quiet, shut_out)),
    Attack("permits: 3 addresses with 13 accounts use up what they can (A9)", partial(quiet, starved)),
)


if __name__ == "__main__":
    logs.start("error")
    file = Path(sys.argv[1])
    file.write_text(written(file.read_text("utf-8")), "utf-8")
