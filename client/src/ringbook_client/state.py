"""The state file of a sync: what the server held after the last sync. Only its owner can read it.

Owner          the user and device whose address book it describes, and the server
State          what the server holds
load, save     read and write the file
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import files

VERSION = 1
# The reasons for a full upload, as users see them.
FIRST_SYNC = "this is the first sync"
OTHER_VERSION = "the state file has another version"
UNREADABLE = "the state file cannot be read"
OTHER_BOOK = "the state file describes another address book"
INTERRUPTED = "the last sync was interrupted"


@dataclass(frozen=True, slots=True)
class Owner:
    """Identifies one address book. A state with another owner is not used."""

    server: str
    app: int
    user: int | None
    device: str


@dataclass(frozen=True, slots=True)
class State:
    """What the server holds.

    contacts   the accepted contacts: names by phone
    rejected   the rejected contacts: name and reasons by phone
    size       the number of contacts on the server. It can be less than `contacts`: two spellings may be one number
    pending    an upload has begun, and its outcome is not known
    """

    owner: Owner
    contacts: dict[str, str] = field(default_factory=dict, repr=False)
    rejected: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    size: int = 0
    pending: bool = False


def load(path: Path, owner: Owner) -> tuple[State | None, str]:
    """The state of this address book, or None and the reason why there is none."""
    try:
        text = files.read(path)
        if text is None:
            return None, FIRST_SYNC
        given = json.loads(text)
        if given.pop("version") != VERSION:
            return None, OTHER_VERSION
        rejected = {phone: (name, tuple(why)) for phone, (name, why) in given["rejected"].items()}
        state = State(Owner(**given.pop("owner")), **{**given, "rejected": rejected})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, UNREADABLE
    if state.owner != owner:
        return None, OTHER_BOOK
    if state.pending:
        return None, INTERRUPTED
    return state, ""


def save(path: Path, state: State) -> None:
    """Replace the state file atomically."""
    given = {name: getattr(state, name) for name in ("contacts", "rejected", "size", "pending")}
    files.write(path, json.dumps({"version": VERSION, "owner": asdict(state.owner), **given}))
