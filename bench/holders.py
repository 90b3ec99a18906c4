"""Users who have one number in their address books, each with one device: the recipients of a joined push.

    Group                          so many users, on one channel, with one number
    load(url, app_id, …)           writes them into the tables
    groups(size)                   the groups that are measured

The numbers and tokens belong to nobody.
"""

import base64
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from keyed import SEAL
from loading import TABLES, Progress, contact, counted, filling, keyed_login
from world import GAP

from ringbook import plurals

FIRST_ID = 10_000_001  # who signs up later must not get one of these ids: PostgreSQL counts from 1, SQLite goes on
SUBSCRIPTIONS = (
    *("user_id", "id", "app_id", "device", "platform", "channel", "environment", "token", "token_key"),
    *("web_auth", "web_p256dh", "created_at", "updated_at"),
)
PREFERENCES = ("user_id", "app_id", "notify", "quiet_from", "quiet_to", "time_zone", "digest", "locale")
ZONES = sorted(zone for zone in available_timezones() if zone.startswith(("A", "E", "P")) and "/" in zone)
QUIET = ((None, None), (22 * 60, 8 * 60), (23 * 60, 7 * 60), (-1, -1), (13 * 60, 15 * 60 + 30))
LOCALES = (None, "de-AT", "pl", "fr-CA", "ja", "en")
TEXTS = {
    language: {"joined": f"{language}: %s", "digest": dict.fromkeys(plurals.forms(language), "%s + %d")}
    for language in ("de", "pl", "fr", "ja")
}
PLATFORMS = {"apns": "ios", "gcm": "android", "web": "web"}


@dataclass(frozen=True)
class Group:
    """Holders of one number; `wait_seconds` is the response time of their provider.

    chosen   three of four have chosen: quiet hours in their time zone, digests, a language, and some no pushes
    """

    name: str
    channel: str
    number: int
    holders: int
    first_id: int
    wait_seconds: float = 0.0
    chosen: bool = False

    @property
    def ids(self) -> range:
        """The ids of the users."""
        return range(self.first_id, self.first_id + self.holders)


def groups(many: int, few: int) -> list[Group]:
    """Many holders on APNs, of whom some have chosen, and a few on each other channel."""
    ways = (
        ("APNs", "apns", many, 0.0, False),
        ("APNs, who have chosen", "apns", many, 0.0, True),
        ("APNs, answers after 100 ms", "apns", few, 0.1, False),
        ("FCM", "gcm", few, 0.0, False),
        ("Web Push", "web", few, 0.0, False),
    )
    found, first_id = [], FIRST_ID
    for line, (name, channel, holders, wait, chosen) in enumerate(ways):
        found.append(Group(name, channel, 12_025_550_101 + line, holders, first_id, wait, chosen))
        first_id += holders
    return found


def load(url: str, app_id: int, made: Sequence[Group], web_address: str, tell: Progress) -> None:
    """Create users without a number, each with a book of one contact and one production device."""
    now, count = int(time.time()), sum(group.holders for group in made)
    browser = (encoded(os.urandom(16)), point())
    amounts = {
        "users": (TABLES["users"], users(made, app_id, now)),
        "books": (TABLES["books"], books(made, app_id, now)),
        "contacts": (TABLES["contacts"], contacts(made, app_id)),
        "subscriptions": (SUBSCRIPTIONS, subscriptions(made, app_id, web_address, browser, now)),
        "preferences": (PREFERENCES, preferences(made, app_id)),
    }
    with filling(url) as fill:
        for table, (columns, rows) in amounts.items():
            fill(table, columns, counted(rows, f"{table} loaded", count, tell))


def users(made: Sequence[Group], app_id: int, now: int) -> Iterator[tuple[Any, ...]]:
    """Write the accounts."""
    for user_id in everybody(made):
        login, name = f"user{user_id}", f"Bob Example {user_id}"
        yield user_id, app_id, login, login, keyed_login(app_id, login), name, name.lower(), None, "-" * 97, 0, now, now


def books(made: Sequence[Group], app_id: int, now: int) -> Iterator[tuple[Any, ...]]:
    """Write a row for each book."""
    return ((user_id, 0, app_id, "", 1, 2 * GAP, now) for user_id in everybody(made))


def contacts(made: Sequence[Group], app_id: int) -> Iterator[tuple[Any, ...]]:
    """Write the contacts; each book has another name for the number."""
    for group in made:
        for user_id in group.ids:
            yield contact(app_id, user_id, group.number, f"Ann Example {user_id}", None, GAP)


def subscriptions(
    made: Sequence[Group], app_id: int, web_address: str, browser: tuple[str, str], now: int
) -> Iterator[tuple[Any, ...]]:
    """Write the devices. All browsers have the same keys, which saves time here only."""
    for group in made:
        keys = browser if group.channel == "web" else (None, None)
        for user_id in group.ids:
            token = token_of(group, user_id, web_address)
            owner = app_id, user_id, f"device-{user_id}", group.channel, "production"
            sealed = SEAL.text(token, "subscriptions", "token", *owner), SEAL.lookup("push token", app_id, token)
            auth = keys[0] and SEAL.text(keys[0], "subscriptions", "web_auth", *owner)
            where = (owner[2], PLATFORMS[group.channel], *owner[3:])
            yield user_id, user_id, app_id, *where, *sealed, auth, keys[1], now, now


def preferences(made: Sequence[Group], app_id: int) -> Iterator[tuple[Any, ...]]:
    """Write what three of four holders have chosen: one of ten no pushes, one of ten a digest of all."""
    for group in made:
        for n, user_id in enumerate(group.ids if group.chosen else ()):
            if n % 4:
                start, end = QUIET[n % len(QUIET)]
                digest = (None, 0, 1, 5, 10, None, 20, 3, 2, 8)[n // 7 % 10]
                zone, locale = ZONES[n * 31 % len(ZONES)], LOCALES[n % len(LOCALES)]
                yield user_id, app_id, int(n // 3 % 10 != 0), start, end, zone, digest, locale


def everybody(made: Sequence[Group]) -> Iterator[int]:
    """The ids of the users of all groups."""
    return (user_id for group in made for user_id in group.ids)


def token_of(group: Group, user_id: int, web_address: str) -> str:
    """A token as long as real ones."""
    if group.channel == "web":
        return f"{web_address}/push/{user_id:0160d}"
    return f"{user_id:064x}" if group.channel == "apns" else f"{user_id:0142d}"


def point() -> str:
    """A browser's public key."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return encoded(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
