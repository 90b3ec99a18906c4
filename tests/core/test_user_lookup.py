"""The user whom an operator means: one rule for the command line, the dashboard and the diagnosis."""

import pytest
from core.joining import ANN, BOB, Play

from ringbook import errors
from ringbook.core import user_lookup, users
from ringbook.core.profile import columns
from ringbook.store.db import Database


@pytest.fixture
def play(db: Database) -> Play:
    return Play(db)


def add(play: Play, **fields: str) -> int:
    with play.db.write() as tx:
        return users.add(tx, play.app, columns(fields), play.now).id


def meant(play: Play, text: str) -> int:
    return user_lookup.one_user(play.db, play.app, text).id


def test_a_user_is_found_by_id_login_e_mail_and_phone_in_any_spelling(play):
    ann = add(play, login="ann", email="Ann@example.com", phone=ANN)
    add(play, login="bob", phone=BOB)
    for text in (str(ann), f"#{ann}", "ANN", "ann@Example.com", ANN, "1 (202) 555-0101"):
        assert meant(play, text) == ann, text


def test_nobody_is_found_by_anything_else_or_in_another_application(play):
    ann = add(play, login="ann", phone=ANN)
    for text in ("nobody", "", "999", BOB, "an"):
        with pytest.raises(errors.NotFound):
            meant(play, text)
    other = Play(play.db)
    for text in ("ann", str(ann), ANN):
        with pytest.raises(errors.NotFound):
            meant(other, text)


def test_beginnings_find_names_and_logins_but_no_sealed_value(play):
    ann = add(play, login="ann.example", full_name="Zoe", email="ann@example.com", phone=ANN)
    zoe = add(play, login="zoe.example", full_name="Ann")
    private = add(play, login="+44 7700 900123")

    def found(text: str) -> list[int]:
        return [user.id for user in user_lookup.matches(play.db, play.app, text)]

    assert found("ANN") == [zoe, ann]
    assert found("zoe.") == [zoe, ann]
    assert found("EXAMPLE") == found("exam") == [zoe, ann]  # of any word
    assert found("zoe ex") == [zoe, ann] and found("zoe b") == []
    assert found("07700 900123") == []
    assert found("+44 7700 900123") == [private]
    for text in ("ann@", "+1202", "1202555", "+44 7700", "+44"):
        assert found(text) == [], text


def test_an_id_wins_over_a_login_of_the_same_digits(play):
    ann = add(play, login="ann")
    add(play, login=f"{ann:03}")
    assert meant(play, str(ann)) == ann


def test_what_means_two_users_is_refused_with_their_ids(play):
    """A user who takes another's e-mail or phone as a login must not be handed the other's account."""
    bob = add(play, login="bob", email="bob@example.com", phone=BOB)
    for login in ("bob@example.com", "447700900123"):
        thief = add(play, login=login)
        with pytest.raises(errors.Invalid, match=f"{bob}, {thief}"):
            meant(play, login)
