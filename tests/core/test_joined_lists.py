"""The list of who joined: what it shows, in which order, and that a reader misses nothing. On both databases."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from core.joining import ANN, BOB, CLEO, DAY, LIMITS, Play

from ringbook import errors
from ringbook.core import announcing, cursors, discovery, joined_lists, users
from ringbook.model import Entry
from ringbook.model import JoinedContact as Item
from ringbook.model import JoinedPage as Page
from ringbook.store import joined as facts
from ringbook.store import joined_lists as store

NUMBERS = [f"+1202555{100 + n:04}" for n in range(100)]


@pytest.fixture
def play(db):
    return Play(db)


def read(play: Play, reader: int, limit: int = 100, after: str | None = None, before: int | None = None) -> Page:
    return joined_lists.page(play.db, play.caller(reader), limit=limit, after=after, before=before, now=play.now)


def seen(play: Play, reader: int, up_to: int) -> int:
    return joined_lists.mark_seen(play.db, play.caller(reader), up_to, play.now)


def shown(page: Page) -> list[tuple[int, int, str | None]]:
    return [(item.place, item.user.id, item.name) for item in page.items]


def joins(play: Play, login: str, phone: str) -> int:
    """A user who signs up and is announced."""
    user = play.person(login, phone)
    play.tell()
    return user.id


@pytest.fixture
def bob(play):
    """A user without any device who holds Ann and Cleo."""
    found = play.person("bob", BOB).id
    play.holds(found, (ANN, "Annie"), (CLEO, "Cleo"))
    return found


# ── what it shows ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_has_no_list_yet_gets_an_empty_one_and_a_cursor_for_its_beginning(play, bob):
    assert read(play, bob) == Page([], "0", 0)
    ann = joins(play, "ann", ANN)
    assert shown(read(play, bob, after="0")) == [(1, ann, "Annie")]


def test_the_newest_stands_first_with_the_name_in_the_own_book_also_without_a_device(play, bob):
    ann, cleo = joins(play, "ann", ANN), joins(play, "cleo", CLEO)
    page = read(play, bob)
    assert shown(page) == [(2, cleo, "Cleo"), (1, ann, "Annie")]
    assert page.unseen == 2 and page.items[1].user.phone == ANN and page.items[1].at == play.now


def test_the_name_is_that_at_the_time_of_reading_and_that_of_the_global_book_first(play, bob):
    joins(play, "ann", ANN)
    play.holds(bob, (ANN, "Ann of the tablet"), device="tablet")
    play.holds(bob, (ANN, "Ann"))
    assert [item.name for item in read(play, bob).items] == ["Ann"]


def test_a_contact_who_left_the_book_is_left_out_and_comes_back_with_it(play, bob):
    joins(play, "ann", ANN)
    drop(play, bob, ANN)
    page = read(play, bob)
    assert (page.items, page.unseen) == ([], 0)
    play.holds(bob, (ANN, "Annie"))
    assert [item.name for item in read(play, bob).items] == ["Annie"]


def drop(play: Play, user_id: int, phone: str) -> None:
    discovery.upload(play.db, LIMITS, play.caller(user_id), [Entry(phone, None, True)], now=play.now)


def test_who_left_or_changed_the_number_is_left_out(play, bob):
    ann, cleo = joins(play, "ann", ANN), joins(play, "cleo", CLEO)
    play.changes(ann, phone=NUMBERS[7])
    assert [item.user.id for item in read(play, bob).items] == [cleo]
    users.erase(play.db, cleo)
    assert read(play, bob).items == []


def test_an_erased_user_is_in_no_list_not_even_as_an_id(play, bob):
    ann = joins(play, "ann", ANN)
    users.erase(play.db, ann)
    assert play.rows("SELECT joined_user_id FROM announced") == [{"joined_user_id": 0}]
    # The number is not announced again: Bob was told about it.
    joins(play, "another", ANN)
    assert read(play, bob).items == []


def test_an_erased_reader_leaves_no_list(play, bob):
    joins(play, "ann", ANN)
    users.erase(play.db, bob)
    assert play.rows("SELECT 1 FROM announced") == play.rows("SELECT 1 FROM joined_lists") == []


def test_only_verified_users_are_shown_where_only_verified_numbers_count(play, bob):
    joins(play, "ann", ANN)
    play.set(require_verified_number="on")
    assert read(play, bob).items == []
    ann = play.verified(ANN)
    play.tell()
    assert shown(read(play, bob)) == [(2, ann, "Annie")]


def test_a_verified_number_moves_an_item_to_a_new_place_and_it_is_new_again(play, bob):
    ann = joins(play, "ann", ANN)
    page = read(play, bob)
    assert seen(play, bob, 1) == 0
    play.set(require_verified_number="off")
    play.changes_verified(ann, ANN)
    play.tell()
    assert shown(read(play, bob, after=page.next)) == [(2, ann, "Annie")]
    assert read(play, bob).unseen == 1


@pytest.mark.parametrize("kind", ["announce", "discoverable"])
def test_who_tells_nobody_or_is_found_by_nobody_is_left_out(play, bob, kind):
    ann = joins(play, "ann", ANN)
    play.prefers(ann, **{kind: "nobody"})
    assert read(play, bob) == Page([], read(play, bob).next, 0)
    play.prefers(ann, **{kind: "everyone"})
    assert [item.user.id for item in read(play, bob).items] == [ann]


def test_the_choice_of_the_application_holds_for_users_who_have_chosen_nothing(play, bob):
    ann, cleo = joins(play, "ann", ANN), joins(play, "cleo", CLEO)
    play.prefers(cleo, announce="everyone", discoverable="everyone")
    play.set(contact_joined_announce="nobody")
    assert [item.user.id for item in read(play, bob).items] == [cleo]
    play.set(contact_joined_announce="everyone", contact_joined_discoverable="mutual")
    play.holds(ann, (BOB, "Bob"))
    assert [item.user.id for item in read(play, bob).items] == [cleo, ann]


@pytest.mark.parametrize("kind", ["announce", "discoverable"])
def test_who_tells_mutual_contacts_is_shown_to_those_whose_number_they_hold(play, bob, kind):
    ann = joins(play, "ann", ANN)
    play.prefers(ann, **{kind: "mutual"})
    assert read(play, bob).items == []
    play.holds(ann, (BOB, "Bob"), device="phone")
    assert [item.user.id for item in read(play, bob).items] == [ann]


def test_both_preferences_must_allow_it(play, bob):
    ann = joins(play, "ann", ANN)
    for is_mutual in (False, True):
        for announce, discoverable in itertools.product(["everyone", "mutual", "nobody"], repeat=2):
            play.prefers(ann, announce=announce, discoverable=discoverable)
            both = {announce, discoverable}
            allowed = "nobody" not in both and ("mutual" not in both or is_mutual)
            assert len(read(play, bob).items) == allowed, (announce, discoverable, is_mutual)
        play.holds(ann, (BOB, "Bob"))


def test_mutual_needs_verified_numbers_on_both_sides_where_only_these_count(play, bob):
    play.set(require_verified_number="on")
    ann = play.verified(ANN)
    play.tell()
    play.prefers(ann, announce="mutual")
    play.holds(ann, (BOB, "Bob"))
    assert read(play, bob).items == []
    play.changes_verified(bob, BOB)
    assert [item.user.id for item in read(play, bob).items] == [ann]


def test_items_are_shown_for_ninety_days(play, bob):
    joins(play, "ann", ANN)
    play.now += 90 * DAY - 1
    assert len(read(play, bob).items) == 1
    play.now += 1
    page = read(play, bob)
    assert (page.items, page.unseen) == ([], 0)


def test_an_application_keeps_a_longer_list_or_none(play, bob):
    joins(play, "ann", ANN)
    play.set(contact_joined_list_days="0")
    assert read(play, bob).items == []
    play.set(contact_joined_list_days="100")
    play.now += 99 * DAY
    assert len(read(play, bob).items) == 1


def test_a_contact_who_does_not_open_is_shown_without_a_name(play, bob):
    joins(play, "ann", ANN)
    with play.db.write() as tx:
        tx.run("UPDATE contacts SET sealed = :rubbish", rubbish=bytes(48))
    assert [item.name for item in read(play, bob).items] == [None]


# ── seen ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_marked_as_seen_stays_so(play, bob):
    joins(play, "ann", ANN), joins(play, "cleo", CLEO)
    assert seen(play, bob, 1) == 1
    assert [item.seen for item in read(play, bob).items] == [False, True]
    assert seen(play, bob, 2) == 0
    assert seen(play, bob, 1) == 0
    assert [item.seen for item in read(play, bob).items] == [True, True]


def test_nothing_that_comes_later_can_be_marked_as_seen(play, bob):
    assert seen(play, bob, 10) == 0
    joins(play, "ann", ANN)
    assert seen(play, bob, 10) == 0
    joins(play, "cleo", CLEO)
    assert read(play, bob).unseen == 1


def test_unseen_counts_what_is_shown_up_to_a_bound(play, bob, monkeypatch):
    play.holds(bob, *[(number, "x") for number in NUMBERS[10:20]])
    ids = [joins(play, f"user{n}", number) for n, number in enumerate(NUMBERS[10:20])]
    play.prefers(ids[3], announce="nobody")
    assert read(play, bob, limit=1).unseen == read(play, bob, limit=9).unseen == read(play, bob, after="0").unseen == 9
    assert read(play, bob, before=3).unseen == 9
    assert seen(play, bob, 7) == read(play, bob, limit=1).unseen == read(play, bob, limit=5).unseen == 3
    assert read(play, bob, before=3).unseen == read(play, bob, after=read(play, bob).next).unseen == 3
    monkeypatch.setattr(joined_lists, "MOST_UNSEEN", 2)
    assert read(play, bob, limit=1).unseen == read(play, bob, limit=9).unseen == read(play, bob, after="0").unseen == 2


# ── cursors and pages ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def many(play, bob):
    """Bob's list has 20 places; every third item is hidden."""
    play.holds(bob, *[(number, number) for number in NUMBERS[10:30]])
    ids = [joins(play, f"user{n}", number) for n, number in enumerate(NUMBERS[10:30])]
    for one in ids[::3]:
        play.prefers(one, announce="nobody")
    return [one for place, one in enumerate(ids) if place % 3]


def pages_after(play: Play, reader: int, limit: int, cursor: str = "0") -> list[Item]:
    """All items after a cursor, page by page."""
    found: list[Item] = []
    while (page := read(play, reader, limit, after=cursor)).items:
        assert len(page.items) <= limit and page.next != cursor
        found, cursor = found + page.items, page.next
    assert read(play, reader, limit, after=cursor) == page
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("step", [1, 2, 1_000])
def test_pages_in_both_directions_show_all_items_once(play, bob, many, limit, step, monkeypatch):
    monkeypatch.setattr(joined_lists, "STEP", step)
    assert [item.user.id for item in pages_after(play, bob, limit)] == many
    back, page = [], read(play, bob, limit)
    while page.items:
        back += page.items
        page = read(play, bob, limit, before=page.items[-1].place)
    assert [item.user.id for item in reversed(back)] == many


def test_the_cursor_of_an_empty_page_and_of_the_first_page_stand_at_the_end(play, bob, many):
    newest = read(play, bob, 2)
    assert read(play, bob, after=newest.next) == Page([], newest.next, 14 - 1)
    new = joins(play, "cleo", CLEO)
    assert [item.user.id for item in read(play, bob, after=newest.next).items] == [new]


def test_who_keeps_the_cursor_of_a_page_back_misses_nothing(play, bob, many):
    first = read(play, bob, 2)
    back = read(play, bob, 2, before=first.items[-1].place)
    later = [item.user.id for item in read(play, bob, after=back.next).items]
    assert later == [item.user.id for item in reversed(first.items)]


def test_a_cursor_that_is_not_known_stands_for_the_beginning(play, bob, many):
    whole = pages_after(play, bob, 100)
    known = read(play, bob).next
    incarnation, _, place = known.partition("-")
    larger, other = f"{incarnation}-{int(place, 16) + 1:x}", f"{int(incarnation, 16) ^ 1:x}-{place}"
    for cursor in ("", "0", "rubbish", "-1", "1-1", larger, other, f"{known}0000000000000000", "٣-٣"):
        assert read(play, bob, after=cursor).items == whole, cursor


def test_after_a_restart_of_all_lists_no_cursor_is_known(play, bob, many):
    before = read(play, bob)
    with play.db.write() as tx:
        store.restart(tx)
    assert read(play, bob, after=before.next).items == list(reversed(before.items))
    assert read(play, bob).next != before.next


def test_only_the_latest_places_are_looked_at(play, bob, many, monkeypatch):
    monkeypatch.setattr(joined_lists, "MOST_LISTED", 5)
    assert [item.user.id for item in read(play, bob).items] == many[:-4:-1]
    assert [item.user.id for item in read(play, bob, after="0").items] == many[-3:]


def test_cursors_are_read_as_they_are_written():
    assert cursors.place(cursors.written(2**62 - 1, 7), 2**62 - 1, 7) == 7
    assert cursors.place(cursors.written(1, 8), 1, 7) == 0


# ── concurrent writers ───────────────────────────────────────────────────────────────────────────────────────────────


def test_who_holds_a_number_only_since_the_places_were_taken_gets_no_place_of_another_item(play, bob, monkeypatch):
    """An upload may be committed between the two statements. The contact was not there when the user joined."""
    joins(play, "ann", ANN)
    cursor = read(play, bob).next
    other = play.person("other").id
    play.holds(other, (NUMBERS[0], "x"))
    take_places = facts._take_places

    def overtaken(tx, params):
        take_places(tx, params)
        tx.run(
            "INSERT INTO contacts (owner_id, book, number, app_id, entry, seq, sealed)"
            " SELECT :bob, book, number, app_id, entry, 1, sealed FROM contacts WHERE owner_id = :other",
            bob=bob,
            other=other,
        )

    monkeypatch.setattr(facts, "_take_places", overtaken)
    joins(play, "dan", NUMBERS[0])
    assert play.rows("SELECT owner_id, place FROM announced ORDER BY owner_id") == [
        {"owner_id": bob, "place": 1},
        {"owner_id": other, "place": 1},
    ]
    assert read(play, bob, after=cursor).items == []


READERS, JOINERS = 3, 24


def follow(play: Play, reader: int, over: Event) -> list[int]:
    """The users in all pages of a list, until nothing more comes."""
    got: list[int] = []
    cursor, last = "0", False
    while True:
        page = read(play, reader, 3, after=cursor)
        got += [item.user.id for item in page.items]
        cursor = page.next
        if last and not page.items:
            return got
        last = over.is_set()


def work(play: Play, batch: int) -> None:
    """Announce what waits, in batches."""
    while play.facts():
        with suppress(announcing.Overtaken, errors.Busy):
            announcing.expand(play.db, play.now, batch)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_reader_misses_nothing_that_several_workers_announce_at_once(play, batch):
    """Each worker announces other users to the same readers, in batches, and each reader follows its cursor."""
    readers = [play.person(f"reader{n}").id for n in range(READERS)]
    for one in readers:
        play.holds(one, *[(number, "x") for number in NUMBERS[:JOINERS]])
    joined = sorted(play.person(f"joiner{n}", number).id for n, number in enumerate(NUMBERS[:JOINERS]))
    over = Event()
    with ThreadPoolExecutor(6) as threads:
        following = [threads.submit(follow, play, one, over) for one in readers]
        working = [threads.submit(work, play, batch) for _ in range(3)]
        try:
            for one in working:
                one.result()
        finally:
            over.set()
        assert [sorted(one.result()) for one in following] == [joined] * READERS
    for one in readers:
        assert [item.place for item in reversed(read(play, one).items)] == list(range(1, JOINERS + 1))
