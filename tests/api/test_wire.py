"""Every documented request and answer, from the files in tests/wire/ (their README says how to read them)."""

import hmac
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from asking import PASSWORD, Answer, Person, ask, opened
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from servers import SEAL, Application, Server

from ringbook.api import wire
from ringbook.api.openapi import document
from ringbook.core import applications
from ringbook.store import db as databases

FILES = sorted((Path(__file__).parent.parent / "wire").glob("*.json"))
VALUE = re.compile(r"\$\{([\w.]+)(:text)?\}")
PLACEHOLDER = re.compile(r"<(any|text|int|id|token|date|expiration)(?: as (\w+))?>")
OTHERS = "<others>"
DESCRIPTION: dict[str, Any] = json.loads(json.dumps(document()))
Known = dict[str, Any]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[databases.Database]:
    """The database behind the server, to make applications in."""
    opened_ = databases.connect(server.database_url, pool=2, seal=SEAL)
    yield opened_
    opened_.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_wire(file, server, database):
    case = json.loads(file.read_text("utf-8"))
    known = given(case.get("given", {}), server, database)
    for exchange in case["exchanges"]:
        answer = send(server, exchange["request"], known)
        known |= last_code(server)
        compare(answer, exchange["answer"], known)
        described(exchange["request"], answer)


def test_there_are_files():
    assert len(FILES) > 100


# ── what is given ────────────────────────────────────────────────────────────────────────────────────────────────────


def given(wanted: Any, server: Server, database: databases.Database) -> Known:
    """An application with settings and people; what `${…}` stands for."""
    now = int(time.time())
    made = applications.create(database, "wire", now)
    for key, value in wanted.get("settings", {}).items():
        applications.change(database, made.id, key, value)
    app = Application(made.id, made.auth_key, made.auth_secret)
    known = {"now": now, "app.id": app.application_id, "app.auth_key": app.auth_key, "app.secret": app.auth_secret}
    known["app.token"] = opened(server, app)["token"]
    for user in wanted.get("users", []):
        known |= somebody(server, app, **user)
    return known


def somebody(server: Server, app: Application, name: str, book: Any = (), books: Any = None, **profile: Any) -> Known:
    """A person with address books and a session."""
    session = opened(server, app, {"login": name, "password": PASSWORD})
    who = Person(server, app, session["user_id"], session["token"])
    if profile:
        assert who.ask("PUT", f"/users/{who.id}", {"user": profile}).status == 200
    for udid, pairs in {"": book, **(books or {})}.items():
        contacts = [{"phone": phone, "name": label} for phone, label in pairs]
        assert who.upload(contacts, udid=udid).json["created"] == len(contacts)
    return {f"{name}.id": who.id, f"{name}.token": who.token, f"{name}.session": session["id"]}


def last_code(server: Server) -> Known:
    """The code in the message that the gateway for development has printed last, and one that is wrong."""
    codes = re.findall(r"^DEVELOPMENT .*: (\d{6}) is your code", server.printed, re.MULTILINE)
    return {"code": codes[-1], "code.wrong": f"{(int(codes[-1]) + 1) % 10**6:06}"} if codes else {}


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def send(server: Server, request: Any, known: Known) -> Answer:
    """Send a request as its file describes it."""
    if "sign" in request:
        text = filled(request["sign"]["text"], known).encode()
        known["signature"] = hmac.new(known["app.secret"].encode(), text, request["sign"]["hash"]).hexdigest()
    headers = {name: as_sent(filled(value, known)) for name, value in request.get("headers", {}).items()}
    body = filled(request["body"], known).encode() if "body" in request else None
    value = filled(request["json"], known) if "json" in request else None
    return ask(server, request["method"], filled(request["path"], known), value, body=body, headers=headers)


def as_sent(header: str) -> str:
    """A header's bytes are UTF-8 here, and the library's are Latin-1."""
    return header.encode().decode("latin-1")


def filled(value: Any, known: Known) -> Any:
    """The value with `${…}` replaced, at any depth."""
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    if not isinstance(value, str):
        return value
    whole = VALUE.fullmatch(value)
    if whole and not whole[2]:
        return known[whole[1]]
    return VALUE.sub(lambda found: str(known[found[1]]), value)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def compare(answer: Answer, expected: Any, known: Known) -> None:
    """Is this the answer that the file describes?"""
    assert answer.status == expected["status"], answer.raw
    for name, value in expected.get("headers", {}).items():
        match(answer.headers[name], value, known, name)
    if "json" in expected:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        match(answer.json, expected["json"], known, "body")
    if "body" in expected:
        assert answer.raw.decode() == filled(expected["body"], known)


def match(got: Any, expected: Any, known: Known, where: str) -> None:
    """Compare whole and in kind: `1` is not `true`, and an object has no key too many."""
    if isinstance(expected, dict):
        assert isinstance(got, dict), (where, got)
        named = {key: value for key, value in expected.items() if key != OTHERS}
        assert named.keys() <= got.keys() if OTHERS in expected else named.keys() == got.keys(), (where, got)
        for key, value in named.items():
            match(got[key], value, known, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(got, list), (where, got)
        assert len(got) == len(expected), (where, got)
        for at, value in enumerate(expected):
            match(got[at], value, known, f"{where}[{at}]")
    elif isinstance(expected, str) and (placeholder := PLACEHOLDER.fullmatch(expected)):
        assert KINDS[placeholder[1]](got), (where, got, expected)
        if placeholder[2]:
            known[placeholder[2]] = got
    else:
        wanted = filled(expected, known)
        assert (type(got), got) == (type(wanted), wanted), where


def is_int(got: Any) -> bool:
    return type(got) is int


def is_date(got: Any) -> bool:
    return isinstance(got, str) and datetime.strptime(got, "%Y-%m-%dT%H:%M:%SZ").year > 2000


def is_expiration(got: Any) -> bool:
    ends = datetime.strptime(got, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    return 0 < ends.timestamp() - time.time() <= 24 * 3600


KINDS = {
    "any": lambda got: True,
    "text": lambda got: isinstance(got, str) and got != "",
    "int": is_int,
    "id": lambda got: is_int(got) and 0 < got < 2**31,
    "token": lambda got: isinstance(got, str) and re.fullmatch(r"[0-9a-f]{36,42}", got) is not None,
    "date": is_date,
    "expiration": is_expiration,
}


# ── what OpenAPI says of it ──────────────────────────────────────────────────────────────────────────────────────────


def described(request: Any, answer: Answer) -> None:
    """Does the description know this status, and is the body what it says?"""
    operation = operation_of(request["method"], request["path"].split("?")[0].removesuffix(".json"))
    if operation is None or "X-HTTP-Method-Override" in request.get("headers", {}):
        return
    known = operation["responses"].get(str(answer.status))
    assert known, f"{answer.status} is not described"
    schema = known.get("content", {}).get("application/json", {}).get("schema")
    assert (schema is None) == (answer.raw == b""), answer.raw
    if schema:
        jsonschema_rs.validate(schema | {"components": DESCRIPTION["components"]}, answer.json)


def operation_of(method: str, path: str) -> Any:
    """The description of what answers there; fixed paths win over those with an id."""
    paths = sorted(DESCRIPTION["paths"], key=lambda template: "{" in template)
    for template in paths:
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in DESCRIPTION["paths"][template]:
            return DESCRIPTION["paths"][template][method.lower()]
    return None


@hypothesis_given(st.integers(-(10**9), 2**37))
def test_dates_are_those_of_strftime(seconds):
    assert wire.iso(seconds) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
