"""What a sync remembers from one run to the next: a small file, which only its owner may read.

Owner      whose book, on which server
State      what the server holds, as far as we know
load, save, forget
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import files

VERSION = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """One book: a state that speaks of another one is no help."""

    server: str
    app: int
    user: int | None
    device: str


@dataclass(frozen=True, slots=True)
class State:
    """What the server holds.

    contacts   name by phone, all that it accepted
    rejected   what it did not accept: name and reasons by phone
    size       how many contacts that makes there, where two spellings may be one number
    pending    an upload was begun, and its end is not known
    """

    owner: Owner
    contacts: dict[str, str] = field(default_factory=dict, repr=False)
    rejected: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    size: int = 0
    pending: bool = False


def load(path: Path, owner: Owner) -> tuple[State | None, str]:
    """What is remembered of this book, or None and why there is nothing."""
    try:
        text = files.read(path)
        if text is None:
            return None, "this is the first sync"
        given = json.loads(text)
        if given.pop("version") != VERSION:
            return None, "the state file is of another version"
        rejected = {phone: (name, tuple(why)) for phone, (name, why) in given["rejected"].items()}
        state = State(Owner(**given.pop("owner")), **{**given, "rejected": rejected})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "the state file cannot be read"
    if state.owner != owner:
        return None, "the state file is about another book"
    if state.pending:
        return None, "the sync before did not come to its end"
    return state, ""


def save(path: Path, state: State) -> None:
    """Remember this instead of what was there, whole or not at all."""
    given = {name: getattr(state, name) for name in ("contacts", "rejected", "size", "pending")}
    files.write(path, json.dumps({"version": VERSION, "owner": asdict(state.owner), **given}))


def forget(path: Path) -> None:
    """The next sync is a first one."""
    files.remove(path)
