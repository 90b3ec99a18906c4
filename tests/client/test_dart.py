"""client/dart/ringbook_contacts.dart on a Dart VM, against a running server.

`phone.dart` runs the phones. A proxy in front of the server records the requests and injects faults.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from asking import PASSWORD, Person, person
from client.faults import CUT, DONE, DROP, LOSE, PASS, SILENCE, STALL, Fault, Proxy, proxying
from client.vm import compiled, dart
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers import Application, Databases, application, eventually, serve
from talking import Ended, Talk, talking
from verify.certificates import PHONE, PROJECT, Key, claims, publishing

SOURCE = Path(__file__).with_name("phone.dart")
KEY, STRANGER = Key("key-1"), Key("key-2")
ANN, BOB, CARA, DORA = (f"+1 202-555-{n:04}" for n in range(150, 154))


# ── the phones ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Threw(Exception):
    """An exception that a call of the Dart file threw."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__(details)
        self.kind: str = details["threw"]
        self.text: str = details["text"]
        self.details = details


@dataclass(frozen=True)
class Dart:
    """The phones of all users, in one process of the VM."""

    talk: Talk

    def call(self, phone: str, call: str, **arguments: Any) -> Any:
        """Make a call and return its result; an exception is raised as `Threw`."""
        reply = self.talk.ask(phone=phone, call=call, **arguments)
        if "threw" in reply:
            raise Threw(reply)
        return reply["answer"]


@contextmanager
def running_dart(program: Path) -> Iterator[Dart]:
    with talking([dart(), program]) as talk:
        yield Dart(talk)


@dataclass(frozen=True)
class World:
    """A server, the proxy in front of it, the VM, and a folder for the files of the phones."""

    proxy: Proxy
    dart: Dart
    program: Path
    folder: Path
    with_firebase: Application

    @cached_property
    def shared_phone(self) -> "Phone":
        """A phone that several examples of one test share, so that they sign up one user only."""
        return self.phone(self.new_user())

    def phone(self, who: Person, **options: Any) -> "Phone":
        """A new phone of a user, with the app just installed."""
        return Phone(self, who, self.folder / f"{uuid.uuid4().hex}.json", uuid.uuid4().hex).started(**options)

    def new_user(self, app: Application | None = None, **profile: Any) -> Person:
        return person(self.proxy.server, app, **profile)


@dataclass(frozen=True)
class Phone:
    """A phone with the app. `file` is the snapshot file, `udid` identifies the device."""

    world: World
    owner: Person
    file: Path
    udid: str

    def started(self, dart: Dart | None = None, **options: Any) -> "Phone":
        """Start or restart the app, with options of `start` in phone.dart."""
        app = self.owner.app
        defaults = {
            "server": self.world.proxy.url,
            "application_id": app.application_id,
            "auth_key": app.auth_key,
            "udid": self.udid,
            "file": str(self.file),
            "credentials": [["login", self.owner.login, PASSWORD]],
        }
        (dart or self.world.dart).call(self.udid, "start", **defaults | options)
        return self

    def call(self, call: str, **arguments: Any) -> Any:
        return self.world.dart.call(self.udid, call, **arguments)

    def sync(self, *contacts: tuple[str, str], **options: Any) -> Any:
        """Sync a phone with these contacts (name, number). Clears the list of received requests first."""
        self.world.proxy.received.clear()
        return self.call("sync", contacts=as_json(contacts), **options)

    @property
    def book(self) -> list[tuple[str, str]]:
        """(name, number) of each contact in this device's address book on the server."""
        return [(name, phone) for phone, name in self.owner.book(self.udid)]


def as_json(contacts: Any) -> list[dict[str, str]]:
    return [{"name": name, "phone": phone} for name, phone in contacts]


@pytest.fixture(scope="module")
def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dart")
    program = folder / "phone.dill"
    compiled(SOURCE, program)
    with (
        publishing(KEY) as source,
        databases.fresh("sqlite") as url,
        serve(url, folder, firebase_certificates_url=source.url) as running,
        proxying(running) as proxy,
        running_dart(program) as vm,
    ):
        yield World(proxy, vm, program, folder, application(url, firebase_project_id=PROJECT))


@pytest.fixture(autouse=True)
def no_faults(world: World) -> None:
    """Remove the faults of earlier tests."""
    world.proxy.clear()


# ── uploads ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_upload_is_the_whole_book_with_force_and_udid(world: World) -> None:
    phone = world.phone(world.new_user())
    result = phone.sync(("Ann", ANN), ("Bob", BOB))
    assert result == {"sent": "wholeBook", "counts": [2, 0, 0], "rejected": []}
    assert world.proxy.uploads == [{"contacts": as_json([("Ann", ANN), ("Bob", BOB)]), "force": 1, "udid": phone.udid}]
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.owner.book() == []


def test_later_uploads_have_only_changes_removals_first(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    result = phone.sync(("Anna", ANN), ("Cara", CARA))
    assert result == {"sent": "changes", "counts": [1, 1, 1], "rejected": []}
    removal = {"phone": BOB, "destroy": 1}
    assert world.proxy.uploads == [
        {"contacts": [removal, *as_json([("Anna", ANN), ("Cara", CARA)])], "force": 0, "udid": phone.udid}
    ]
    assert phone.book == [("Anna", ANN), ("Cara", CARA)]


def test_an_unchanged_book_sends_no_request(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN))
    assert phone.sync(("Ann", ANN))["sent"] == "nothing"
    assert world.proxy.received == []


def test_a_restart_keeps_the_snapshot_and_a_reinstall_uploads_the_whole_book(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.started()
    assert phone.sync(("Ann", ANN))["sent"] == "changes"
    phone.file.unlink()
    phone.started()
    assert phone.sync(("Cara", CARA)) == {"sent": "wholeBook", "counts": [1, 0, 1], "rejected": []}
    assert phone.book == [("Cara", CARA)]


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[]", "\x00\udcff", '{"version":2,"kept":{}}'])
def test_a_damaged_snapshot_counts_as_none(text: str, world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN))
    phone.file.write_bytes(text.encode(errors="surrogateescape"))
    assert phone.sync(("Ann", ANN))["sent"] == "wholeBook"
    assert phone.sync(("Ann", ANN))["sent"] == "nothing"


def test_the_snapshot_of_another_user_is_not_used(world: World) -> None:
    ann, bob = world.new_user(), world.new_user()
    phone = world.phone(ann)
    phone.sync(("Cara", CARA))
    replace(phone, owner=bob).started()
    assert phone.sync(("Cara", CARA))["sent"] == "wholeBook"
    assert replace(phone, owner=bob).book == [("Cara", CARA)]


def test_names_go_in_utf_8_and_ids_are_integers(world: World) -> None:
    friend = world.new_user(phone=DORA, external_id="81")
    phone = world.phone(world.new_user())
    phone.sync(("Зоя 👩‍👩‍👧", DORA), ("half of one: \ud83d", BOB))
    (upload,) = world.proxy.requests("POST", "/address_book")
    assert upload.headers["content-type"] == "application/json; charset=utf-8"
    assert phone.book == [("Зоя 👩‍👩‍👧", DORA), ("half of one: �", BOB)]
    assert phone.sync(("Зоя 👩‍👩‍👧", DORA), ("half of one: \ud83d", BOB))["sent"] == "nothing"
    (found,) = phone.call("registered")
    assert found["id"] == friend.id and isinstance(found["id"], int)
    assert (found["name"], found["phone"], found["external_id"]) == ("Зоя 👩‍👩‍👧", DORA, "81")
    assert found["text"] == f"RegisteredUser({friend.id})"


def test_a_rejected_contact_is_reported_once_and_the_others_are_accepted(world: World) -> None:
    phone = world.phone(world.new_user())
    short, nameless = ("Office", "12345"), ("  ", BOB)
    result = phone.sync(("Ann", ANN), short, nameless)
    assert result["counts"] == [2, 0, 0]
    assert result["rejected"] == [["Office", ["Length of 'phone' field should be min: 10 and max: 15."]]]
    assert phone.book == [("Ann", ANN), (BOB, BOB)]
    assert phone.sync(("Ann", ANN), short, nameless)["sent"] == "nothing"
    result = phone.sync(("Ann", ANN), ("The office", "12345"), nameless)
    assert (result["sent"], result["counts"], len(result["rejected"])) == ("changes", [0, 0, 0], 1)
    assert phone.sync(("Ann", ANN), nameless)["sent"] == "nothing"
    # A new name that is too long removes the contact: the phone no longer has the old name.
    result = phone.sync(("A" * 256, ANN), nameless)
    assert result["sent"] == "wholeBook" and phone.book == [(BOB, BOB)]


def test_a_book_that_the_server_kept_because_it_rejected_every_contact_can_be_emptied_later(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN))
    phone.sync(("A" * 256, ANN))
    assert phone.book == [("Ann", ANN)]
    assert phone.sync(allow_empty=True)["sent"] == "wholeBook"
    assert phone.book == []


def test_a_number_in_two_spellings_stays_until_both_are_removed(world: World) -> None:
    phone = world.phone(world.new_user())
    other = ANN.replace(" ", "").replace("-", "")
    both = [("Ann", ANN), ("Ann at work", other), ("Bob", BOB)]
    phone.sync(*both)
    assert phone.book == [("Ann at work", other), ("Bob", BOB)]
    assert phone.sync(*both)["sent"] == "nothing"
    phone.sync(both[0], both[2])
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    phone.sync(*both)
    phone.sync(both[1], both[2])
    assert phone.book == [("Ann at work", other), ("Bob", BOB)]
    assert phone.sync(both[0], both[2])["sent"] == "changes"
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    phone.sync(both[2])
    assert phone.book == [("Bob", BOB)]


# ── changes by other programs, and crashes ────────────────────────────────────────────────────────────────────────────


def test_a_check_finds_changes_by_another_program(world: World) -> None:
    phone = world.phone(world.new_user(), check_every=0)
    phone.sync(("Ann", ANN), ("Bob", BOB))
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"
    for change in ({"phone": ANN, "destroy": 1}, {"phone": CARA, "name": "Cara"}, {"phone": ANN, "name": "Annie"}):
        phone.owner.upload([change], udid=phone.udid)
        assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
        assert phone.book == [("Ann", ANN), ("Bob", BOB)]


@pytest.mark.parametrize("number, name", [(ANN, None), (CARA, "Cara"), (ANN, "Annie")])
def test_a_change_by_another_program_right_after_the_upload_leaves_no_snapshot(
    number: str, name: str | None, world: World
) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.file.unlink()
    world.proxy.fail(Fault(PASS, first=lambda: change_elsewhere(phone, number, name)), at="/address_book?")
    phone.call("sync", contacts=as_json([("Ann", ANN), ("Bob", BOB)]))
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


@pytest.mark.parametrize(
    "change", [{"phone": BOB, "destroy": 1}, {"phone": CARA, "name": "Cara"}, {"phone": ANN, "destroy": 1}]
)
def test_a_report_that_does_not_fit_the_snapshot_uploads_the_whole_book(change: dict[str, Any], world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.owner.upload([change], udid=phone.udid)
    assert phone.sync(("Anna", ANN), ("Cara", CARA))["sent"] == "wholeBook"
    assert phone.book == [("Anna", ANN), ("Cara", CARA)]


def test_after_a_crash_between_upload_and_snapshot_the_next_sync_corrects_the_book(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    with running_dart(world.program) as other:
        phone.started(other, crashes=True)
        with pytest.raises(Ended):
            other.call(phone.udid, "sync", contacts=as_json([("Ann", ANN), ("Cara", CARA)]))
    assert phone.book == [("Ann", ANN), ("Cara", CARA)]
    # Cara is removed before the app restarts, so neither the old snapshot nor the phone has her.
    phone.started()
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


def test_after_a_failed_upload_the_next_sync_uploads_the_whole_book(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN))
    world.proxy.fail(Fault(CUT), at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("sync", contacts=as_json([("Ann", ANN), ("Bob", BOB)]))
    assert failed.value.kind == "UnreachableException"
    assert len(world.proxy.uploads) == 1  # a closed connection is not retried
    assert phone.sync(("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Bob", BOB)]


def test_concurrent_syncs_run_one_after_the_other(world: World) -> None:
    phone = world.phone(world.new_user())
    books = [as_json([("Ann", ANN), ("Bob", BOB)]), as_json([("Bob", BOB), ("Cara", CARA)])]
    result = phone.call("sync twice at once", contacts=books)
    assert [one["sent"] for one in result] == ["wholeBook", "changes"]
    assert phone.book == [("Bob", BOB), ("Cara", CARA)]
    assert len(world.proxy.requests("POST", "/session")) == 1


SPELLINGS = [ANN, ANN.replace("-", " "), ANN.replace(" ", ""), BOB, BOB.replace(" ", ""), "12345"]
NAMES = ["Ann", "Bob", "x" * 256]
CONTACTS = st.dictionaries(st.sampled_from(SPELLINGS), st.sampled_from(NAMES), max_size=5)
CHANGE = st.tuples(st.sampled_from(SPELLINGS[:5]), st.sampled_from(["Mallory", None]))
STEPS = st.lists(
    st.tuples(CONTACTS, st.sampled_from([None, None, CUT, DROP]), st.none() | CHANGE), min_size=2, max_size=7
)


def expected_book(contacts: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The result of a full upload, by number: the last accepted spelling and name of each number."""
    digits = {phone: "".join(filter(str.isdigit, phone)) for phone in contacts}
    return {
        digits[phone]: (name, phone) for phone, name in contacts.items() if len(name) < 256 and len(digits[phone]) > 9
    }


@pytest.mark.parametrize("with_other_changes", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(steps=[({ANN: "Ann"}, None, None), ({ANN: "x" * 256}, None, None), ({}, None, None)])
@example(steps=[({BOB: "Bob"}, None, None), ({ANN: "Ann", SPELLINGS[1]: "Ann", BOB: "x" * 256}, None, None)])
@given(steps=STEPS)
def test_after_each_successful_sync_the_book_equals_the_phones_contacts(
    with_other_changes: bool, steps: list[Any], world: World
) -> None:
    """Random syncs with lost requests and answers and, if every sync checks the book, changes by another program."""
    phone = replace(world.shared_phone, file=world.folder / f"{uuid.uuid4().hex}.json", udid=uuid.uuid4().hex)
    phone.started(check_every=0 if with_other_changes else None)
    try:
        for contacts, fault, change in steps:
            if change and with_other_changes:
                change_elsewhere(phone, *change)
            world.proxy.fail(*[Fault(fault)] if fault else [], at="/address_book")
            sync_or_fail(phone, contacts, may_fail=fault is not None)
    finally:
        world.proxy.clear()
        phone.call("withdraw")  # a user has at most 20 books


def change_elsewhere(phone: Phone, number: str, name: str | None) -> None:
    """Another program adds a contact to the phone's address book, or removes one."""
    change = {"phone": number, "name": name} if name else {"phone": number, "destroy": 1}
    assert phone.owner.upload([change], udid=phone.udid).status == 200


def sync_or_fail(phone: Phone, contacts: dict[str, str], *, may_fail: bool) -> None:
    """After a sync, the address book equals the phone's contacts, unless a request or an answer was lost."""
    listed = as_json((name, number) for number, name in contacts.items())
    try:
        phone.call("sync", contacts=listed, allow_empty=True)
    except Threw as error:
        assert may_fail and error.kind == "UnreachableException"
        return
    expected = expected_book(contacts)
    if expected or not contacts:  # if the server rejects every contact, it keeps the old book
        assert sorted(phone.book) == sorted(expected.values())


# ── permissions and log-out ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shown", [None, "locked", [{"name": "Ann", "phone": ANN}, "locked"]])
def test_denied_or_unreadable_contacts_send_nothing(shown: Any, world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    world.proxy.clear()
    with pytest.raises(Threw) as failed:
        phone.call("sync", contacts=shown)
    assert failed.value.kind == "ContactsUnreadableException"
    assert world.proxy.received == [] and len(phone.book) == 2
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


def test_a_phone_without_contacts_empties_the_book_only_with_allow_empty(world: World) -> None:
    phone = world.phone(world.new_user())
    assert phone.sync()["sent"] == "nothing"
    phone.sync(("Ann", ANN))
    with pytest.raises(Threw) as failed:
        phone.sync()
    assert failed.value.kind == "ContactsEmptyException"
    assert world.proxy.received == [] and phone.book == [("Ann", ANN)]
    assert phone.sync(allow_empty=True) == {"sent": "changes", "counts": [0, 0, 1], "rejected": []}
    assert phone.book == []
    assert phone.sync()["sent"] == "nothing"


def test_withdraw_empties_only_this_devices_book(world: World) -> None:
    owner = world.new_user()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN), ("Bob", BOB))
    tablet.sync(("Ann", ANN))
    world.proxy.clear()
    phone.call("withdraw")
    assert world.proxy.uploads == [{"contacts": [], "force": 1, "udid": phone.udid}]
    assert (phone.book, tablet.book) == ([], [("Ann", ANN)])
    assert not phone.file.exists()
    assert phone.sync(("Bob", BOB))["sent"] == "wholeBook"


def test_a_failed_withdraw_leaves_no_snapshot(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.sync(("Ann", ANN))
    world.proxy.fail(Fault(CUT), at="/address_book")
    with pytest.raises(Threw):
        phone.call("withdraw")
    assert not phone.file.exists()
    phone.call("withdraw")
    assert phone.book == []


def test_log_out_empties_this_devices_book_and_ends_its_pushes_and_the_session(world: World) -> None:
    owner = world.new_user()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN))
    tablet.sync(("Ann", ANN))
    ids = [phone.call("subscribe", channel=channel, token="a" * 64) for channel in ("fcm", "apns", "fcm")]
    kept = tablet.call("subscribe", channel="fcm", token="b" * 64)
    assert ids[0] == ids[2] and len({*ids, kept}) == 3
    world.proxy.clear()
    phone.call("log out")
    assert (phone.book, tablet.book) == ([], [("Ann", ANN)])
    assert [one["subscription"]["id"] for one in owner.ask("GET", "/subscriptions").json] == [kept]
    (ended,) = world.proxy.requests("DELETE", "/session")
    assert ended.status == 200
    assert person_with(owner, ended.headers["cb-token"]).ask("GET", "/session").status == 401


def person_with(owner: Person, token: str) -> Person:
    return replace(owner, token=token)


def test_two_phones_of_one_user_have_separate_books(world: World) -> None:
    owner = world.new_user()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN))
    tablet.sync(("Bob", BOB))
    phone.sync(("Ann", ANN), ("Cara", CARA))
    tablet.sync(("Dora", DORA))
    assert phone.book == [("Ann", ANN), ("Cara", CARA)]
    assert tablet.book == [("Dora", DORA)]


@pytest.mark.parametrize("udid", ["", " ", "undefined", "null", "x" * 65])
def test_an_invalid_udid_is_refused(udid: str, world: World) -> None:
    with pytest.raises(Threw) as failed:
        world.phone(world.new_user(), udid=udid)
    assert failed.value.kind == "ArgumentError"


def test_http_needs_allow_http(world: World) -> None:
    with pytest.raises(Threw) as failed:
        world.phone(world.new_user(), allow_http=False)
    assert failed.value.kind == "ArgumentError" and "https" in failed.value.text


# ── who is new, and who joined ───────────────────────────────────────────────────────────────────────────────────────


def test_a_cursor_finds_only_who_is_new(world: World) -> None:
    app = application(world.proxy.server.database_url, "since")
    phone = world.phone(world.new_user(app))
    phone.sync(("Ann", ANN), ("Bob", BOB))
    ann = world.new_user(app, phone=ANN)
    first = phone.call("registered since")
    assert (first["users"], first["text"]) == ([[ann.id, "Ann"]], "NewlyRegistered(1 users)")
    assert phone.call("registered since", cursor=first["next"])["users"] == []
    bob = world.new_user(app, phone=BOB)
    assert phone.call("registered since", cursor=first["next"])["users"] == [[bob.id, "Bob"]]
    assert len(phone.call("registered since", cursor="unknown")["users"]) == 2


def test_who_joined_is_listed_followed_and_marked_as_seen(world: World) -> None:
    app = application(world.proxy.server.database_url, "joined", contact_joined_enabled="true")
    phone = world.phone(world.new_user(app))
    phone.sync(("Ann", ANN), ("Bob", BOB))
    assert phone.call("joined")["items"] == []
    ann = world.new_user(app, phone=ANN, full_name="Ann Other")
    eventually(lambda: bool(phone.call("joined")["items"]), "nobody is listed")
    page = phone.call("joined")
    assert page["items"] == [[1, ann.id, "Ann", ANN, "Ann Other", True, False, "JoinedContact(1)"]]
    assert (page["unseen"], page["text"]) == (1, "JoinedPage(1 items, 1 unseen)")
    bob = world.new_user(app, phone=BOB)
    eventually(lambda: bool(phone.call("joined", after=page["next"])["items"]), "nobody is listed")
    assert [one[1] for one in phone.call("joined", after=page["next"])["items"]] == [bob.id]
    assert [one[1] for one in phone.call("joined", limit=1)["items"]] == [bob.id]
    assert [one[1] for one in phone.call("joined", before=2)["items"]] == [ann.id]
    assert phone.call("mark seen", up_to=2) == 0
    assert [one[6] for one in phone.call("joined")["items"]] == [True, True]


def test_settings_are_shown_and_changed(world: World) -> None:
    phone = world.phone(world.new_user())
    before = phone.call("joined settings")
    assert before | {"digest": 0} == {
        "announce": "everyone",
        "discoverable": "everyone",
        "notify": True,
        "quiet": ["", ""],
        "time_zone": None,
        "digest": 0,
        "locale": None,
    }
    given = {"announce": "mutual", "quiet": ["22:00", "08:00"], "time_zone": "Europe/Berlin", "locale": "de"}
    assert phone.call("change joined settings", changes=given) == before | given
    removed = {"quiet": ["", ""], "time_zone": "", "locale": "", "notify": False, "digest": 3}
    changed = before | {"announce": "mutual", "notify": False, "digest": 3}
    assert phone.call("change joined settings", changes=removed) == changed
    with pytest.raises(Threw) as refused:
        phone.call("change joined settings", changes={"quiet": ["22:00", "08:00"]})
    assert (refused.value.kind, refused.value.details["status"]) == ("RefusedException", 422)
    assert phone.call("joined settings") == changed


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_firebase_id_token_opens_the_session(world: World) -> None:
    token = KEY.token(claims(int(time.time())))
    phone = world.phone(world.new_user(world.with_firebase), credentials=[["firebase", PROJECT, token]])
    assert phone.sync(("Ann", ANN))["sent"] == "wholeBook"
    phone.call("external id", id="81")
    friend = world.phone(world.new_user(world.with_firebase))
    friend.sync(("Me", PHONE))
    assert [(one["id"], one["external_id"]) for one in friend.call("registered")] == [(phone.call("user"), "81")]


def test_an_expired_session_is_renewed_once_and_the_call_repeated(world: World) -> None:
    owner = world.new_user()
    phone = world.phone(owner)
    phone.sync(("Ann", ANN))
    assert owner.ask("DELETE", "/session/list").status == 200
    world.proxy.clear()
    assert phone.call("registered twice at once") == [0, 0]
    assert [one.status for one in world.proxy.requests("GET", "/address_book/registered_users")].count(401) == 2
    assert len(world.proxy.requests("POST", "/session")) == 1


def test_a_late_401_does_not_end_the_new_session(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    path = "/address_book/registered_users"
    late = Fault(status=401, until=lambda: len(world.proxy.requests("GET", path)) == 3)
    world.proxy.fail(Fault(status=401), late, at=path)
    assert phone.call("registered twice at once") == [0, 0]
    assert len(world.proxy.requests("POST", "/session")) == 1
    assert len(world.proxy.requests("GET", path)) == 4


def test_a_second_401_throws(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    world.proxy.fail(*[Fault(status=401)] * 3, at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.kind == "SignInRefusedException"
    assert [one.path.partition("?")[0] for one in world.proxy.received] == [
        "/address_book/registered_users",
        "/session",
        "/address_book/registered_users",
    ]


def test_wrong_credentials_throw_the_servers_reasons_and_are_not_retried(world: World) -> None:
    owner = world.new_user(world.with_firebase)
    now = int(time.time())
    wrong = {
        "expired": ["firebase", PROJECT, KEY.token(claims(now, exp=now - 120))],
        "its key is unknown": ["firebase", PROJECT, STRANGER.token(claims(now))],
        "Unauthorized": ["login", owner.login, "something-else"],
    }
    for why, credentials in wrong.items():
        phone = world.phone(owner, credentials=[credentials])
        world.proxy.clear()
        with pytest.raises(Threw) as failed:
            phone.call("registered")
        assert failed.value.kind == "SignInRefusedException"
        assert why in str(failed.value.details["reasons"]), failed.value.details
        assert len(world.proxy.received) == 1 and credentials[2] not in failed.value.text


def test_credentials_of_another_user_throw(world: World) -> None:
    ann, bob = world.new_user(), world.new_user()
    both = [["login", ann.login, PASSWORD], ["login", bob.login, PASSWORD]]
    phone = world.phone(ann, credentials=both)
    phone.sync(("Cara", CARA))
    ann.ask("DELETE", "/session/list")
    with pytest.raises(Threw) as failed:
        phone.sync(("Dora", DORA))
    assert failed.value.kind == "AnotherUserException"
    assert bob.book(phone.udid) == [] and phone.book == [("Cara", CARA)]


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=500)],
        [Fault(status=503), Fault(status=502)],
        [Fault(status=429, headers={"Retry-After": "0"})],
        [Fault(status=429, headers={"Retry-After": "Tue, 24 Nov 2020 10:00:00 GMT"}), Fault(status=500, body=b"<p>")],
    ],
)
def test_5xx_and_429_are_retried(faults: list[Fault], world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    world.proxy.fail(*faults, at="/address_book")
    assert phone.call("sync", contacts=as_json([("Ann", ANN)]))["sent"] == "wholeBook"
    assert [one.status for one in world.proxy.requests("POST", "/address_book")] == [
        *(fault.status for fault in faults),
        200,
    ]


def test_a_subscription_that_was_deleted_before_a_503_counts_as_deleted(world: World) -> None:
    owner = world.new_user()
    phone = world.phone(owner)
    phone.sync(("Ann", ANN))
    phone.call("subscribe", channel="fcm", token="a" * 64)
    world.proxy.fail(Fault(DONE, status=503), at="/subscriptions/")
    phone.call("log out")
    assert owner.ask("GET", "/subscriptions").json == []
    assert [one.status for one in world.proxy.received if one.path.startswith("/subscriptions/")] == [503, 404]


@pytest.mark.parametrize("status, header", [(429, "1"), (503, "1")])
def test_the_wait_is_the_one_of_retry_after(status: int, header: str, world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    world.proxy.fail(Fault(status=status, headers={"Retry-After": header}), at="/address_book")
    began = time.monotonic()
    phone.call("registered")
    assert time.monotonic() - began >= 0.99


@pytest.mark.parametrize(
    "fault, tries, kind",
    [
        (Fault(status=429), 1, "TooManyException"),
        (Fault(status=429, headers={"Retry-After": "3600"}), 1, "TooManyException"),
        (Fault(status=429, headers={"Retry-After": "0"}), 3, "TooManyException"),
        (Fault(status=429, headers={"Retry-After": str(2**63 - 1)}), 1, "TooManyException"),
        (Fault(status=503), 3, "UnavailableException"),
        (Fault(status=503, headers={"Retry-After": "3600"}), 1, "UnavailableException"),
        (Fault(CUT), 1, "UnreachableException"),
        (Fault(status=422), 1, "RefusedException"),
        (Fault(status=404, body=b"<html>"), 1, "RefusedException"),
        (Fault(status=302, headers={"Location": "/healthz"}), 1, "NotRingbookException"),
        (Fault(status=200, body=b'{"created": "+12025550142"'), 1, "NotRingbookException"),
        (Fault(status=200, body=b"\xff"), 1, "NotRingbookException"),
        (Fault(status=200, body=b"[]"), 1, "NotRingbookException"),
    ],
)
def test_errors_that_retries_do_not_solve_are_thrown(fault: Fault, tries: int, kind: str, world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    world.proxy.fail(*[fault] * 5, at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert (failed.value.kind, len(world.proxy.received)) == (kind, tries)
    assert "0142" not in failed.value.text
    if fault.headers.get("Retry-After") == "3600" and fault.status == 429:
        assert failed.value.details["seconds"] == 3600


def test_after_a_lost_answer_the_request_is_repeated_without_harm(world: World) -> None:
    owner = world.new_user()
    phone = world.phone(owner)
    phone.call("user")
    phone.started(timeout=2500)
    world.proxy.fail(Fault(LOSE), at="/address_book")
    assert phone.call("sync", contacts=as_json([("Ann", ANN), ("Bob", BOB)]))["sent"] == "wholeBook"
    assert len(world.proxy.uploads) == 2
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


@pytest.mark.parametrize("kind", [SILENCE, STALL])
def test_a_server_that_does_not_answer_throws(kind: str, world: World) -> None:
    phone = world.phone(world.new_user(), timeout=100)
    world.proxy.fail(*[Fault(kind)] * 5)
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.kind == "UnreachableException" and "time" in failed.value.text


def test_an_unreachable_address_is_not_retried(world: World) -> None:
    phone = world.phone(world.new_user(), server="http://127.0.0.1:9", backoff=60_000)
    with pytest.raises(Threw) as failed:
        phone.sync(("Ann", ANN))
    assert failed.value.kind == "UnreachableException"


# ── privacy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_texts_of_exceptions_and_values_contain_no_number_or_name(world: World) -> None:
    phone = world.phone(world.new_user())
    phone.call("user")
    body = json.dumps({"errors": {"base": [f"{ANN} is odd", "+12025550142"], "phone": ["2025550142 is taken"]}})
    world.proxy.fail(Fault(status=422, body=body.encode()), at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.details["reasons"] == ["+… is odd", "+…", "phone … is taken"]
    *texts, udid = phone.call("texts")
    assert not [text for text in texts if "Ann" in text or "0142" in text]
    assert len(bytes.fromhex(udid)) == 16
