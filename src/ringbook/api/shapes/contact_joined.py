"""Joined pushes: what users decide about them."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from ...preferences import MOST_BEFORE_DIGEST, Audience, Preferences, Quiet, clock

Clock = Annotated[str, Meta(description="a time of day", examples=["22:00"])]
ANNOUNCE = (
    "who is told that you have joined: everyone who has your number, `mutual` contacts, or nobody; never those who do"
    " not find you"
)
DISCOVERABLE = "who finds you by your number: everyone who has it, `mutual` contacts, or nobody"
NOTIFY = "are pushes sent to you when your contacts join?"
QUIET = "hours in which these pushes wait; needs `time_zone`"
DIGEST = f"after so many of these pushes within 24 hours, the others come together; 0 to {MOST_BEFORE_DIGEST}"


class QuietIn(Struct, rename={"start": "from", "end": "to"}):
    """Quiet hours; they may reach over midnight."""

    start: Clock | None = None
    end: Annotated[str, Meta(description="a time of day", examples=["08:00"])] | None = None


class PreferencesIn(Struct, kw_only=True):
    """What to change. Absent fields stay as they are."""

    announce: Annotated[str, Meta(description=ANNOUNCE, examples=["mutual"])] | None | UnsetType = UNSET
    discoverable: Annotated[str, Meta(description=DISCOVERABLE)] | None | UnsetType = UNSET
    notify: Annotated[bool, Meta(description=NOTIFY)] | None | UnsetType = UNSET
    quiet: Annotated[QuietIn, Meta(description=QUIET)] | None | UnsetType = UNSET
    time_zone: Annotated[str, Meta(description="an IANA name", examples=["Europe/Berlin"])] | None | UnsetType = UNSET
    digest: Annotated[int, Meta(description=DIGEST)] | None | UnsetType = UNSET
    locale: Annotated[str, Meta(description="your language", examples=["de"])] | None | UnsetType = UNSET


class QuietOut(Struct, rename={"start": "from", "end": "to"}):
    """Quiet hours."""

    start: Clock
    end: Annotated[str, Meta(description="a time of day", examples=["08:00"])]


class PreferencesOut(Struct, kw_only=True):
    """What holds for you: your own choice, else the application's."""

    announce: Annotated[Audience, Meta(description=ANNOUNCE)]
    discoverable: Annotated[Audience, Meta(description=DISCOVERABLE)]
    notify: Annotated[bool, Meta(description=NOTIFY, examples=[True])]
    quiet: Annotated[QuietOut, Meta(description=QUIET)] | None
    time_zone: Annotated[str, Meta(examples=["Europe/Berlin"])] | None
    digest: Annotated[int, Meta(description=DIGEST, examples=[5])]
    locale: Annotated[str, Meta(examples=["de"])] | None


def chosen_in(given: PreferencesIn) -> dict[str, Any]:
    """The values of a request, as core reads them."""
    values = {name: value for name, value in asdict(given).items() if value is not UNSET}
    if isinstance(values.get("quiet"), QuietIn):
        values["quiet"] = values["quiet"].start or "", values["quiet"].end or ""
    return values


def preferences_out(preferences: Preferences) -> PreferencesOut:
    """A user's preferences for an answer."""
    return PreferencesOut(**asdict(preferences) | {"quiet": _quiet_out(preferences.quiet)})


def _quiet_out(quiet: Quiet | None) -> QuietOut | None:
    return QuietOut(clock(quiet.start), clock(quiet.end)) if quiet else None
