"""FCM: what is sent, the access token that it is sent with, and what is made of each answer."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from push.listener import application
from push.providers import PROJECT, Providers, fcm_token, private_key, service_account
from servers import free_port
from verify.gateway import listening

from ringbook.config import Config
from ringbook.push import fcm
from ringbook.push.connections import Connections
from ringbook.push.fcm import code, data, notification, read_answer, shaped
from ringbook.push.transport import Cause, Message, NotSetUp, Outcome, Receipt, SenderContext

JOINED = {"message": "Your friend Zoë joined.", "user_id": 271, "type": "contact_joined"}
ACCEPTED = Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
NOW = 1_790_000_000


def push(payload: dict[str, Any], **others: Any) -> Message:
    usual = {"id": 12, "channel": "gcm", "environment": "production", "token": fcm_token(), "created_at": NOW}
    return Message(payload=payload, **{**usual, "expires_at": NOW + 600, **others})


class Sending:
    """An application's sender, on an event loop that ends with the test."""

    def __init__(self, providers: Providers, config: dict[str, Any] | None = None, **settings: Any) -> None:
        self.app, self.private = application(**(providers.settings | settings))
        self.config = Config(**(providers.config | (config or {})))
        self.runner = asyncio.Runner()
        self.connections = Connections(ca_file=str(providers.ca_file), timeout_seconds=5)

    def __enter__(self) -> "Sending":
        way = SenderContext(config=self.config, connections=self.connections, vapid_private_key=self.private)
        self.sender = fcm.sender(self.app, way)
        return self

    def __exit__(self, *_: Any) -> None:
        self.runner.run(self.connections.__aexit__(None, None, None))
        self.runner.close()

    def __call__(self, *messages: Message) -> list[Receipt]:
        """All at once."""

        async def sent() -> list[Receipt]:
            return await asyncio.gather(*(self.sender.send(one, NOW) for one in messages))

        return self.runner.run(sent())

    def check(self) -> str:
        return self.runner.run(self.sender.check(NOW))


def sent(providers: Providers, *messages: Message, **how: Any) -> list[Receipt]:
    with Sending(providers, **how) as send:
        return send(*messages)


# ── the whole way ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_arrives_as_fcm_wants_it(providers):
    assert sent(providers, push(JOINED)) == [ACCEPTED]
    asked = providers.asked()["asked"][0]
    assert asked["path"] == f"/v1/projects/{PROJECT}/messages:send"
    assert json.loads(asked["body"]) == {
        "message": {
            "token": fcm_token(),
            "data": {"message": "Your friend Zoë joined.", "user_id": "271", "type": "contact_joined"},
            "android": {"priority": "high", "ttl": "600s"},
        }
    }


@pytest.mark.parametrize(
    "order, receipt",
    [
        ("gone", Receipt(Outcome.GONE, "UNREGISTERED (404)", cause=Cause.TOKEN_GONE)),
        ("bad", Receipt(Outcome.GONE, "INVALID_ARGUMENT (400)", cause=Cause.TOKEN_GONE)),
        ("busy-7", Receipt(Outcome.LATER, "QUOTA_EXCEEDED (429)", wait_seconds=7, cause=Cause.RATE_LIMITED)),
        ("down", Receipt(Outcome.LATER, "status 503", cause=Cause.PROVIDER_UNAVAILABLE)),
        ("answer-500-INTERNAL", Receipt(Outcome.LATER, "INTERNAL (500)", cause=Cause.PROVIDER_UNAVAILABLE)),
        (
            "answer-400-INVALID_ARGUMENT",
            Receipt(Outcome.REFUSED, "INVALID_ARGUMENT (400)", cause=Cause.REQUEST_REFUSED),
        ),
        ("moved", Receipt(Outcome.REFUSED, "status 302", cause=Cause.REDIRECTED)),
        ("broken", Receipt(Outcome.LATER, "127.0.0.1 does not answer (the connection broke)", cause=Cause.NO_ANSWER)),
        ("half", Receipt(Outcome.LATER, "127.0.0.1 does not answer (the connection broke)", cause=Cause.NO_ANSWER)),
        ("slow-50", ACCEPTED),
    ],
)
def test_what_becomes_of_a_push(providers, order, receipt):
    assert sent(providers, push(JOINED, token=fcm_token(order))) == [receipt]


def test_a_key_that_fcm_keeps_for_itself_does_not_make_a_push_fail(providers):
    keys = ["from", "message_type", "google.sent_time", "google", "gcm", "gcm.notification.title", "gcm.x"]
    (receipt,) = sent(providers, push(JOINED | dict.fromkeys(keys, "x") | {"collapse_key": "y"}))
    assert receipt == Receipt(
        Outcome.ACCEPTED, "without 7 of its keys, whose names FCM keeps for itself", cause=Cause.ACCEPTED
    )
    arrived = json.loads(providers.asked()["asked"][0]["body"])["message"]["data"]
    assert set(arrived) == {"message", "user_id", "type", "collapse_key"}


def test_what_the_system_shall_show_is_taken_as_it_is_meant(providers):
    shown = {
        "title": "Ringbook",
        "body": "Zoë is here",
        "color": "#ff0000",
        "channel_id": "friends",
        "body_loc_args": [1],
    }
    odd = {"unknown": 1, "event_time": "tomorrow", "icon": None, "title_loc_args": "no list"}
    assert sent(providers, push(JOINED | {"android_fcm_notification": shown | odd})) == [ACCEPTED]
    made = json.loads(providers.asked()["asked"][0]["body"])["message"]
    assert made["notification"] == {"title": "Ringbook", "body": "Zoë is here"}
    android = {"tag": "ringbook-12", "color": "#ff0000", "channel_id": "friends", "body_loc_args": ["1"]}
    assert made["android"]["notification"] == android
    assert "android_fcm_notification" not in made["data"]


def test_everything_that_fcm_can_show_may_be_asked_for(providers):
    texts = dict.fromkeys([*fcm.SHOWN, *fcm.ANDROID_TEXTS], "x")
    lists = dict.fromkeys(fcm.ANDROID_LISTS, ["a", 1])
    assert sent(providers, push({"android_fcm_notification": texts | lists})) == [ACCEPTED]
    made = json.loads(providers.asked()["asked"][0]["body"])["message"]
    assert set(made["notification"] | made["android"]["notification"]) == set(texts | lists)


# ── the access token ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_however_many_wait_the_access_token_is_fetched_once_and_kept(providers):
    providers.order(oauth="slow")
    with Sending(providers) as send:
        assert send(*(push(JOINED, id=n) for n in range(50))) == [ACCEPTED] * 50
        assert send(push(JOINED)) == [ACCEPTED]
    assert len(providers.asked()["grants"]) == 1


def test_an_access_token_is_renewed_before_it_ends(providers):
    providers.order(oauth="short")
    with Sending(providers) as send:
        for _ in range(3):
            assert send(push(JOINED)) == [ACCEPTED]
    assert len(providers.asked()["grants"]) == 3


def test_while_a_new_one_cannot_be_had_the_old_one_is_used_to_its_end(providers):
    providers.order(oauth="short")
    with Sending(providers) as send:
        assert send(push(JOINED)) == [ACCEPTED]
        providers.order(oauth="500")
        assert send(push(JOINED)) == [ACCEPTED]
    assert [one["order"] for one in providers.asked()["grants"]] == ["short", "500"]


def test_an_access_token_that_fcm_does_not_take_is_replaced_once(providers):
    with Sending(providers) as send:
        assert send(push(JOINED)) == [ACCEPTED]
        providers.order(fcm="revoked")
        assert send(*(push(JOINED, id=n) for n in range(20))) == [ACCEPTED] * 20
        assert len(providers.asked()["grants"]) == 2
        (receipt,) = send(push(JOINED, token=fcm_token("answer-401-UNAUTHENTICATED")))
    assert receipt.outcome is Outcome.REFUSED
    assert receipt.reason.startswith("UNAUTHENTICATED (401): FCM does not take")
    assert len(providers.asked()["grants"]) == 3


def test_a_fault_of_the_devices_own_key_does_not_cost_an_access_token(providers):
    token = fcm_token("answer-401-THIRD_PARTY_AUTH_ERROR")
    (receipt,) = sent(providers, push(JOINED, token=token))
    assert receipt.reason.startswith("THIRD_PARTY_AUTH_ERROR (401)")
    assert len(providers.asked()["asked"]) == len(providers.asked()["grants"]) == 1


@pytest.mark.parametrize(
    "order, outcome, why",
    [
        ("500", Outcome.LATER, "no access token: Google's token endpoint answers with status 500"),
        ("busy", Outcome.LATER, "no access token: Google's token endpoint answers with status 429"),
        ("refused", Outcome.REFUSED, "Google gives no access token to fcm_service_account (invalid_grant)"),
        ("html", Outcome.LATER, "no access token: the answer of Google's token endpoint cannot be read"),
        ("list", Outcome.LATER, "no access token: the answer of Google's token endpoint cannot be read"),
        ("denied", Outcome.REFUSED, "Google gives no access token to fcm_service_account (without saying why)"),
    ],
)
def test_without_an_access_token_nothing_is_sent(providers, order, outcome, why):
    providers.order(oauth=order)
    receipts = sent(providers, *(push(JOINED, id=n) for n in range(20)))
    assert {receipt.outcome for receipt in receipts} == {outcome}
    assert all(receipt.reason.startswith(why) for receipt in receipts)
    asked = providers.asked()
    assert (asked["asked"], len(asked["grants"])) == ([], 1)


def test_a_token_endpoint_that_is_slow_is_not_waited_for(providers, monkeypatch):
    monkeypatch.setattr(fcm, "TIMEOUT_SECONDS", 0.05)
    providers.order(oauth="slow")
    assert sent(providers, push(JOINED)) == [Receipt(Outcome.LATER, "it took too long", cause=Cause.NO_ANSWER)]


def test_nobody_is_there(providers):
    account = providers.settings["fcm_service_account"]
    away = json.dumps(json.loads(account) | {"token_uri": f"https://127.0.0.1:{free_port()}/token"})
    (receipt,) = sent(providers, push(JOINED), fcm_service_account=away)
    assert receipt.outcome is Outcome.LATER
    assert receipt.reason.startswith("no access token: 127.0.0.1 does not answer")
    (receipt,) = sent(providers, push(JOINED), config={"fcm_endpoint": f"http://127.0.0.1:{free_port()}"})
    assert receipt == Receipt(Outcome.LATER, "127.0.0.1 does not answer (no connection)", cause=Cause.NO_ANSWER)


def test_the_service_account_s_word_leads_to_no_private_address(providers):
    port = urlsplit(json.loads(providers.settings["fcm_service_account"])["token_uri"]).port
    strict = {"allow_private_addresses": False, "outgoing_ports": (port,)}
    (receipt,) = sent(providers, push(JOINED), config=strict)
    assert (receipt.outcome, receipt.cause) == (Outcome.LATER, Cause.ADDRESS_NOT_ALLOWED)
    assert "127.0.0.1 is on a private network" in receipt.reason
    assert providers.asked()["grants"] == []


def test_an_access_token_goes_to_no_other_address(providers):
    with listening() as other:
        other.status, other.headers = 307, {"Location": providers.url}
        (receipt,) = sent(providers, push(JOINED), config={"fcm_endpoint": other.url})
        assert receipt == Receipt(Outcome.REFUSED, "status 307", cause=Cause.REDIRECTED)
        assert other.asked[0].path == f"/v1/projects/{PROJECT}/messages:send"


def test_a_service_account_whose_key_google_does_not_know_is_refused(providers):
    account = json.loads(providers.settings["fcm_service_account"])
    unknown = service_account(account["token_uri"])[0]
    (receipt,) = sent(providers, push(JOINED), fcm_service_account=unknown)
    assert receipt.outcome is Outcome.REFUSED
    assert "(invalid_grant): is the key still there, and the clock right?" in receipt.reason


ACCOUNT = json.loads(service_account("https://token.example/")[0])


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        json.dumps(ACCOUNT | {"private_key": "nonsense"}),
        json.dumps(ACCOUNT | {"private_key": 7}),
        json.dumps(ACCOUNT | {"private_key": private_key()[0][:80]}),
        json.dumps(ACCOUNT | {"project_id": None}),
        json.dumps(ACCOUNT | {"token_uri": None}),
        json.dumps({key: value for key, value in ACCOUNT.items() if key != "client_email"}),
        json.dumps({key: value for key, value in ACCOUNT.items() if key != "project_id"}),
        "[" * 9000,
    ],
)
def test_a_sender_says_that_its_setting_is_missing_or_wrong(providers, wrong):
    with pytest.raises(
        NotSetUp, match="^fcm_service_account is .*: ringbook app set 3 fcm_service_account @FILE.json$"
    ):
        sent(providers, push(JOINED), fcm_service_account=wrong)


# ── a question without a push ────────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_says_that_the_credentials_are_right(providers):
    with Sending(providers) as send:
        assert send.check() == ""
    (asked,) = providers.asked()["asked"]
    assert asked["status"] == 400
    assert json.loads(asked["body"])["validate_only"] is True


def test_a_dry_run_says_what_is_wrong(providers):
    account = json.loads(providers.settings["fcm_service_account"])
    with Sending(providers, fcm_service_account=json.dumps(account | {"project_id": "another"})) as send:
        assert send.check().startswith("PERMISSION_DENIED (403): the service account may not send in its project")
    providers.order(oauth="refused")
    with Sending(providers) as send:
        assert "(invalid_grant)" in send.check()
    with Sending(providers, config={"fcm_endpoint": f"http://127.0.0.1:{free_port()}"}) as send:
        providers.order(oauth="")
        assert send.check() == "127.0.0.1 does not answer (no connection)"


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "payload, values",
    [
        ({"message": "Hi"}, {"message": "Hi"}),
        ({"message": 7}, {"message": "7"}),
        ({"key": "v"}, {"key": "v"}),
        ({}, {}),
        (
            {"a": 1, "b": 1.5, "c": True, "d": False, "e": None},
            {"a": "1", "b": "1.5", "c": "true", "d": "false", "e": "null"},
        ),
        ({"a": {"b": [1, "é"]}}, {"a": '{"b":[1,"é"]}'}),
        ({"message": "Hi", "ios_badge": 1, "ios_voip": 1, "expiration": 5}, {"message": "Hi"}),
    ],
)
def test_all_values_are_texts(payload, values):
    assert data(payload) == values


@pytest.mark.parametrize("nothing", [None, "", "Hi", 1, [], {}, {"unknown": 1}])
def test_without_an_object_of_what_to_show_the_system_shows_nothing(nothing):
    assert notification({"android_fcm_notification": nothing}) == {}
    made = json.loads(shaped(push({"message": "Hi", "android_fcm_notification": nothing}), NOW) or b"")
    assert set(made["message"]) == {"token", "data", "android"}


@pytest.mark.parametrize(
    "expires_at, ttl", [(NOW + 60, "60s"), (NOW, "0s"), (NOW - 5, "0s"), (NOW + 10**9, "2419200s")]
)
def test_how_long_fcm_keeps_it(expires_at, ttl):
    made = json.loads(shaped(push(JOINED, expires_at=expires_at), NOW) or b"")
    assert made["message"]["android"]["ttl"] == ttl


@given(st.text(max_size=20), st.lists(st.text(max_size=50), min_size=1, max_size=4), st.booleans())
def test_what_is_prepared_for_many_pushes_is_what_each_would_be(other, texts, is_shown):
    alike: dict[str, Any] = {}
    for n, words in enumerate((*texts, "x" * 3_000, "é" * 2_030, "x" * 5_000, "")):
        shown = {"android_fcm_notification": {"body": words}} if is_shown else {}
        payload = JOINED | {"message": words, "other": other} | shown
        one = {"id": n, "token": fcm_token(serial=n), "expires_at": NOW + n}
        assert shaped(push(payload, alike=alike, **one), NOW) == shaped(push(payload, **one), NOW)


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀", '"'])
def test_a_long_text_is_cut_at_a_character_to_what_fcm_takes(providers, letter):
    shown = {"android_fcm_notification": {"title": "Ringbook", "icon": "i"}}
    assert sent(providers, push({"message": letter * 6000, "key": "k" * 99} | shown)) == [ACCEPTED]
    arrived = json.loads(providers.asked()["asked"][0]["body"])["message"]["data"]
    assert arrived["message"] == letter * (len(arrived["message"]) - 1) + "…"
    size = sum(len(key.encode()) + len(value.encode()) for key, value in arrived.items())
    assert 4096 - 24 < size + len("titleRingbookiconi") <= 4096


def test_a_text_that_fits_to_the_byte_is_not_cut(providers):
    exact = "x" * (4096 - len("message"))
    assert sent(providers, push({"message": exact})) == [ACCEPTED]
    assert json.loads(providers.asked()["asked"][0]["body"])["message"]["data"]["message"] == exact


@pytest.mark.parametrize("payload", [{"key": "k" * 4094}, {"message": "Hi", "key": "k" * 4090}])
def test_what_is_too_large_without_the_text_is_refused(providers, payload):
    assert sent(providers, push(payload)) == [
        Receipt(Outcome.REFUSED, "payload too large", cause=Cause.PAYLOAD_TOO_LARGE)
    ]
    assert providers.asked()["asked"] == []


@pytest.mark.parametrize("payload", [{"message": "\ud83d"}, {"key": "\ud83d"}, {"key": ["\ud83d"]}, {"key": {1j: 1}}])
def test_what_cannot_be_written_is_refused(providers, payload):
    assert sent(providers, push(payload)) == [
        Receipt(Outcome.REFUSED, "payload cannot be written as JSON", cause=Cause.PAYLOAD_INVALID)
    ]


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────────

NOT_A_TOKEN = "The registration token is not a valid FCM registration token"


def answer(status: str, error_code: str = "", message: str = "", fields: list[str] | None = None) -> bytes:
    details: list[dict[str, Any]] = []
    if error_code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": error_code})
    if fields:
        violations = [{"field": field, "description": "…"} for field in fields]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    return msgspec.json.encode({"error": {"code": 0, "message": message, "status": status, "details": details}})


@pytest.mark.parametrize(
    "status, body, outcome, cause, reason",
    [
        (404, answer("NOT_FOUND", "UNREGISTERED"), Outcome.GONE, Cause.TOKEN_GONE, "UNREGISTERED (404)"),
        (404, answer("NOT_FOUND"), Outcome.REFUSED, Cause.REQUEST_REFUSED, "NOT_FOUND (404)"),
        (404, b"<html>", Outcome.REFUSED, Cause.REQUEST_REFUSED, "status 404"),
        (
            400,
            answer("INVALID_ARGUMENT", "INVALID_ARGUMENT", NOT_A_TOKEN),
            Outcome.GONE,
            Cause.TOKEN_GONE,
            "INVALID_ARGUMENT (400)",
        ),
        (
            400,
            answer("INVALID_ARGUMENT", "INVALID_ARGUMENT", "Request contains an invalid argument.", ["message.token"]),
            Outcome.GONE,
            Cause.TOKEN_GONE,
            "INVALID_ARGUMENT (400)",
        ),
        (
            400,
            answer("INVALID_ARGUMENT", "", "Invalid value at 'message.data[0].value'", ["message.data[0].value"]),
            Outcome.REFUSED,
            Cause.REQUEST_REFUSED,
            "INVALID_ARGUMENT (400)",
        ),
        (
            400,
            answer("INVALID_ARGUMENT", "INVALID_ARGUMENT", NOT_A_TOKEN, ["message.token", "message.data"]),
            Outcome.REFUSED,
            Cause.REQUEST_REFUSED,
            "INVALID_ARGUMENT (400)",
        ),
        (
            400,
            answer("INVALID_ARGUMENT", "INVALID_ARGUMENT", "Android message is too big"),
            Outcome.REFUSED,
            Cause.REQUEST_REFUSED,
            "INVALID_ARGUMENT (400)",
        ),
        (
            403,
            answer("PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            Outcome.REFUSED,
            Cause.WRONG_APPLICATION,
            "SENDER_ID_MISMATCH (403): ",
        ),
        (403, answer("PERMISSION_DENIED"), Outcome.REFUSED, Cause.CREDENTIALS_REFUSED, "PERMISSION_DENIED (403): "),
        (401, answer("UNAUTHENTICATED"), Outcome.REFUSED, Cause.CREDENTIALS_REFUSED, "UNAUTHENTICATED (401): "),
        (
            401,
            answer("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            Outcome.REFUSED,
            Cause.CREDENTIALS_REFUSED,
            "THIRD_PARTY_AUTH_ERROR (401): ",
        ),
        (
            429,
            answer("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            Outcome.LATER,
            Cause.RATE_LIMITED,
            "QUOTA_EXCEEDED (429)",
        ),
        (429, b"", Outcome.LATER, Cause.RATE_LIMITED, "status 429"),
        (500, answer("INTERNAL", "INTERNAL"), Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "INTERNAL (500)"),
        (502, b"<html>", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "status 502"),
        (503, answer("UNAVAILABLE", "UNAVAILABLE"), Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "UNAVAILABLE (503)"),
        (
            400,
            answer("INVALID_ARGUMENT", "UNSPECIFIED_ERROR"),
            Outcome.REFUSED,
            Cause.REQUEST_REFUSED,
            "UNSPECIFIED_ERROR (400)",
        ),
    ],
)
def test_answers(status, body, outcome, cause, reason):
    receipt = read_answer(status, body, {}, NOW)
    assert (receipt.outcome, receipt.cause) == (outcome, cause)
    assert receipt.reason.startswith(reason)


def test_how_long_fcm_wants_us_to_wait():
    assert read_answer(429, b"", {}, NOW).wait_seconds == 60
    assert read_answer(429, b"", {"retry-after": "5"}, NOW).wait_seconds == 5
    assert read_answer(503, b"", {"retry-after": "30"}, NOW).wait_seconds == 30
    assert read_answer(503, b"", {}, NOW).wait_seconds is None
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(NOW + 90))
    assert read_answer(503, b"", {"retry-after": later}, NOW).wait_seconds == 90


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error":"denied"}',
        b'{"error":{"status":7,"details":{}}}',
        b'{"error":{"status":"a token of somebody","details":[7,{"errorCode":[]}]}}',
        b"\xff",
        b"[" * 9000,
    ],
)
def test_an_answer_that_cannot_be_read_is_told_by_its_status(odd):
    assert code(odd) == ""
    assert read_answer(400, odd, {}, NOW) == Receipt(Outcome.REFUSED, "status 400", cause=Cause.REQUEST_REFUSED)
