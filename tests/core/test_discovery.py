"""Contact discovery: books are stored as they were typed, and contacts who are users are found. On both databases."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import applications, discovery, users
from ringbook.model import App, Caller, Entry, Reason, Report
from ringbook.store import db as store

NOW = 1_800_000_000
LIMITS = Limits()
ANN, BOB, CAT = "+1 202 555 0101", "+44 7700 900123", "447700900456"


@pytest.fixture
def app(db: store.Database) -> App:
    return applications.create(db, "test", NOW)


def signed_up(db: store.Database, app: App, login: str, phone: str | None = None) -> Caller:
    fields: users.Fields = {"login": login, "password": "correct-horse"}
    if phone:
        fields["phone"] = phone
    user = users.sign_up(db, LIMITS, app, fields, "192.0.2.1", NOW)
    return Caller(app=app, user_id=user.id, is_guest=False, address="192.0.2.1")


@pytest.fixture
def owner(db: store.Database, app: App) -> Caller:
    return signed_up(db, app, "owner")


def upload(db, owner, *entries: Entry, limits: Limits = LIMITS, now: int = NOW, **options) -> Report:
    return discovery.upload(db, limits, owner, list(entries), now=now, **options)


def test_a_book_comes_back_in_upload_order_spelled_as_it_was_typed(db, owner):
    typed = [(CAT, "Cat "), (ANN, "Ann 🧗"), (BOB, "בוב")]
    upload(db, owner, *(Entry(phone, name) for phone, name in typed))
    assert discovery.retrieve(db, owner) == typed


def test_the_last_name_and_spelling_win_and_the_first_place_holds(db, owner):
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"), Entry("0012025550101", "Annie"))
    assert discovery.retrieve(db, owner) == [("0012025550101", "Annie"), (BOB, "Bob")]


def test_devices_have_books_of_their_own(db, owner):
    upload(db, owner, Entry(ANN, "Ann"))
    upload(db, owner, Entry(BOB, "Bob"), device="tablet")
    assert discovery.retrieve(db, owner) == [(ANN, "Ann")]
    assert discovery.retrieve(db, owner, "tablet") == [(BOB, "Bob")]
    assert discovery.retrieve(db, owner, "unknown") == []


def test_force_leaves_exactly_what_was_accepted(db, owner):
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"))
    report = upload(db, owner, Entry(CAT, "Cat"), Entry("1", "short"), Entry(BOB, "Bob"), force=True)
    assert report == Report(1, 1, 1, {1: [Reason.PHONE_LENGTH]})
    assert discovery.retrieve(db, owner) == [(CAT, "Cat"), (BOB, "Bob")]


def test_force_with_nothing_but_rejected_entries_changes_nothing(db, owner):
    upload(db, owner, Entry(ANN, "Ann"))
    report = upload(db, owner, Entry("1", "x"), None, force=True)
    assert report.rejected == {0: [Reason.PHONE_LENGTH], 1: [Reason.FIELDS]}
    assert discovery.retrieve(db, owner) == [(ANN, "Ann")]


def test_force_with_an_empty_list_empties_the_book(db, owner):
    upload(db, owner, Entry(ANN, "Ann"))
    assert upload(db, owner, force=True) == Report(0, 0, 1, {})
    assert discovery.retrieve(db, owner) == []


def test_a_contact_who_is_a_user_is_found_under_the_name_in_the_book(db, app, owner):
    ann = signed_up(db, app, "ann", "12025550101")
    upload(db, owner, Entry(BOB, "Bob"), Entry(ANN, "Annie from work"))
    found = discovery.registered(db, owner, now=NOW)
    assert [(item.user.id, item.contact_name, item.user.phone) for item in found] == [
        (ann.user_id, "Annie from work", "12025550101")
    ]


def test_all_users_with_a_number_are_found_and_one_user_only_once(db, app, owner):
    first, second = signed_up(db, app, "first", ANN), signed_up(db, app, "second", "12025550101")
    upload(db, owner, Entry(ANN, "Ann"))
    assert [item.user.id for item in discovery.registered(db, owner, now=NOW)] == [first.user_id, second.user_id]


def test_users_of_another_application_are_not_found(db, owner):
    signed_up(db, applications.create(db, "other", NOW), "ann", ANN)
    upload(db, owner, Entry(ANN, "Ann"))
    assert discovery.registered(db, owner, now=NOW) == []


def test_with_a_region_national_numbers_match_international_ones(db, app):
    app = applications.change(db, app.id, "default_region", "gb")
    bob = signed_up(db, app, "bob", "+447700900123")
    owner = signed_up(db, app, "owner")
    upload(db, owner, Entry("07700 900 123", "Bob"))
    assert [item.user.id for item in discovery.registered(db, owner, now=NOW)] == [bob.user_id]


def test_the_region_cannot_change_once_numbers_were_read_with_it(db, app, owner):
    upload(db, owner, Entry(ANN, "Ann"))
    with pytest.raises(errors.Invalid, match="cannot change"):
        applications.change(db, app.id, "default_region", "GB")


def test_a_book_over_its_limit_is_refused_and_nothing_changes(db, owner):
    small = Limits(max_book_contacts=2)
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"), limits=small)
    with pytest.raises(errors.Invalid) as refused:
        upload(db, owner, Entry(CAT, "Cat"), limits=small)
    assert refused.value.field == "contacts"
    assert upload(db, owner, Entry(ANN, "Annie"), limits=small).updated == 1
    assert len(discovery.retrieve(db, owner)) == 2


def test_a_user_has_so_many_books_and_emptying_one_frees_its_place(db, owner):
    small = Limits(max_books=2)
    upload(db, owner, Entry(ANN, "Ann"), device="phone", limits=small)
    with pytest.raises(errors.Invalid) as refused:
        upload(db, owner, Entry(ANN, "Ann"), device="tablet", limits=small)
    assert refused.value.field == "device"
    upload(db, owner, force=True, device="phone", limits=small)
    assert upload(db, owner, Entry(ANN, "Ann"), device="tablet", limits=small).created == 1


# ── what asking costs ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_number_costs_one_permit_registered_or_not_and_beyond_them_nothing_changes(db, app, owner):
    signed_up(db, app, "ann", ANN)
    few = Limits(permits=2, permits_per_hour=0)
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"), limits=few)
    with pytest.raises(errors.TooMany):
        upload(db, owner, Entry(CAT, "Cat"), Entry(ANN, "renamed"), limits=few)
    assert discovery.retrieve(db, owner) == [(ANN, "Ann"), (BOB, "Bob")]


def test_a_number_of_another_device_or_removed_lately_costs_nothing(db, owner):
    one = Limits(permits=1, permits_per_hour=0)
    upload(db, owner, Entry(ANN, "Ann"), limits=one)
    upload(db, owner, Entry(ANN, "Ann"), device="tablet", limits=one)
    upload(db, owner, force=True, limits=one)
    upload(db, owner, force=True, device="tablet", limits=one)
    assert upload(db, owner, Entry(ANN, "Ann"), limits=one, now=NOW + 29 * 86400).created == 1
    upload(db, owner, force=True, limits=one)
    with pytest.raises(errors.TooMany):
        upload(db, owner, Entry(ANN, "Ann"), limits=one, now=NOW + 31 * 86400)


def test_permits_come_back_with_time(db, owner):
    slow = Limits(permits=1, permits_per_hour=6)
    upload(db, owner, Entry(ANN, "Ann"), limits=slow)
    with pytest.raises(errors.TooMany) as refused:
        upload(db, owner, Entry(BOB, "Bob"), limits=slow)
    assert refused.value.wait_seconds == 600
    assert upload(db, owner, Entry(BOB, "Bob"), limits=slow, now=NOW + 600).created == 1


def test_written_contacts_draw_on_a_budget_of_the_user_that_small_and_repeated_uploads_do_not(db, app, owner):
    limits = Limits(contact_changes_per_day=100)

    def book(name: str, count: int = 60) -> list[Entry]:
        return [Entry(f"+1202555{n:04}", name) for n in range(100, 100 + count)]

    upload(db, owner, *book("Ann"), limits=limits)
    with pytest.raises(errors.TooMany) as refused:
        upload(db, owner, *book("Anna"), limits=limits)
    assert refused.value.limit == "contact_changes_per_day"
    assert {name for _, name in discovery.retrieve(db, owner)} == {"Ann"}
    for _ in range(3):
        upload(db, owner, *book("Ann"), limits=limits)
        upload(db, owner, *book("Anna", 20), limits=limits)
        upload(db, owner, *book("Ann", 20), limits=limits)
    upload(db, signed_up(db, app, "another"), *book("Anna"), limits=limits)
    assert upload(db, owner, *book("Anna"), limits=limits, now=NOW + 86_400).updated == 60


def test_a_phone_replaces_a_book_in_which_a_contact_does_not_open(db, owner):
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"))
    with db.write() as tx:
        keyed = tx.seal.number(owner.app.id, 12025550101)
        tx.run("UPDATE contacts SET sealed = :other WHERE number = :keyed", other=b"x" * 32, keyed=keyed)
    assert upload(db, owner, Entry(CAT, "Cat"), force=True).deleted == 2
    with db.read() as tx:
        assert len(tx.all("SELECT * FROM removed")) == 1


def test_what_is_remembered_of_a_removed_number_is_not_the_number(db, owner):
    upload(db, owner, Entry(ANN, "Ann"))
    upload(db, owner, force=True)
    with db.read() as tx:
        rows = tx.all("SELECT * FROM removed")
    assert len(rows) == 1
    assert 12025550101 not in rows[0].values()


def test_nothing_is_remembered_of_removed_numbers_where_permits_have_no_limit(db, owner):
    """The memory would grow with every number that was ever uploaded, and would save nothing."""
    free = Limits(permits=0)
    upload(db, owner, Entry(ANN, "Ann"), Entry(BOB, "Bob"), limits=free)
    upload(db, owner, force=True, limits=free)
    with db.read() as tx:
        assert tx.tuples("SELECT COUNT(*) FROM removed") == [(0,)]


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

phones = st.sampled_from([f"1202555010{n}" for n in range(6)] + ["12", "x"])
lines = st.lists(st.builds(Entry, phones, st.sampled_from(["a", "b", ""]), st.booleans()), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(lines, st.booleans()), max_size=5))
def test_any_sequence_of_uploads_ends_in_the_state_of_a_ten_line_model(db, owner, uploads):
    upload(db, owner, force=True)
    model: dict[str, str] = {}
    for entries, force in uploads:
        upload(db, owner, *entries, force=force, limits=Limits(permits=0))
        good = [e for e in entries if len(e.phone) > 5 and (e.destroy or e.name)]
        if force and entries and not good:
            continue
        named = {e.phone: None if e.destroy else e.name for e in good}
        kept = {} if force else {phone: name for phone, name in model.items() if named.get(phone, "") is not None}
        model = kept | {phone: name for phone, name in named.items() if name is not None}
    assert discovery.retrieve(db, owner) == list(model.items())


def test_uploads_to_one_book_at_once_take_turns(db, owner):
    def add(n: int) -> None:
        for start in range(5):
            numbers = [f"1212555{n:02d}{start}{k}" for k in range(10)]
            upload(db, owner, *(Entry(number, "x") for number in numbers), Entry(ANN, str(n)))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as tx:
        size = tx.one("SELECT size FROM books WHERE owner_id = :id", id=owner.user_id)["size"]
    assert len(discovery.retrieve(db, owner)) == size == 8 * 50 + 1


def test_each_change_of_a_book_raises_its_version_and_nothing_else_does(db, owner):
    def version() -> int:
        with db.read() as tx:
            return int(tx.tuples("SELECT version FROM books WHERE owner_id = :id AND book = 0", id=owner.user_id)[0][0])

    versions = []
    for entries in (
        [Entry(ANN, "Ann"), Entry(BOB, "Bob")],  # new
        [Entry(ANN, "Ann"), Entry(BOB, "Bob")],  # the same again
        [Entry(ANN, "Annie")],  # another name
        [Entry(BOB, "Bob", destroy=True)],
        [Entry(BOB, None, destroy=True)],  # who is not there
    ):
        upload(db, owner, *entries)
        versions.append(version())
    assert [one - versions[0] for one in versions] == [0, 0, 1, 2, 2]
