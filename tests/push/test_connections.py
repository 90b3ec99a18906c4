"""Requests to providers: few connections, never to a place where they must not go, and what is no answer."""

import asyncio
import contextlib
import errno
import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from outbound.addresses import BEGINNINGS, BROKEN_ANSWERS, LOOPBACKS, UNUSABLE, Names, dripping, unvisited
from push.providers import KEY_ID, TEAM_ID, TOPIC, Providers, apns_token, provider_token
from servers import free_port
from verify.gateway import listening

from ringbook.outbound import requests
from ringbook.outbound.requests import Answer, Unreachable
from ringbook.push import connections as module
from ringbook.push.connections import LARGEST_BYTES, Connections, Destination, chosen

SPELLINGS = [*LOOPBACKS, "2130706433", "0x7f.1"]
SECRET = "a-secret-of-the-path"
BODY = b'{"aps":{"alert":{"body":"hello"}}}'


def post(url: str, *, allow_private: bool = True, body: bytes = b"{}", **how: Any) -> Answer:
    """One request through connections of its own."""
    own = {name: how.pop(name) for name in ("ca_file", "timeout_seconds", "ports") if name in how}

    async def asked() -> Answer:
        async with Connections(allow_private, **own) as connections:
            return await connections.post(url, headers=how.pop("headers", {}), body=body, **how)

    return asyncio.run(asked())


class Pushing:
    """Pushes to the fake APNs through one `Connections`."""

    def __init__(self, providers: Providers, **how: Any) -> None:
        self.connections = Connections(allow_private=True, ca_file=str(providers.ca_file), **how)
        self.destinations: dict[tuple[Any, ...], Destination] = {}
        self.headers = {
            "authorization": f"bearer {provider_token(providers.apns_key, KEY_ID, TEAM_ID)}",
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-id": "123e4567-e89b-12d3-a456-426655440000",
            "apns-expiration": "0",
            "apns-collapse-id": "one",
        }

    async def __call__(self, url: str, order: str = "", serial: int = 0, **how: Any) -> int:
        token = apns_token(order, serial)
        answer = await self.connections.post(f"{url}/3/device/{token}", headers=self.headers, body=BODY, **how)
        return answer.status


class PushingTo(Pushing):
    """The same through destinations, as the senders do it."""

    async def __call__(self, url: str, order: str = "", serial: int = 0, **how: Any) -> int:
        key = (url, *how.items())
        if key not in self.destinations:
            self.destinations[key] = self.connections.to(f"{url}/3/device/", **how)
        token = apns_token(order, serial)
        answer = await self.destinations[key].post(token, headers=self.headers, body=BODY)
        return answer.status


@contextlib.asynccontextmanager
async def pushing(providers: Providers, way: type[Pushing] = Pushing, **how: Any) -> AsyncIterator[Pushing]:
    made = way(providers, **how)
    async with made.connections:
        yield made


each_way = pytest.mark.parametrize("way", [Pushing, PushingTo])


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_arrives_as_it_was_meant_and_its_answer_is_read(gateway):
    gateway.status, gateway.body, gateway.headers = 207, b"\x00all", {"X-Kind": "Some"}
    answer = post(f"{gateway.url}/a/b?c=d%20e", headers={"X-Key": "k"}, body=b"body")
    asked = gateway.asked[0]
    assert (asked.method, asked.path, asked.body) == ("POST", "/a/b?c=d%20e", b"body")
    assert (asked.headers["x-key"], asked.headers["user-agent"]) == ("k", "Ringbook")
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (207, b"\x00all", "Some")


@pytest.mark.parametrize("scheme, only_http2", [("https", True), ("https", False), ("http", True)])
@each_way
def test_many_requests_at_once_share_one_http2_connection(providers, way, scheme, only_http2):
    url = providers.url if scheme == "https" else providers.plain_url

    async def many() -> list[int]:
        async with pushing(providers, way) as push:
            return await asyncio.gather(*(push(url, serial=n, only_http2=only_http2) for n in range(300)))

    assert asyncio.run(many()) == [200] * 300
    answer = providers.asked()
    assert len({one["token"] for one in answer["asked"]}) == 300
    assert answer["connections"] == 2  # this question opens one of its own


def test_http_1_is_spoken_with_who_knows_nothing_else(gateway):
    async def three() -> list[int]:
        async with Connections(allow_private=True) as connections:
            asked = [connections.post(gateway.url, headers={}, body=b"") for _ in range(3)]
            return [answer.status for answer in await asyncio.gather(*asked)]

    assert asyncio.run(three()) == [200] * 3


def test_redirects_are_not_followed(gateway):
    with listening() as other:
        gateway.status, gateway.headers = 307, {"Location": other.url}
        assert post(gateway.url).status == 307
        assert other.asked == []


def test_no_proxy_of_the_surroundings_is_asked(gateway, monkeypatch):
    with listening() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post(gateway.url).status == 200
        assert proxy.asked == []


# ── where they never go ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("url", [*UNUSABLE, "https://user@example.org/", "https://%00/"])
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(Unreachable, match="the address"):
        post(url, trusted=True)


def test_plain_http_is_refused_unless_trusted_or_private_addresses_are_allowed(gateway):
    with pytest.raises(Unreachable, match="https"):
        post(gateway.url, allow_private=False)
    assert gateway.asked == []
    assert post(gateway.url, allow_private=False, trusted=True).status == 200
    assert post(gateway.url, allow_private=True).status == 200


@pytest.mark.parametrize("host", [*SPELLINGS, "%31%32%37.0.0.1", "１２７.0.0.1"])
def test_a_private_address_is_never_connected_to(host):
    with unvisited() as port, pytest.raises(Unreachable, match="private network"):
        post(f"https://{host}:{port}/{SECRET}", allow_private=False, ports=[port])


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_trusted_one_is(host):
    with pytest.raises(Unreachable, match="no connection"):
        post(f"https://{host}:{free_port()}/", allow_private=False, trusted=True)


def test_what_is_trusted_for_the_operator_is_not_for_others(providers):
    async def both() -> None:
        ports = [int(providers.url.rpartition(":")[2])]
        async with Connections(ca_file=str(providers.ca_file), ports=ports) as connections:
            assert (await connections.post(f"{providers.url}/", headers={}, body=b"", trusted=True)).status == 404
            with pytest.raises(Unreachable, match="private network"):
                await connections.post(f"{providers.url}/", headers={}, body=b"")

    asyncio.run(both())


def test_only_port_443_is_asked_on_a_strangers_word_and_what_the_operator_adds(monkeypatch):
    names = Names(monkeypatch, "10.0.0.1")
    for url in ("https://push.example:8443/", "https://push.example:22/"):
        with pytest.raises(Unreachable, match="the port is not allowed"):
            post(url, allow_private=False)
    assert names.asked == []
    for url, ports in [("https://push.example/", ()), ("https://push.example:8443/", [8443])]:
        with pytest.raises(Unreachable, match="private network"):  # the next check after the port's
            post(url, allow_private=False, ports=ports)


def test_one_private_address_among_those_of_a_name_is_enough_to_refuse(monkeypatch):
    Names(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(Unreachable, match="private network"):
        post("https://two.example/", allow_private=False)


@pytest.mark.parametrize("name", ["name.example", "bücher.example", "faß.example", "NAME.example."])
def test_a_name_is_looked_up_once_and_stands_for_that_address(gateway, monkeypatch, name):
    port = int(gateway.url.rpartition(":")[2])
    names = Names(monkeypatch, "127.0.0.1")

    async def twice() -> None:
        async with Connections(allow_private=True) as connections:
            await connections.post(f"http://{name}:{port}/", headers={}, body=b"")
            names.addresses = ("127.0.0.2",)
            await connections.post(f"http://{name}:{port}/", headers={}, body=b"")

    asyncio.run(twice())
    assert len(names.asked) == 1
    assert len(gateway.asked) == 2
    assert gateway.asked[0].headers["host"] == f"{names.asked[0]}:{port}"


def test_a_name_is_believed_for_some_minutes_and_a_connection_kept_while_it_leads_there(gateway, monkeypatch):
    names = Names(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(module, "BELIEVED_SECONDS", 0)
    port = int(gateway.url.rpartition(":")[2])

    async def several() -> list[str]:
        async with Connections(allow_private=True) as connections:
            used = []
            for names.addresses in [("127.0.0.1",), ("127.0.0.2", "127.0.0.1"), ("127.0.0.2",)]:
                with contextlib.suppress(Unreachable):  # nobody listens on the other one
                    await connections.post(f"http://name.example:{port}/", headers={}, body=b"")
                used.append(next(iter(connections._clients.values())).address)
            return used

    assert asyncio.run(several()) == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    assert len(names.asked) == 3


def test_a_name_that_turns_to_a_private_address_is_no_longer_asked(providers, monkeypatch):
    monkeypatch.setattr(module, "BELIEVED_SECONDS", 0)
    monkeypatch.setattr(requests, "is_public", lambda address: address == "127.0.0.1")
    port = providers.url.rpartition(":")[2]

    async def twice() -> None:
        async with Connections(ca_file=str(providers.ca_file), ports=[int(port)]) as connections:
            names = Names(monkeypatch, "127.0.0.1")
            await connections.post(f"https://localhost:{port}/", headers={}, body=b"")
            names.addresses = ("127.0.0.1", "127.0.0.2")
            with pytest.raises(Unreachable, match="private network"):
                await connections.post(f"https://localhost:{port}/", headers={}, body=b"")

    asyncio.run(twice())


def test_many_who_want_the_same_name_ask_for_it_once(gateway, monkeypatch):
    names = Names(monkeypatch, "127.0.0.1")
    port = int(gateway.url.rpartition(":")[2])

    async def many() -> None:
        async with Connections(allow_private=True) as connections:
            asked = (connections.post(f"http://name.example:{port}/", headers={}, body=b"") for _ in range(20))
            await asyncio.gather(*asked)

    asyncio.run(many())
    assert len(names.asked) == 1


class Hanging(Names):
    """As above, but names under `tarpit.example` are not answered until the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        super().__init__(monkeypatch, *addresses)
        self.end = threading.Event()

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = super().__call__(host, port)
        if host.endswith("tarpit.example"):
            self.end.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    made = Hanging(monkeypatch, "127.0.0.1")
    yield made
    made.end.set()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_names_of_users_that_hang_do_not_hold_up_providers(gateway, names):
    port = port_of(gateway.url)

    async def among_many() -> int:
        async with Connections(allow_private=True, timeout_seconds=5) as connections:
            hanging = [
                asyncio.create_task(
                    connections.post(f"http://h{n}.tarpit.example/", headers={}, body=b"", foreign=True)
                )
                for n in range(3 * module.FOREIGN_LOOKUPS)
            ]
            await settled(lambda: len(names.asked), module.FOREIGN_LOOKUPS)
            answer = await connections.post(f"http://provider.example:{port}/", headers={}, body=b"")
            names.end.set()
            await asyncio.gather(*hanging, return_exceptions=True)
            return answer.status

    assert asyncio.run(among_many()) == 200


@pytest.mark.parametrize("usable", [True, False])
def test_where_a_name_led_before_is_asked_while_it_cannot_be_looked_up(gateway, names, monkeypatch, usable):
    monkeypatch.setattr(module, "BELIEVED_SECONDS", 0)
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    port = port_of(gateway.url)

    async def several() -> list[int]:
        async with Connections(allow_private=True) as connections:
            names.end.set()
            monkeypatch.setattr(names, "end", threading.Event())
            statuses = []
            for _ in range(3):
                answer = await connections.post(f"http://name.example:{port}/", headers={}, body=b"", foreign=True)
                statuses.append(answer.status)
                for client in connections._clients.values():
                    client.usable = usable
                monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: names(f"{host}.tarpit.example", 0))
            return statuses

    assert asyncio.run(several()) == [200] * 3
    assert len(names.asked) == 2  # the third request does not wait again


@pytest.mark.parametrize("foreign", [True, False])
def test_a_name_that_failed_is_left_alone_for_a_while_and_then_looked_up_again(gateway, monkeypatch, foreign):
    names = Names(monkeypatch)
    names.addresses = ("no",)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: names.asked.append(host) or failing())
    port = port_of(gateway.url)

    async def several() -> int:
        async with Connections(allow_private=True) as connections:
            for why in ("not known", "a moment ago", "a moment ago"):
                with pytest.raises(Unreachable, match=why):
                    await connections.post(f"http://name.example:{port}/", headers={}, body=b"", foreign=foreign)
            monkeypatch.setattr(module, "AGAIN_SECONDS", -1)
            connections._lookups[foreign]._failed.clear()
            Names(monkeypatch, "127.0.0.1")
            answer = await connections.post(f"http://name.example:{port}/", headers={}, body=b"", foreign=foreign)
            return answer.status

    assert asyncio.run(several()) == 200
    assert names.asked == ["name.example"]


def failing() -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_only_so_many_failed_names_are_remembered(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: failing())
    monkeypatch.setattr(module, "MOST_FAILED", 3)
    monkeypatch.setattr(module, "MOST_ORIGINS", 3)

    async def several() -> tuple[int, int, int]:
        async with Connections(allow_private=True) as connections:
            for n in range(8):
                with pytest.raises(Unreachable):
                    await connections.post(f"http://n{n}.example/", headers={}, body=b"", foreign=True)
            lookups = connections._lookups[True]
            return len(lookups._failed), len(lookups._running), len(connections._origins)

    assert asyncio.run(several()) == (3, 0, 3)


def test_a_name_that_had_no_thread_to_be_looked_up_in_has_not_failed(gateway, names, monkeypatch):
    monkeypatch.setattr(module, "FOREIGN_LOOKUPS", 1)
    monkeypatch.setattr(module, "LEFT_ALONE_SECONDS", 0)
    port = port_of(gateway.url)

    async def behind_another() -> int:
        async with Connections(allow_private=True, timeout_seconds=0.3) as connections:
            for name in ("h.tarpit.example", "name.example"):
                with pytest.raises(Unreachable, match="took too long"):
                    await connections.post(f"http://{name}:{port}/", headers={}, body=b"", foreign=True)
            names.end.set()
            await settled(lambda: len(connections._lookups[True]._running), 0)
            answer = await connections.post(f"http://name.example:{port}/", headers={}, body=b"", foreign=True)
            return answer.status

    assert asyncio.run(behind_another()) == 200
    assert names.asked == ["h.tarpit.example", "name.example"]


@pytest.mark.parametrize(
    "found, failed, may",
    [
        (["2001:4860::1", "8.8.8.8"], "", {"2001:4860::1"}),
        (["8.8.8.8", "8.8.4.4", "2001:4860::1"], "", {"8.8.8.8", "8.8.4.4"}),
        (["2001:4860::1", "8.8.8.8"], "2001:4860::1", {"8.8.8.8"}),
        (["2001:4860::1", "8.8.8.8"], "8.8.8.8", {"2001:4860::1"}),
        (["8.8.8.8", "8.8.4.4"], "8.8.8.8", {"8.8.8.8", "8.8.4.4"}),
    ],
)
def test_which_of_a_name_s_addresses(found, failed, may):
    assert {chosen(found, failed) for _ in range(60)} == may


def test_only_so_many_clients_are_kept(gateway, monkeypatch):
    Names(monkeypatch, "127.0.0.1")
    port = int(gateway.url.rpartition(":")[2])
    monkeypatch.setattr(module, "MOST_CLIENTS", 3)

    async def several() -> int:
        async with Connections(allow_private=True) as connections:
            for n in range(8):
                await connections.post(f"http://n{n}.example:{port}/", headers={}, body=b"")
            return len(connections._clients)

    assert asyncio.run(several()) == 3


def test_connections_that_are_no_longer_used_are_closed(providers):
    async def several() -> int:
        async with pushing(providers) as push:
            for n in range(10):
                with pytest.raises(Unreachable):
                    await push(providers.url, "reset", n, only_http2=True)
            await push(providers.url, only_http2=True)
            # The last failure may still be referred to in a circle, as errors and their frames are.
            return await settled(lambda: (gc.collect(), providers.asked()["open"])[1], 2)

    assert asyncio.run(several()) == 2  # the newest, and the one that asks how many there are
    assert len({one["connection"] for one in providers.asked()["asked"]}) == 11


async def settled(measure: Callable[[], int], wanted: int) -> int:
    """What is measured, as soon as it is what it should be or after some seconds."""
    for _ in range(100):
        if (found := measure()) == wanted:
            break
        await asyncio.sleep(0.05)
    return found


def test_a_slow_first_answer_does_not_hold_up_the_others_for_long(providers, monkeypatch):
    monkeypatch.setattr(module, "OPENING_SECONDS", 0.1)

    async def several() -> list[Any]:
        async with pushing(providers, timeout_seconds=2) as push:
            asked = [push(providers.url, "never" if n == 0 else "", n) for n in range(5)]
            return await asyncio.gather(*asked, return_exceptions=True)

    first, *others = asyncio.run(several())
    assert isinstance(first, Unreachable)
    assert others == [200] * 4


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_authority_of_the_file_is_believed(providers, tmp_path: Path):
    first, second = (
        f"{pem}-----END CERTIFICATE-----\n"
        for pem in providers.ca_file.read_text().split("-----END CERTIFICATE-----\n")[:2]
    )
    for order in (first + second, second + first, second):
        (tmp_path / "ca.pem").write_text(order)
        assert post(providers.url, ca_file=str(tmp_path / "ca.pem")).status == 404
    (tmp_path / "ca.pem").write_text(first)
    with pytest.raises(Unreachable, match="not believed"):
        post(providers.url, ca_file=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("only_http2", [True, False])
def test_a_certificate_of_nobody_known_or_for_another_name_is_not_believed(providers, monkeypatch, only_http2):
    with pytest.raises(Unreachable, match="not believed"):
        post(providers.url, only_http2=only_http2)
    Names(monkeypatch, "127.0.0.1")
    port = providers.url.rpartition(":")[2]
    with pytest.raises(Unreachable, match="not believed"):
        post(f"https://other.example:{port}/", ca_file=str(providers.ca_file), only_http2=only_http2)
    with pytest.raises(Unreachable, match="no connection"):
        post(f"https://127.0.0.1:{free_port()}/", only_http2=only_http2)


# ── answers that are none ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "order, why",
    [
        ("broken", "broke"),
        ("half", "broke"),
        ("reset", "broke"),
        ("never", "too long"),
        ("deaf", "broke"),
    ],
)
@pytest.mark.parametrize("only_http2", [True, False])
@each_way
def test_what_is_no_answer_is_said_within_the_time_and_the_next_request_has_one(providers, way, order, why, only_http2):
    async def two() -> tuple[str, int]:
        async with pushing(providers, way, timeout_seconds=1) as push:
            with pytest.raises(Unreachable, match=why) as refused:
                await asyncio.wait_for(push(providers.url, order, only_http2=only_http2), 5)
            return str(refused.value), await push(providers.url, only_http2=only_http2)

    words, status = asyncio.run(two())
    assert status == 200
    times = [one["order"] for one in providers.asked()["asked"] if one["order"]]
    assert len(times) == (3 if order == "reset" else 1)  # a refused stream was not processed: RFC 9113 §8.7
    assert words.startswith("127.0.0.1 does not answer")
    assert apns_token(order) not in words


@pytest.mark.parametrize("order", ["goaway", "leaving"])
@each_way
def test_a_connection_that_the_server_gives_up_is_replaced_without_a_loss(providers, way, order):
    async def several() -> list[int]:
        async with pushing(providers, way) as push:
            first = await push(providers.url, only_http2=True)
            more = [push(providers.url, order if n == 5 else "slow-20", n, only_http2=True) for n in range(10)]
            rest = await asyncio.gather(*more)
            return [first, *rest, await push(providers.url, only_http2=True)]

    assert asyncio.run(several()) == [200] * 12


@each_way
def test_one_that_is_slow_does_not_break_what_is_in_flight(providers, way):
    """A request that takes too long makes the next one open a connection; those on the old one still get answers."""

    async def several() -> list[Any]:
        async with pushing(providers, way, timeout_seconds=1) as push:
            await push(providers.url, only_http2=True)
            never = asyncio.create_task(push(providers.url, "never", only_http2=True))
            await asyncio.sleep(0.6)
            slow = [asyncio.create_task(push(providers.url, "slow-700", n, only_http2=True)) for n in range(5)]
            with pytest.raises(Unreachable):
                await never
            return [await push(providers.url, only_http2=True), *(await asyncio.gather(*slow))]

    assert asyncio.run(several()) == [200] * 6
    assert len({one["connection"] for one in providers.asked()["asked"]}) == 2


@each_way
def test_many_failures_at_once_make_one_new_connection(providers, way):
    async def several() -> None:
        async with pushing(providers, way, timeout_seconds=1) as push:
            await push(providers.url, only_http2=True)
            lost = [push(providers.url, "never", n, only_http2=True) for n in range(20)]
            await asyncio.gather(*lost, return_exceptions=True)
            await asyncio.gather(*(push(providers.url, "", n, only_http2=True) for n in range(20)))

    asyncio.run(several())
    assert len({one["connection"] for one in providers.asked()["asked"]}) == 2


def test_a_destination_is_checked_as_every_address_is():
    async def asked(url: str, **how: Any) -> None:
        async with Connections() as connections:
            await connections.to(url, **how).post("path", headers={}, body=b"")

    with pytest.raises(Unreachable, match="private network"):
        asyncio.run(asked("https://127.0.0.1/"))
    with pytest.raises(Unreachable, match="https"):
        asyncio.run(asked("http://example.org/"))


def test_a_server_that_is_down_and_comes_back(gateway):
    port = free_port()

    async def before_and_after() -> int:
        async with Connections(allow_private=True) as connections:
            with pytest.raises(Unreachable, match="no connection"):
                await connections.post(f"http://127.0.0.1:{port}/", headers={}, body=b"")
            with socket.create_server(("127.0.0.1", port)) as server:
                threading.Thread(target=answer_one, args=(server,), daemon=True).start()
                return (await connections.post(f"http://127.0.0.1:{port}/", headers={}, body=b"")).status

    assert asyncio.run(before_and_after()) == 204


def answer_one(server: socket.socket) -> None:
    connected, _ = server.accept()
    connected.recv(65536)
    connected.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    connected.close()


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_an_answer_that_comes_drop_by_drop_gains_no_time(gateway, beginning):
    with dripping(gateway, beginning), pytest.raises(Unreachable):
        post(gateway.url, timeout_seconds=0.5)


@pytest.mark.parametrize("answer", BROKEN_ANSWERS)
def test_an_answer_that_breaks_off_or_is_none_is_no_answer(gateway, answer):
    gateway.raw = lambda write: write(answer)
    with pytest.raises(Unreachable, match="the connection broke"):
        post(gateway.url)


def test_a_name_that_takes_long_to_look_up_is_not_waited_for(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(20))

    async def asked() -> None:
        async with Connections(timeout_seconds=0.2) as connections:
            with pytest.raises(Unreachable, match="name.example does not answer .it took too long"):
                await connections.post("https://name.example/", headers={}, body=b"")
        done.set()

    asyncio.run(asked())


@pytest.fixture
def tarpit(gateway):
    """A server that answers nobody until `open` is set."""
    gateway.open = threading.Event()
    gateway.during = lambda: gateway.open.wait(20)
    yield gateway
    gateway.open.set()


def test_of_requests_to_what_a_user_names_only_so_many_are_under_way(tarpit, monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_ONCE", 5)

    async def many() -> tuple[int, list[int]]:
        async with Connections(allow_private=True) as connections:
            asked = [
                asyncio.create_task(connections.post(tarpit.url, headers={}, body=b"", foreign=True)) for _ in range(20)
            ]
            await settled(lambda: len(tarpit.asked), 5)
            await asyncio.sleep(0.2)
            under_way = len(tarpit.asked)
            tarpit.open.set()
            return under_way, [answer.status for answer in await asyncio.gather(*asked)]

    assert asyncio.run(many()) == (5, [200] * 20)


def test_a_server_of_a_user_that_kept_us_waiting_is_left_alone_for_a_while(tarpit):
    async def several() -> int:
        async with Connections(allow_private=True, timeout_seconds=0.3) as connections:
            for why in ("took too long", "did not answer a moment ago", "did not answer a moment ago"):
                with pytest.raises(Unreachable, match=why):
                    await connections.post(tarpit.url, headers={}, body=b"", foreign=True)
            with pytest.raises(Unreachable, match="took too long"):
                await connections.post(tarpit.url, headers={}, body=b"")  # an operator's own is asked all the same
            with listening() as other:
                assert (await connections.post(other.url, headers={}, body=b"", foreign=True)).status == 200
            tarpit.open.set()
            for origin in connections._origins.values():
                origin._left_alone_until = 0.0  # as if the time were over
            return (await connections.post(tarpit.url, headers={}, body=b"", foreign=True)).status

    assert asyncio.run(several()) == 200
    assert len(tarpit.asked) == 3


def test_one_that_has_answered_others_meanwhile_is_not(gateway):
    slow = threading.Event()
    gateway.during = lambda: gateway.asked[-1].path == "/slow" and slow.wait(20)

    async def post_to(connections: Connections, path: str) -> int:
        return (await connections.post(f"{gateway.url}{path}", headers={}, body=b"", foreign=True)).status

    async def several() -> list[int]:
        async with Connections(allow_private=True, timeout_seconds=1) as connections:
            first = await post_to(connections, "/")
            late = asyncio.create_task(post_to(connections, "/slow"))
            await settled(lambda: len(gateway.asked), 2)
            second = await post_to(connections, "/")
            with pytest.raises(Unreachable):
                await late
            return [first, second, await post_to(connections, "/")]

    assert asyncio.run(several()) == [200] * 3
    slow.set()


def test_an_answer_is_read_up_to_a_size(gateway):
    for more in (b"", b"x", b"x" * 10 * LARGEST_BYTES):
        gateway.body = b"x" * LARGEST_BYTES + more
        assert (post(gateway.url).status, len(post(gateway.url).body)) == (200, LARGEST_BYTES)


@pytest.mark.parametrize("only_http2", [True, False])
@each_way
def test_what_an_answer_says_beyond_that_does_not_take_its_status_back(providers, way, only_http2):
    """A provider that has acknowledged a push is not sent it again because it says so at length."""

    async def several() -> list[int]:
        async with pushing(providers, way) as push:
            return [await push(providers.url, "large", n, only_http2=only_http2) for n in range(3)]

    assert asyncio.run(several()) == [200] * 3


def test_a_header_that_is_no_text_takes_nothing_else_along(gateway):
    head = b"HTTP/1.1 429 Busy\r\nX-Name: Zo\xeb\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
    gateway.raw = lambda write: write(head)
    answer = post(gateway.url)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, b"no", "7")
    assert "x-name" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"X-Key": f"{SECRET}\r\nX: y"}, {f"{SECRET} ü": "y"}])
def test_what_is_refused_says_nothing_of_path_query_and_header(gateway, headers):
    gateway.raw = lambda write: write(SECRET.encode())
    with pytest.raises(Unreachable) as refused:
        post(f"{gateway.url}/{SECRET}?to={SECRET}", headers=headers)
    assert SECRET not in str(refused.value)
    with pytest.raises(Unreachable) as refused:
        post(f"http://127.0.0.1:{free_port()}/{SECRET}", headers=headers)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "failure, ours",
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (OSError(errno.ENETUNREACH, "no network"), True),
    ],
)
def test_a_look_up_that_fails_tells_nothing_of_the_host(monkeypatch, failure, ours):
    def failing(*_args: object, **_more: object) -> list[object]:
        raise failure

    async def refused() -> Unreachable:
        async with Connections() as connections:
            with pytest.raises(Unreachable) as found:
                await connections.post("https://push.example.org/", headers={}, body=b"", foreign=True)
            return found.value

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    assert asyncio.run(refused()).ours is ours


@pytest.mark.parametrize("url, ours", [("http://255.255.255.255/", True), ("http://127.0.0.1:{}/", False)])
def test_a_network_that_cannot_be_reached_is_ours_and_a_refused_connection_is_not(url, ours):
    async def refused() -> Unreachable:
        async with Connections(allow_private=True) as connections:
            with pytest.raises(Unreachable, match="no connection") as found:
                await connections.post(url.format(free_port()), headers={}, body=b"", foreign=True)
            return found.value

    assert asyncio.run(refused()).ours is ours
