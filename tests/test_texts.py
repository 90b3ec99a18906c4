"""Long and hostile texts are refused before they are read, and no regular expression takes quadratic time."""

import random
import re
import time

import pytest

from ringbook import errors, phone, profile_fields
from ringbook.api import wire
from ringbook.config import Limits
from ringbook.core import privacy, stats, user_search, words
from ringbook.core.user_search import Filter

SEARCHED = [privacy.URI, words.ADDRESS, words.NUMBER, words.WORD]
HOSTILE = [" ", "\\", ".", "1", "@", "a", "a1", "1 ", "tel:", "\t", '"', "+"]
SMALL, LARGE = 1_000, 16_000
MOST_TIMES = 100  # 16 in linear time, 256 in quadratic time


@pytest.mark.parametrize(("field", "longest"), profile_fields.LONGEST_READ.items())
def test_a_text_that_is_longer_than_its_bound_is_refused_wherever_requests_are_read(field: str, longest: int) -> None:
    assert wire.text("x" * longest, field) == "x" * longest
    assert wire.texts(",".join(["x" * longest] * 3), field) == ["x" * longest] * 3
    for read in (lambda text: wire.text(text, field), lambda text: wire.texts(f"x,{text}", field)):
        with pytest.raises(errors.Invalid, match="is too long") as refused:
            read(" " * longest + "x" * (longest + 1))
        assert refused.value.field == field


def test_the_texts_of_a_search_are_bounded_together_and_none_is_folded_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folded: list[str] = []
    monkeypatch.setattr(user_search, "COMPARED_AS", {"full_name": lambda text: folded.append(text) or text})

    def search(*values: str) -> None:
        asked = [Filter("full_name", "in", values)]
        user_search.query(App, Limits(), asked, sort="id", descending=False, offset=0, limit=1)  # type: ignore[arg-type]

    search("x" * 4_096, "y" * 4_096)
    assert len(folded) == 2
    with pytest.raises(errors.Invalid, match="more than 8,192 characters"):
        search("x" * 4_096, "y" * 4_097)
    assert len(folded) == 2


class App:
    """What a query needs of an application."""

    class settings:
        default_region = ""


@pytest.mark.parametrize("pattern", SEARCHED, ids=lambda pattern: pattern.pattern)
@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_a_text_of_16_times_the_length_takes_far_less_than_16_times_16_times_the_time(
    pattern: re.Pattern[str], text: str
) -> None:
    assert taken(pattern, text * LARGE) < MOST_TIMES * taken(pattern, text * SMALL) + 0.005


def taken(pattern: re.Pattern[str], text: str) -> float:
    """The processor time, the best of several."""
    seconds = []
    for _ in range(5):
        began = time.process_time()
        pattern.sub(" ", text)
        seconds.append(time.process_time() - began)
    return min(seconds)


def test_a_login_is_private_as_before_the_prefix_lost_its_blanks() -> None:
    old, chance = re.compile(r"\s*(tel|sms|callto):", re.IGNORECASE), random.Random(1)
    for _ in range(20_000):
        login = "".join(chance.choices(["tel:", "SMS:", " ", "\t", "\n", "+", "0", "12", "447700900123", "a"], k=5))
        assert privacy.is_private(login) == reads(old.sub("", login)), login


def reads(text: str) -> bool:
    """Does it read as a number, or have as many digits?"""
    try:
        phone.read(text)
    except phone.Unreadable:
        return False
    except phone.WrongLength:
        return sum(sign.isdecimal() for sign in text) >= privacy.SHORTEST
    return True


def test_a_text_that_is_too_long_to_be_read_counts_as_private() -> None:
    assert privacy.is_private("a" * 1_001) and not privacy.is_private("a" * 1_000)


def test_a_reason_is_cut_before_values_are_looked_for_in_it() -> None:
    assert len(stats.plain(errors.Invalid("." * 1_000_000))) == stats.LONGEST_REASON
