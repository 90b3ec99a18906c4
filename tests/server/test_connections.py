"""The limits on connections: per address, and by the file handles that are reserved for other uses."""

import resource
import socket
import ssl
import time
from contextlib import ExitStack

import pytest
import servers
from connecting import certificate, few_handles, own_address
from servers import Server, eventually

from ringbook.config import Limits
from ringbook.core.networks import LOOPBACK
from ringbook.server.connections import Connections, limits_of

from .test_protocol import GET, connect, everything, exchange, limits_reached, statuses

PLENTY = 10_000
TOKEN = {"metrics_token": "open-sesame"}


def ended(_connection: object = None) -> None:
    """Does nothing: tests of counting close no connection."""


def admitted(connections: Connections, *addresses: str) -> list[bool]:
    return [connections.admit(address, 10, ended) is not None for address in addresses]


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_has_a_limit_and_others_are_not_affected():
    connections = Connections(2, PLENTY)
    assert admitted(connections, *["198.51.100.1"] * 3, "198.51.100.2") == [True, True, False, True]


def test_of_ipv6_a_64_counts_as_one_address():
    connections = Connections(2, PLENTY)
    assert admitted(connections, "2001:db8::1", "2001:db8::2:1", "2001:db8::3", "2001:db8:0:1::3") == [
        True,
        True,
        False,
        True,
    ]


def test_ipv4_on_a_socket_for_both_counts_as_ipv4():
    connections = Connections(1, PLENTY)
    assert admitted(connections, "198.51.100.1", "::ffff:198.51.100.1", "::ffff:198.51.100.2") == [True, False, True]


def test_loopback_and_trusted_proxies_have_no_limit():
    connections = Connections(1, PLENTY, [*LOOPBACK, "10.0.0.0/8"])
    assert all(admitted(connections, *["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"] * 3))


def test_a_connection_that_has_ended_no_longer_counts_and_ends_once():
    connections = Connections(1, PLENTY)
    first = connections.admit("198.51.100.1", 10, ended)
    assert admitted(connections, "198.51.100.1") == [False]
    connections.leave(first)
    connections.leave(first)
    assert admitted(connections, "198.51.100.1", "198.51.100.1") == [True, False]
    assert len(connections) == 1


def test_when_handles_run_short_the_connection_that_has_waited_longest_goes():
    connections = Connections(PLENTY, 100)
    gone: list[str] = []
    made = {name: connections.admit("127.0.0.1", 10, lambda name=name: gone.append(name)) for name in "abcd"}
    connections.works(made["a"])
    connections.works(made["b"])
    connections.waits(made["b"])
    for _ in range(3):
        assert connections.admit("127.0.0.1", 100, lambda: gone.append("new"))
    assert gone == ["c", "d", "b"]


def test_handles_that_are_freed_by_closing_do_not_let_connections_grow_into_the_reserve():
    connections = Connections(PLENTY, 100)
    for _ in range(80):
        connections.admit("127.0.0.1", 10, ended)
    connections.admit("127.0.0.1", 100, ended)
    for _ in range(50):
        connections.admit("127.0.0.1", 10, ended)
    assert len(connections) == 80
    for _ in range(5):
        connections.relax()
        connections.admit("127.0.0.1", 10, ended)
    assert len(connections) == 85


def test_a_connection_with_a_request_under_way_is_not_closed_for_a_new_one():
    connections = Connections(PLENTY, 100)
    connections.works(connections.admit("127.0.0.1", 10, pytest.fail))
    assert connections.admit("127.0.0.1", 100, pytest.fail) is None


@pytest.mark.parametrize(
    "handles, given, expected",
    [
        (65_536, Limits(), (2_500, 65_436)),
        (300, Limits(), (150, 225)),
        (1_024, Limits(connections_per_address=7, reserved_handles=10), (7, 1_014)),
    ],
)
def test_the_limits_follow_from_the_file_handles(monkeypatch, handles, given, expected):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (handles, handles))
    assert limits_of(given) == expected


# ── a running server ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_beyond_its_limit_is_closed_at_once_and_others_are_served(databases, tmp_path):
    address = own_address()
    if not address:
        pytest.skip("this machine has no address beside the loopback; the tests of counting cover the rule")
    with (
        databases.fresh("sqlite") as url,
        servers.serve(url, tmp_path, "--host", "0.0.0.0", connections_per_address="3", **TOKEN) as server,
        ExitStack() as stack,
    ):
        for _ in range(3):
            stack.enter_context(socket.create_connection((address, server.port), timeout=20))
        with socket.create_connection((address, server.port), timeout=20) as one_more:
            assert everything(one_more) == b""
        assert len(statuses(exchange(server, GET.replace(b"Host", b"Connection: close\r\nHost")))) == 1
        assert limits_reached(server, "connections_per_address") == 1
        assert server.printed.count('"limit":"connections_per_address"') == 1
        stack.close()
        eventually(lambda: answers(address, server.port), "the address was never served again")


def answers(address: str, port: int) -> bool:
    with socket.create_connection((address, port), timeout=20) as one:
        one.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
        return statuses(everything(one)) == [200]


def test_silent_connections_beyond_the_file_handles_cut_nobody_off(databases, tmp_path):
    with databases.fresh("sqlite") as url, few_handles(url, tmp_path, 300, **TOKEN) as server, ExitStack() as stack:
        for _ in range(320):
            stack.enter_context(connect(server))
        for _ in range(10):
            assert servers.get(f"{server.url}/readyz")
        assert limits_reached(server, "reserved_handles") >= 320 - 225
        assert server.printed.count('"event":"limit reached"') == 1
        assert "Traceback" not in server.printed


def test_busy_connections_are_kept_when_silent_ones_take_the_handles(databases, tmp_path):
    with databases.fresh("sqlite") as url, few_handles(url, tmp_path, 300, **TOKEN) as server, ExitStack() as stack:
        busy = stack.enter_context(connect(server))
        busy.sendall(b"POST /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{")
        time.sleep(0.2)
        for _ in range(320):
            stack.enter_context(connect(server))
        busy.sendall(b"}")
        assert statuses(everything(busy)) == [422]


def test_a_silent_tls_handshake_ends_and_is_counted(databases, tmp_path):
    files, trusted = certificate(tmp_path)
    with (
        databases.fresh("sqlite") as url,
        servers.serve(url, tmp_path, ca=tmp_path / "ca.pem", handshake_seconds="1", **TOKEN, **files) as server,
    ):
        with connect(server) as silent:
            assert everything(silent) == b""
        with connect(server) as half:
            half.sendall(b"\x16\x03\x01")
            assert everything(half) == b""
        figures = tls_get(server, trusted, "/metrics")
        assert b'ringbook_limits_reached_total{limit="handshake_seconds"} 2.0' in figures
        assert b"Traceback" not in server.printed.encode()


def test_silent_tls_handshakes_beyond_the_file_handles_cut_nobody_off(databases, tmp_path):
    files, trusted = certificate(tmp_path)
    with (
        databases.fresh("sqlite") as url,
        few_handles(url, tmp_path, 300, trusted, **TOKEN, **files) as server,
        ExitStack() as stack,
    ):
        for _ in range(320):
            stack.enter_context(connect(server))
        for _ in range(5):
            assert b"ready" in tls_get(server, trusted, "/readyz")
        assert "Traceback" not in server.printed


def tls_get(server: Server, trusted: ssl.SSLContext, path: str) -> bytes:
    with connect(server) as plain, trusted.wrap_socket(plain, server_hostname="127.0.0.1") as one:
        one.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open-sesame\r\nConnection: close\r\n\r\n".encode()
        )
        return everything(one)
