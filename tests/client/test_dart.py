"""client/dart/ringbook_contacts.dart on a real Dart VM: phones that keep their books on a running server, or fail to.

`phone.dart` plays the phones; a proxy before the server sees what is sent, and breaks what a test wants broken.
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
from servers import Application, Databases, application, serve
from talking import Ended, Talk, talking
from verify.certificates import PHONE, PROJECT, Key, claims, publishing

SOURCE = Path(__file__).with_name("phone.dart")
KEY, STRANGER = Key("key-1"), Key("key-2")
ANN, BOB, CARA, DORA = (f"+1 202-555-{n:04}" for n in range(150, 154))


# ── the phones ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Threw(Exception):
    """What a call of the Dart file threw."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said)
        self.kind: str = said["threw"]
        self.said: str = said["said"]
        self.details = said


@dataclass(frozen=True)
class Dart:
    """Everybody's phone, in one process of the VM."""

    talk: Talk

    def call(self, who: str, call: str, **given: Any) -> Any:
        """What a call answers; what it throws is raised as `Threw`."""
        said = self.talk.ask(who=who, call=call, **given)
        if "threw" in said:
            raise Threw(said)
        return said["answer"]


@contextmanager
def running_dart(program: Path) -> Iterator[Dart]:
    with talking([dart(), program]) as talk:
        yield Dart(talk)


@dataclass(frozen=True)
class World:
    """A server, the proxy in front of it, the VM, and a folder for what phones store."""

    proxy: Proxy
    dart: Dart
    program: Path
    folder: Path
    with_firebase: Application

    @cached_property
    def usual(self) -> "Phone":
        """A phone of somebody's who is signed up once."""
        return self.phone(self.somebody())

    def phone(self, who: Person, **options: Any) -> "Phone":
        """A phone of somebody's, with the app just installed."""
        return Phone(self, who, self.folder / f"{uuid.uuid4().hex}.json", uuid.uuid4().hex).started(**options)

    def somebody(self, app: Application | None = None, **profile: Any) -> Person:
        return person(self.proxy.server, app, **profile)


@dataclass(frozen=True)
class Phone:
    """A phone with an app; `file` is where the app stores, `udid` the name it has for the device."""

    world: World
    owner: Person
    file: Path
    udid: str

    def started(self, dart: Dart | None = None, **options: Any) -> "Phone":
        """The app is started (anew); options of `start` in phone.dart."""
        app = self.owner.app
        usual = {
            "server": self.world.proxy.url,
            "application_id": app.application_id,
            "auth_key": app.auth_key,
            "udid": self.udid,
            "file": str(self.file),
            "credentials": [["login", self.owner.login, PASSWORD]],
        }
        (dart or self.world.dart).call(self.udid, "start", **usual | options)
        return self

    def call(self, call: str, **given: Any) -> Any:
        return self.world.dart.call(self.udid, call, **given)

    def sync(self, *contacts: tuple[str, str], **options: Any) -> Any:
        """Sync when the phone holds these (name, number); what was seen before is forgotten."""
        self.world.proxy.seen.clear()
        return self.call("sync", contacts=written(contacts), **options)

    @property
    def book(self) -> list[tuple[str, str]]:
        """(name, number) of this device's book on the server."""
        return [(name, phone) for phone, name in self.owner.book(self.udid)]


def written(contacts: Any) -> list[dict[str, str]]:
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
def quiet(world: World) -> None:
    """No fault of an earlier test is left."""
    world.proxy.forget()


# ── first, then what changed ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_upload_is_the_whole_book_by_force_and_under_the_devices_udid(world: World) -> None:
    phone = world.phone(world.somebody())
    said = phone.sync(("Ann", ANN), ("Bob", BOB))
    assert said == {"sent": "wholeBook", "counts": [2, 0, 0], "rejected": []}
    assert world.proxy.uploads == [{"contacts": written([("Ann", ANN), ("Bob", BOB)]), "force": 1, "udid": phone.udid}]
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.owner.book() == []


def test_afterwards_only_changes_are_sent_what_is_gone_first(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    said = phone.sync(("Anna", ANN), ("Cara", CARA))
    assert said == {"sent": "changes", "counts": [1, 1, 1], "rejected": []}
    gone = {"phone": BOB, "destroy": 1}
    assert world.proxy.uploads == [
        {"contacts": [gone, *written([("Anna", ANN), ("Cara", CARA)])], "force": 0, "udid": phone.udid}
    ]
    assert phone.book == [("Anna", ANN), ("Cara", CARA)]


def test_an_unchanged_book_costs_no_request(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN))
    assert phone.sync(("Ann", ANN))["sent"] == "nothing"
    assert world.proxy.seen == []


def test_a_start_of_the_app_keeps_the_snapshot_and_a_reinstall_sends_the_whole_book(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.started()
    assert phone.sync(("Ann", ANN))["sent"] == "changes"
    phone.file.unlink()
    phone.started()
    assert phone.sync(("Cara", CARA)) == {"sent": "wholeBook", "counts": [1, 0, 1], "rejected": []}
    assert phone.book == [("Cara", CARA)]


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[]", "\x00\udcff", '{"version":2,"kept":{}}'])
def test_a_damaged_snapshot_counts_as_none(text: str, world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN))
    phone.file.write_bytes(text.encode(errors="surrogateescape"))
    assert phone.sync(("Ann", ANN))["sent"] == "wholeBook"
    assert phone.sync(("Ann", ANN))["sent"] == "nothing"


def test_the_snapshot_of_somebody_else_counts_as_none(world: World) -> None:
    ann, bob = world.somebody(), world.somebody()
    phone = world.phone(ann)
    phone.sync(("Cara", CARA))
    replace(phone, owner=bob).started()
    assert phone.sync(("Cara", CARA))["sent"] == "wholeBook"
    assert replace(phone, owner=bob).book == [("Cara", CARA)]


def test_names_go_in_utf_8_and_ids_are_integers(world: World) -> None:
    friend = world.somebody(phone=DORA, external_id="81")
    phone = world.phone(world.somebody())
    phone.sync(("Зоя 👩‍👩‍👧", DORA), ("half of one: \ud83d", BOB))
    (upload,) = world.proxy.asked("POST", "/address_book")
    assert upload.headers["content-type"] == "application/json; charset=utf-8"
    assert phone.book == [("Зоя 👩‍👩‍👧", DORA), ("half of one: �", BOB)]
    assert phone.sync(("Зоя 👩‍👩‍👧", DORA), ("half of one: \ud83d", BOB))["sent"] == "nothing"
    (found,) = phone.call("registered")
    assert found["id"] == friend.id and isinstance(found["id"], int)
    assert (found["name"], found["phone"], found["external_id"]) == ("Зоя 👩‍👩‍👧", DORA, "81")
    assert found["text"] == f"RegisteredUser({friend.id})"


def test_a_contact_that_is_not_taken_is_reported_once_and_the_others_are_taken(world: World) -> None:
    phone = world.phone(world.somebody())
    short, nameless = ("Office", "12345"), ("  ", BOB)
    said = phone.sync(("Ann", ANN), short, nameless)
    assert said["counts"] == [2, 0, 0]
    assert said["rejected"] == [["Office", ["Length of 'phone' field should be min: 10 and max: 15."]]]
    assert phone.book == [("Ann", ANN), (BOB, BOB)]
    assert phone.sync(("Ann", ANN), short, nameless)["sent"] == "nothing"
    said = phone.sync(("Ann", ANN), ("The office", "12345"), nameless)
    assert (said["sent"], said["counts"], len(said["rejected"])) == ("changes", [0, 0, 0], 1)
    assert phone.sync(("Ann", ANN), nameless)["sent"] == "nothing"
    # A name that has become too long takes the contact out of the book: the phone no longer has the old one.
    said = phone.sync(("A" * 256, ANN), nameless)
    assert said["sent"] == "wholeBook" and phone.book == [(BOB, BOB)]


def test_a_book_that_the_server_kept_since_it_could_take_nothing_of_a_new_one_is_not_forgotten(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN))
    phone.sync(("A" * 256, ANN))
    assert phone.book == [("Ann", ANN)]
    assert phone.sync(allow_empty=True)["sent"] == "wholeBook"
    assert phone.book == []


def test_a_number_in_two_spellings_stays_until_both_are_gone(world: World) -> None:
    phone = world.phone(world.somebody())
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


# ── drift, crashes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_book_that_somebody_else_has_changed_is_found_out_when_it_is_read_back(world: World) -> None:
    phone = world.phone(world.somebody(), check_every=0)
    phone.sync(("Ann", ANN), ("Bob", BOB))
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"
    for change in ({"phone": ANN, "destroy": 1}, {"phone": CARA, "name": "Cara"}, {"phone": ANN, "name": "Annie"}):
        phone.owner.upload([change], udid=phone.udid)
        assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
        assert phone.book == [("Ann", ANN), ("Bob", BOB)]


@pytest.mark.parametrize("number, name", [(ANN, None), (CARA, "Cara"), (ANN, "Annie")])
def test_a_change_by_somebody_else_right_after_the_upload_is_not_believed(
    number: str, name: str | None, world: World
) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.file.unlink()
    world.proxy.fail(Fault(PASS, first=lambda: meddle(phone, number, name)), at="/address_book?")
    phone.call("sync", contacts=written([("Ann", ANN), ("Bob", BOB)]))
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


@pytest.mark.parametrize(
    "change", [{"phone": BOB, "destroy": 1}, {"phone": CARA, "name": "Cara"}, {"phone": ANN, "destroy": 1}]
)
def test_an_answer_that_does_not_fit_the_snapshot_sends_the_whole_book(change: dict[str, Any], world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    phone.owner.upload([change], udid=phone.udid)
    assert phone.sync(("Anna", ANN), ("Cara", CARA))["sent"] == "wholeBook"
    assert phone.book == [("Anna", ANN), ("Cara", CARA)]


def test_a_phone_that_dies_between_upload_and_snapshot_ends_up_right(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    with running_dart(world.program) as other:
        phone.started(other, dies=True)
        with pytest.raises(Ended):
            other.call(phone.udid, "sync", contacts=written([("Ann", ANN), ("Cara", CARA)]))
    assert phone.book == [("Ann", ANN), ("Cara", CARA)]
    # Cara is gone again before the app starts: neither the old snapshot nor the phone knows of her.
    phone.started()
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


def test_an_upload_that_failed_is_made_up_for_by_the_next_sync(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN))
    world.proxy.fail(Fault(CUT), at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("sync", contacts=written([("Ann", ANN), ("Bob", BOB)]))
    assert failed.value.kind == "UnreachableException"
    assert len(world.proxy.uploads) == 1  # a cut connection is not tried again
    assert phone.sync(("Bob", BOB))["sent"] == "wholeBook"
    assert phone.book == [("Bob", BOB)]


def test_syncs_at_the_same_time_take_turns(world: World) -> None:
    phone = world.phone(world.somebody())
    books = [written([("Ann", ANN), ("Bob", BOB)]), written([("Bob", BOB), ("Cara", CARA)])]
    said = phone.call("sync twice at once", contacts=books)
    assert [one["sent"] for one in said] == ["wholeBook", "changes"]
    assert phone.book == [("Bob", BOB), ("Cara", CARA)]
    assert len(world.proxy.asked("POST", "/session")) == 1


SPELLINGS = [ANN, ANN.replace("-", " "), ANN.replace(" ", ""), BOB, BOB.replace(" ", ""), "12345"]
NAMES = ["Ann", "Bob", "x" * 256]
HELD = st.dictionaries(st.sampled_from(SPELLINGS), st.sampled_from(NAMES), max_size=5)
CHANGE = st.tuples(st.sampled_from(SPELLINGS[:5]), st.sampled_from(["Mallory", None]))
STEPS = st.lists(st.tuples(HELD, st.sampled_from([None, None, CUT, DROP]), st.none() | CHANGE), min_size=2, max_size=7)


def taken(held: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What the server makes of a whole book, by number: the last spelling and name of each that it can take."""
    digits = {phone: "".join(filter(str.isdigit, phone)) for phone in held}
    return {digits[phone]: (name, phone) for phone, name in held.items() if len(name) < 256 and len(digits[phone]) > 9}


@pytest.mark.parametrize("meddled", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(steps=[({ANN: "Ann"}, None, None), ({ANN: "x" * 256}, None, None), ({}, None, None)])
@example(steps=[({BOB: "Bob"}, None, None), ({ANN: "Ann", SPELLINGS[1]: "Ann", BOB: "x" * 256}, None, None)])
@given(steps=STEPS)
def test_after_each_sync_that_succeeds_the_book_is_the_phones_whatever_happened_before(
    meddled: bool, steps: list[Any], world: World
) -> None:
    """Syncs whose request or answer is lost, and, where the book is read back each time, changes by somebody else."""
    phone = replace(world.usual, file=world.folder / f"{uuid.uuid4().hex}.json", udid=uuid.uuid4().hex)
    phone.started(check_every=0 if meddled else None)
    try:
        for held, fault, change in steps:
            if change and meddled:
                meddle(phone, *change)
            world.proxy.fail(*[Fault(fault)] if fault else [], at="/address_book")
            sync_or_fail(phone, held, may_fail=fault is not None)
    finally:
        world.proxy.forget()
        phone.call("withdraw")  # a user has at most 20 books


def meddle(phone: Phone, number: str, name: str | None) -> None:
    """Somebody else puts a contact into the phone's book, or takes it out."""
    change = {"phone": number, "name": name} if name else {"phone": number, "destroy": 1}
    assert phone.owner.upload([change], udid=phone.udid).status == 200


def sync_or_fail(phone: Phone, held: dict[str, str], *, may_fail: bool) -> None:
    """After a sync the book is the phone's, unless a request or an answer was lost."""
    contacts = written((name, number) for number, name in held.items())
    try:
        phone.call("sync", contacts=contacts, allow_empty=True)
    except Threw as error:
        assert may_fail and error.kind == "UnreachableException"
        return
    expected = taken(held)
    if expected or not held:  # of a book that has no contact to take the server keeps the old one
        assert sorted(phone.book) == sorted(expected.values())


# ── what may not be read is not empty ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shown", [None, "locked", [{"name": "Ann", "phone": ANN}, "locked"]])
def test_a_denied_or_unreadable_source_sends_nothing(shown: Any, world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN), ("Bob", BOB))
    world.proxy.forget()
    with pytest.raises(Threw) as failed:
        phone.call("sync", contacts=shown)
    assert failed.value.kind == "ContactsUnreadableException"
    assert world.proxy.seen == [] and len(phone.book) == 2
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


def test_a_phone_that_shows_nothing_empties_no_book_unless_it_is_meant(world: World) -> None:
    phone = world.phone(world.somebody())
    assert phone.sync()["sent"] == "nothing"
    phone.sync(("Ann", ANN))
    with pytest.raises(Threw) as failed:
        phone.sync()
    assert failed.value.kind == "ContactsEmptyException"
    assert world.proxy.seen == [] and phone.book == [("Ann", ANN)]
    assert phone.sync(allow_empty=True) == {"sent": "changes", "counts": [0, 0, 1], "rejected": []}
    assert phone.book == []
    assert phone.sync()["sent"] == "nothing"


def test_a_revoked_permission_empties_this_devices_book_alone(world: World) -> None:
    owner = world.somebody()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN), ("Bob", BOB))
    tablet.sync(("Ann", ANN))
    world.proxy.forget()
    phone.call("withdraw")
    assert world.proxy.uploads == [{"contacts": [], "force": 1, "udid": phone.udid}]
    assert (phone.book, tablet.book) == ([], [("Ann", ANN)])
    assert not phone.file.exists()
    assert phone.sync(("Bob", BOB))["sent"] == "wholeBook"


def test_a_withdrawal_that_failed_leaves_no_snapshot_that_would_be_believed(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.sync(("Ann", ANN))
    world.proxy.fail(Fault(CUT), at="/address_book")
    with pytest.raises(Threw):
        phone.call("withdraw")
    assert not phone.file.exists()
    phone.call("withdraw")
    assert phone.book == []


def test_log_out_empties_this_devices_book_and_ends_its_pushes_and_the_session(world: World) -> None:
    owner = world.somebody()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN))
    tablet.sync(("Ann", ANN))
    ids = [phone.call("subscribe", channel=channel, token="a" * 64) for channel in ("fcm", "apns", "fcm")]
    kept = tablet.call("subscribe", channel="fcm", token="b" * 64)
    assert ids[0] == ids[2] and len({*ids, kept}) == 3
    world.proxy.forget()
    phone.call("log out")
    assert (phone.book, tablet.book) == ([], [("Ann", ANN)])
    assert [one["subscription"]["id"] for one in owner.ask("GET", "/subscriptions").json] == [kept]
    (ended,) = world.proxy.asked("DELETE", "/session")
    assert ended.status == 200
    assert person_with(owner, ended.headers["cb-token"]).ask("GET", "/session").status == 401


def person_with(owner: Person, token: str) -> Person:
    return replace(owner, token=token)


def test_two_phones_of_one_person_keep_a_book_each(world: World) -> None:
    owner = world.somebody()
    phone, tablet = world.phone(owner), world.phone(owner)
    phone.sync(("Ann", ANN))
    tablet.sync(("Bob", BOB))
    phone.sync(("Ann", ANN), ("Cara", CARA))
    tablet.sync(("Dora", DORA))
    assert phone.book == [("Ann", ANN), ("Cara", CARA)]
    assert tablet.book == [("Dora", DORA)]


@pytest.mark.parametrize("udid", ["", " ", "undefined", "null", "x" * 65])
def test_a_phone_must_name_itself(udid: str, world: World) -> None:
    with pytest.raises(Threw) as failed:
        world.phone(world.somebody(), udid=udid)
    assert failed.value.kind == "ArgumentError"


def test_an_address_without_tls_must_be_asked_for(world: World) -> None:
    with pytest.raises(Threw) as failed:
        world.phone(world.somebody(), allow_http=False)
    assert failed.value.kind == "ArgumentError" and "https" in failed.value.said


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_firebase_id_token_opens_the_session(world: World) -> None:
    token = KEY.token(claims(int(time.time())))
    phone = world.phone(world.somebody(world.with_firebase), credentials=[["firebase", PROJECT, token]])
    assert phone.sync(("Ann", ANN))["sent"] == "wholeBook"
    phone.call("external id", id="81")
    friend = world.phone(world.somebody(world.with_firebase))
    friend.sync(("Me", PHONE))
    assert [(one["id"], one["external_id"]) for one in friend.call("registered")] == [(phone.call("user"), "81")]


def test_a_session_that_has_ended_is_opened_anew_once_and_the_call_repeated(world: World) -> None:
    owner = world.somebody()
    phone = world.phone(owner)
    phone.sync(("Ann", ANN))
    assert owner.ask("DELETE", "/session/list").status == 200
    world.proxy.forget()
    assert phone.call("registered twice at once") == [0, 0]
    assert [one.status for one in world.proxy.asked("GET", "/address_book/registered_users")].count(401) == 2
    assert len(world.proxy.asked("POST", "/session")) == 1


def test_a_401_that_comes_late_does_not_end_the_session_that_was_opened_since(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.call("user")
    path = "/address_book/registered_users"
    late = Fault(status=401, until=lambda: len(world.proxy.asked("GET", path)) == 3)
    world.proxy.fail(Fault(status=401), late, at=path)
    assert phone.call("registered twice at once") == [0, 0]
    assert len(world.proxy.asked("POST", "/session")) == 1
    assert len(world.proxy.asked("GET", path)) == 4


def test_a_new_session_that_is_refused_as_well_is_the_end(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.call("user")
    world.proxy.fail(*[Fault(status=401)] * 3, at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.kind == "SignInRefusedException"
    assert [one.path.partition("?")[0] for one in world.proxy.seen] == [
        "/address_book/registered_users",
        "/session",
        "/address_book/registered_users",
    ]


def test_wrong_credentials_are_refused_with_the_servers_reasons_and_not_tried_again(world: World) -> None:
    owner = world.somebody(world.with_firebase)
    now = int(time.time())
    wrong = {
        "expired": ["firebase", PROJECT, KEY.token(claims(now, exp=now - 120))],
        "its key is unknown": ["firebase", PROJECT, STRANGER.token(claims(now))],
        "Unauthorized": ["login", owner.login, "something-else"],
    }
    for why, credentials in wrong.items():
        phone = world.phone(owner, credentials=[credentials])
        world.proxy.forget()
        with pytest.raises(Threw) as failed:
            phone.call("registered")
        assert failed.value.kind == "SignInRefusedException"
        assert why in str(failed.value.details["reasons"]), failed.value.details
        assert len(world.proxy.seen) == 1 and credentials[2] not in failed.value.said


def test_credentials_of_somebody_else_do_not_continue_a_session(world: World) -> None:
    ann, bob = world.somebody(), world.somebody()
    both = [["login", ann.login, PASSWORD], ["login", bob.login, PASSWORD]]
    phone = world.phone(ann, credentials=both)
    phone.sync(("Cara", CARA))
    ann.ask("DELETE", "/session/list")
    with pytest.raises(Threw) as failed:
        phone.sync(("Dora", DORA))
    assert failed.value.kind == "AnotherUserException"
    assert bob.book(phone.udid) == [] and phone.book == [("Cara", CARA)]


# ── what is tried again, and what is not ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=500)],
        [Fault(status=503), Fault(status=502)],
        [Fault(status=429, headers={"Retry-After": "0"})],
        [Fault(status=429, headers={"Retry-After": "Tue, 24 Nov 2020 10:00:00 GMT"}), Fault(status=500, body=b"<p>")],
    ],
)
def test_5xx_and_429_are_tried_again(faults: list[Fault], world: World) -> None:
    phone = world.phone(world.somebody())
    phone.call("user")
    world.proxy.fail(*faults, at="/address_book")
    assert phone.call("sync", contacts=written([("Ann", ANN)]))["sent"] == "wholeBook"
    assert [one.status for one in world.proxy.asked("POST", "/address_book")] == [
        *(fault.status for fault in faults),
        200,
    ]


def test_what_was_ended_before_a_503_is_not_missed_by_the_next_try(world: World) -> None:
    owner = world.somebody()
    phone = world.phone(owner)
    phone.sync(("Ann", ANN))
    phone.call("subscribe", channel="fcm", token="a" * 64)
    world.proxy.fail(Fault(DONE, status=503), at="/subscriptions/")
    phone.call("log out")
    assert owner.ask("GET", "/subscriptions").json == []
    assert [one.status for one in world.proxy.seen if one.path.startswith("/subscriptions/")] == [503, 404]


@pytest.mark.parametrize("status, header", [(429, "1"), (503, "1")])
def test_retry_after_is_waited_for(status: int, header: str, world: World) -> None:
    phone = world.phone(world.somebody())
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
def test_what_is_not_mended_is_thrown(fault: Fault, tries: int, kind: str, world: World) -> None:
    phone = world.phone(world.somebody())
    phone.call("user")
    world.proxy.fail(*[fault] * 5, at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert (failed.value.kind, len(world.proxy.seen)) == (kind, tries)
    assert "0142" not in failed.value.said
    if fault.headers.get("Retry-After") == "3600" and fault.status == 429:
        assert failed.value.details["seconds"] == 3600


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_doubled(world: World) -> None:
    owner = world.somebody()
    phone = world.phone(owner)
    phone.call("user")
    phone.started(timeout=2500)
    world.proxy.fail(Fault(LOSE), at="/address_book")
    assert phone.call("sync", contacts=written([("Ann", ANN), ("Bob", BOB)]))["sent"] == "wholeBook"
    assert len(world.proxy.uploads) == 2
    assert phone.book == [("Ann", ANN), ("Bob", BOB)]
    assert phone.sync(("Ann", ANN), ("Bob", BOB))["sent"] == "nothing"


@pytest.mark.parametrize("kind", [SILENCE, STALL])
def test_a_server_that_keeps_silent_is_given_up(kind: str, world: World) -> None:
    phone = world.phone(world.somebody(), timeout=100)
    world.proxy.fail(*[Fault(kind)] * 5)
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.kind == "UnreachableException" and "time" in failed.value.said


def test_an_address_where_nobody_listens_is_unreachable_and_not_tried_again(world: World) -> None:
    phone = world.phone(world.somebody(), server="http://127.0.0.1:9", backoff=60_000)
    with pytest.raises(Threw) as failed:
        phone.sync(("Ann", ANN))
    assert failed.value.kind == "UnreachableException"


# ── privacy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_text_of_an_exception_or_a_value_holds_a_number_or_a_name(world: World) -> None:
    phone = world.phone(world.somebody())
    phone.call("user")
    body = json.dumps({"errors": {"base": [f"{ANN} is odd", "+12025550142"], "phone": ["2025550142 is taken"]}})
    world.proxy.fail(Fault(status=422, body=body.encode()), at="/address_book")
    with pytest.raises(Threw) as failed:
        phone.call("registered")
    assert failed.value.details["reasons"] == ["+… is odd", "+…", "phone … is taken"]
    *texts, udid = phone.call("texts")
    assert not [text for text in texts if "Ann" in text or "0142" in text]
    assert len(bytes.fromhex(udid)) == 16
