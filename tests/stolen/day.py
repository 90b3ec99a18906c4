"""One day of an app: its people, their address books, and what they change. The people are those of the demo."""

from __future__ import annotations

from typing import Any

from people import INVALID, Contact, People

SEED, PEOPLE, MORNING, EVENING = 2, 220, 72, 6


class Day(People):
    """The plan of the day. Some people sign up in the morning, some in the evening, and the others never."""

    def __init__(self) -> None:
        super().__init__(SEED, PEOPLE)
        users = range(1, MORNING + EVENING + 1)
        for person in self.people:
            person["joins"] = "morning" if person["id"] <= MORNING else "evening" if person["id"] in users else ""
        self.books = [{"owner": who, "device": "", "contacts": self.book(who, 8, 18)} for who in users]
        for who in self.chance.sample(users, 14):
            self.books.append({"owner": who, "device": f"tablet-{who:04}", "contacts": self.book(who, 3, 8)})
        self.events = [*self.uploads(), *self.moves()]

    def uploads(self) -> list[dict[str, Any]]:
        """The changes that owners make during the day, and the uploads of one app with a bug."""
        owners = self.chance.sample(range(1, MORNING + 1), 41)
        events = [upload(who, self.change(self.books[who - 1]["contacts"])) for who in owners[1:]]
        bug = [{"name": "undefined", "phone": "[object Object]", "refused": INVALID} for _ in range(12)]
        return [*events, {**upload(owners[0], bug), "force": True}]

    def moves(self) -> list[dict[str, Any]]:
        """Some users get a new number; two of their friends correct their books."""
        events: list[dict[str, Any]] = []
        for who in self.chance.sample(range(1, MORNING + 1), 4):
            old, new = self.people[who - 1], self.fresh_number(who)
            events.append({"who": who, **new})
            told = [one["owner"] for one in self.books[:MORNING] if old["reads"] in map(reading, one["contacts"])]
            for friend in told[:2]:
                gone = {"name": old["name"], "phone": old["phone"], "reads": old["reads"], "destroy": 1}
                added = {**gone, **new, "phone": self.spelling(who, new["reads"]), "destroy": 0}
                events.append(upload(friend, [gone, added]))
        return events


def upload(who: int, contacts: list[Contact]) -> dict[str, Any]:
    """An upload of changes."""
    return {"who": who, "force": False, "contacts": contacts}


def reading(entry: Contact) -> str:
    """The number that an entry is read as; "" for one that is refused."""
    return str(entry.get("reads", ""))
