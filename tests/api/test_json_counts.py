"""JSON is counted as a decoder would see it, whatever its strings hold, and without taking long."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.api.json_counts import has_more_elements, has_more_values

TEXTS = st.text(alphabet='{}[],"\\\n a😀')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=25,
)
EMPTY = ([], {})


def values_in(value):
    """What is counted: each bracket, and each value in it but the first."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    here = isinstance(value, dict | list) + max(0, len(inside) - 1)
    return here + sum(values_in(one) for one in inside)


@given(st.lists(VALUES, max_size=8), st.integers(1, 8), st.booleans(), st.sampled_from([None, 1]))
def test_the_elements_of_a_list_are_counted_whatever_they_hold(array, most, ascii, indent):
    text = json.dumps(array, ensure_ascii=ascii, indent=indent).encode()
    assert has_more_elements(text, most) == (len(array) > most)
    assert has_more_elements(memoryview(text), most) == (len(array) > most)


@given(VALUES, st.integers(1, 30), st.booleans())
def test_the_values_of_a_text_are_counted_over_all_levels(value, most, ascii):
    text = json.dumps(value, ensure_ascii=ascii).encode()
    assert has_more_values(text, most) == (values_in(value) > most)


@given(st.binary(max_size=60) | st.text(alphabet='{}[],"\\ a').map(str.encode), st.integers(1, 5))
def test_what_is_no_json_is_counted_without_an_error(text, most):
    has_more_elements(text, most)
    has_more_values(text, most)


MEBIBYTES_8 = 8 * 2**20
ODD = {
    "empty objects": b"[" + b"{}," * (MEBIBYTES_8 // 3),
    "nothing but opening": b"[" * MEBIBYTES_8,
    "nested": b"[[" + b"[[]]," * (MEBIBYTES_8 // 5),
    "quotes": b'["' + b'"' * MEBIBYTES_8,
    "backslashes in a string": b'["' + b'\\"' * (MEBIBYTES_8 // 2),
    "strings that are cut": b'["\\' * (MEBIBYTES_8 // 3),
    "objects that are cut": b'[{"' * (MEBIBYTES_8 // 3),
}


@pytest.mark.parametrize("odd", ODD)
def test_no_text_takes_time_by_the_square_of_its_length(odd):
    """A fiftieth of the text is counted beside it, with a fiftieth of what is allowed, so that both are walked through.

    Squares would make 2,500 times of it, and this allows 500.
    """
    whole, part = ODD[odd], ODD[odd][: MEBIBYTES_8 // 50]

    def seconds(text, elements, values):
        began = time.process_time()
        has_more_elements(text, elements)
        has_more_values(text, values)
        return time.process_time() - began

    assert seconds(whole, 50_000, 600_000) < 500 * max(min(seconds(part, 1_000, 12_000) for _ in range(3)), 0.01)
