"""What happens in the demo: thirty days of an app, as a list of events.

History(until)          the people, their books, and the events in the order in which they happen
Event                   one of them

The history is planned here and played by `player.py`. The same time gives the same history,
and a few hours later it is nearly the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from people import (
    ANNIE,
    BEN,
    BOB,
    BOB_BOOK,
    CAST,
    CHLOE,
    GEORGE,
    HANA,
    JONAS,
    LENA,
    PRIYA,
    Contact,
    People,
    international,
)

SEED = 4
MINUTE, HOUR, DAY = 60, 3_600, 86_400
# How much happens in each hour of the day, UTC.
HOURS = (2, 1, 0, 0, 0, 1, 4, 9, 12, 9, 8, 8, 12, 10, 8, 8, 10, 14, 18, 22, 24, 20, 12, 6)
# When the cast joins, as a part of the whole time; Annie joins at the end.
CAST_JOINS = {BOB: 0.0, LENA: 0.04, BEN: 0.1, CHLOE: 0.25, JONAS: 0.3, GEORGE: 0.45, HANA: 0.65, PRIYA: 0.8}
CAMPAIGN = (17, 18)  # days on which more people join than usual
LAST_SECONDS = 4 * MINUTE  # before the end, Annie joins
STAYS, COMES_BACK = 0.93, 0.16  # from one day to the next; on a day
MOVES = 0.02  # to another number, within the month
LEAVES = 0.01  # on the last day


@dataclass(frozen=True)
class Event:
    """Something that a person does.

    at      seconds since the first day began
    kind    a method of the player
    who     the person; 0 = somebody without an account
    with_   what the method needs
    """

    at: int
    kind: str
    who: int
    with_: dict[str, Any] = field(default_factory=dict)


class History(People):
    """The plan of the history.

    until      when it ends, UTC seconds; Annie joins shortly before
    days       how many days it lasts
    count      all people, of whom most are only contacts
    joining    how many of them sign up
    choosing   do some of them choose who is told of them, and when they hear of others?
    """

    def __init__(
        self, until: int, *, days: int = 30, count: int = 1_020, joining: int = 340, choosing: bool = True
    ) -> None:
        super().__init__(SEED, count)
        self.first_day = until // DAY - days + 1
        self.days = days
        self.joining = joining
        self.choosing = choosing
        self.until = until
        self.seconds = until - self.first_day * DAY
        self.books: dict[int, list[Contact]] = {}
        self.joined_at: dict[int, int] = {}
        self.left_at: dict[int, int] = {}
        self.events: list[Event] = []
        self._join()
        for who in self.joined_at:
            self._live(who)
        self._err()
        self.events = [event for event in self.events if event.at < self._end_of(event.who)]
        self._joins(ANNIE, self.seconds - LAST_SECONDS)
        self.events.sort(key=lambda event: (event.at, event.who))

    # ── who joins, and when ──────────────────────────────────────────────────────────────────────────────────────────

    def _join(self) -> None:
        """Bob joins first, the cast on days of their own, the others by and by, more of them towards the end."""
        for who, part in CAST_JOINS.items():
            self._joins(who, int(part * self.days) * DAY + (9 * HOUR if part else 0) + who * MINUTE)
        weights = [self._weight(day) for day in range(self.days)]
        others = iter(range(len(CAST) + 1, self.joining + 1))
        done = 0.0
        for day, weight in enumerate(weights):
            before, done = round(done), done + weight / sum(weights) * (self.joining - len(CAST))
            for who in islice(others, round(done) - before):
                self._joins(who, day * DAY + self._time_of_day())

    def _weight(self, day: int) -> float:
        # 1 January 1970 was a Thursday.
        weekend = 0.7 if (self.first_day + day) % 7 in (2, 3) else 1.0
        campaign = 1.9 if day in CAMPAIGN else 1.0
        return (1 + 2.4 * day / self.days) * weekend * campaign * self.chance.uniform(0.8, 1.2)

    def _time_of_day(self) -> int:
        return self.chance.choices(range(24), HOURS)[0] * HOUR + self.chance.randrange(HOUR)

    def _joins(self, who: int, at: int) -> None:
        """Sign up, upload the address book, and look who is here."""
        person, self.joined_at[who] = self.people[who - 1], at
        self.books[who] = bob_book() if who == BOB else self.book(who, 15, 55)
        if who in (JONAS, LENA):
            self.books[who] += self._latest()
        self._add(
            at,
            "join",
            who,
            contacts=self.books[who],
            phone=person["phone"],
            name=person["name"],
            devices=[ANDROID[0]] if who <= len(CAST) else self._devices(),
            wishes=self._wishes(who) if self.choosing else {},
        )

    def _latest(self) -> list[Contact]:
        """Contacts who join during the last days, and Annie: at the end of the history, pushes about them wait."""
        latest = [*range(max(len(CAST) + 1, self.joining - 30), self.joining + 1, 2), ANNIE]
        return [self.contact(number, german=True) for number in latest]

    def _wishes(self, who: int) -> dict[str, Any]:
        """What a person chooses about joined pushes: Germans their language, and some when and of whom they hear."""
        wishes: dict[str, Any] = {}
        if self.is_german(who):
            wishes |= {"locale": "de", "time_zone": "Europe/Berlin"}
        if who == JONAS:
            return wishes | {"quiet": self._asleep()}
        if who == LENA:
            return wishes | {"digest": 1}
        if who > len(CAST) and self.chance.random() < 0.3:
            wishes |= {"time_zone": wishes.get("time_zone", "Europe/London"), "quiet": self.chance.choice(NIGHTS)}
        for part, wish in RARE_WISHES:
            if who > len(CAST) and self.chance.random() < part:
                wishes |= wish
        return wishes

    def _devices(self) -> list[str]:
        """Most people have one phone; some have two, and some get no pushes."""
        android, ios = self.chance.choice(ANDROID), self.chance.choice(IOS)
        return self.chance.choices(([], [android], [ios], [android, ios]), (8, 48, 36, 8))[0]

    def _asleep(self) -> dict[str, str]:
        """The quiet hours of Jonas, who works at night: it is quiet when the history ends, so that his pushes wait."""
        now = datetime.fromtimestamp(self.until, ZoneInfo("Europe/Berlin"))
        return {"from": f"{(now.hour - 3) % 24:02}:00", "to": f"{(now.hour + 6) % 24:02}:00"}

    # ── what they do afterwards ──────────────────────────────────────────────────────────────────────────────────────

    def _live(self, who: int) -> None:
        """Come back now and then; some stop. A few come every third day, and shortly before the end."""
        joined = self.joined_at[who] // DAY
        if who in (BOB, JONAS, LENA):
            regular = range(self.joined_at[who] + 3 * DAY - who * HOUR, self.seconds - HOUR, 3 * DAY)
            for at in (*regular, self.seconds - HOUR // 2 - who * MINUTE):
                self._add(at, "visit", who)
            return
        for day in range(joined + 1, self.days):
            if self.chance.random() > STAYS:
                break
            if self.chance.random() < COMES_BACK:
                self._visit(who, day * DAY + self._time_of_day())
        if who > len(CAST) and self.chance.random() < MOVES and joined + 3 < self.days:
            at = self.chance.randrange(joined + 3, self.days) * DAY + self._time_of_day()
            self._add(at, "move", who, phone=self.fresh_number(who)["phone"])
        elif who > len(CAST) and self.chance.random() < LEAVES and joined + 2 < self.days:
            self.left_at[who] = (self.days - 1) * DAY + self._time_of_day()
            self._add(self.left_at[who], "leave", who)

    def _visit(self, who: int, at: int) -> None:
        """Sign in and sync; some change their book, or write to somebody."""
        self._add(at, "visit", who)
        at += self.chance.randrange(20, 200)
        what = self.chance.random()
        if what < 0.35 and who > len(CAST):
            self._add(at, "change", who, contacts=self.change(self.books[who]))
        elif what < 0.75:
            self._add(at, "write", who, text=self.chance.choice(MESSAGES))

    def _err(self) -> None:
        """What apps do wrong: each kind on a few days, some of them today and yesterday."""
        users = sorted(self.joined_at.keys() - self.left_at.keys())
        for kind, count in MISTAKES.items():
            for _ in range(max(3, count * self.days * self.joining // (30 * 340))):
                who = self.chance.choice(users)
                earliest = self.joined_at[who] // DAY
                day = self.chance.randrange(earliest, self.days)
                self._add(max(day * DAY + self._time_of_day(), self.joined_at[who] + MINUTE), kind, who)

    def _end_of(self, who: int) -> int:
        """Until when a person does something: until the last event before Annie joins, or until they leave."""
        return min(self.seconds - LAST_SECONDS, self.left_at.get(who, self.seconds) + 1)

    def _add(self, at: int, kind: str, who: int, **with_: Any) -> None:
        self.events.append(Event(at, kind, who, with_))


ANDROID = ("Pixel 8", "Pixel 9", "Galaxy S24", "Galaxy A55", "Fairphone 5")
IOS = ("iPhone 14", "iPhone 15", "iPhone 16", "iPhone SE")
NIGHTS = ({"from": "22:00", "to": "08:00"}, {"from": "21:30", "to": "07:00"}, {"from": "23:00", "to": "09:30"})
RARE_WISHES: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.15, {"digest": 1}),
    (0.06, {"announce": "mutual"}),
    (0.03, {"announce": "nobody"}),
    (0.03, {"discoverable": "nobody", "announce": "nobody"}),
    (0.04, {"notify": False}),
)
MESSAGES = (
    "Walk on Saturday?", "Meet at the bridge at nine", "I found your glove", "Rain tomorrow, bring boots",
    "Same bench as last time", "Running ten minutes late", "Wer kommt am Sonntag mit?", "Bis gleich!",
)  # fmt: skip
MISTAKES = {
    "wrong_code": 24,
    "old_token": 14,
    "broken_upload": 9,
    "no_json": 6,
    "nobody_there": 11,
    "no_such_user": 8,
    "foreign_number": 5,
    "undefined": 3,
}


def bob_book() -> list[Contact]:
    """Bob's address book."""
    return [{"name": name, "phone": phone, "reads": international(phone)} for name, phone in BOB_BOOK]
