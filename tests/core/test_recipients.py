"""Recipients of events by ids, external ids and tags, and the bounds. On both databases."""

import pytest
from core.joining import LIMITS, Play
from hypothesis import given
from hypothesis import strategies as st

from ringbook import errors
from ringbook.config import Limits
from ringbook.core import events, recipients, users
from ringbook.core.profile import columns
from ringbook.core.recipients import MOST_RECIPIENTS, MOST_TAGGED, MOST_TAGS, Recipients, check, fits, found

TAGS = st.sets(st.sampled_from("abcd"))


@pytest.fixture
def play(db):
    return Play(db)


def tagged(play: Play, login: str, *tags: str, **fields: object) -> int:
    """A user with tags and a device."""
    with play.db.write() as tx:
        values = columns({"login": login, "tag_list": list(tags), **fields})
        user = users.add(tx, play.app, values, play.now)
    play.device(user.id, f"fcm-token-{login}")
    return user.id


def reached(play: Play, **to: list[str]) -> list[int]:
    with play.db.read() as tx:
        ids = found(tx, play.app_id, Recipients(**to))
    assert not isinstance(ids, errors.Invalid)
    return ids


@pytest.mark.parametrize(
    "field, to",
    [
        ("ids", Recipients()),
        ("ids", Recipients(ids=range(1, MOST_RECIPIENTS + 2))),
        ("external_ids", Recipients(ids=[1], external_ids=["51"])),
        ("external_ids", Recipients(external_ids=[str(n) for n in range(MOST_RECIPIENTS + 1)])),
        ("tags", Recipients(ids=[1], any_tags=["vip"])),
        ("tags", Recipients(external_ids=["51"], all_tags=["vip"])),
        ("tags", Recipients(no_tags=["vip"])),
        ("tags", Recipients(any_tags=[f"tag{n}" for n in range(MOST_TAGS + 1)])),
        ("tags", Recipients(any_tags=["one"], no_tags=[f"tag{n}" for n in range(MOST_TAGS)])),
    ],
)
def test_what_names_no_one_or_too_many_is_refused(field, to):
    with pytest.raises(errors.Invalid) as refused:
        check(to)
    assert refused.value.field == field


def test_tags_are_any_exactly_all_or_none_in_any_case(play):
    ann, bob = tagged(play, "ann", "VIP", "beta"), tagged(play, "bob", "vip")
    cat = tagged(play, "cat", "beta", "left")
    tagged(play, "dan")
    assert reached(play, any_tags=["Vip"]) == [ann, bob]
    assert reached(play, any_tags=["vip", "BETA"]) == [ann, bob, cat]
    assert reached(play, all_tags=["vip"]) == [bob]
    assert reached(play, all_tags=["beta", "vip"]) == [ann]
    assert reached(play, any_tags=["beta"], no_tags=["left"]) == [ann]
    assert reached(play, any_tags=["beta"], all_tags=["left", "beta"]) == [cat]
    assert reached(play, any_tags=["nobody"]) == reached(play, all_tags=["nobody", "vip"]) == []


def test_tags_of_another_application_are_not_these(play):
    tagged(Play(play.db), "ann", "vip")
    assert reached(play, any_tags=["vip"]) == []


def test_external_ids_are_looked_for_as_texts_and_then_as_numbers(play):
    ann = tagged(play, "ann", external_id="a-1")
    bob = tagged(play, "bob", external_user_id=51)
    cat = tagged(play, "cat", external_id="52")
    tagged(play, "dan", external_user_id=52)
    tagged(Play(play.db), "eve", external_id="a-1", external_user_id=51)
    assert reached(play, external_ids=["a-1", "51", "nobody", "9" * 30]) == [ann, bob]
    assert reached(play, external_ids=["52"]) == [cat]


def crowd(play: Play, count: int, tag: str) -> None:
    with play.db.write() as tx:
        for n in range(count):
            users.add(tx, play.app, columns({"login": f"{tag}{n}", "tag_list": [tag]}), play.now)


@pytest.mark.parametrize("size, refused", [(MOST_RECIPIENTS, False), (MOST_RECIPIENTS + 1, True)])
def test_tags_reach_as_many_users_as_ids_do(play, size, refused):
    crowd(play, size, "vip")
    with play.db.read() as tx:
        for to in (Recipients(any_tags=["vip"]), Recipients(all_tags=["vip"])):
            answer = found(tx, play.app_id, to)
            assert isinstance(answer, errors.Invalid) is refused


def test_no_more_users_are_compared_than_the_bound_allows(play, monkeypatch):
    monkeypatch.setattr(recipients, "MOST_TAGGED", 10)
    crowd(play, 11, "vip")
    rare = tagged(play, "ann", "vip", "rare")
    with play.db.read() as tx:
        answer = found(tx, play.app_id, Recipients(any_tags=["vip"], no_tags=["vip"]))
        assert isinstance(answer, errors.Invalid) and answer.field == "tags"
    assert reached(play, all_tags=["vip", "rare"]) == [rare]
    assert MOST_TAGGED >= MOST_RECIPIENTS


def test_tags_that_match_too_many_count_as_a_call(play):
    crowd(play, MOST_RECIPIENTS + 1, "vip")
    ann = tagged(play, "ann")
    event = events.Event(payload={"message": "hi"}, to=Recipients(any_tags=["vip"]))
    one = Limits(events_per_minute=1)
    with pytest.raises(errors.Invalid, match="too many users"):
        events.send(play.db, one, play.caller(ann), event, play.now)
    with pytest.raises(errors.TooMany):
        events.send(play.db, one, play.caller(ann), event, play.now)


def test_an_event_by_tags_or_external_ids_is_queued_like_one_by_ids(play):
    ann, bob = tagged(play, "ann"), tagged(play, "bob", "vip", external_id="b-1")
    for to in (Recipients(any_tags=["vip"]), Recipients(external_ids=["b-1"]), Recipients(ids=[bob])):
        event = events.Event(payload={"message": "hi"}, to=to)
        events.send(play.db, LIMITS, play.caller(ann), event, play.now)
    assert [row["user_id"] for row in play.rows("SELECT user_id FROM pushes")] == [bob] * 3


@given(own=TAGS, any_=TAGS, all_=TAGS, none=TAGS)
def test_tags_fit_when_each_condition_does(own, any_, all_, none):
    to = Recipients(any_tags=sorted(any_), all_tags=sorted(all_), no_tags=sorted(none))
    expected = (not any_ or any(tag in own for tag in any_)) and (not all_ or own == all_)
    assert fits(own, to) is (expected and not any(tag in own for tag in none))
