"""People, their phone numbers and their address books, all invented.

People(seed, count)     that many people; the same seed gives the same people
People.book(who)        an address book like those on real phones
CAST                    people with a part of their own in the history

Every number is from a range that its country reserves for films and books (README.md names the sources). Each number
has its expected result: how a server with the region GB should read it (`reads`), or why it should refuse it
(`refused`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

INVALID = "Invalid fields set"
PHONE_LENGTH = "Length of 'phone' field should be min: 10 and max: 15."
NAME_LENGTH = "Length of 'name' field should be min: 1 and max: 255."
Contact = dict[str, Any]


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
    """The fictional numbers of an area."""
    spellings = (f"+1 ({area}) 555-01##", f"+1-{area}-555-01##", f"+1{area}55501##", f"1 {area} 555 01##")
    return Range(4, f"1{area}55501##", range(100), spellings, f"({area}) 555-01##")


BRITISH = Range(60, "447700900###", range(800), (
    "+44 7700 900###", "07700 900 ###", "07700900###", "+447700900###", "0044 7700 900###", "+44 (0)7700 900###",
    "447700900###", "07700-900-###", "\u202a+44 7700\u00a0900###\u202c", "07700\u2011900\u2011###",
))  # fmt: skip
GERMAN = Range(10, "4917139200##", range(100), ("+49 171 39200##", "0049 171 39200##", "+49 (0)171 39200##"))
RANGES = (
    BRITISH,
    american("202"), american("212"), american("415"),
    GERMAN,
    Range(7, "3363998####", range(10_000), ("+33 6 39 98 ####", "003363998####", "+33 (0)6 39 98 ####")),
    Range(5, "3532091#####", range(100_000), ("+353 20 91#####", "00353 20 91#####", "+353 (0)20 91#####")),
    Range(4, "467017406##", range(5, 100), ("+46 70 174 06##", "+46 (0)70-174 06##", "0046 70 174 06##")),
    Range(2, "61491570###", (6, 110, 156, 157, 158, 159, 313, 737), ("+61 491 570 ###", "0061 491570###")),
)  # fmt: skip

FIRST = """Aisha Ben Chloe Daniel Ella Farah George Hannah Imran Jack Kezia Liam Maya Noah Olivia Priya Quinn Rosa Sam
Tariq Uma Victor Wanjiku Xavi Yasmin Zoe Anders Brigid Céline Eoin Françoise Hélène Isla Joel Keira Lewis Megan Niamh
Owen Poppy Rhys Sofia Theo Una Vera Will Amina Bea Callum Dylan"""
LAST = """Abbott Bello Chowdhury Davies Evans Fraser Gupta Hughes Iqbal Jones Kaur Lewis Murphy Nowak Okafor Patel
Quayle Roberts Singh Taylor Umar Vaughan Walsh Xiang Young Zielinski Lefèvre O'Brien Lindström Adeyemi Barker Coleman
Doyle Edwards Farrell Grant Hall Irving Johnston Khan Lloyd Mensah Norris Osborne Price Reid Shaw Turner
Wright"""
GERMAN_FIRST = """Anke Björn Carsten Dörte Emre Frieda Günther Heike Ingrid Jürgen Katrin Lukas Mareike Nils Özlem Paul
Renate Sören Tobias Ulrike Volker Wiebke Yvonne Zeynep"""
GERMAN_LAST = """Bauer Böhm Çelik Dietrich Engel Fuchs Großmann Hahn Jäger Köhler Lehmann Müller Neumann Öztürk Pohl
Richter Schäfer Thoma Vogel Weiß Zimmermann"""
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
GERMAN_NICKNAMES = (
    "{full}", "{full}", "{first}", "{first}", "{first} {initial}.", "{last}, {first}", "{first} Arbeit", "{first} 🎸",
    "{first} (Chor)", "Mama", "Opa 👴", "Chef",
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

# The first people. Bob's address book is BOB_BOOK, and Annie is the last who joins.
CAST = (
    ("Bob Baker", "+44 7700 900910"),
    ("Anna Ashby", "+44 7700 900911"),
    ("Ben Okafor", "+44 7700 900912"),
    ("Chloé Dubois", "+44 7700 900913"),
    ("George Abbott", "+44 7700 900914"),
    ("Hana Novák", "+44 7700 900915"),
    ("Priya Walsh", "+44 7700 900916"),
    ("Jonas Weber", "+49 171 3920099"),
    ("Lena Vogt", "+49 171 3920098"),
)
BOB, ANNIE, BEN, CHLOE, GEORGE, HANA, PRIYA, JONAS, LENA = range(1, 10)
BOB_BOOK = (
    ("Annie", "07700 900911"),
    ("Ben (climbing)", "+44 7700 900912"),
    ("Chloé", "07700900913"),
    ("Dentist", "07700 900931"),
    ("George", "+447700900914"),
    ("Hana", "07700 900 915"),
    ("Mum", "07700 900932"),
    ("Priya from work", "07700-900-916"),
)


class People:
    """People with numbers, each in some circles of friends.

    people    by id from 1: `id`, `name`, `phone` and `reads`
    """

    def __init__(self, seed: int, count: int) -> None:
        self.chance = Random(seed)
        self.taken = {international(phone) for _, phone in CAST}
        self.ranges: dict[int, Range] = {}
        self.people = [self._person(number) for number in range(1, count + 1)]
        self.circles = self._circles()

    def _person(self, number: int) -> dict[str, Any]:
        if number <= len(CAST):
            name, phone = CAST[number - 1]
            self.ranges[number] = GERMAN if phone.startswith("+49") else BRITISH
            return {"id": number, "name": name, "phone": phone, "reads": international(phone)}
        free = self._with_room()
        self.ranges[number] = self.chance.choices(free, [each.weight for each in free])[0]
        return {"id": number, "name": self._name(number), **self.fresh_number(number)}

    def _with_room(self) -> list[Range]:
        """The ranges with numbers that nobody has. A few stay free, for people who get a new one."""
        used = Counter(each.reads for each in self.ranges.values())
        return [each for each in RANGES if used[each.reads] < len(each.tails) * 0.8]

    def _name(self, number: int) -> str:
        if self.is_german(number):
            return f"{self.one_of(GERMAN_FIRST)} {self.one_of(GERMAN_LAST)}"
        if number % 11 == 0:
            return self.chance.choice(WORLDWIDE.splitlines())
        return f"{self.one_of(FIRST)} {self.one_of(LAST)}"

    def is_german(self, number: int) -> bool:
        """Has this person a German number, and German friends?"""
        return self.ranges[number] is GERMAN

    def _circles(self) -> list[list[int]]:
        """Circles of friends. Germans have more German friends than others have."""
        everybody = [person["id"] for person in self.people]
        germans = [number for number in everybody if self.is_german(number)]
        sizes = [5] * (len(everybody) // 3) + [12] * (len(everybody) // 8) + [25] * (len(everybody) // 25)
        among = [germans if n % 7 == 0 and len(germans) >= size else everybody for n, size in enumerate(sizes)]
        return [self.chance.sample(some, size) for some, size in zip(among, sizes, strict=True)]

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def fresh_number(self, number: int) -> dict[str, str]:
        """A number for this person that nobody has, in international spelling."""
        pattern, tails = self.ranges[number].reads, self.ranges[number].tails
        while (reads := fill(pattern, self.chance.choice(tails))) in self.taken:
            pass
        self.taken.add(reads)
        return {"phone": self._spelled(number, reads, self.ranges[number].spellings[0]), "reads": reads}

    def spelling(self, number: int, reads: str) -> str:
        """A number as somebody may have typed it."""
        return self._spelled(number, reads, self.chance.choice(self.ranges[number].spellings))

    def _spelled(self, number: int, reads: str, spelling: str) -> str:
        tail = re.fullmatch(self.ranges[number].reads.replace("#", r"(\d)"), reads)
        assert tail
        return fill(spelling, int("".join(tail.groups())))

    # ── address books ────────────────────────────────────────────────────────────────────────────────────────────────

    def contact(self, number: int, *, german: bool = False) -> Contact:
        """An entry for this person, with a name of the owner's choice."""
        person = self.people[number - 1]
        first, _, last = person["name"].partition(" ")
        words = {"first": first, "last": last or first, "initial": last[:1] or first[:1], "full": person["name"]}
        entry = {"name": self.chance.choice(GERMAN_NICKNAMES if german else NICKNAMES).format(**words)}
        local = self.ranges[number].local
        if local and self.chance.random() < 0.2:
            # Its owner's phone understands it; a server in Britain must take it for a British number.
            phone = fill(local, int(person["reads"][-2:]))
            return entry | {"phone": phone, "reads": "44" + re.sub(r"\D", "", phone)}
        return entry | {"phone": self.spelling(number, person["reads"]), "reads": person["reads"]}

    def book(self, who: int, least: int, most: int) -> list[Contact]:
        """The contacts of this person: friends first, a few twice, some services, and some entries that are no use."""
        near = sorted({friend for circle in self.circles if who in circle for friend in circle} - {who})
        others = [number for number in range(1, len(self.people) + 1) if number not in near]
        near = (near + self.chance.sample(others, min(most, len(others))))[: most * 2]
        german = self.is_german(who)
        size = min(len(near), self.chance.randint(least, most))
        contacts = [self.contact(number, german=german) for number in self.chance.sample(near, size)]
        contacts += [self.contact(number, german=german) for number in self.chance.sample(near, 2)]
        contacts += [dict(zip(("name", "phone", "reads"), each, strict=True)) for each in self.some(SERVICES, 2)]
        contacts += [dict(zip(("name", "phone", "refused"), each, strict=True)) for each in self.some(JUNK, 2)]
        self.chance.shuffle(contacts)
        return contacts

    def change(self, book: list[Contact]) -> list[Contact]:
        """What the owner changes: one contact is new, one has a new name, one goes, and one never was there."""
        held = [entry for entry in book if "reads" in entry]
        renamed, dropped = self.chance.sample(held, 2)
        met, stranger = (self.contact(number) for number in self.chance.sample(range(1, len(self.people) + 1), 2))
        renamed = {**renamed, "name": f"{renamed['name']} 🎂"}
        return [met, renamed, {**dropped, "destroy": 1}, {**stranger, "destroy": 1}]

    def one_of(self, words: str) -> str:
        """One of these words."""
        return self.chance.choice(words.split())

    def some(self, choices: tuple[Any, ...], most: int) -> list[Any]:
        """Up to so many of these."""
        return self.chance.sample(choices, self.chance.randint(0, most))


def fill(pattern: str, tail: int) -> str:
    """The pattern with its `#` replaced by the digits of `tail`, leading zeros included."""
    digits = iter(f"{tail:0{pattern.count('#')}}")
    return re.sub("#", lambda _: next(digits), pattern)


def international(phone: str) -> str:
    """The international digits of a British or international spelling."""
    digits = re.sub(r"\D", "", phone)
    return digits if phone.startswith("+") else "44" + digits.removeprefix("0")
