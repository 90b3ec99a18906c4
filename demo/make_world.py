"""Write world.json: the users of the demo, the contacts on their phones, and the events of the day.

    python demo/make_world.py

The same seed gives the same world. Every number is from a range that its country reserves for films and books
(README.md names the sources). Every number has its expected result: how a server with the region GB should read it, or
why it should refuse it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

SEED, PEOPLE, MORNING, EVENING = 2, 220, 72, 6
INVALID = "Invalid fields set"
PHONE_LENGTH = "Length of 'phone' field should be min: 10 and max: 15."
NAME_LENGTH = "Length of 'name' field should be min: 1 and max: 255."


class Range(NamedTuple):
    """A range of numbers reserved for fiction; `#` stands for the digits that differ.

    reads    in international digits
    tails    the values of `#`
    local    a spelling that only its own country can read
    """

    weight: int
    reads: str
    tails: Sequence[int]
    spellings: tuple[str, ...]
    local: str = ""


def american(area: str) -> Range:
    spellings = (f"+1 ({area}) 555-01##", f"+1-{area}-555-01##", f"+1{area}55501##", f"1 {area} 555 01##")
    return Range(4, f"1{area}55501##", range(100), spellings, f"({area}) 555-01##")


RANGES = (
    Range(60, "447700900###", range(800), (
        "+44 7700 900###", "07700 900 ###", "07700900###", "+447700900###", "0044 7700 900###", "+44 (0)7700 900###",
        "447700900###", "07700-900-###", "\u202a+44 7700\u00a0900###\u202c", "07700\u2011900\u2011###",
    )),
    american("202"), american("212"), american("415"),
    Range(7, "4917139200##", range(100), ("+49 171 39200##", "0049 171 39200##", "+49 (0)171 39200##")),
    Range(7, "3363998####", range(10_000), ("+33 6 39 98 ####", "003363998####", "+33 (0)6 39 98 ####")),
    Range(5, "3532091#####", range(100_000), ("+353 20 91#####", "00353 20 91#####", "+353 (0)20 91#####")),
    Range(4, "467017406##", range(5, 100), ("+46 70 174 06##", "+46 (0)70-174 06##", "0046 70 174 06##")),
    Range(2, "61491570###", (6, 110, 156, 157, 158, 159, 313, 737), ("+61 491 570 ###", "0061 491570###")),
)  # fmt: skip

FIRST = """Aisha Ben Chloe Daniel Ella Farah George Hannah Imran Jack Kezia Liam Maya Noah Olivia Priya Quinn Rosa Sam
Tariq Uma Victor Wanjiku Xavi Yasmin Zoe Anders Brigid Céline Dieter Eoin Françoise Günther Hélène Ingrid"""
LAST = """Abbott Bello Chowdhury Davies Evans Fraser Gupta Hughes Iqbal Jones Kaur Lewis Murphy Nowak Okafor Patel
Quayle Roberts Singh Taylor Umar Vaughan Walsh Xiang Young Zielinski Müller Lefèvre O'Brien Lindström"""
WORLDWIDE = """محمد العلي
فاطمة حداد
ליאור כהן
נועה לוי
دانیال رضایی
王伟
李娜
佐藤 健
김민준
Олена Шевченко
Γιώργος Νικολάου
सुनीता शर्मा
ญาดา ใจดี
Nguyễn Thị Mai
Ayşe Yılmaz
Þórdís Jónsdóttir"""
NICKNAMES = (
    "{full}", "{full}", "{full}", "{first}", "{first}", "{first} {initial}.", "{last}, {first}", "{full} work",
    "{first} (football ⚽)", "{full}'s mum", "AA {first}", "Dr {last}", "{first} new ", "{first} ❤️", "{first} 🎸",
    "Mum", "Boss 🙄", "Dad 👨‍👩‍👧",
)  # fmt: skip
SERVICES = (
    ("Bella Napoli 🍕", "020 7946 0123", "442079460123"),
    ("Taxi ☎️ 24h", "01632 960 456", "441632960456"),
    ("Surgery (ask for Dr Kaur)", "0113 496 0987", "441134960987"),
    ("Vet 🐕", "+44 (0)117 496 0321", "441174960321"),
    ("Belfast office", "028 9018 0111", "442890180111"),
    ("Bank, lost cards", "0808 157 0999", "448081570999"),
)
JUNK = (
    ("Voicemail", "121", PHONE_LENGTH),
    ("Emergency", "999", PHONE_LENGTH),
    ("Balance", "*100#", INVALID),
    ("Wi-Fi", "the blue router", INVALID),
    ("Office", "020 7946 0100 ext 12", INVALID),
    ("Nan, half written down", "07700 900", PHONE_LENGTH),
    ("Ann & Bob", "07700 900 801 / 07700 900 802", PHONE_LENGTH),
    ("", "07700 900 803", NAME_LENGTH),
    ("Plumber " + "recommended by everybody " * 10, "07700 900 804", NAME_LENGTH),
    (None, "07700 900 805", INVALID),
    ("Met at the fair", None, INVALID),
    ("Cut \ud83d", "07700 900 806", INVALID),
    ("Nul\x00l", "07700 900 807", INVALID),
    ("SIM", "+", PHONE_LENGTH),
)


class World:
    def __init__(self) -> None:
        self.chance = Random(SEED)
        self.taken: set[str] = set()
        self.ranges: dict[int, Range] = {}
        self.people = [self.person(number) for number in range(1, PEOPLE + 1)]
        self.circles = [self.chance.sample(range(1, PEOPLE + 1), size) for size in chain([5] * 50, [12] * 18, [20] * 6)]
        users = [person["id"] for person in self.people if person["joins"]]
        self.books = [self.book(who, "", 8, 18) for who in users]
        self.books += [self.book(who, f"tablet-{who:04}", 3, 8) for who in self.chance.sample(users, 14)]
        self.day = sorted(self.uploads() + self.moves(), key=lambda event: str(event["at"]))

    def person(self, number: int) -> dict[str, Any]:
        joins = "morning" if number <= MORNING else "evening" if number <= MORNING + EVENING else ""
        name = f"{self.chance.choice(FIRST.split())} {self.chance.choice(LAST.split())}"
        if number % 9 == 0:
            name = WORLDWIDE.splitlines()[number // 9 % 16]
        self.ranges[number] = self.chance.choices(RANGES, [each.weight for each in RANGES])[0]
        return {"id": number, "name": name, **self.fresh_number(number), "joins": joins}

    def fresh_number(self, number: int) -> dict[str, str]:
        free = [tail for tail in self.ranges[number].tails if fill(self.ranges[number].reads, tail) not in self.taken]
        reads = fill(self.ranges[number].reads, self.chance.choice(free))
        self.taken.add(reads)
        return {"phone": self.spelling(number, reads), "reads": reads}

    def spelling(self, number: int, reads: str) -> str:
        tail = re.fullmatch(self.ranges[number].reads.replace("#", r"(\d)"), reads)
        assert tail
        return fill(self.chance.choice(self.ranges[number].spellings), int("".join(tail.groups())))

    def contact(self, number: int) -> dict[str, str]:
        person = self.people[number - 1]
        first, _, last = person["name"].partition(" ")
        words = {"first": first, "last": last or first, "initial": last[:1] or first[:1], "full": person["name"]}
        entry = {"name": self.chance.choice(NICKNAMES).format(**words)}
        local = self.ranges[number].local
        if local and self.chance.random() < 0.2:
            # Its owner's phone understands it; a server in Britain must take it for a British number.
            phone = fill(local, int(person["reads"][-2:]))
            return entry | {"phone": phone, "reads": "44" + re.sub(r"\D", "", phone)}
        return entry | {"phone": self.spelling(number, person["reads"]), "reads": person["reads"]}

    def book(self, who: int, device: str, least: int, most: int) -> dict[str, Any]:
        near = sorted({friend for circle in self.circles if who in circle for friend in circle})
        near = (near + [number for number in range(1, PEOPLE + 1) if number not in near])[: most * 2]
        contacts = [self.contact(number) for number in self.chance.sample(near, self.chance.randint(least, most))]
        contacts += [self.contact(number) for number in self.chance.sample(near, 2)]
        contacts += [dict(zip(("name", "phone", "reads"), each, strict=True)) for each in self.some(SERVICES, 2)]
        contacts += [dict(zip(("name", "phone", "refused"), each, strict=True)) for each in self.some(JUNK, 2)]
        self.chance.shuffle(contacts)
        return {"owner": who, "device": device, "contacts": contacts}

    def some(self, choices: tuple[Any, ...], most: int) -> list[Any]:
        return self.chance.sample(choices, self.chance.randint(0, most))

    def uploads(self) -> list[dict[str, Any]]:
        """The changes that owners make during the day, and the uploads of one app with a bug."""
        owners = self.chance.sample(range(1, MORNING + 1), 41)
        events = [self.upload(who, self.change(who)) for who in owners[1:]]
        bug = [{"name": "undefined", "phone": "[object Object]", "refused": INVALID} for _ in range(12)]
        return [*events, {**self.upload(owners[0], bug), "force": True}]

    def upload(self, who: int, contacts: list[dict[str, Any]]) -> dict[str, Any]:
        at = f"{self.chance.randint(12, 17)}:{self.chance.randint(0, 59):02}"
        return {"at": at, "who": who, "force": False, "contacts": contacts}

    def change(self, who: int) -> list[dict[str, Any]]:
        held = [entry for entry in self.books[who - 1]["contacts"] if "reads" in entry]
        renamed, dropped = self.chance.sample(held, 2)
        met, stranger = (self.contact(number) for number in self.chance.sample(range(1, PEOPLE + 1), 2))
        renamed = {**renamed, "name": f"{renamed['name']} 🎂"}
        return [met, renamed, {**dropped, "destroy": 1}, {**stranger, "destroy": 1}]

    def moves(self) -> list[dict[str, Any]]:
        """Some users get a new number; two of their friends correct their books."""
        events: list[dict[str, Any]] = []
        for who in self.chance.sample(range(1, MORNING + 1), 4):
            old, new = self.people[who - 1], self.fresh_number(who)
            events.append({"at": "18:00", "who": who, **new})
            told = [book["owner"] for book in self.books[:MORNING] if old["reads"] in map(reading, book["contacts"])]
            for friend in told[:2]:
                gone = {"name": old["name"], "phone": old["phone"], "reads": old["reads"], "destroy": 1}
                added = {**gone, **new, "phone": self.spelling(who, new["reads"]), "destroy": 0}
                events.append({**self.upload(friend, [gone, added]), "at": "18:30"})
        return events


def fill(pattern: str, tail: int) -> str:
    """The pattern with its `#` replaced by the digits of `tail`, leading zeros included."""
    digits = iter(f"{tail:0{pattern.count('#')}}")
    return re.sub("#", lambda _: next(digits), pattern)


def reading(entry: dict[str, Any]) -> str:
    return str(entry.get("reads", ""))


def text(world: World) -> str:
    """The world as JSON with one contact per line, and invisible characters as escapes."""
    lists = {"people": world.people, "books": world.books, "day": world.day}
    parts = [f'"{name}": [\n' + ",\n".join(map(line, items)) + "\n]" for name, items in lists.items()]
    return "{" + ",\n".join(parts) + "}\n"


def line(item: dict[str, Any]) -> str:
    contacts = item.get("contacts", [])
    whole = json.dumps({**item, "contacts": []} if contacts else item, ensure_ascii=False)
    rows = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in contacts)
    return visible(whole.replace('"contacts": []', f'"contacts": [\n  {rows}]'))


def visible(written: str) -> str:
    hidden = {each for each in written if unicodedata.category(each) in ("Cf", "Cs", "Zs", "Pd") and each not in " -"}
    return written.translate({ord(each): f"\\u{ord(each):04x}" for each in hidden})


if __name__ == "__main__":
    Path(__file__).with_name("world.json").write_text(text(World()), encoding="utf-8")
