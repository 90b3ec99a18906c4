"""Keeps the server's address book equal to a list of contacts: a full upload the first time, then only the changes.

    Plan               what a sync would do, and why
    Synced             what a sync did
    plan_steps(…)      the calls of a dry run
    sync_steps(…)      the calls of a sync

A sync does these steps in this order, so that the program can be killed at any moment:

1. Compare the server's address book with the state file. If they differ, another program has changed the address book:
   a full upload is due.
2. Mark the state file as pending: an upload has begun.
3. Upload.
4. Write the new state file, without the mark.

After a kill, the next sync finds a pending state file, no state file, or the old state file and an unchanged server. In
the worst case it does one unnecessary full upload, which changes nothing that is correct.
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
Rejections = dict[str, tuple[str, tuple[str, ...]]]  # name and reasons, by phone
FULL_REQUESTED = "a full upload was requested"
DRIFT = "the server's address book has changed since the last sync"
ALL_CHANGED = "every contact has changed since the last sync"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do.

    full         the reason for a full upload; "" if only changes would be uploaded
    difference   from the server's address book to the contacts
    """

    full: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did to the server's address book. The numbers count contacts.

    full        the reason for a full upload; "" if only changes were uploaded
    respelled   contacts whose number only has another spelling: they are neither in `added` nor in `removed`
    rejected    contacts that the server does not accept. They are not uploaded again until they change, except in a
                full upload
    """

    full: str
    added: int
    renamed: int
    removed: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    respelled: int = 0


@dataclass(frozen=True)
class Job:
    """The input of one sync. `keep`: contacts of the server that are not in `contacts` stay."""

    contacts: Book
    path: Path
    owner: Owner
    keep: bool
    progress: Progress | None

    @property
    def device(self) -> str | None:
        return self.owner.device or None

    def target(self, current: Book) -> dict[str, str]:
        """What the address book should become if it is `current` now."""
        return {**current, **self.contacts} if self.keep else dict(self.contacts)

    def result(self, full: str, target: Book, change: Difference, rejections: Rejections) -> Synced:
        """The result, once the target is uploaded."""
        rejected = tuple(
            Rejected(Contact(name, phone), position, rejections[phone][1])
            for position, (phone, name) in enumerate(target.items())
            if phone in rejections
        )
        shown, respelled = changes.without_respelled(change)
        unchanged = len(target) - len(rejected) - len(change.added) - len(change.renamed)
        counts = len(shown.added), len(shown.renamed), len(shown.removed), unchanged
        return Synced(full, *counts, rejected, len(respelled))


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
    """Find out what a sync would do. Changes neither the server nor the state file."""
    target = changes.names_by_phone(contacts)
    owner = yield from book_owner(url, app, device)
    saved, reason = load_state(path, owner, full)
    server_book = yield calls.get_address_book(device)
    saved, reason = usable_state(saved, reason, server_book, target)
    current = saved.contacts if saved else changes.names_by_phone(server_book)
    target = {**current, **target} if keep else target
    return Plan(reason, changes.difference(current, without_known_rejections(target, saved) if saved else target))


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
    """Make the server's address book equal to the contacts. With `keep`, no contact is removed."""
    target = changes.names_by_phone(contacts)
    if not target and not allow_empty:
        raise errors.EmptyBook("there are no contacts; pass allow_empty=True to empty the server's address book")
    owner = yield from book_owner(url, app, device)
    saved, reason = load_state(path, owner, full)
    server_book = None
    if saved and check:
        server_book = yield calls.get_address_book(device)
    saved, reason = usable_state(saved, reason, server_book, target)
    job = Job(target, path, owner, keep, progress)
    if saved:
        synced = yield from upload_changes(job, saved)
        if synced:
            return synced
        server_book, reason = None, DRIFT
    return (yield from upload_all(job, reason, server_book))


def book_owner(url: str, app: App, device: str | None) -> Steps[Owner]:
    """The owner of the address book: the user of the current session."""
    session = yield calls.get_session()
    return Owner(url, app.id, session.user_id, device or "")


def load_state(path: Path, owner: Owner, full: bool) -> tuple[State | None, str]:
    """The saved state of the address book, or None and the reason for a full upload."""
    return (None, FULL_REQUESTED) if full else state.load(path, owner)


def usable_state(
    saved: State | None, reason: str, server_book: Iterable[Contact] | None, target: Book
) -> tuple[State | None, str]:
    """The saved state, if it is safe to upload only the changes from it; else None and the reason for a full upload.

    If every contact has changed, the contacts themselves may be damaged: for example, an app may write all numbers in
    another form. If the server accepts none of them, a full upload leaves its address book unchanged, but an upload of
    the changes would empty it.
    """
    if saved and server_book is not None and not changes.matches(server_book, saved.contacts, saved.size):
        return None, DRIFT
    if saved and saved.contacts and target and not target.items() & saved.contacts.items():
        return None, ALL_CHANGED
    return saved, reason


def without_known_rejections(target: Book, saved: State) -> dict[str, str]:
    """The contacts without those that the server rejected before and that have not changed since."""
    return {phone: name for phone, name in target.items() if saved.rejected.get(phone, ("", ()))[0] != name}


# ── a full upload, or only changes ───────────────────────────────────────────────────────────────────────────────────


def upload_all(job: Job, reason: str, server_book: Iterable[Contact] | None) -> Steps[Synced]:
    """Replace the server's address book. Similar phones are uploaded once more, to learn how many numbers they are."""
    before = changes.names_by_phone(
        server_book if server_book is not None else (yield calls.get_address_book(job.device))
    )
    state.save(job.path, State(job.owner, pending=True))
    target = job.target(before)
    entries = [Contact(name, phone) for phone, name in target.items()]
    report = yield from uploads.upload(entries, force=True, device=job.device, progress=job.progress)
    rejected = rejections(report)
    accepted = {phone: name for phone, name in target.items() if phone not in rejected}
    if target and not accepted:
        raise errors.NothingAccepted(report)
    similar = changes.similar_phones(accepted)
    size = sum(changes.last_digits(phone) not in similar for phone in accepted)
    for batch in batches(changes.grouped_entries(accepted, similar)):
        size += (yield calls.upload_address_book(batch, force=False, device=job.device)).created
    state.save(job.path, State(job.owner, accepted, rejected, size))
    return job.result(reason, target, changes.difference(before, accepted), rejected)


def upload_changes(job: Job, saved: State) -> Steps[Synced | None]:
    """Upload the changes since the saved state; None if the report shows that the server's address book was another."""
    target = job.target(saved.contacts)
    offered = without_known_rejections(target, saved)
    change = changes.difference(saved.contacts, offered)
    still_rejected = {phone: why for phone, why in saved.rejected.items() if phone in target and phone not in offered}
    if not change:
        return job.result("", target, change, still_rejected)
    similar = changes.similar_phones(saved.contacts, offered)
    singles = changes.single_entries(change, similar)
    changed_phones = [contact.phone for contact in (*change.added, *change.renamed, *change.removed)]
    state.save(job.path, replace(saved, pending=True))
    try:
        report = (
            yield from uploads.upload(singles, device=job.device, progress=job.progress) if singles else no_upload()
        )
    except errors.Refused as error:
        if error.applied is None and not isinstance(error, errors.ServerTrouble):
            state.save(job.path, saved)  # the server refused the first part, so nothing has changed
        raise
    rejected = rejections(report)
    # If the server rejects a new name it keeps the contact with the old one. A full upload would remove the contact.
    removals: list[Entry] = [Removal(phone) for phone in rejected if phone in saved.contacts]
    if removals:
        removed = yield calls.upload_address_book(removals, force=False, device=job.device)
        report = uploads.combined(report, removed, 0)
    if not counts_match(report, singles, rejected, saved):
        return None
    for batch in batches(changes.grouped_entries(offered, similar, changed_phones)):
        group_report = yield calls.upload_address_book(batch, force=False, device=job.device)
        report = uploads.combined(report, group_report, 0)
    rejected = still_rejected | rejections(report)
    accepted = {phone: name for phone, name in offered.items() if phone not in rejected}
    size = saved.size + report.created - report.deleted
    state.save(job.path, State(job.owner, accepted, rejected, size))
    return job.result("", target, changes.difference(saved.contacts, accepted), rejected)


def no_upload() -> Steps[Report]:
    """An upload without entries, which sends no request."""
    yield from ()
    return Report()


def counts_match(report: Report, singles: list[Entry], rejected: Rejections, saved: State) -> bool:
    """Whether the report has the counts that the saved state predicts.

    Each single entry is one number: the server creates it if the saved state does not have it, else it updates or
    deletes it.
    """
    added = sum(isinstance(entry, Contact) and entry.phone not in saved.contacts for entry in singles)
    removed = sum(isinstance(entry, Removal) for entry in singles)
    rejected_and_removed = sum(phone in saved.contacts for phone in rejected)
    rejected_and_new = len(rejected) - rejected_and_removed
    return report.created == added - rejected_and_new and report.deleted == removed + rejected_and_removed


def rejections(report: Report) -> Rejections:
    """The rejected contacts: name and reasons by phone."""
    return {one.entry.phone: (one.entry.name, one.reasons) for one in report.rejected if isinstance(one.entry, Contact)}


def batches(groups: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    """Join groups of entries into as few uploads as possible. No group is split."""
    batch: list[Entry] = []
    for group in groups:
        if batch and len(batch) + len(group) > PART_SIZE:
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch
