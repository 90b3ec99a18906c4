"""How long a provider asks to wait."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.push.transport import LONGEST_WAIT_SECONDS, retry_after

NOW = int(datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC).timestamp())


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine whose clock does not show UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        ("86401", 86_400),
        ("999999999", 86_400),
        ("1000000000", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        (" 1", None),
        ("١٢", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_seconds_are_read_and_nothing_is_waited_for_longer_than_a_day(value, seconds):
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("Tue, 24 Nov 2026 03:02:05 GMT", 125),
        ("Tuesday, 24-Nov-26 03:02:05 GMT", 125),
        ("Tue Nov 24 03:02:05 2026", 125),
        ("Tue, 24 Nov 2026 03:02:05 -0000", 125),
        ("Tue, 24 Nov 2026 02:59:59 GMT", 0),
        ("Wed, 24 Nov 2027 03:00:00 GMT", 86_400),
        ("Tue, 99 Nov 2026 03:00:00 GMT", None),
        ("Tue, 24 Nov 99999999999999999999 03:02:05 GMT", None),
        ("Tue, 24 Nov 2026 03:02:05 +99999999999999999999", None),
        ("tomorrow", None),
    ],
)
def test_a_date_in_each_of_its_three_forms_is_read(value, seconds, elsewhere):
    assert retry_after(value, NOW) == seconds


DATES = st.from_regex(
    r"(\w{3}, )?\d{1,9} \w{3} -?\d{1,9} \d{1,4}:\d{1,4}(:\d{1,9})? ([+-]\d{1,20}|GMT|EST)?", fullmatch=True
)


@given(st.text() | DATES, st.integers(0, 2**33))
def test_whatever_a_provider_says_it_is_read_or_not(value, now):
    seconds = retry_after(value, now)
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT_SECONDS
