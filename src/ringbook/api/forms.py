"""Reads the parameters of a request into one dictionary, in all encodings that clients use.

    merged(query, body, content_type, body_wins=…)   query and body together
    from_query(query)                                a form with brackets, or JSON
    from_body(body, content_type)                    JSON, or a form with brackets
    nested(pairs)                                    Rails' bracket form → dictionaries and lists
    within(levels, value)                            is a value of JSON nested no deeper than this?
    refuse_many_values(text)                         refuses JSON with too many values before it is decoded

Clients differ: JSON with any content type, `user[login]=x`, `contacts[0][name]=x`, `contacts[][name]=x`,
`id[in]=1&id[in]=2` and `?{"udid":"X"}`.
Sources: docs/wire.md §1.4 (encodings and their quirks) and, for brackets, what Rack's query parser does.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from .. import errors
from .json_counts import has_more_values
from .json_faults import malformed, place

NO_BODY = re.compile(rb'\s*"\s*"\s*')  # the QuickBlox SDK 2.7.0 for JavaScript sends the JSON text `" "` with a GET
MOST_PAIRS = 200_000
MOST_NODES = 600_000  # 50,000 contacts of three fields, and a third more
DEEPEST, DEEPEST_JSON = 8, 64
# SDKs repeat these keys for a list of values. Of any other repeated key the last value counts, as in Rack.
LISTS = {"in", "nin"}
NOTHING = {"undefined", "null"}  # the ConnectyCube SDK for JavaScript writes these for missing values


def merged(query: str, body: bytes, content_type: str, *, body_wins: bool) -> dict[str, Any]:
    """Query and body as one dictionary.

    body_wins   the body decides for a name that is in both; if not, as on a GET, a JSON text of blanks is no body
    """
    if not body_wins and NO_BODY.fullmatch(body):
        body = b""
    asked, sent = from_query(query), from_body(body, content_type)
    return asked | sent if body_wins else sent | asked


def from_query(query: str) -> dict[str, Any]:
    """The query as a dictionary; the words `undefined` and `null` are None."""
    plain = unquote(query)
    if plain.startswith("{"):
        return _object(plain.encode("utf-8", "replace"), "The query")
    values = nested(_pairs(query))
    return {name: None if isinstance(value, str) and value in NOTHING else value for name, value in values.items()}


def from_body(body: bytes, content_type: str) -> dict[str, Any]:
    """The body as a dictionary; {} when it is empty, whatever its content type."""
    start = body.lstrip()[:1]
    if not start:
        return {}
    if start in (b"{", b"[") or "json" in content_type.lower():
        return _object(body)
    try:
        return nested(_pairs(body.decode()))
    except UnicodeDecodeError as error:
        told = "The body is not UTF-8"
        raise errors.Malformed(told + place(body, error.start), told=told) from None


def _object(body: bytes, what: str = "The body") -> dict[str, Any]:
    refuse_many_values(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(body, error, what=what) from None
    if not isinstance(value, dict):
        raise errors.Malformed(f"{what} must be a JSON object")
    if not within(DEEPEST_JSON, value):
        raise errors.Malformed(f"{what} is nested too deeply")
    # Flat keys as in the docs' samples: {"user[login]": "x"}.
    if any("[" in name for name in value):
        return nested(value.items())
    return value


def refuse_many_values(text: bytes) -> None:
    """Raises Malformed for JSON that would decode into too many objects."""
    if has_more_values(text, MOST_NODES):
        raise errors.Malformed("The body holds too many values", limit="json_values")


def within(levels: int, value: Any) -> bool:
    """Is the value nested no deeper than this? Recursive functions can then process it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(within(levels - 1, item) for item in inside)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PAIRS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise errors.Malformed("The parameters cannot be read") from None


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """`a[b]=1`, `a[]=1`, `a[0][b]=1`, `a[][b]=1` as dictionaries and lists; {"0": …, "1": …} becomes a list.

    `a[in]=1&a[in]=2` is read like `a[in][]=1&a[in][]=2`.
    """
    root: dict[str, Any] = {}
    nodes = 0
    for name, value in pairs:
        path = _path(name)
        nodes += len(path)
        if nodes > MOST_NODES:
            raise errors.Malformed("The parameters are too many", limit="json_values")
        if name:
            _put(root, path, value)
    return {name: _listed(value) for name, value in root.items()}


def _path(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if not bracket or not head or not rest.endswith("]"):
        return [name]
    path = [head, *rest[:-1].split("][")]
    if len(path) > DEEPEST:
        raise errors.Malformed("The parameters are nested too deeply")
    return path


def _put(place: dict[str, Any], path: list[str], value: Any) -> None:
    for key, following in zip(path, path[1:], strict=False):
        key = _index(place, following) if key == "" else key
        below = place.setdefault(key, {})
        if not isinstance(below, dict):
            below = place[key] = {"0": below} if key in LISTS and following == "" else {}
        place = below
    last = path[-1]
    if last in LISTS and len(path) > 1 and last in place:
        _put(place, [last, ""], value)
    else:
        place[str(len(place)) if last == "" else last] = value


def _index(place: dict[str, Any], following: str) -> str:
    """The index for `a[][b]`: the last element, or a new one if the last one has a `b`."""
    last = len(place) - 1
    fits = last >= 0 and isinstance(place.get(str(last)), dict) and following and following not in place[str(last)]
    return str(last if fits else last + 1)


def _listed(value: Any) -> Any:
    """The value with each dictionary whose keys are all whole numbers as a list, in the order of the numbers."""
    if not isinstance(value, dict):
        return value
    inside = {name: _listed(item) for name, item in value.items()}
    if inside and all(name.isascii() and name.isdigit() and len(name) < 10 for name in inside):
        return [inside[name] for name in sorted(inside, key=int)]
    return inside
