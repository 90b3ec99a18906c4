"""Queries and bodies, however a client writes them. The bracket rules are those of Rack's query parser."""

import json
import re
from contextlib import suppress
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringbook import errors
from ringbook.api.forms import DEEPEST, MOST_PAIRS, from_body, from_query, merged

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
CCJS = f"{JSON};charset=utf-8"


# ── brackets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "form, read",
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a=", {"a": ""}),
        ("a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=x+y%20z", {"a": "x y z"}),
        ("a%5Bb%5D=1", {"a": {"b": "1"}}),
        ("user[login]=x&user[password]=y", {"user": {"login": "x", "password": "y"}}),
        ("a[b][c]=1&a[b][d]=2", {"a": {"b": {"c": "1", "d": "2"}}}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("id[in][]=1&id[in][]=2", {"id": {"in": ["1", "2"]}}),
        ("id[in]=1&id[in]=2", {"id": {"in": ["1", "2"]}}),
        ("login[nin]=x&login[nin]=y&login[nin]=y", {"login": {"nin": ["x", "y", "y"]}}),
        ("id[in]=1,2", {"id": {"in": "1,2"}}),
        ("id[in]=1&id[in][]=2&id[in]=3", {"id": {"in": ["1", "2", "3"]}}),
        ("id[in][]=1&id[in]=2", {"id": {"in": ["1", "2"]}}),
        ("id[in]=1&id[nin]=2&id[in]=3", {"id": {"in": ["1", "3"], "nin": "2"}}),
        ("a[][in]=1&a[][in]=2", {"a": [{"in": "1"}, {"in": "2"}]}),
        ("a[in][x]=1&a[in]=2", {"a": {"in": {"x": "1", "1": "2"}}}),
        ("a[in]=1&a[in][x]=2", {"a": {"in": {"x": "2"}}}),
        ("a[in]=1&a=2", {"a": "2"}),
        ("in=1&in=2", {"in": "2"}),
        ("a[gt]=1&a[gt]=2", {"a": {"gt": "2"}}),
        ("user[login]=x&user[login]=y", {"user": {"login": "y"}}),
        ("a[0]=x&a[1]=y", {"a": ["x", "y"]}),
        ("a[10]=x&a[9]=y", {"a": ["y", "x"]}),
        ("a[x]=1&a[0]=2", {"a": {"x": "1", "0": "2"}}),
        ("a[-1]=2", {"a": {"-1": "2"}}),
        ("a[0][b]=1&a[0][c]=2&a[1][b]=3", {"a": [{"b": "1", "c": "2"}, {"b": "3"}]}),
        ("a[][b]=1&a[][c]=2&a[][b]=3&a[][c]=4", {"a": [{"b": "1", "c": "2"}, {"b": "3", "c": "4"}]}),
        ("a[][b]=1&a[][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        ("a[][b][]=1&a[][b][]=2", {"a": [{"b": ["1"]}, {"b": ["2"]}]}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=1&a=2", {"a": "2"}),
        ("user[tag_list]=a%2cb", {"user": {"tag_list": "a,b"}}),
        ("a[b=1", {"a[b": "1"}),
        ("a]b=1", {"a]b": "1"}),
        ("", {}),
        ("&&", {}),
        ("=x&=", {}),
    ],
)
def test_brackets(form, read):
    assert from_body(form.encode(), FORM) == read
    assert from_query(form) == read


def test_contacts_of_a_form_keep_their_order_beyond_ten():
    form = urlencode([(f"contacts[{n}][phone]", f"12025550{n:03}") for n in range(100, 200)])
    assert [entry["phone"] for entry in from_body(form.encode(), FORM)["contacts"]] == [
        f"12025550{n}" for n in range(100, 200)
    ]


def test_as_many_values_of_a_repeated_key_are_read_as_a_form_may_have():
    form = "&".join(f"id[in]={n}" for n in range(MOST_PAIRS))
    assert from_body(form.encode(), FORM) == {"id": {"in": [str(n) for n in range(MOST_PAIRS)]}}


names = st.text("abc", min_size=1, max_size=3)
trees = st.recursive(
    st.text(max_size=5).filter(lambda text: "\0" not in text),
    lambda inside: st.dictionaries(names, inside, min_size=1, max_size=3) | st.lists(inside, min_size=1, max_size=3),
    max_leaves=8,
)


def pairs_of(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in pairs_of(f"{name}[{key}]", item)]
    if isinstance(value, list):
        return [pair for at, item in enumerate(value) for pair in pairs_of(f"{name}[{at}]", item)]
    return [(name, str(value))]


def depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((depth(item) for item in inside), default=0)


@settings(suppress_health_check=[HealthCheck.too_slow])  # it goes by the wall clock, which a busy machine stretches
@given(st.dictionaries(names, trees, max_size=3).filter(lambda tree: depth(tree) <= DEEPEST))
def test_what_is_written_with_brackets_is_read_back(tree):
    written = urlencode([pair for name, value in tree.items() for pair in pairs_of(name, value)])
    assert from_body(written.encode(), FORM) == tree


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content_type", [JSON, CCJS, FORM, "", "text/plain", "application/vnd.api+json"])
def test_json_is_json_whatever_its_content_type_says(content_type):
    assert from_body(b' \n{"user": {"login": "x"}}', content_type) == {"user": {"login": "x"}}


@pytest.mark.parametrize("content_type", [JSON, CCJS, FORM, ""])
@pytest.mark.parametrize("body", [b"", b" ", b"\r\n"])
def test_an_empty_body_says_nothing_whatever_its_content_type(body, content_type):
    assert from_body(body, content_type) == {}


def test_flat_keys_of_the_docs_samples_are_brackets():
    body = {"user[login]": "x", "user[tags]": ["a"], "provider": "firebase_phone", "a[]": 1}
    read = {"user": {"login": "x", "tags": ["a"]}, "provider": "firebase_phone", "a": [1]}
    assert from_body(json.dumps(body).encode(), JSON) == read


def test_json_keeps_its_types():
    body = b'{"a": 1, "b": true, "c": null, "d": "1", "e": [], "f": {"0": "x"}}'
    assert from_body(body, JSON) == {"a": 1, "b": True, "c": None, "d": "1", "e": [], "f": {"0": "x"}}


@pytest.mark.parametrize(
    "body, content_type",
    [
        (b"{", FORM),
        (b'{"a": 1', JSON),
        (b'{"a": 1} x', JSON),
        (b'{"a": NaN}', JSON),
        (b'{"a": "\\ud83d"}', JSON),
        (b'{"a": "\xff"}', JSON),
        (b'{"a": ' + b"9" * 5000 + b"}", JSON),
        (b"a=1", JSON),
        (b"[1, 2]", JSON),
        (b'"text"', JSON),
        (b"null", JSON),
        (b"\xff=1", FORM),
        (b"a=%ff", FORM),
        (b"a=%f0%9f%98", FORM),
        (b'{"a": ' * 200 + b"1" + b"}" * 200, JSON),
        (b'{"a": ' * 100_000, JSON),
        (b"[" * 100_000, JSON),
        (b'{"a[b]": 1, "x": ' + b'{"a": ' * 600 + b"1" + b"}" * 601, JSON),
        (("a" + "[b]" * DEEPEST + "=1").encode(), FORM),
        (b"a&" * (MOST_PAIRS + 1), FORM),
        (b"a[in]=&" * (MOST_PAIRS + 1), FORM),
    ],
)
def test_what_cannot_be_read_is_malformed(body, content_type):
    with pytest.raises(errors.Malformed):
        from_body(body, content_type)


def test_a_json_text_of_blanks_is_no_body_where_the_query_wins():
    """The QuickBlox SDK 2.7.0 for JavaScript sends it with each GET."""
    for body in (b'" "', b'""', b' "  "\n'):
        assert merged("a=1", body, JSON, body_wins=False) == {"a": "1"}
        with pytest.raises(errors.Malformed):
            merged("a=1", body, JSON, body_wins=True)
    with pytest.raises(errors.Malformed):
        merged("a=1", b'"text"', JSON, body_wins=False)


@pytest.mark.parametrize(
    "query, body, content_type, reason",
    [
        ("", b'{"a": 1,\n"b"}', JSON, "The body is not valid JSON: expecting ':' delimiter (line 2, column 4)"),
        ('{"a" 1}', b"", "", "The query is not valid JSON: expecting ':' delimiter (line 1, column 6)"),
        ("", b"a=1&b=\xff", FORM, "The body is not UTF-8 (line 1, column 7)"),
    ],
)
def test_a_malformed_request_is_refused_with_line_and_column(query, body, content_type, reason):
    with pytest.raises(errors.Malformed, match=re.escape(reason)):
        merged(query, body, content_type, body_wins=True)


# ── queries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "query",
    ['{"udid":"X"}', "%7B%22udid%22:%22X%22%7D", "{%22udid%22:%22X%22}", "%7B%22udid%22%3A%22X%22%7D", "udid=X"],
)
def test_a_query_may_be_json_escaped_or_raw(query):
    assert from_query(query) == {"udid": "X"}


@pytest.mark.parametrize("word", ["undefined", "null"])
def test_words_for_nothing_are_nothing_in_a_query_only(word):
    assert from_query(f"udid={word}") == {"udid": None}
    assert from_body(f"full_name={word}".encode(), FORM) == {"full_name": word}


def test_brackets_of_a_query_may_be_escaped():
    assert from_query("filter%5B%5D=number%20id%20in%201,2") == {"filter": ["number id in 1,2"]}


def test_who_wins():
    assert merged("a=1&b=1", b"a=2&c=2", FORM, body_wins=False) == {"a": "1", "b": "1", "c": "2"}
    assert merged("a=1&b=1", b"a=2&c=2", FORM, body_wins=True) == {"a": "2", "b": "1", "c": "2"}


# ── anything ─────────────────────────────────────────────────────────────────────────────────────────────────────────

letters = st.text("ab01[]=&;+%{}\"':,\\ud83\0é😀\n", max_size=40)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(letters, inside, max_size=3),
    max_leaves=10,
)
bodies = (
    st.binary(max_size=60)
    | letters.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | letters.map(lambda text: quote(text, safe="[]=&", errors="surrogatepass").encode())
    | jsons.map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=400)
@given(bodies, st.sampled_from([JSON, FORM, "", "text/plain", "\xe9"]))
def test_a_body_is_a_dictionary_or_malformed(body, content_type):
    with suppress(errors.Malformed):
        assert isinstance(from_body(body, content_type), dict)


@settings(max_examples=400)
@given(letters | letters.map(quote))
def test_a_query_is_a_dictionary_or_malformed(query):
    with suppress(errors.Malformed):
        assert isinstance(from_query(query), dict)
