"""What an admin sees of users' address books."""

from itertools import pairwise

import pytest
from core.joining import ANN, BOB, CLEO, NOW, Play
from sealed import entries

from ringbook import errors
from ringbook.core import masked_books
from ringbook.core.audit import Actor

BY = Actor("op@example.com", "192.0.2.9", NOW)


@pytest.fixture
def play(db):
    play = Play(db)
    play.bob = play.person("bob", BOB).id
    play.holds(play.bob, ("+1 (202) 555-0101", "Ann of the secret name"), (CLEO, "Ćleo"))
    return play


def test_books_are_shown_by_size_and_date(play):
    play.holds(play.bob, (ANN, "Ann"), device="phone-2")
    shelf = masked_books.books_of(play.db, play.bob)
    assert [(one["device"], one["size"], one["synced_at"]) for one in shelf] == [("", 2, NOW), ("phone-2", 1, NOW)]


def test_contacts_are_masked_in_the_order_of_the_upload_and_their_places_tell_nothing(play):
    ann, cleo = masked_books.masked(play.db, play.bob, 0, 0, 10)
    assert (ann.name, ann.phone, cleo.name, cleo.phone) == ("A… o… t…", "…01", "Ć…", "…03")
    assert not ann.is_whole and str(ann.place) not in "12025550101"
    assert masked_books.masked(play.db, play.bob, 0, ann.place, 10) == [cleo]
    assert masked_books.masked(play.db, play.bob, 0, 0, 1) == [ann]


def test_contacts_that_were_added_in_front_are_shown_and_revealed(play):
    play.holds(play.bob, (BOB, "Bob"), (CLEO, "Cleo"), force=True)
    for n in range(4):  # the positions go below 0
        front = [(f"+1202555013{n}", f"Aaron {n}")]
        kept = [(f"+1202555013{m}", f"Aaron {m}") for m in reversed(range(n))]
        play.holds(play.bob, *front, *kept, (BOB, "Bob"), (CLEO, "Cleo"), force=True)
    everybody = masked_books.masked(play.db, play.bob, 0, masked_books.FIRST, 10)
    assert [one.phone for one in everybody] == ["…33", "…32", "…31", "…30", f"…{BOB[-2:]}", f"…{CLEO[-2:]}"]
    assert everybody[0].place < 0
    for before, one in pairwise(everybody):
        assert masked_books.masked(play.db, play.bob, 0, before.place, 1) == [one]
    shown = masked_books.reveal(play.db, play.bob, 0, everybody[0].place, BY)
    assert (shown.name, shown.phone) == ("Aaron 3", "+12025550133")


def test_one_contact_is_revealed_as_it_was_typed_and_only_with_an_entry_in_the_log(play):
    ann = masked_books.masked(play.db, play.bob, 0, 0, 1)[0]
    shown = masked_books.reveal(play.db, play.bob, 0, ann.place, BY)
    assert (shown.name, shown.phone, shown.is_whole) == ("Ann of the secret name", "+1 (202) 555-0101", True)
    (entry,) = entries(play.db, action="contacts revealed")
    assert (entry.admin, entry.subject, entry.detail) == ("op@example.com", f"user {play.bob}", "…01 of book 0")
    assert masked_books.contact(play.db, play.bob, 0, ann.place) == shown  # for the page that follows
    assert len(entries(play.db, action="contacts revealed")) == 1


def test_contacts_who_are_users_are_marked_by_their_place(play):
    first, second = masked_books.masked(play.db, play.bob, 0, 0, 2)
    ann = play.person("ann", ANN).id
    assert masked_books.registered(play.db, play.app, play.bob, 0, 0, 10) == {first.place: ann}
    assert masked_books.registered(play.db, play.app, play.bob, 0, first.place, 10) == {}
    play.set(require_verified_number="on")
    assert masked_books.registered(play.db, play.app, play.bob, 0, 0, 10) == {}
    cleo = play.verified(CLEO)
    assert masked_books.registered(play.db, play.app, play.bob, 0, 0, 10) == {second.place: cleo}


def test_what_is_not_in_the_book_is_neither_shown_nor_written_down(play):
    for book, place in [(0, 7), (0, 2**62), (5, 1), (0, 0)]:
        with pytest.raises(errors.NotFound):
            masked_books.reveal(play.db, play.bob, book, place, BY)
    assert entries(play.db, action="contacts revealed") == []
