"""What a user decides about joined pushes, as values, and how each is read.

    Preferences              all of them
    Audience, AUDIENCES      who is told, or who finds: everyone, those who hold each other's number, or nobody
    Quiet                    the hours of a day in which no joined push is sent
    audience, digest         a value, if it is allowed
    quiet, quiet_hours       quiet hours, from a text such as 22:00-08:00 or from two times of day
    time_zone, locale        the spelling that is stored
    clock(minutes)           a time of day as apps write it

Readers raise Invalid with the field that they are given.
"""

import re
import zoneinfo
from functools import lru_cache
from typing import Any, Literal, get_args

from msgspec import Struct

from . import errors

Audience = Literal["everyone", "mutual", "nobody"]
AUDIENCES: tuple[Audience, ...] = get_args(Audience)
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")  # no language has a longer code: "deutsch" is none
CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
MOST_BEFORE_DIGEST = 1_000


class Quiet(Struct, frozen=True):
    """Quiet hours, in minutes since midnight of the user's time zone. They may reach over midnight.

    start   the first minute
    end     the minute in which they are over; never the same as `start`
    """

    start: int
    end: int


class Preferences(Struct, frozen=True, kw_only=True):
    """What holds for a user: the user's own choice, or else the application's.

    announce       who is told that the user has joined
    discoverable   who finds the user by the number
    notify         are pushes sent to the user when others join?
    quiet          when they wait; it holds only together with a time zone
    time_zone      an IANA name, such as Europe/Berlin
    digest         after how many pushes within 24 hours the others come together
    locale         a BCP 47 language, such as de or pt-BR
    """

    announce: Audience
    discoverable: Audience
    notify: bool
    quiet: Quiet | None
    time_zone: str | None
    digest: int
    locale: str | None

    @property
    def told(self) -> Audience:
        """Who is told in fact: of those whom `announce` names, those who find the user."""
        return max(self.announce, self.discoverable, key=AUDIENCES.index)


def audience(value: Any, field: str) -> Audience:
    """One of the three."""
    for one in AUDIENCES:
        if value == one:
            return one
    raise errors.Invalid(f"must be one of {', '.join(AUDIENCES)}", field=field)


def quiet(text: str, field: str) -> Quiet | None:
    """Quiet hours as `22:00-08:00`; None for an empty text."""
    if not text.strip():
        return None
    start, _, end = text.partition("-")
    return quiet_hours(start.strip(), end.strip(), field)


def quiet_hours(start: str, end: str, field: str) -> Quiet:
    """Quiet hours from two times of day."""
    found = Quiet(_minutes(start, field), _minutes(end, field))
    if found.start == found.end:
        raise errors.Invalid("must begin and end at different times", field=field)
    return found


def _minutes(text: str, field: str) -> int:
    read = CLOCK.fullmatch(text)
    if not read:
        raise errors.Invalid("must be two times of day, such as 22:00 and 08:00", field=field)
    return int(read[1]) * 60 + int(read[2])


def clock(minutes: int) -> str:
    """The time of day, such as 08:00."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def time_zone(name: str, field: str) -> str:
    """The IANA name of a time zone."""
    if name not in _time_zones():
        raise errors.Invalid("must be the IANA name of a time zone, such as Europe/Berlin", field=field)
    return name


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def locale(text: str, field: str) -> str:
    """A language as BCP 47 writes it; Android's de_DE becomes de-DE."""
    name = text.strip().replace("_", "-")
    if not LANGUAGE.fullmatch(name):
        raise errors.Invalid("must be a language such as en or pt-BR", field=field)
    return name


def digest(number: int, field: str) -> int:
    """After how many pushes the others come together."""
    if not 0 <= number <= MOST_BEFORE_DIGEST:
        raise errors.Invalid(f"must be a whole number from 0 to {MOST_BEFORE_DIGEST}", field=field)
    return number
