"""Signing in by a code or an identity provider over HTTP: how often, and what happens when the other side fails."""

import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from asking import PASSWORD, Answer, ask, at_once, came_from, guest, open_session, opened, person, write
from servers import DATABASES, Application, Databases, Server, application, serve
from verify.gateway import Gateway, listening

HOUR, DAY = 3600, 86400
RESEND_SECONDS = 30


@pytest.fixture(scope="module", params=DATABASES)
def strict(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server behind a proxy, for addresses of each test's own.

    In an hour 2 codes to a number, 3 for an address; in 15 minutes 3 wrong passwords, in an hour 5 refused sign-ins.
    """
    few = {
        "trusted_proxies": "127.0.0.1",
        "codes_per_number_per_hour": "3",
        "codes_per_address_per_hour": "3",
        "wrong_passwords": "3",
        "wrong_sign_ins_per_hour": "5",
    }
    folder = tmp_path_factory.mktemp("strict")
    with databases.fresh(request.param) as url, serve(url, folder, allow_private_addresses="true", **few) as running:
        yield running


@pytest.fixture
def app(strict: Server, gateway: Gateway) -> Application:
    """An application of the test's own, whose codes go to its gateway."""
    return application(strict.database_url, sms_gateway="http", sms_gateway_url=gateway.url, sms_regions="GB,US")


def ask_for_code(server: Server, app: Application, number: str, address: str) -> Answer:
    asked: dict[str, Any] = {"application_id": app.application_id, "auth_key": app.auth_key, "provider": "phone"}
    return ask(server, "POST", "/session", asked | {"phone": {"number": number}}, headers=came_from(address))


def let_half_a_minute_pass(server: Server) -> None:
    write(server, "UPDATE buckets SET at = at - :seconds", seconds=RESEND_SECONDS)


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
    for n in range(3):
        assert ask_for_code(strict, app, "+44 7700 900102", f"198.51.{n}.1").status == 202
        let_half_a_minute_pass(strict)
    # The code is valid still: whoever asks gets its request id, and no message is sent.
    assert ask_for_code(strict, app, "+44 7700 900102", "198.51.3.1").status == 202
    assert len(gateway.asked) == 3
    write(strict, "UPDATE codes SET expires_at = 0")
    assert 1 <= wait(ask_for_code(strict, app, "+44 7700 900102", "198.51.4.1")) <= HOUR / 3
    assert len(gateway.asked) == 3


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


# ── whose it is ──────────────────────────────────────────────────────────────────────────────────────────────────────


def proof(server: Server, app: Application, gateway: Gateway, number: str, address: str) -> dict[str, Any]:
    """The second step for a number: what answers the code that was sent to it."""
    asked = ask_for_code(server, app, number, address)
    assert asked.status == 202, asked
    (code,) = re.findall(r"\b\d{6}\b", gateway.asked[-1].body.decode())
    request_id = asked.json["verification"]["request_id"]
    return {"provider": "phone", "phone": {"request_id": request_id, "code": code}}


def keys(app: Application) -> dict[str, Any]:
    return {"application_id": app.application_id, "auth_key": app.auth_key}


def test_two_first_sign_ins_at_once_with_one_code_make_one_user(strict, app, gateway):
    verified = keys(app) | proof(strict, app, gateway, "+44 7700 900141", "198.51.100.61")
    answers = at_once([partial(ask, strict, "POST", "/session", verified)] * 6)
    assert {answer.status for answer in answers} == {201}, answers
    assert len({answer.json["session"]["user_id"] for answer in answers}) == 1
    assert len({answer.json["session"]["token"] for answer in answers}) == 6


def test_a_proof_changes_nobody_but_oneself(strict, app, gateway):
    bob, ann = person(strict, app, phone="+44 7700 900151"), person(strict, app)
    verified = proof(strict, app, gateway, "+44 7700 900152", "198.51.100.62")
    refused = ann.ask("PUT", f"/users/{bob.id}", {"user": {"full_name": "Ann"}} | verified)
    assert refused.status == 403, refused
    seen = bob.ask("GET", f"/users/{bob.id}").json["user"]
    assert (seen["phone"], seen["full_name"]) == ("+44 7700 900151", None)
    mine = ann.ask("PUT", f"/users/{ann.id}", {"user": {"full_name": "Ann"}} | verified)
    assert (mine.status, mine.json["user"]["phone"]) == (200, "+44 7700 900152"), mine


def test_a_guest_proves_no_number_but_signs_in_by_one(strict, app, gateway):
    somebody = guest(strict, app)
    verified = proof(strict, app, gateway, "+44 7700 900153", "198.51.100.63")
    refused = somebody.ask("PUT", f"/users/{somebody.id}", {"user": {}} | verified)
    assert (refused.status, list(refused.json["errors"])) == (422, ["phone"])
    signed_in = somebody.ask("POST", "/login", verified)
    assert signed_in.status == 202, signed_in
    assert signed_in.json["user"]["id"] != somebody.id and not signed_in.json["user"]["is_guest"]


def test_a_session_of_somebody_becomes_that_of_whoever_signs_in_with_it(strict, app, gateway):
    ann = person(strict, app)
    signed_in = ann.ask("POST", "/login", proof(strict, app, gateway, "+44 7700 900154", "198.51.100.64"))
    assert signed_in.status == 202, signed_in
    assert ann.ask("GET", "/session").json["session"]["user_id"] == signed_in.json["user"]["id"] != ann.id


def test_a_proof_goes_before_a_guest_who_is_asked_for_in_the_same_request(strict, app, gateway):
    verified = proof(strict, app, gateway, "+44 7700 900155", "198.51.100.65")
    answer = ask(strict, "POST", "/session", keys(app) | {"user": {"guest": "1"}} | verified)
    assert (answer.status, answer.json["session"]["user"]["is_guest"]) == (201, False), answer


def test_an_answer_without_its_code_is_told_so_and_sends_nothing(strict, app, gateway):
    given = proof(strict, app, gateway, "+44 7700 900156", "198.51.100.66")
    for code in ("", None):
        answer = ask(strict, "POST", "/session", keys(app) | given | {"phone": given["phone"] | {"code": code}})
        assert (answer.status, answer.json) == (422, {"errors": {"code": ["can't be blank"]}})
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("provider, holds", [("phone", "number.*use login"), ("firebase_phone", "access_token")])
def test_a_provider_without_its_object_is_told_what_that_holds(strict, provider, holds):
    app = application(strict.database_url, firebase_project_id="demo-app")
    answer = ask(strict, "POST", "/session", keys(app) | {"provider": provider})
    assert answer.status == 422, answer
    (words,) = answer.json["errors"][provider]
    assert re.search(f"is missing: an object with {holds}", words)


def test_a_signature_covers_what_proves_who_asks_and_is_good_once(strict, app, gateway):
    given = proof(strict, app, gateway, "+44 7700 900157", "198.51.100.67")["phone"]
    said = keys(app) | {"nonce": 7, "timestamp": int(time.time()), "provider": "phone", "phone": given}
    names = [f"phone[code]={given['code']}", f"phone[request_id]={given['request_id']}", "provider=phone"]
    plain = [f"{name}={said[name]}" for name in ("application_id", "auth_key", "nonce", "timestamp")]
    message = "&".join(sorted(plain + names))
    said["signature"] = hmac.new(app.auth_secret.encode(), message.encode(), "sha1").hexdigest()
    for wrong in ({"phone": given | {"code": "000000"}}, {"phone": given | {"number": "+44 7700 900158"}}):
        refused = ask(strict, "POST", "/session.json", said | wrong)
        assert (refused.status, refused.json) == (422, {"errors": {"base": ["Unexpected signature"]}})
    quickblox = {"QuickBlox-REST-API-Version": "0.1.1"}
    assert ask(strict, "POST", "/session.json", said, headers=quickblox).status == 201
    assert ask(strict, "POST", "/session.json", said, headers=quickblox).status == 422


# ── an identity provider of the application's own ────────────────────────────────────────────────────────────────────


@pytest.fixture
def provider() -> Iterator[Gateway]:
    """Knows Bob by his password there, and nobody else."""
    with listening() as running:

        def make_up_its_mind() -> None:
            right = running.paths[-1].endswith("?login=bob&password=bob-there")
            running.status, running.body = (200, b'{"uid": "b-7"}') if right else (401, b'{"error": "no"}')

        running.during = make_up_its_mind
        yield running


@pytest.fixture
def known(strict: Server, provider: Gateway) -> Application:
    """An application whose log-ins its provider verifies."""
    mapping = {"login": "#{login}", "password": "#{password}"}
    settings = {"cidp_request": json.dumps(mapping), "cidp_response": '{"uid": "#{uid}"}'}
    return application(strict.database_url, cidp_url=provider.url, **settings)


def log_in(server: Server, app: Application, login: str, password: str, address: str, path: str) -> Answer:
    """By either of the two ways to log in; 201 and 202 are what they say when it was right."""
    user = {"login": login, "password": password}
    if path == "/session":
        return open_session(server, app, user, address)
    headers = {"CB-Token": opened(server, app, None, "203.0.113.200")["token"]} | came_from(address)
    return ask(server, "POST", "/login", user, headers=headers)


def sign_up(server: Server, app: Application, login: str) -> None:
    """With a password here."""
    user = {"user": {"login": login, "password": PASSWORD}}
    assert ask(server, "POST", "/users", user, headers={"CB-AuthKey": app.auth_key}).status == 201


@pytest.mark.parametrize("path", ["/session", "/login"])
def test_guessing_through_the_provider_is_limited(strict, known, provider, path):
    one, other = ("198.51.100.41", "198.51.100.42") if path == "/session" else ("198.51.100.43", "198.51.100.44")
    for n in range(3):
        assert log_in(strict, known, "bob", f"guess-{n}", one, path).status == 422
    assert wait(log_in(strict, known, "bob", "bob-there", one, path)) <= 15 * 60
    assert len(provider.asked) == 3
    for n in range(2):
        assert log_in(strict, known, f"token-{n}", "any", one, path).status == 422
    assert wait(log_in(strict, known, "token-2", "any", one, path)) <= HOUR / 5
    assert len(provider.asked) == 5
    for _ in range(6):  # who is right has all tries back
        assert log_in(strict, known, "bob", "bob-there", other, path).status in (201, 202)


def test_many_guesses_at_once_are_no_more_than_allowed(strict, known, provider):
    guesses = [partial(log_in, strict, known, "bob", f"g{n}", "198.51.100.45", "/session") for n in range(10)]
    assert sorted(answer.status for answer in at_once(guesses)) == [422] * 3 + [429] * 7
    assert len(provider.asked) == 3


@pytest.mark.parametrize("path", ["/session", "/login"])
def test_who_has_a_password_here_is_refused_like_everybody_else(strict, known, path):
    sign_up(strict, known, "annika")
    first = 50 if path == "/session" else 60
    answers = {
        login: [log_in(strict, known, login, "wrong-one", f"198.51.100.{first + n}", path) for _ in range(4)]
        for n, login in enumerate(("annika", "nobody"))
    }
    told = {login: [(answer.status, answer.raw) for answer in given] for login, given in answers.items()}
    assert told["annika"] == told["nobody"]
    assert [status for status, _ in told["annika"]] == [422, 422, 422, 429]
    said = 'Custom Identity Provider responded with an error = "no". Status code = 401'
    assert answers["annika"][0].json == {"errors": {"base": [said]}}


@pytest.mark.parametrize("path", ["/session", "/login"])
def test_nobody_is_locked_out_of_their_provider_by_a_sign_up_with_their_login(strict, known, provider, path):
    bob = opened(strict, known, {"login": "bob", "password": "bob-there"})["user_id"]
    sign_up(strict, known, "bob")
    address = "198.51.100.71" if path == "/session" else "198.51.100.72"
    for _ in range(6):
        answer = log_in(strict, known, "bob", "bob-there", address, path)
        assert answer.status in (201, 202), answer
        assert answer.json.get("session", {}).get("user_id", answer.json.get("user", {}).get("id")) == bob
    before = len(provider.asked)
    here = log_in(strict, known, "bob", PASSWORD, address, path)
    assert here.status in (201, 202) and len(provider.asked) == before
    without = open_session(strict, known, {"login": "bob", "password": None}, address)
    assert (without.status, len(provider.asked)) == (422, before + 1)


def test_a_slow_provider_holds_up_nobody_else(strict, provider, gateway):
    slow = application(strict.database_url, cidp_url=gateway.url)
    other = application(strict.database_url, cidp_url=provider.url)
    arrived, done = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        arrived.release()
        done.wait(4)  # less than our own patience

    gateway.during = hold
    waiting = [
        threading.Thread(target=open_session, args=(strict, slow, {"login": f"t{n}"}, f"203.0.113.{n}"))
        for n in range(6)
    ]
    for thread in waiting:
        thread.start()
    assert all(arrived.acquire(timeout=20) for _ in waiting)
    refused = open_session(strict, slow, {"login": "one-more"}, "203.0.113.10")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert open_session(strict, other, {"login": "x"}, "203.0.113.11").status == 422
    sign_up(strict, other, "plain")
    assert open_session(strict, other, {"login": "plain", "password": PASSWORD}, "203.0.113.12").status == 201
    assert not done.is_set() and len(gateway.asked) == 6
    done.set()
    for thread in waiting:
        thread.join()
