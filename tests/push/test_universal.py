"""The universal payload: what a person reads, what an app reads, and what of a long text is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.push.universal import custom, cut, text


@pytest.mark.parametrize(
    "payload, said",
    [
        ({"message": "Your friend Zoë joined."}, "Your friend Zoë joined."),
        ({"message": 7}, "7"),
        ({"message": None}, ""),
        ({"user_id": 271}, ""),
    ],
)
def test_the_message_is_what_a_person_reads(payload, said):
    assert text(payload) == said


def test_an_app_gets_every_key_that_no_platform_claims_as_it_is():
    own = {"user_id": 271, "type": "contact_joined", "deep": {"ios_badge": 1}, "none": None, "IOS_badge": 2}
    claimed = {
        "message": "Hi",
        "expiration": 1,
        "android_fcm_notification": {"title": "x"},
        **{
            f"ios_{name}": 1
            for name in (
                "badge",
                "sound",
                "category",
                "thread_id",
                "content_available",
                "mutable_content",
                "voip",
                "push_type",
                "loc_data",
            )
        },
    }
    assert custom(own | claimed) == own


# ── cutting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_that_fits_stays_whole():
    assert cut("Zoë", lambda text: len(text) <= 3) == "Zoë"
    assert cut("", lambda text: True) == ""


def test_a_text_that_does_not_fit_ends_with_an_ellipsis():
    assert cut("abcdef", lambda text: len(text) <= 5) == "abcd…"
    assert cut("abcdef", lambda text: len(text) <= 1) == "…"


def test_where_not_even_an_ellipsis_fits_there_is_nothing():
    assert cut("abcdef", lambda text: False) is None
    assert cut("", lambda text: False) is None


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 60))
def test_what_is_kept_is_the_longest_beginning_that_fits(whole, room):
    def fits(text: str) -> bool:
        return len(text.encode()) <= room

    kept = cut(whole, fits)
    if fits(whole):
        assert kept == whole
    elif kept is None:
        assert room < len("…".encode())
    else:
        assert fits(kept) and kept.endswith("…") and whole.startswith(kept[:-1])
        assert not fits(whole[: len(kept)] + "…")
