"""A full upload the first time, differences afterwards.

    Plan               what a sync would do, and why
    Synced             what it did
    planning(…)        the calls that find out
    syncing(…)         the calls that do it

The order of things makes every moment safe to be killed in:

1. The server's book is compared with what the state file says. Where they differ somebody else has changed it: full
   upload.
2. The state file is marked: an upload has begun.
3. The upload.
4. The state file is written anew, without the mark.

Whoever comes after a kill finds the mark, or no file, or the old file and a server that was not touched. So all that a
lost step can cause is one more full upload, which changes nothing that is right.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from . import calls, changes, errors, state, uploads
from .calls import App, Call, Entry
from .changes import Book, Difference
from .model import Contact, Rejected, Removal, Report
from .state import Owner, State
from .uploads import PART_SIZE, Progress

T = TypeVar("T")
Steps = Generator[Call[Any], Any, T]
Reasons = dict[str, tuple[str, tuple[str, ...]]]  # name and reasons, by phone
FULL_REQUESTED = "a full upload was asked for"
DRIFT = "the server's book is not as the last sync left it"
ALL_CHANGED = "no contact is as it was in the last sync"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do.

    full         why the whole book would be uploaded; "" if only what changed
    difference   from the server's book to the contacts now
    """

    full: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did to the server's book, counted by contact.

    full       why the whole book was uploaded; "" if only what changed
    rejected   who the server does not take; until they change they are not offered again, except in a full upload
    """

    full: str
    added: int
    renamed: int
    removed: int
    unchanged: int
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Job:
    """One sync: the contacts now, where their book is, and whether those who are missing stay in it."""

    contacts: Book
    path: Path
    owner: Owner
    keep: bool
    progress: Progress | None

    @property
    def device(self) -> str | None:
        return self.owner.device or None

    def wanted(self, current: Book) -> dict[str, str]:
        """What the book is to be, where it was `there`."""
        return {**current, **self.contacts} if self.keep else dict(self.contacts)

    def done(self, full: str, wanted: Book, change: Difference, rejected: Reasons) -> Synced:
        """Everything is uploaded."""
        refused = tuple(
            Rejected(Contact(name, phone), position, rejected[phone][1])
            for position, (phone, name) in enumerate(wanted.items())
            if phone in rejected
        )
        added, renamed, removed = len(change.added), len(change.renamed), len(change.removed)
        unchanged = len(wanted) - len(refused) - added - renamed
        return Synced(full, added, renamed, removed, unchanged, refused)


def plan_steps(
    contacts: Iterable[Contact],
    path: Path,
    url: str,
    app: App,
    *,
    device: str | None = None,
    full: bool = False,
    keep: bool = False,
) -> Steps[Plan]:
    """Find out what a sync would do; nothing is changed, here or there."""
    wanted = changes.names_by_phone(contacts)
    owner = yield from book_owner(url, app, device)
    saved, why = load_state(path, owner, full)
    book = yield calls.get_address_book(device)
    saved, why = usable_state(saved, why, book, wanted)
    current = saved.contacts if saved else changes.names_by_phone(book)
    wanted = {**current, **wanted} if keep else wanted
    return Plan(why, changes.difference(current, without_known_rejections(wanted, saved) if saved else wanted))


def sync_steps(
    contacts: Iterable[Contact],
    path: Path,
    url: str,
    app: App,
    *,
    device: str | None = None,
    check: bool = True,
    full: bool = False,
    keep: bool = False,
    allow_empty: bool = False,
    progress: Progress | None = None,
) -> Steps[Synced]:
    """Make the server's book what the contacts are now; with `keep` nobody is removed."""
    wanted = changes.names_by_phone(contacts)
    if not wanted and not allow_empty:
        raise errors.EmptyBook("there is no contact at all; that empties the server's book only with allow_empty")
    owner = yield from book_owner(url, app, device)
    saved, why = load_state(path, owner, full)
    book = None
    if saved and check:
        book = yield calls.get_address_book(device)
    saved, why = usable_state(saved, why, book, wanted)
    job = Job(wanted, path, owner, keep, progress)
    if saved:
        synced = yield from upload_changes(job, saved)
        if synced:
            return synced
        book, why = None, DRIFT
    return (yield from upload_all(job, why, book))


def book_owner(url: str, app: App, device: str | None) -> Steps[Owner]:
    """Whose book it is: that of whoever is signed in."""
    session = yield calls.get_session()
    return Owner(url, app.id, session.user_id, device or "")


def load_state(path: Path, owner: Owner, full: bool) -> tuple[State | None, str]:
    """What the state file says of the book, or why a full upload is due."""
    return (None, FULL_REQUESTED) if full else state.load(path, owner)


def usable_state(
    saved: State | None, why: str, book: Iterable[Contact] | None, wanted: Book
) -> tuple[State | None, str]:
    """What is remembered, if a difference from it may be uploaded.

    Where no contact is as it was, something may be wrong with all of them: an app that writes numbers in another way,
    say. A full upload in which no contact is accepted leaves the server's book alone; a difference would empty it.
    """
    if saved and book is not None and not changes.matches(book, saved.contacts, saved.size):
        return None, DRIFT
    if saved and saved.contacts and wanted and not wanted.items() & saved.contacts.items():
        return None, ALL_CHANGED
    return saved, why


def without_known_rejections(wanted: Book, saved: State) -> dict[str, str]:
    """The contacts without those that were rejected, and have not changed since."""
    return {phone: name for phone, name in wanted.items() if saved.rejected.get(phone, ("", ()))[0] != name}


# ── all, or what changed ─────────────────────────────────────────────────────────────────────────────────────────────


def upload_all(job: Job, why: str, book: Iterable[Contact] | None) -> Steps[Synced]:
    """Replace the server's book. Then families are told once more, to learn how many numbers they are."""
    before = changes.names_by_phone(book if book is not None else (yield calls.get_address_book(job.device)))
    state.save(job.path, State(job.owner, pending=True))
    wanted = job.wanted(before)
    entries = [Contact(name, phone) for phone, name in wanted.items()]
    report = yield from uploads.upload(entries, force=True, device=job.device, progress=job.progress)
    rejected = rejections(report)
    now = {phone: name for phone, name in wanted.items() if phone not in rejected}
    if wanted and not now:
        raise errors.NothingAccepted(report)
    similar = changes.similar_phones(now)
    size = sum(changes.last_digits(phone) not in similar for phone in now)
    for part in batches(changes.grouped_entries(now, similar)):
        size += (yield calls.upload_address_book(part, force=False, device=job.device)).created
    state.save(job.path, State(job.owner, now, rejected, size))
    return job.done(why, wanted, changes.difference(before, now), rejected)


def upload_changes(job: Job, saved: State) -> Steps[Synced | None]:
    """Upload the difference; None if the server's counts show that its book was another one."""
    wanted = job.wanted(saved.contacts)
    now = without_known_rejections(wanted, saved)
    change = changes.difference(saved.contacts, now)
    still_rejected = {phone: why for phone, why in saved.rejected.items() if phone in wanted and phone not in now}
    if not change:
        return job.done("", wanted, change, still_rejected)
    similar = changes.similar_phones(saved.contacts, now)
    single = changes.single_entries(change, similar)
    changed_phones = [one.phone for one in (*change.added, *change.renamed, *change.removed)]
    state.save(job.path, replace(saved, pending=True))
    try:
        report = yield from uploads.upload(single, device=job.device, progress=job.progress) if single else nothing()
    except errors.Refused as error:
        if error.applied is None and not isinstance(error, errors.ServerTrouble):
            state.save(job.path, saved)  # nothing has happened, and it is known that nothing has
        raise
    rejected = rejections(report)
    # A new name that is not taken leaves the old one there; in a full upload the contact would be gone.
    removals: list[Entry] = [Removal(phone) for phone in rejected if phone in saved.contacts]
    if removals:
        report = uploads.combined(
            report, (yield calls.upload_address_book(removals, force=False, device=job.device)), 0
        )
    if not counts_match(report, single, rejected, saved):
        return None
    for part in batches(changes.grouped_entries(now, similar, changed_phones)):
        report = uploads.combined(report, (yield calls.upload_address_book(part, force=False, device=job.device)), 0)
    rejected = still_rejected | rejections(report)
    accepted = {phone: name for phone, name in now.items() if phone not in rejected}
    size = saved.size + report.created - report.deleted
    state.save(job.path, State(job.owner, accepted, rejected, size))
    return job.done("", wanted, changes.difference(saved.contacts, accepted), rejected)


def nothing() -> Steps[Report]:
    """No upload at all."""
    yield from ()
    return Report()


def counts_match(report: Report, single: list[Entry], rejected: Reasons, saved: State) -> bool:
    """Those without kin are each one number: new if we did not know it, and there if we did."""
    added = sum(isinstance(one, Contact) and one.phone not in saved.contacts for one in single)
    removed = sum(isinstance(one, Removal) for one in single)
    lost = sum(phone in saved.contacts for phone in rejected)
    return report.created == added - (len(rejected) - lost) and report.deleted == removed + lost


def rejections(report: Report) -> Reasons:
    """Who was rejected, and why."""
    return {one.entry.phone: (one.entry.name, one.reasons) for one in report.rejected if isinstance(one.entry, Contact)}


def batches(families: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    """Families in as few uploads as may be; one family is never split."""
    part: list[Entry] = []
    for family in families:
        if part and len(part) + len(family) > PART_SIZE:
            yield part
            part = []
        part += family
    if part:
        yield part
