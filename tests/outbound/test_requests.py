"""Requests that we make: what is sent and read, where they never go, and that none lasts longer than it may."""

import ssl
import threading
from pathlib import Path

import pytest
import trustme
from outbound.addresses import BEGINNINGS, BROKEN_ANSWERS, HEAD, LOOPBACKS, UNUSABLE, Names, dripping, unvisited
from servers import free_port
from verify.gateway import listening

from ringbook.outbound.requests import LARGEST_BYTES, Outgoing, Turns, Unreachable

LOCAL = Outgoing(allow_private=True, timeout_seconds=10)
HASTY = Outgoing(allow_private=True, timeout_seconds=0.3)


def test_a_request_arrives_as_it_was_meant_and_its_answer_is_read(gateway):
    gateway.status, gateway.body, gateway.headers = 207, b"\x00all", {"X-Kind": "Some"}
    answer = LOCAL.request("PUT", f"{gateway.url}/a/b?c=d%20e", headers={"X-Key": "k"}, body=b"body")
    asked = gateway.asked[0]
    assert (asked.method, asked.path, asked.body) == ("PUT", "/a/b?c=d%20e", b"body")
    assert (asked.headers["x-key"], asked.headers["user-agent"]) == ("k", "Ringbook")
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (207, b"\x00all", "Some")


def test_an_address_without_a_path_asks_for_the_root(gateway):
    LOCAL.request("GET", f"{gateway.url}?a=1#part")
    assert gateway.asked[0].path == "/?a=1"


def test_head_has_an_answer_without_a_body(gateway):
    gateway.body = b"seven"
    assert LOCAL.request("HEAD", gateway.url).body == b""


def test_redirects_are_not_followed(gateway):
    with listening() as other:
        gateway.status, gateway.headers = 302, {"Location": other.url}
        assert LOCAL.request("GET", gateway.url).status == 302
        assert other.asked == []


def test_no_proxy_of_the_surroundings_is_asked(gateway, monkeypatch):
    with listening() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert LOCAL.request("GET", gateway.url).status == 200
        assert proxy.asked == []


# ── where it never goes ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [*UNUSABLE, "https:///path", "https://example.org/a b", "https://example.org/\r\nX: y", "https://exämple.org/"],
)
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(Unreachable):
        LOCAL.request("GET", url)


def test_plain_http_is_refused_unless_private_addresses_are_allowed(gateway):
    with pytest.raises(Unreachable, match="https"):
        Outgoing().request("GET", gateway.url)
    assert gateway.asked == []


@pytest.mark.parametrize("host", LOOPBACKS)
def test_a_private_address_is_never_connected_to(host):
    with unvisited() as port, pytest.raises(Unreachable, match="private network|does not answer"):
        Outgoing(timeout_seconds=5, ports=[port]).request("GET", f"https://{host}:{port}/")


@pytest.mark.parametrize(
    "url, ports, why",
    [
        ("https://192.0.2.1:8443/", [], "the port is not allowed: 8443"),
        ("https://192.0.2.1:22/", [8443], "the port is not allowed: 22"),
        ("https://192.0.2.1:8443/", [8443], "private network"),
        ("https://192.0.2.1/", [], "private network"),
    ],
)
def test_only_port_443_is_asked_and_what_the_operator_adds(url, ports, why):
    with pytest.raises(Unreachable, match=why):
        Outgoing(ports=ports, timeout_seconds=1).request("GET", url)


def test_where_private_addresses_are_allowed_any_port_is(gateway):
    assert Outgoing(allow_private=True, timeout_seconds=10).request("GET", gateway.url).status == 200


def test_one_private_address_among_those_of_a_name_is_enough_to_refuse(monkeypatch):
    Names(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(Unreachable, match="private network"):
        Outgoing().request("GET", "https://two.example/")


def test_a_name_is_looked_up_once_so_that_it_cannot_change_after_the_check(gateway, monkeypatch):
    port, names = int(gateway.url.rpartition(":")[2]), Names(monkeypatch, "127.0.0.1")
    LOCAL.request("GET", f"http://name.example:{port}/")
    assert names.asked == ["name.example"]
    assert gateway.asked[0].headers["host"] == f"name.example:{port}"


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def speaking_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_an_authority_of_the_operators_own_is_believed(authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with listening(speaking_tls(authority, "127.0.0.1")) as secure:
        answer = Outgoing(True, str(tmp_path / "ca.pem"), 10).request("GET", secure.url)
        assert (answer.status, len(secure.asked)) == (200, 1)


def test_a_certificate_of_nobody_known_or_for_another_name_is_not_believed(authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with listening(speaking_tls(authority, "127.0.0.1")) as secure, pytest.raises(Unreachable, match="not believed"):
        LOCAL.request("GET", secure.url)
    with listening(speaking_tls(authority, "other.example")) as other, pytest.raises(Unreachable, match="not believed"):
        Outgoing(True, str(tmp_path / "ca.pem"), 10).request("GET", other.url)
    assert (secure.asked, other.asked) == ([], [])


# ── answers that are none ────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_listens():
    with pytest.raises(Unreachable, match="127.0.0.1 does not answer"):
        LOCAL.request("GET", f"http://127.0.0.1:{free_port()}/")


def test_an_answer_that_does_not_come_is_not_waited_for(gateway):
    done = threading.Event()
    gateway.during = lambda: done.wait(60)
    with pytest.raises(Unreachable, match="too long"):
        HASTY.request("GET", gateway.url)
    done.set()


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_an_answer_that_comes_drop_by_drop_gains_no_time(gateway, beginning):
    with dripping(gateway, beginning), pytest.raises(Unreachable):
        HASTY.request("GET", gateway.url)


@pytest.mark.parametrize("answer", [*BROKEN_ANSWERS, HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_an_answer_that_breaks_off_or_is_none_is_no_answer(gateway, answer):
    gateway.raw = lambda write: write(answer)
    with pytest.raises(Unreachable):
        LOCAL.request("GET", gateway.url)


def refused(outgoing: Outgoing, url: str, **more: dict[str, str]) -> Unreachable:
    with pytest.raises(Unreachable) as why:
        outgoing.request("GET", url, **more)
    return why.value


def test_what_never_left_is_told_from_what_may_have_arrived(gateway, authority):
    nowhere = f"http://127.0.0.1:{free_port()}/"
    for asking, url in [(LOCAL, nowhere), (Outgoing(), "https://127.0.0.1/"), (LOCAL, "ftp://x/")]:
        assert not refused(asking, url).sent
    with listening(speaking_tls(authority, "127.0.0.1")) as secure:
        assert not refused(LOCAL, secure.url).sent
    assert not refused(LOCAL, gateway.url, headers={"X-Key": "a\r\nb"}).sent
    gateway.raw = lambda write: write(b"hello\r\n\r\n")
    assert refused(LOCAL, gateway.url).sent
    done = threading.Event()
    gateway.during = lambda: done.wait(60)
    assert refused(HASTY, gateway.url).sent
    done.set()


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_so_many_wait_at_once_that_a_slow_server_leaves_others_a_turn():
    with listening() as slow, listening() as other:
        outgoing = Outgoing(allow_private=True, timeout_seconds=30, turns=Turns(whole=3, each=2))
        arrived, done = threading.Semaphore(0), threading.Event()

        def hold() -> None:
            arrived.release()
            done.wait(30)

        slow.during = hold
        asking = [threading.Thread(target=outgoing.request, args=("GET", slow.url)) for _ in range(2)]
        for thread in asking:
            thread.start()
        assert all(arrived.acquire(timeout=20) for _ in asking)
        for _ in range(2):
            too_many = refused(outgoing, f"{slow.url}/elsewhere")
            assert "too many" in str(too_many) and not too_many.sent
            assert outgoing.request("GET", other.url).status == 200
        done.set()
        for thread in asking:
            thread.join()
        assert outgoing.request("GET", slow.url).status == 200


def test_all_together_have_only_so_many_turns_and_a_failure_gives_its_own_back(gateway):
    turns = Turns(whole=1, each=1)
    outgoing = Outgoing(allow_private=True, timeout_seconds=10, turns=turns)
    for _ in range(2):
        assert "does not answer" in str(refused(outgoing, f"http://127.0.0.1:{free_port()}/"))
    with turns.at("other.example"):
        assert "too many" in str(refused(outgoing, gateway.url))
    assert outgoing.request("GET", gateway.url).status == 200


def test_an_answer_is_read_up_to_a_size(gateway):
    gateway.body = b"x" * LARGEST_BYTES
    assert len(LOCAL.request("GET", gateway.url).body) == LARGEST_BYTES
    gateway.body += b"x"
    with pytest.raises(Unreachable):
        LOCAL.request("GET", gateway.url)


def test_what_is_refused_says_nothing_of_path_query_and_header(gateway):
    gateway.raw = lambda write: write(b"447700900123\r\n\r\n")
    for headers in ({}, {"X-Key": "447700900123\r\nX: y"}, {"X-Key": "447700900123 ü→"}):
        with pytest.raises(Unreachable) as refused:
            LOCAL.request("GET", f"{gateway.url}/447700900123?to=447700900123", headers=headers)
        assert "447700900123" not in str(refused.value)
    assert len(gateway.asked) == 1
