"""The limits of one connection: heads, time, unread responses, and after a refusal. Raw bytes to real servers."""

import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import servers
from asking import person
from connecting import certificate
from servers import Databases, Server, eventually

from ringbook.api import reference
from ringbook.server.http import ARRIVAL_SECONDS

HEAD_BYTES = 8192
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = {
    "max_head_bytes": str(HEAD_BYTES),
    "head_seconds": "1",
    "answer_seconds": "1",
    "max_unfinished_head_bytes": "65536",
}
PAUSES = {"ringbook.exchange.leftovers.DRAIN_SECONDS": 1.5}


@pytest.fixture(scope="module")
def strict(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits and short timeouts."""
    with (
        databases.fresh("sqlite") as url,
        servers.serve(
            url, tmp_path_factory.mktemp("strict"), constants=PAUSES, metrics_token="open-sesame", **SHORT
        ) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def patient(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the default limits."""
    with (
        databases.fresh("sqlite") as url,
        servers.serve(url, tmp_path_factory.mktemp("patient"), metrics_token="open-sesame") as server,
    ):
        yield server


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes; everything that the server sends until it closes the connection."""
    with connect(server) as one:
        one.sendall(sent)
        return everything(one)


def everything(one: socket.socket) -> bytes:
    answer = b""
    try:
        while part := one.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def is_refusal(answer: bytes, status: int) -> bool:
    """Is it a single refusal in the documented form that ends the connection?"""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: application/json; charset=utf-8" in head
    assert b"connection: close" in head
    assert int(re.search(rb"content-length: (\d+)", head)[1]) == len(body)
    [reason] = json.loads(body)["errors"]
    return bool(reason)


METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open-sesame\r\nConnection: close\r\n\r\n"


def limits_reached(server: Server, limit: str) -> float:
    answer = exchange(server, METRICS).decode()
    found = re.search(rf'^ringbook_limits_reached_total{{limit="{limit}"}} (\S+)$', answer, re.MULTILINE)
    return float(found[1]) if found else 0


# ── bytes of a head ──────────────────────────────────────────────────────────────────────────────────────────────────

LARGE = [
    pytest.param(b"GET /" + b"a" * 2 * HEAD_BYTES, id="url"),
    pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 2 * HEAD_BYTES, id="value"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"a" * 2 * HEAD_BYTES, id="name"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEAD_BYTES, id="many headers"),
    pytest.param(b"\r\n" * HEAD_BYTES, id="empty lines"),
]


@pytest.mark.parametrize("head", LARGE)
def test_a_head_that_is_too_large_is_431_and_the_connection_ends(strict, head):
    before = limits_reached(strict, "max_head_bytes")
    assert is_refusal(exchange(strict, head), 431)
    assert limits_reached(strict, "max_head_bytes") == before + 1


@pytest.mark.parametrize("head", LARGE)
def test_it_is_431_also_when_it_comes_in_small_parts(strict, head):
    with connect(strict) as one:
        for start in range(0, HEAD_BYTES, 1024):
            one.sendall(head[start : start + 1024])
            time.sleep(0.005)
        assert is_refusal(everything(one), 431)


@pytest.mark.parametrize("size, status", [(HEAD_BYTES, 200), (HEAD_BYTES + 1, 431)])
def test_the_bound_is_exact(strict, size, status):
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx: "
    answer = exchange(strict, start + b"a" * (size - len(start) - 4) + b"\r\n\r\n")
    assert statuses(answer) == [status]


def test_by_default_a_head_may_have_64_kib(patient):
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx: "
    for size, status in ((65536, 200), (65537, 431)):
        assert statuses(exchange(patient, start + b"a" * (size - len(start) - 4) + b"\r\n\r\n")) == [status]


def test_a_client_that_goes_on_sending_still_reads_the_refusal(patient):
    assert is_refusal(exchange(patient, b"GET /" + b"a" * 600_000), 431)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"0\r\n" + b"trailer: x\r\n" * 2000, id="trailers"),
        pytest.param(b"0\r\ntrailer: " + b"x" * 2 * HEAD_BYTES, id="a long trailer"),
        pytest.param(b"5;" + b"x" * 2 * HEAD_BYTES, id="an extension of a chunk"),
    ],
)
def test_what_stands_around_a_chunked_body_has_the_bound_of_a_head(strict, rest):
    head = b"POST /session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert is_refusal(exchange(strict, head + rest), 431)


def test_trailers_are_no_headers(strict):
    keyed = b"POST /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    key = b"CB-AuthKey: " + strict.app.auth_key.encode() + b"\r\n"
    body = b"2\r\n{}\r\n0\r\n"
    assert statuses(exchange(strict, keyed + key + b"\r\n" + body + b"\r\n")) == [422]
    assert statuses(exchange(strict, keyed + b"\r\n" + body + key + b"\r\n")) == [401]


def test_a_second_head_on_the_same_connection_has_the_same_bound(strict):
    answer = exchange(strict, GET + b"GET / HTTP/1.1\r\nx: " + b"a" * 3 * HEAD_BYTES)
    assert statuses(answer) in ([200], [200, 431])  # 431 only if the first answer was out when the bound was reached


def test_heads_of_many_connections_have_a_bound_together(strict):
    part = b"GET /" + b"a" * 7000
    before = limits_reached(strict, "max_unfinished_head_bytes")
    many = [connect(strict) for _ in range(20)]
    for one in many:
        one.sendall(part)
    answers = [everything(one) for one in many]
    assert {status for answer in answers for status in statuses(answer)} == {408, 503}
    assert sum(statuses(answer) == [503] for answer in answers) == 20 - 65536 // len(part)
    assert limits_reached(strict, "max_unfinished_head_bytes") - before == 20 - 65536 // len(part)
    for one in many:
        one.close()
    assert statuses(exchange(strict, part + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [404]


def test_what_is_no_request_is_400_in_json(strict):
    assert is_refusal(exchange(strict, b"\x16\x03\x01\x02\x00\x01\r\n\r\n"), 400)


@pytest.mark.parametrize(
    "request_line, hosts, status",
    [
        (b"GET /healthz HTTP/1.1", [b"Host: x"], 200),
        (b"GET /healthz HTTP/1.1", [b"Host:"], 200),
        (b"GET /healthz HTTP/1.1", [], 400),
        (b"GET /healthz HTTP/1.1", [b"Host: x", b"Host: x"], 400),
        (b"POST /users HTTP/1.1", [b"Host: x", b"hOST: y"], 400),
        (b"GET /healthz HTTP/1.0", [], 200),
        (b"GET /healthz HTTP/1.0", [b"Host: x"], 200),
        (b"GET /healthz HTTP/1.0", [b"Host: x", b"Host: y"], 400),
        (b"GET /healthz", [], 400),
        (b"GET /healthz HTTP/0.9", [b"Host: x"], 400),
        (b"GET /healthz HTTP/2.0", [b"Host: x"], 400),
    ],
)
def test_a_request_has_a_version_that_is_served_and_one_host(strict, request_line, hosts, status):
    answer = exchange(strict, b"\r\n".join([request_line, *hosts, b"Connection: close", b"", b""]))
    assert statuses(answer) == [status]
    assert status == 200 or is_refusal(answer, status)


def test_the_answers_before_a_request_without_a_host_are_given(strict):
    assert statuses(exchange(strict, GET + b"GET /healthz HTTP/1.1\r\n\r\n" + GET)) in ([200], [200, 400])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is Linux's")
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: ", id="head"),
        pytest.param(b"POST /users HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", id="after a head without a host"),
    ],
)
def test_after_a_refusal_the_server_takes_a_mebibyte_and_ends_the_connection(patient, start):
    part, most = b"a" * 65536, 48 * 2**20
    with connect(patient) as one:
        with suppress(OSError):
            one.sendall(start)
            for _ in range(most // len(part)):
                one.sendall(part)
        taken = int.from_bytes(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[120:128], sys.byteorder)
    assert 65536 < taken <= 1.5 * 2**20


def test_a_request_that_is_under_way_is_answered_before_a_flood_behind_it_ends_the_connection(databases, tmp_path):
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path) as server:
        who = person(server)
        with sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None) as blocker, connect(server) as one:
            blocker.execute("BEGIN IMMEDIATE")
            body = b'{"contacts":[{"name":"Ann","phone":"+12025550123"}]}'
            head = (
                f"POST /address_book HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\nContent-Type: application/json\r\n"
            )
            one.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            one.settimeout(2)
            sent = one.send(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(TimeoutError):
                while sent < 48 * 2**20:
                    sent += one.send(b"a" * 65536)
            assert sent < 24 * 2**20
            blocker.execute("ROLLBACK")
            one.settimeout(30)
            assert statuses(one.recv(65536)) == [200]


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_sends_nothing_is_closed(strict):
    before = limits_reached(strict, "head_seconds")
    assert exchange(strict, b"") == b""
    assert limits_reached(strict, "head_seconds") == before + 1


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_a_head_that_does_not_end_is_408(strict, sent):
    assert is_refusal(exchange(strict, sent), 408)


def test_a_head_whose_bytes_drip_is_408(strict):
    with connect(strict) as one:
        one.settimeout(0.1)
        one.sendall(b"GET /")
        answer = b""
        for _ in range(600):
            try:
                one.sendall(b"a")
                answer += one.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert is_refusal(answer, 408)


def test_a_half_head_after_a_request_is_408(strict):
    with connect(strict) as one:
        one.sendall(GET)
        while not one.recv(65536).endswith(b"}"):
            pass
        one.sendall(GET[:10])
        assert is_refusal(everything(one), 408)


def test_a_body_that_goes_on_after_its_answer_does_not_keep_the_connection(strict):
    with connect(strict) as one:
        one.settimeout(0.1)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        ended = False
        for _ in range(600):
            try:
                one.sendall(b"a")
                ended = not one.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


@pytest.mark.parametrize("tls", [False, True])
def test_a_client_that_does_not_read_its_answers_is_cut_off(databases, tmp_path, tls):
    """The system buffers some megabytes for a client; the rest stays in the server."""
    files, trusted = certificate(tmp_path) if tls else ({}, None)
    ca = tmp_path / "ca.pem" if tls else None
    with (
        databases.fresh("sqlite") as url,
        servers.serve(url, tmp_path, ca=ca, answer_seconds="1", **files) as server,
        socket.socket() as plain,
    ):
        connect_without_reading(plain, server)
        with trusted.wrap_socket(plain, server_hostname="127.0.0.1") if trusted else plain as one:
            ask_for_pages(one)
            eventually(lambda: "answer_seconds" in server.printed, "it was never cut off")


def test_of_many_clients_that_do_not_read_those_go_that_exceed_the_bound_of_all(databases, tmp_path):
    """Each client alone is within its limits; only together they exceed the limit."""
    bounds = {"answer_seconds": "600", "max_unsent_bytes": "1048576", "metrics_token": "open-sesame"}
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path, **bounds) as server, ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(16)]
        for client in clients:
            connect_without_reading(client, server)
        with ThreadPoolExecutor(len(clients)) as threads:
            list(threads.map(ask_for_pages, clients))
        eventually(lambda: "max_unsent_bytes" in server.printed, "nobody was cut off")
        assert limits_reached(server, "max_unsent_bytes") > 0
        assert statuses(exchange(server, GET.replace(b"Host", b"Connection: close\r\nHost"))) == [200]


# A response of 1.7 MB.
LARGE = reference.FILES.href("swagger-ui-5.35.0.js")


def connect_without_reading(plain: socket.socket, server: Server) -> None:
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(20)
    plain.connect(("127.0.0.1", server.port))


def ask_for_pages(one: socket.socket) -> None:
    """Request many large responses, one after the other."""
    one.settimeout(0.2)
    with suppress(OSError):
        for _ in range(100):
            one.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.005)


# ── requests one after the other ─────────────────────────────────────────────────────────────────────────────────────


def test_pipelined_requests_are_answered_in_order(strict):
    paths = [b"/healthz", b"/none", b"/healthz", b"/users/1"]
    asked = b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths)
    assert statuses(exchange(strict, asked + GET.replace(b"Host", b"Connection: close\r\nHost"))) == [
        200,
        404,
        200,
        401,
        200,
    ]


def test_a_flood_of_pipelined_requests_is_cut_off(patient):
    before = limits_reached(patient, "max_queued_requests")
    answer = exchange(patient, GET * 5000)
    assert statuses(answer) == [200] * 17
    assert limits_reached(patient, "max_queued_requests") == before + 1


def test_the_answers_before_a_malformed_request_are_given(strict):
    assert statuses(exchange(strict, GET + GET + b"\x00\x00\r\n\r\n"))[:2] == [200, 200]


def test_a_body_of_many_reads_and_the_next_request(strict):
    body = b'{"x":"' + b"a" * 12 * HEAD_BYTES + b'"}'
    head = b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    end = GET.replace(b"Host", b"Connection: close\r\nHost")
    first, second = statuses(exchange(strict, head + body + end))
    assert first >= 400 and second == 200


def test_a_request_to_upgrade_is_answered_as_it_is(strict):
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    before = strict.printed.count("Unsupported upgrade")
    assert statuses(exchange(strict, upgrade + b"x" * 100)) == [200]
    assert strict.printed.count("Unsupported upgrade") == before


# ── a stop ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/session", "/address_book"])
def test_at_a_stop_an_upload_that_is_still_arriving_gets_503(databases, tmp_path, path):
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path) as server:
        who = person(server)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\nContent-Length: 1000\r\n\r\n"
        with connect(server) as half:
            half.sendall(head.encode() + b'{"contacts": [')
            eventually(lambda: is_busy(server), "the request never began")
            server.process.send_signal(signal.SIGTERM)
            answer = everything(half)
        assert server.process.wait(servers.STOP_SECONDS) == 0
    assert statuses(answer) == [503]
    assert b"retry-after: 1" in answer.lower() and b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"errors": ["The server is stopping. Try again."]}
    assert "Traceback" not in server.printed and '"exception"' not in server.printed
    assert server.printed.count('"status":503') == 1


def test_at_a_stop_an_upload_that_is_being_written_is_finished(databases, tmp_path):
    """It waits for the database in a thread that would end with the process."""
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path) as server:
        who = person(server)
        body = json.dumps({"contacts": [{"phone": "+12025550101", "name": "Ann"}]}).encode()
        head = f"POST /address_book HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with connect(server) as one:
                one.sendall(head.encode() + body)
                eventually(lambda: is_busy(server), "the request never began")
                server.process.send_signal(signal.SIGTERM)
                eventually(lambda: not can_connect(server), "it still accepts connections")
                other.execute("COMMIT")
                answer = everything(one)
            assert server.process.wait(servers.STOP_SECONDS) == 0
            assert statuses(answer) == [200]
            assert other.execute("SELECT COUNT(*) FROM contacts").fetchone() == (1,)


def test_a_session_that_ended_answers_nothing_more_on_any_connection(patient):
    who = person(patient)
    body = b'{"contacts": [{"phone": "+12025550101", "name": "Ann"}]}'
    head = f" HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\nContent-Length: "
    upload = f"POST /address_book{head}{len(body)}\r\n\r\n".encode()
    shown, ended = (f"{method} /session{head}0\r\n\r\n".encode() for method in ("GET", "DELETE"))
    last = shown.replace(b"Host", b"Connection: close\r\nHost")
    with connect(patient) as half:  # identified already, and waiting for the body
        half.sendall(upload)
        eventually(lambda: is_busy(patient), "the request never began")
        time.sleep(0.2)
        sent = (upload + body) * 2 + shown + ended + shown + upload + body + last
        assert statuses(exchange(patient, sent)) == [200, 200, 200, 200, 401, 401, 401]
        half.sendall(body)
        assert statuses(half.recv(65536)) == [401]


def test_a_second_sigint_ends_the_server_at_once(databases, tmp_path):
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path) as server, connect(server) as half:
        half.sendall(b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        eventually(lambda: is_busy(server), "the request never began")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: not can_connect(server), "it still accepts connections")
        assert server.process.poll() is None
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(servers.STOP_SECONDS)
        assert time.monotonic() - began < ARRIVAL_SECONDS


def can_connect(server: Server) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", server.port)) == 0


def is_busy(server: Server) -> bool:
    return statuses(exchange(server, GET.replace(b"Host", b"Connection: close\r\nHost"))) == [200]


def test_a_log_that_cannot_be_written_fails_no_request(databases, tmp_path):
    """For example, the terminal is closed, or the disk of stderr is full."""
    with databases.fresh("sqlite") as url:
        port = servers.free_port()
        command = [servers.program(), "serve", "--port", port]
        # With this variable Python keeps nothing in its buffers, and the exit status would hide what is left there.
        environment = {k: v for k, v in servers.environment(url).items() if k != "PYTHONUNBUFFERED"}
        with open("/dev/full", "wb") as full:
            process = servers.start(command, full, user=None, environment=environment)
        try:
            ready = f"http://127.0.0.1:{port}/readyz"
            servers.wait_until(lambda: servers.get(ready), OSError, process, Path(os.devnull))
            for _ in range(3):
                assert servers.get(ready)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(servers.STOP_SECONDS) == 0


# ── answers in one piece ─────────────────────────────────────────────────────────────────────────────────────────────


def parts(answer: bytes) -> tuple[list[bytes], bytes]:
    """The lines of the head, without those that differ between requests, and the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    return [line for line in lines if not line.startswith((b"date: ", b"connection: "))], body


def kept(server: Server, sent: bytes) -> bytes:
    """The answer to one request on a connection that stays open."""
    with connect(server) as one:
        one.sendall(sent)
        answer = one.recv(65536)
        while len(parts(answer)[1]) < int(re.search(rb"content-length: (\d+)", answer)[1]):
            answer += one.recv(65536)
        return answer


@pytest.mark.parametrize("size", [1, 2_000, 19_000])
def test_an_answer_in_one_piece_is_the_one_that_is_sent_as_head_and_body(patient: Server, size: int):
    who = person(patient, custom_data="".join(f"{number:06}" for number in range(size // 6)))
    get = f"GET /users/{who.id} HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\n".encode()
    in_one = kept(patient, get + b"\r\n")
    assert b"connection: " not in in_one
    assert parts(exchange(patient, get + b"Connection: close\r\n\r\n")) == parts(in_one)
    head = exchange(patient, get.replace(b"GET", b"HEAD") + b"Connection: close\r\n\r\n")
    assert parts(head) == (parts(in_one)[0], b"")


def test_requests_that_are_sent_at_once_are_answered_in_their_order(patient: Server):
    who, other = person(patient), person(patient)
    ids = [who.id, other.id, other.id, who.id, who.id]
    gets = [f"GET /users/{one} HTTP/1.1\r\nHost: x\r\nCB-Token: {who.token}\r\n" for one in ids]
    answer = exchange(patient, ("\r\n".join(gets) + "Connection: close\r\n\r\n").encode())
    assert statuses(answer) == [200] * len(ids)
    assert [int(found) for found in re.findall(rb'"user":\{"id":(\d+)', answer)] == ids
