"""The words by which admins find users: where they begin, and what never becomes one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.core import words


def test_words_are_those_of_all_three_fields_without_case_and_accents():
    assert words.of_user("Chloé  O'Brien-Dubois", "chloe.dubois", "Crew-17") == [
        *("17", "brien", "chloe", "crew", "dubois", "o"),
    ]
    assert words.of_user(None, None, None) == [] and words.of_user("王小明", None, None) == ["王小明"]


@pytest.mark.parametrize(
    "text",
    [
        "+44 7700 900123",
        "07700 900 123",
        "(0044) 7700-900123",
        "tel:07700900123",
        "447700900123",
        "٠٧٧٠٠٩٠٠١٢٣",
        "ann@example.com",
        "ann@bücher.example",
    ],
)
def test_nothing_that_reads_like_a_phone_or_an_e_mail_is_a_word(text):
    assert words.of_user(None, text, None) == words.of_user(None, None, text) == []
    for name in (text, f"Ann {text}", f"{text} Ann", f"Ann ({text}) Lee"):
        assert set(words.of_user(name, None, None)) <= {"ann", "lee", "tel"}, name
    assert words.of_query(text) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_user_is_found_by_the_beginning_of_each_word(name, login):
    stored = words.of_user(name, login, None)
    assert len(stored) <= words.MOST_WORDS and all(0 < len(one) <= words.MOST_CHARACTERS for one in stored)
    assert not any(sign.isspace() for one in stored for sign in one)


def test_a_query_begins_with_the_rarest_word():
    assert words.of_query("al Archer ann") == ["archer", "ann", "al"]
    assert len(words.of_query(" ".join(f"word{chr(97 + n)}" for n in range(26)))) == words.MOST_WORDS
