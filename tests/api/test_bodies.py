"""Bodies: who sends one is known before it is read, and what one process and one user may hold has bounds."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from asking import JSON, ask, line, lines, opened, person
from dashboard.visiting import FORM, Visitor, admin
from servers import Databases, Server, eventually, serve
from starlette.types import Message

from ringbook import errors, metrics
from ringbook.api import forms
from ringbook.config import Limits
from ringbook.exchange import bodies, leftovers
from ringbook.exchange.turns import Asker

KIBIBYTE = 1024
MEBIBYTE = 1024 * 1024
TOKEN = "open-sesame"
LARGE = 300 * KIBIBYTE


@pytest.fixture(scope="module")
def narrow(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that holds 1 MiB of bodies, of which uploads may take 768 KiB, and takes uploads of 4 contacts."""
    settings = {
        "max_body_bytes": str(512 * KIBIBYTE),
        "max_bodies_in_flight_bytes": str(MEBIBYTE),
        "max_upload_contacts": "4",
        "metrics_token": TOKEN,
    }
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("narrow"), **settings) as running:
        yield running


@dataclass
class Sending:
    """A request whose body is sent bit by bit."""

    connection: socket.socket
    received: bytes = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self) -> "Heard":
        """The answer, as far as Content-Length says that it goes."""
        while not (found := re.match(rb"HTTP/1.1 (\d+) .*?\r\n\r\n", self.received, re.DOTALL)):
            self._more()
        length = int(re.search(rb"(?i)content-length: (\d+)", found[0])[1])
        while len(self.received) < found.end() + length:
            self._more()
        head, body = found[0].decode(), self.received[found.end() : found.end() + length]
        self.received = self.received[found.end() + length :]
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        return Heard(int(found[1]), headers, body)

    def is_closed(self) -> bool:
        """Does the server end the connection, without another byte?"""
        try:
            return self.connection.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> None:
        received = self.connection.recv(65536)
        assert received, f"closed after {self.received!r}"
        self.received += received


@dataclass
class Heard:
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def sending(
    server: Server, path: str = "/address_book", length: int | None = None, *, first: bytes = b"", **headers: str
) -> Iterator[Sending]:
    """The head of a POST is sent; with no length the body comes in chunks. `cb_token="x"` is a header.

    first   what is sent together with the head
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    head = "".join(f"{name}: {value}\r\n" for name, value in ({"host": "x", "content-type": JSON} | named).items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + first)
        yield Sending(connection)


def upload_of(size: int) -> bytes:
    """An upload of one contact that is so many bytes long."""
    body = json.dumps({"contacts": [line(7)]}).encode()
    return body[:-1] + b" " * (size - len(body)) + b"}"


def reached(server: Server, limit: str) -> float:
    """How often a limit was reached, says /metrics."""
    text = ask(server, "GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).raw.decode()
    found = re.search(rf'ringbook_limits_reached_total{{limit="{limit}"}} (\S+)', text)
    return float(found[1]) if found else 0


# ── who asks, before the body ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [100, 8 * MEBIBYTE, None])
@pytest.mark.parametrize(
    "path, headers, status, reason",
    [
        ("/address_book", {}, 401, "Token is required"),
        ("/address_book", {"cb_token": "unknown"}, 401, "Required session does not exist"),
        ("/users", {"cb_authkey": "unknown"}, 401, "Unauthorized"),
        ("/subscriptions", {"qb_token": "unknown"}, 401, "Required session does not exist"),
    ],
)
def test_a_stranger_is_refused_before_a_byte_of_the_body(server, length, path, headers, status, reason):
    with sending(server, path, length, **headers) as request:
        heard = request.answer()
        assert (heard.status, reason in heard.body.decode()) == (status, True)
        assert heard.headers["connection"] == "close"


def test_a_session_without_a_user_uploads_nothing(server):
    token = opened(server, server.app)["token"]
    with sending(server, length=8 * MEBIBYTE, cb_token=token) as request:
        assert request.answer().status == 403


def test_nobody_is_asked_for_a_body_that_is_refused(server):
    who = person(server)
    with sending(server, length=100, cb_token="unknown", expect="100-continue") as request:
        assert request.answer().status == 401
    body = upload_of(100)
    with sending(server, length=len(body), cb_token=who.token, expect="100-continue") as request:
        assert request.connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        request.send(body)
        assert request.answer().json["created"] == 1


def test_a_session_that_ends_while_its_upload_arrives_uploads_nothing(server):
    who = person(server)
    other = who.signed_in_again()
    body = upload_of(1000)
    with sending(server, length=len(body), cb_token=who.token) as request:
        request.send(body[:500])
        time.sleep(0.3)  # the session is looked at before the rest is read
        assert who.ask("DELETE", "/session").status == 200
        request.send(body[500:])
        assert request.answer().status == 401
    assert other.book() == []


def test_a_body_that_comes_in_many_pieces_is_read_whole(server):
    who = person(server)
    body = json.dumps({"contacts": lines(0, 50)}).encode()
    with sending(server, length=len(body), cb_token=who.token) as request:
        for at in range(0, len(body), 200):
            request.send(body[at : at + 200])
            time.sleep(0.002)
        assert request.answer().json["created"] == 50
    with sending(server, cb_token=who.token) as request:
        for at in range(0, len(body), 200):
            request.send_chunk(body[at : at + 200])
        request.send(b"0\r\n\r\n")
        assert request.answer().json["updated"] == 50


def test_a_log_in_has_at_most_16_kib(server):
    """Nobody knows yet who sends it."""
    keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
    for size, status in ((16 * KIBIBYTE, 201), (16 * KIBIBYTE + 1, 400)):
        body = json.dumps(keys).encode()
        body = body[:-1] + b" " * (size - len(body)) + b"}"
        assert ask(server, "POST", "/session", body=body).status == status


def test_only_uploads_have_more_than_256_kib(server):
    who = person(server)
    answer = who.ask("PUT", f"/users/{who.id}", body=b" " * (256 * KIBIBYTE + 1))
    assert (answer.status, answer.json) == (400, {"errors": ["The body is larger than 262144 bytes"]})


# ── what is left of a body ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_sends_everything_first_hears_why_it_is_refused(server):
    body = b" " * (8 * MEBIBYTE)
    with sending(server, length=len(body)) as request:
        request.send(body)
        assert request.answer().status == 401
        assert request.is_closed()


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server):
    who = person(server)
    with sending(server, length=9 * MEBIBYTE, cb_token=who.token) as request:
        assert request.answer().json == {"errors": ["The body is larger than 8388608 bytes"]}


def test_a_refused_body_that_has_arrived_costs_nobody_the_connection(server):
    following = b"POST /address_book HTTP/1.1\r\nHost: x\r\nCB-Token: x\r\nContent-Length: 0\r\n\r\n"
    with sending(server, length=2, first=b"{}") as request:
        assert "connection" not in request.answer().headers
        request.send(following)
        assert "Required session" in request.answer().body.decode()


def test_an_endless_body_is_not_read_for_ever(narrow):
    """What is dropped ends at 8 MiB; what the two systems hold on the way comes on top."""
    sent = 0
    with sending(narrow, length=2**40) as request, pytest.raises(OSError):
        for _ in range(256):
            request.send(b" " * MEBIBYTE)
            sent += 1
    assert 8 <= sent < 64


def test_a_body_sent_to_nowhere_is_not_read_either(server):
    for path in ("/nowhere", "/healthz"):
        with sending(server, path, 8 * MEBIBYTE) as request:
            heard = request.answer()
            assert (heard.status, heard.headers["connection"]) == (404, "close"), path


# ── the bytes in flight ──────────────────────────────────────────────────────────────────────────────────────────────


def test_bodies_in_flight_are_bounded_and_small_ones_still_pass(narrow):
    ann, bob, cleo = (person(narrow) for _ in range(3))
    size, before = 500 * KIBIBYTE, reached(narrow, "max_bodies_in_flight_bytes")
    with (
        sending(narrow, length=size, cb_token=ann.token) as first,
        sending(narrow, length=size, cb_token=bob.token) as second,
    ):
        first.send(upload_of(size)[:-1])
        time.sleep(0.5)  # until it is held
        second.send(upload_of(size)[:-1])
        heard = second.answer()
        assert (heard.status, heard.headers["retry-after"]) == (503, "1")
        assert heard.json == {"errors": ["Too many requests are being received just now. Try again."]}
        assert heard.headers["content-type"] == "application/json; charset=utf-8"
        assert reached(narrow, "max_bodies_in_flight_bytes") == before + 1
        assert cleo.upload([line(1)]).status == 200
        first.send(b"}")
        assert first.answer().json["created"] == 1
    assert bob.book() == []
    for who in (bob, cleo):
        assert who.ask("POST", "/address_book", body=upload_of(size)).status == 200


def pool(**limits: int) -> bodies.InFlight:
    return bodies.InFlight(Limits(max_body_bytes=MEBIBYTE, max_bodies_in_flight_bytes=16 * MEBIBYTE, **limits))


def read_at_once(in_flight: bodies.InFlight, asker: Asker, size: int, count: int) -> list[bodies.Body]:
    """Bodies of so many requests of an asker, as far as they are received; the last byte of each is missing."""
    held = []

    async def read() -> None:
        for _ in range(count):
            sent = iter([{"type": "http.request", "body": b"x" * size, "more_body": True}])

            async def receive(sent: Iterator[Message] = sent) -> Message:
                return next(sent, None) or await silent()

            body = bodies.Body(in_flight, receive, {}, MEBIBYTE, lambda: None, lambda: asker)
            reading = asyncio.ensure_future(body.read())
            await asyncio.sleep(0.01)
            if reading.done() and isinstance(reading.exception(), errors.Unavailable):
                body.release()
            else:
                held.append(body)
            reading.cancel()

    asyncio.run(read())
    return held


def test_bodies_of_one_address_leave_room_for_other_addresses_and_for_known_users():
    in_flight, size = pool(), 64 * KIBIBYTE
    cafe, home = Asker("192.0.2.1", "192.0.2.1"), Asker("198.51.100.1", "198.51.100.1")
    held = read_at_once(in_flight, cafe, size, 60)
    assert len(held) == 16 * MEBIBYTE // 8 // size  # an eighth
    assert len(read_at_once(in_flight, home, size, 1)) == 1
    assert len(read_at_once(in_flight, Asker(cafe.address, 7), size, 1)) == 1
    held += [one for n in range(9) for one in read_at_once(in_flight, Asker(f"x{n}", f"x{n}"), size, 40)]
    assert in_flight.bytes <= 8 * MEBIBYTE + size  # half is reserved for known users
    assert len(read_at_once(in_flight, Asker("y", 8), size, 1)) == 1


def test_bodies_of_one_user_are_bounded_whatever_the_addresses_and_all_are_given_back():
    in_flight = pool()
    held = [one for n in range(9) for one in read_at_once(in_flight, Asker(f"x{n}", 7), 128 * KIBIBYTE, 4)]
    assert len(held) == 2 * MEBIBYTE // (128 * KIBIBYTE)
    for one in held:
        one.release()
    assert (in_flight.bytes, len(in_flight._of)) == (0, 0)


def test_a_body_that_arrives_slowly_is_ended_and_one_at_the_least_rate_is_not(monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.2)

    async def read(seconds: float) -> bytes:
        parts = iter([*[{"type": "http.request", "body": b"x" * 100, "more_body": True}] * 9])

        async def receive() -> Message:
            await asyncio.sleep(seconds)
            return next(parts, None) or {"type": "http.request", "body": b"x", "more_body": False}

        return await bodies.Body(pool(least_body_bytes_per_second=1_000), receive, {}, MEBIBYTE, lambda: None).read()

    assert len(asyncio.run(read(0.01))) == 901
    with pytest.raises(errors.Late, match="1000 bytes a second") as refused:
        asyncio.run(read(0.5))
    assert refused.value.limit == "least_body_bytes_per_second"


def test_what_a_client_that_went_away_had_sent_is_given_back(narrow):
    size = 500 * KIBIBYTE
    ann, bob = person(narrow), person(narrow)
    for _ in range(5):
        with sending(narrow, length=size, cb_token=ann.token) as request:
            request.send(b" " * (size - 1))
            time.sleep(0.2)
    eventually(lambda: bob.ask("POST", "/address_book", body=upload_of(size)).status == 200, "it is still held")
    eventually(lambda: ann.ask("POST", "/address_book", body=upload_of(size)).status == 200, "she still uploads")


def test_every_refusal_gives_back_what_it_held(narrow):
    """Ten times what may be held, in bodies that are refused one after the other."""
    who = person(narrow)
    for body in (b"[" * 500_000, b"{" + b" " * 500_000, b'{"contacts":1}' + b" " * 500_000) * 7:
        assert who.ask("POST", "/address_book", body=body).status in (400, 422)


# ── one large upload of each user ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_user_has_one_large_upload_in_progress(narrow, is_chunked):
    ann, bob = person(narrow), person(narrow)
    body, before = upload_of(LARGE), reached(narrow, "large_uploads_per_user")
    with sending(narrow, length=None if is_chunked else LARGE, cb_token=ann.token) as first:
        send = first.send_chunk if is_chunked else first.send
        send(body[:-1])
        time.sleep(0.5)
        refused = ann.ask("POST", "/address_book", body=body)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
        assert refused.json == {"errors": ["Another large upload of this user is in progress"]}
        assert reached(narrow, "large_uploads_per_user") == before + 1
        assert ann.upload([line(2)]).status == 200
        assert bob.ask("POST", "/address_book", body=body).status == 200
        send(body[-1:])
        first.send(b"0\r\n\r\n" if is_chunked else b"")
        assert first.answer().status == 200
    assert ann.ask("POST", "/address_book", body=body).status == 200


# ── too many objects ─────────────────────────────────────────────────────────────────────────────────────────────────

TOO_MANY = {"errors": {"contacts": ["has more than 4 entries"]}}


@pytest.mark.parametrize(
    "contacts",
    [b"{}", b"1", b"[]", b'"a,"', b'{"phone":"12025550101","name":"Ann"}', b'{"phone":"12025550101","name":"\\ud83d"}'],
)
@pytest.mark.parametrize("count", [5, 50_000])
def test_an_upload_of_too_many_entries_is_refused(narrow, contacts, count):
    body = b'{"contacts":[' + b",".join([contacts] * min(count, 500_000 // len(contacts))) + b"]}"
    answer = person(narrow).ask("POST", "/address_book", body=body)
    assert (answer.status, answer.json) in [(422, TOO_MANY), (400, {"errors": ["The body holds too many values"]})]


@pytest.mark.parametrize("name", ["{" * 200, '","{}[],' * 20, "\\" * 60 + '"{', "😀{,"])
@pytest.mark.parametrize("ascii", [False, True])
def test_names_of_brackets_and_entries_with_more_inside_are_no_reason_to_refuse(narrow, name, ascii):
    inside = {"groups": [{"name": name}, [], [1, 2, 3], {}], "more": {"a": {"b": {}}}}
    contacts = [line(n, name) | inside for n in range(3)]
    for last in ({}, line(3, name)):
        body = json.dumps({"contacts": [*contacts, last], "device": inside}, ensure_ascii=ascii).encode()
        answer = person(narrow).ask("POST", "/address_book", body=body)
        assert (answer.status, answer.json["created"]) == (200, 3 + bool(last)), answer


def test_large_uploads_that_are_refused_are_limited_and_small_ones_are_not(databases, tmp_path):
    settings = {"max_upload_contacts": "4", "refused_uploads_per_hour": "3", "metrics_token": TOKEN}
    refused = b'{"contacts":[' + b",".join([b"1"] * 200_000) + b"]}"
    good = json.dumps({"contacts": lines(0, 3), "more": "x" * LARGE}).encode()
    with databases.fresh("sqlite") as url, serve(url, tmp_path, **settings) as server:
        ann, bob = person(server), person(server)

        def uploaded(who: Any, body: bytes) -> int:
            return int(who.ask("POST", "/address_book", body=body).status)

        assert [uploaded(ann, good) for _ in range(5)] == [200] * 5
        assert [uploaded(ann, refused) for _ in range(5)] == [422] * 3 + [429] * 2
        answer = ann.ask("POST", "/address_book", body=good)
        assert (answer.status, answer.json) == (429, {"errors": ["Too many large uploads of this user were refused"]})
        assert 1_000 < int(answer.headers["Retry-After"]) <= 1_200
        assert ann.upload(lines(0, 3)).status == 200
        assert uploaded(bob, good) == 200
        text = ask(server, "GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).raw.decode()
        assert 'ringbook_limits_reached_total{limit="refused_uploads_per_hour"} 3.0' in text


@pytest.mark.parametrize("field", ["force", "udid"])
def test_a_tree_beside_the_contacts_is_not_made(narrow, field):
    body = b'{"contacts":[],"%s":[' % field.encode() + b",".join([b"{}"] * 100_000) + b"]}"
    answer = person(narrow).ask("POST", "/address_book", body=body)
    assert (answer.status, answer.json) == (422, {"errors": {field: ["holds too many values"]}})


def test_a_tree_in_an_entry_refuses_the_entry(narrow):
    entry = b'{"phone":"12025550101","name":"Ann","destroy":[' + b",".join([b"{}"] * 50_000) + b"]}"
    answer = person(narrow).ask("POST", "/address_book", body=b'{"contacts":[' + entry + b"]}")
    assert (answer.status, len(answer.json["rejected"])) == (200, 1)


@pytest.mark.parametrize(
    "body, kind, status",
    [
        (b'{"contacts":"x","a":[' + b"{}," * 2_600_000 + b"{}]}", JSON, 422),
        (b'{"udid":"\xff","contacts":[],"a":[' + b"[]," * 2_600_000 + b"[]]}", JSON, 400),
        (b'{"a":[' + b"{}," * 2_600_000 + b"{}]}", JSON, 400),
        (b"contacts=[" + b"{}," * 2_600_000 + b"{}]", FORM, 400),
        (b"contacts[][name]=a&" * 400_000, FORM, 400),
        (b"a&" * 4_000_000, FORM, 400),
        (b'{"contacts":[' + b"{}," * 2_600_000 + b"{}]}", JSON, 422),
        (b'{"contacts":' + b"[" * 8_000_000, JSON, 400),
    ],
    ids=[
        "a text",
        "bad UTF-8",
        "no contacts",
        "JSON in a form",
        "a form of lists",
        "a million fields",
        "entries",
        "deep",
    ],
)
def test_what_would_decode_into_millions_of_objects_is_refused(server, body, kind, status):
    who = person(server)
    answer = who.ask("POST", "/address_book", body=body, headers={"Content-Type": kind})
    assert (answer.status, "errors" in answer.json) == (status, True), answer


# ── the dashboard ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_dashboard_reads_no_form_of_somebody_who_is_not_logged_in(server):
    with sending(server, "/dashboard/apps", 60_000, content_type=FORM) as request:
        heard = request.answer()
        assert (heard.status, heard.headers["location"]) == (303, "/dashboard/login")
        assert heard.headers["connection"] == "close"


def test_the_dashboard_reads_no_form_of_another_site(server):
    for path in ("/dashboard/login", "/dashboard/apps"):
        with sending(server, path, 60_000, content_type=FORM, sec_fetch_site="cross-site") as request:
            assert request.answer().status == 403


def test_a_file_is_taken_from_admins_only(server):
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 70_000 + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    assert Visitor(server).ask("POST", "/dashboard/login", body, content_type=kind).status == 413


def test_forms_count_among_the_bodies_in_flight(narrow):
    visitor, ann = admin(narrow), person(narrow)
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    kind = "multipart/form-data; boundary=x"
    part = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 500_000
    with sending(narrow, "/dashboard/apps", MEBIBYTE - 1, content_type=kind, cookie=cookies) as form:
        form.send(part)
        time.sleep(0.5)
        assert ann.ask("POST", "/address_book", body=upload_of(500 * KIBIBYTE)).status == 503
    eventually(lambda: ann.ask("POST", "/address_book", body=upload_of(500 * KIBIBYTE)).status == 200, "still held")


# ── without a server ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_at_hand_or_nothing_is_lost_by_looking():
    """What was looked at too early is received afterwards."""
    import asyncio

    async def look() -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        before = bodies.at_hand(queue.get)
        queue.put_nowait({"type": "http.request"})
        return [before, bodies.at_hand(queue.get), queue.qsize()]

    assert asyncio.run(look()) == [None, {"type": "http.request"}, 0]


# ── bounds without a setting ─────────────────────────────────────────────────────────────────────────────────────────


def counted(limit: str) -> float:
    return float(metrics.LIMITS.labels(limit)._value.get())


async def silent() -> Message:
    """A client that sends nothing more."""
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


async def endless() -> Message:
    """A client that does not stop sending."""
    return {"type": "http.request", "body": b"x" * 1_000, "more_body": True}


def test_a_body_that_does_not_arrive_is_refused_as_a_limit(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)

    async def read() -> None:
        await bodies.Body(bodies.InFlight(Limits()), silent, {"content-length": "9"}, 100, lambda: None).read()

    with pytest.raises(errors.Malformed, match="did not arrive") as refused:
        asyncio.run(read())
    assert refused.value.limit == "body_seconds"


@pytest.mark.parametrize("receive, count", [(silent, 1), (endless, 1), (None, 0)])
def test_an_unread_body_that_reaches_its_bound_is_counted(monkeypatch, receive, count):
    monkeypatch.setattr(leftovers, "DRAIN_SECONDS", 0.05)

    async def last() -> Message:
        return {"type": "http.request", "body": b"x" * 20_000, "more_body": False}

    async def answer() -> None:
        async def send(_message: Message) -> None:
            pass

        scope = {"type": "http", "headers": [(b"content-length", b"9"), (b"expect", b"100-continue")]}
        leftover = leftovers.Leftover(scope, receive or last, send, 10_000)
        await leftover.send({"type": "http.response.start", "status": 400, "headers": []})
        await leftover.send({"type": "http.response.body", "body": b""})

    before = counted("unread_body")
    asyncio.run(answer())
    assert counted("unread_body") - before == count


def test_too_many_values_are_refused_as_a_limit():
    with pytest.raises(errors.Malformed) as refused:
        forms.refuse_many_values(b"[" + b"{}," * forms.MOST_NODES + b"{}]")
    assert refused.value.limit == "json_values"
