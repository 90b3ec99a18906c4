"""Signing in by a code over HTTP: how often one may be asked for, and a gateway that fails."""

from collections.abc import Iterator
from typing import Any

import pytest
from asking import Answer, ask, came_from, write
from servers import DATABASES, Application, Databases, Server, application, serve
from verify.gateway import Gateway, listening

HOUR, DAY = 3600, 86400
RESEND_SECONDS = 30


@pytest.fixture(scope="module", params=DATABASES)
def strict(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server behind a proxy, for addresses of each test's own: in an hour 2 codes to a number, 3 for an address."""
    few = {"trusted_proxies": "127.0.0.1", "codes_per_number_per_hour": "2", "codes_per_address_per_hour": "3"}
    folder = tmp_path_factory.mktemp("strict")
    with databases.fresh(request.param) as url, serve(url, folder, allow_private_addresses="true", **few) as running:
        yield running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with listening() as running:
        yield running


@pytest.fixture
def app(strict: Server, gateway: Gateway) -> Application:
    """An application of the test's own, whose codes go to its gateway."""
    return application(strict.database_url, sms_gateway="http", sms_gateway_url=gateway.url, sms_regions="GB,US")


def ask_for_code(server: Server, app: Application, number: str, address: str) -> Answer:
    asked: dict[str, Any] = {"application_id": app.application_id, "auth_key": app.auth_key, "provider": "phone"}
    return ask(server, "POST", "/session", asked | {"phone": {"number": number}}, headers=came_from(address))


def let_half_a_minute_pass(server: Server) -> None:
    write(server, "UPDATE codes SET created_at = created_at - :seconds", seconds=RESEND_SECONDS)


def wait(answer: Answer) -> int:
    """How long a refused request is told to wait, in seconds."""
    assert answer.status == 429, answer
    assert isinstance(answer.json["errors"], list)
    return int(answer.headers["Retry-After"])


def test_a_second_code_to_a_number_waits_half_a_minute(strict, app, gateway):
    assert ask_for_code(strict, app, "+44 7700 900101", "198.51.100.1").status == 202
    assert 1 <= wait(ask_for_code(strict, app, "+44 7700 900101", "198.51.100.2")) <= RESEND_SECONDS
    let_half_a_minute_pass(strict)
    assert ask_for_code(strict, app, "+44 7700 900101", "198.51.100.1").status == 202
    assert len(gateway.asked) == 2


def test_a_number_is_sent_only_so_many_codes_in_an_hour_whoever_asks(strict, app, gateway):
    for n in range(2):
        assert ask_for_code(strict, app, "+44 7700 900102", f"198.51.100.1{n}").status == 202
        let_half_a_minute_pass(strict)
    assert 1 <= wait(ask_for_code(strict, app, "+44 7700 900102", "198.51.100.12")) <= HOUR / 2
    assert len(gateway.asked) == 2


def test_an_address_is_given_only_so_many_codes_in_an_hour_whichever_the_number(strict, app, gateway):
    for n in range(3):
        assert ask_for_code(strict, app, f"+44 7700 90011{n}", f"2001:db8:1:2::{n}").status == 202
    assert 1 <= wait(ask_for_code(strict, app, "+44 7700 900114", "2001:db8:1:2:ffff::1")) <= HOUR / 3
    assert ask_for_code(strict, app, "+44 7700 900114", "2001:db8:1:3::1").status == 202
    assert len(gateway.asked) == 4


def test_an_application_sends_only_so_many_codes_in_a_day(strict, gateway):
    settings = {"sms_gateway": "http", "sms_gateway_url": gateway.url, "sms_regions": "GB", "sms_daily_cap": "1"}
    app = application(strict.database_url, **settings)
    assert ask_for_code(strict, app, "+44 7700 900121", "198.51.100.21").status == 202
    assert 1 <= wait(ask_for_code(strict, app, "+44 7700 900122", "198.51.100.22")) <= DAY
    assert len(gateway.asked) == 1


def test_a_gateway_that_fails_is_503_and_the_code_can_be_asked_for_again_at_once(strict, app, gateway):
    gateway.status = 500
    for _ in range(4):
        failed = ask_for_code(strict, app, "+44 7700 900131", "198.51.100.31")
        assert failed.status == 503, failed
        assert "the gateway answered 500" in failed.raw.decode()
    gateway.status = 200
    assert ask_for_code(strict, app, "+44 7700 900131", "198.51.100.31").status == 202
    assert "7700900131" not in strict.printed
