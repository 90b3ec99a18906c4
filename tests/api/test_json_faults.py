"""Refusals of malformed JSON name the line and the column."""

import json

import msgspec
import pytest

from ringbook.api.json_faults import malformed, place


def refusal(text: bytes) -> str:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as raised:
        msgspec.json.decode(text)
    refused = malformed(text, raised.value)
    assert refused.told in ("", "The body is not valid JSON")  # statistics hold one reason, not one per place
    return refused.reason


@pytest.mark.parametrize(
    "text, line, column",
    [
        (b"{", 1, 2),
        (b'{"a": 1', 1, 8),
        (b'{"a": 1} x', 1, 10),
        (b'{"a":1 "b":2}', 1, 8),
        ('{"ä": 1\n,\n  "é" b}'.encode(), 3, 7),
        (b'{\r\n  "a": 1,\r\n  b\r\n}', 3, 3),
        (b"{\n\n", 3, 1),
        (b'{"a": NaN}', 1, 7),
        (b'{"a": "\\ud83d"}', 1, 8),
        (b'{"a": "\\ud83d\\ude00",\n "b": "\\ude00"}', 2, None),
        (b'{"a":"\xff"}', 1, 7),
        (b'{"a": 1,\n"b": "\xc3\xa4\xff"}', 2, 8),
        (b"a=1", 1, 1),
    ],
)
def test_a_malformed_text_is_refused_with_line_and_column(text, line, column):
    reason = refusal(text)
    assert reason.startswith("The body is not valid JSON: ")
    assert f"(line {line}, column {'' if column is None else f'{column})'}" in reason


def test_what_has_no_place_is_refused_with_its_cause():
    assert refusal(b'{"a": 1e999}') == "The body is not valid JSON: a number is too large"
    assert refusal(b'{"a": ' + b"9" * 5000 + b"}") == "The body is not valid JSON: a number is too large"
    assert refusal(b"[" * 100_000) == "The body is nested too deeply"


def test_the_error_of_the_lenient_decoder_has_its_own_place():
    """Uploads accept texts that are not UTF-8, so such a text is not the cause of the refusal."""
    text = b'{"a": "\xff",\n "b" 1}'
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads(text.decode("utf-8", "surrogateescape"))
    assert malformed(text, raised.value).reason.endswith("(line 2, column 6)")


def test_place():
    assert place(b"a\nbc", 3) == " (line 2, column 2)"
    assert place(b"", 0) == " (line 1, column 1)"
    assert place(b"abc", None) == ""
