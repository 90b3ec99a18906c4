"""APNs: what is sent, who it says is asking, and what is made of each answer."""

import asyncio
import json
import time
import uuid
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from push.listener import application
from push.providers import KEY_ID, TEAM_ID, TOPIC, Providers, apns_token, private_key, service_account
from servers import free_port

from ringbook.config import Config
from ringbook.model import App
from ringbook.push import apns, universal
from ringbook.push.apns import headers, read_answer, shaped
from ringbook.push.connections import Connections
from ringbook.push.transport import Cause, Message, NotSetUp, Outcome, Receipt, SenderContext

JOINED = {"message": "Your friend Zoë joined.", "user_id": 271, "type": "contact_joined"}
ACCEPTED = Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
MINUTE = 60


def push(payload: dict[str, Any], **others: Any) -> Message:
    usual = {"id": 12, "channel": "apns", "environment": "production", "token": apns_token(), "created_at": 0}
    return Message(payload=payload, **{**usual, "expires_at": 2_000_000_000, **others})


def sent(providers: Providers, *messages: Message, at: list[int] | None = None, **settings: Any) -> list[Receipt]:
    """What becomes of these, sent by one sender one after the other, at these times or now."""
    config = settings.pop("config", {})
    app, private = application(**(providers.settings | settings))
    timeout = settings.pop("timeout_seconds", 10)

    async def each() -> list[Receipt]:
        async with Connections(ca_file=str(providers.ca_file), timeout_seconds=timeout) as connections:
            process = Config(**(providers.config | config))
            sender = apns.sender(app, SenderContext(config=process, connections=connections, vapid_private_key=private))
            times = at or [int(time.time())] * len(messages)
            return [await sender.send(one, now) for one, now in zip(messages, times, strict=True)]

    return asyncio.run(each())


def app_with(**settings: Any) -> App:
    return application(**settings)[0]


# ── the whole way ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_arrives_with_what_apple_wants_to_know(providers):
    assert sent(providers, push(JOINED)) == [ACCEPTED]
    asked = providers.asked()["asked"][0]
    assert asked["path"] == f"/3/device/{apns_token()}"
    assert asked["version"] == "2.0"
    assert json.loads(asked["body"]) == {
        "aps": {"alert": {"body": "Your friend Zoë joined."}},
        "user_id": 271,
        "type": "contact_joined",
    }
    said = {name: asked["headers"][name] for name in asked["headers"] if name.startswith("apns-")}
    assert said == {
        "apns-topic": TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": "2000000000",
        "apns-id": said["apns-id"],
        "apns-collapse-id": said["apns-id"],
    }
    assert uuid.UUID(said["apns-id"]).version == 5


def test_a_development_subscription_is_reached_through_the_sandbox(providers):
    assert sent(providers, push(JOINED, environment="development")) == [ACCEPTED]
    assert providers.asked()["asked"][0]["path"].startswith("/sandbox/3/device/")


def test_a_call_is_sent_to_the_apps_own_topic_for_calls(providers):
    assert sent(providers, push(JOINED, channel="apns_voip"), apns_topic=TOPIC) == [ACCEPTED]
    said = providers.asked()["asked"][0]["headers"]
    assert (said["apns-topic"], said["apns-push-type"], said["apns-priority"]) == (f"{TOPIC}.voip", "voip", "10")


def test_without_a_topic_the_subscription_names_it(providers):
    assert sent(providers, push(JOINED, bundle="org.example.other"), apns_topic="") == [ACCEPTED]
    assert providers.asked()["asked"][0]["headers"]["apns-topic"] == "org.example.other"


@pytest.mark.parametrize(
    "bundle, why", [(None, "not set"), ("", "not set"), ("a\r\nb", "is not one"), ("ü", "is not one")]
)
def test_without_any_topic_nothing_is_asked(providers, bundle, why):
    (receipt,) = sent(providers, push(JOINED, bundle=bundle), apns_topic="")
    assert receipt.outcome is Outcome.REFUSED
    assert receipt.cause is Cause.NOT_SET_UP
    assert "apns_topic" in receipt.reason and why in receipt.reason
    assert providers.asked()["asked"] == []


@pytest.mark.parametrize(
    "order, receipt",
    [
        ("gone", Receipt(Outcome.GONE, "Unregistered (410)", gone_at=1700000000, cause=Cause.TOKEN_GONE)),
        ("bad", Receipt(Outcome.GONE, "BadDeviceToken (400)", cause=Cause.TOKEN_GONE)),
        ("busy-7", Receipt(Outcome.LATER, "TooManyRequests (429)", wait_seconds=7, cause=Cause.RATE_LIMITED)),
        ("down", Receipt(Outcome.LATER, "ServiceUnavailable (503)", cause=Cause.PROVIDER_UNAVAILABLE)),
        ("answer-403-Forbidden", Receipt(Outcome.REFUSED, "Forbidden (403)", cause=Cause.CREDENTIALS_REFUSED)),
        ("moved", Receipt(Outcome.REFUSED, "status 302", cause=Cause.REDIRECTED)),
        ("broken", Receipt(Outcome.LATER, "127.0.0.1 does not answer (the connection broke)", cause=Cause.NO_ANSWER)),
        ("half", Receipt(Outcome.LATER, "127.0.0.1 does not answer (the connection broke)", cause=Cause.NO_ANSWER)),
        ("slow-50", ACCEPTED),
    ],
)
def test_what_becomes_of_a_push(providers, order, receipt):
    assert sent(providers, push(JOINED, token=apns_token(order))) == [receipt]


def test_nobody_is_there(providers):
    (receipt,) = sent(providers, push(JOINED), config={"apns_endpoint": f"http://127.0.0.1:{free_port()}"})
    assert receipt == Receipt(Outcome.LATER, "127.0.0.1 does not answer (no connection)", cause=Cause.NO_ANSWER)


def test_an_endpoint_of_the_operators_may_speak_http2_without_tls(providers):
    assert sent(providers, push(JOINED), config={"apns_endpoint": providers.plain_url + "/"}) == [ACCEPTED]


# ── who is asking ────────────────────────────────────────────────────────────────────────────────────────────────────


def claims(providers: Providers) -> list[dict[str, Any]]:
    return [one for one in providers.asked()["tokens"] if one["iat"] > time.time() - 7200]


def test_the_provider_token_says_key_team_and_time(providers):
    now = int(time.time()) - 7
    sent(providers, push(JOINED), at=[now])
    asked = providers.asked()["asked"][0]["headers"]["authorization"]
    token = asked.removeprefix("bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    assert jwt.decode(token, options={"verify_signature": False}) == {"iss": TEAM_ID, "iat": now}


def test_the_provider_token_is_renewed_after_forty_minutes_and_not_before(providers):
    now = int(time.time())
    times = [now - 40 * MINUTE, now - 20 * MINUTE, now - 1, now, now + 1]
    assert sent(providers, *[push(JOINED)] * 5, at=times) == [ACCEPTED] * 5
    tokens = [one["headers"]["authorization"] for one in providers.asked()["asked"]]
    assert tokens[0] == tokens[1] == tokens[2] != tokens[3] == tokens[4]


def test_a_clock_that_is_set_back_makes_a_new_provider_token_and_a_second_or_two_does_not(providers):
    now = int(time.time())
    ahead, little, back = sent(providers, *[push(JOINED)] * 3, at=[now + 90 * MINUTE, now + 90 * MINUTE - 2, now])
    assert (ahead, little, back) == (ahead, ahead, ACCEPTED) and ahead.outcome is Outcome.REFUSED
    tokens = [one["headers"]["authorization"] for one in providers.asked()["asked"]]
    assert tokens[0] == tokens[1] != tokens[2]


def test_an_expired_provider_token_is_renewed_once_and_the_push_tried_again(providers):
    now = int(time.time())
    # Apple's clock is ahead of ours by more than an hour less the token's age.
    receipts = sent(providers, push(JOINED), push(JOINED), at=[now - 61 * MINUTE, now - 30 * MINUTE])
    assert receipts[0].cause is Cause.CREDENTIALS_EXPIRED
    assert receipts[1] == ACCEPTED
    assert [one["status"] for one in providers.asked()["asked"]] == [403, 403, 200]


def test_a_new_provider_token_that_is_called_expired_is_not_replaced_at_once(providers):
    providers.order(apns="all expired")
    now = int(time.time())
    (first, second) = sent(providers, push(JOINED), push(JOINED), at=[now, now + 60])
    assert (
        first
        == second
        == Receipt(
            Outcome.REFUSED,
            "ExpiredProviderToken (403): is this machine's clock right?",
            cause=Cause.CREDENTIALS_EXPIRED,
        )
    )
    assert len({one["headers"]["authorization"] for one in providers.asked()["asked"]}) == 1


def test_many_pushes_at_once_share_a_provider_token_also_when_it_is_renewed(providers):
    app, private = application(**providers.settings)
    now = int(time.time())

    async def many() -> list[Receipt]:
        async with Connections(ca_file=str(providers.ca_file)) as connections:
            way = SenderContext(config=Config(**providers.config), connections=connections, vapid_private_key=private)
            sender = apns.sender(app, way)
            # A token that is too old for Apple, while we think that it is good for some minutes more.
            await sender.send(push(JOINED), now - 70 * MINUTE)
            sender._token.made_at = now - 30 * MINUTE
            return await asyncio.gather(*(sender.send(push(JOINED, id=n), now) for n in range(50)))

    assert asyncio.run(many()) == [ACCEPTED] * 50
    assert len({one["headers"]["authorization"] for one in providers.asked()["asked"]}) == 2


def test_senders_of_the_same_key_share_a_provider_token_also_one_that_is_made_anew(providers):
    app, private = application(**providers.settings)
    other, _ = application(**(providers.settings | {"apns_topic": "org.example.other", "events": "off"}))
    now = int(time.time())

    async def several() -> list[Receipt]:
        async with Connections(ca_file=str(providers.ca_file)) as connections:
            way = SenderContext(config=Config(**providers.config), connections=connections, vapid_private_key=private)
            return [await apns.sender(one, way).send(push(JOINED), now + n) for n, one in enumerate((app, app, other))]

    assert asyncio.run(several()) == [ACCEPTED] * 3
    assert len({one["headers"]["authorization"] for one in providers.asked()["asked"]}) == 1


def test_a_key_that_apple_does_not_know_is_refused_with_advice(providers):
    (receipt,) = sent(providers, push(JOINED), apns_key=private_key()[0])
    assert receipt.outcome is Outcome.REFUSED
    assert receipt.reason.startswith("InvalidProviderToken (403): apns_key, apns_key_id and apns_team_id")


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"apns_key": ""}, "apns_key is not set: ringbook app set 3 apns_key @AuthKey"),
        ({"apns_key_id": ""}, "apns_key_id is not set: ringbook app set 3 apns_key_id"),
        ({"apns_team_id": ""}, "apns_team_id is not set: ringbook app set 3 apns_team_id"),
        ({"apns_key": "nonsense"}, "apns_key is not a key of Apple's"),
        ({"apns_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "apns_key is not a key"),
        ({"apns_key": json.loads(service_account("x")[0])["private_key"]}, "apns_key is not a key of Apple's"),
        ({"apns_key": other_curve()}, "apns_key is not a key of Apple's"),
    ],
)
def test_a_sender_says_which_setting_is_missing_or_wrong(providers, wrong, named):
    with pytest.raises(NotSetUp) as refused:
        sent(providers, push(JOINED), **wrong)
    assert str(refused.value).startswith(named)


def test_there_is_nothing_to_ask_apple_without_a_push(providers):
    app, private = application(**providers.settings)

    async def checked() -> str:
        async with Connections() as connections:
            way = SenderContext(config=Config(**providers.config), connections=connections, vapid_private_key=private)
            return await apns.sender(app, way).check(int(time.time()))

    assert asyncio.run(checked()) == ""
    assert providers.asked()["asked"] == []


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def body(payload: dict[str, Any], **others: Any) -> Any:
    made = shaped(push(payload, **others))
    assert made is not None
    return json.loads(made)


@pytest.mark.parametrize(
    "payload, aps",
    [
        ({"message": "Hi"}, {"alert": {"body": "Hi"}}),
        ({"message": 7}, {"alert": {"body": "7"}}),
        ({"message": "Hi", "ios_badge": 2}, {"alert": {"body": "Hi"}, "badge": 2}),
        ({"ios_badge": "0"}, {"badge": 0}),
        ({"ios_badge": "many", "ios_sound": 7}, {}),
        ({"ios_badge": True}, {}),
        ({"ios_badge": 10**20}, {}),
        ({"ios_badge": "9" * 5000}, {}),
        (
            {"ios_sound": "ring.caf", "ios_category": "JOINED", "ios_thread_id": "t"},
            {"sound": "ring.caf", "category": "JOINED", "thread-id": "t"},
        ),
        (
            {"ios_sound": {"critical": 1, "name": "a", "volume": 1.0}},
            {"sound": {"critical": 1, "name": "a", "volume": 1.0}},
        ),
        ({"ios_content_available": 1, "ios_mutable_content": "1"}, {"content-available": 1, "mutable-content": 1}),
        ({"ios_content_available": 0, "ios_mutable_content": False}, {}),
        ({"ios_content_available": True, "ios_mutable_content": "0"}, {"content-available": 1}),
        (
            {
                "ios_loc_data": {
                    "title_loc_key": "T",
                    "title_loc_args": ["a"],
                    "body_loc_key": "B",
                    "body_loc_args": ["b"],
                }
            },
            {"alert": {"title-loc-key": "T", "title-loc-args": ["a"], "loc-key": "B", "loc-args": ["b"]}},
        ),
        ({"message": "Hi", "ios_loc_data": {"body_loc_key": "B"}}, {"alert": {"body": "Hi", "loc-key": "B"}}),
        ({"message": "Hi", "ios_loc_data": "nonsense"}, {"alert": {"body": "Hi"}}),
    ],
)
def test_keys_for_apple_stand_in_aps(payload, aps):
    assert body(payload) == {"aps": aps}


def test_other_keys_stand_beside_aps_and_none_replaces_it():
    own = {"user_id": 271, "deep": {"a": [1]}, "nothing": None, "aps": {"alert": "forged"}, "expiration": 5}
    made = body({"message": "Hi", **own, "android_fcm_notification": {"title": "no"}})
    assert made == {"user_id": 271, "deep": {"a": [1]}, "nothing": None, "aps": {"alert": {"body": "Hi"}}}


@pytest.mark.parametrize(
    "payload, kind, priority",
    [
        ({"message": "Hi"}, "alert", "10"),
        ({"message": "Hi", "ios_content_available": 1}, "alert", "10"),
        ({"ios_content_available": 1, "key": 1}, "background", "5"),
        ({"ios_content_available": 1, "ios_badge": 1}, "alert", "10"),
        ({"ios_push_type": "background", "key": 1}, "background", "5"),
        ({"ios_push_type": "alert", "ios_content_available": 1}, "alert", "10"),
        ({"ios_push_type": "nonsense", "message": "Hi"}, "alert", "10"),
        ({"key": 1}, "alert", "10"),
    ],
)
def test_a_push_that_nobody_sees_is_a_background_push(payload, kind, priority):
    said = headers(push(payload), TOPIC, app_with())
    assert (said["apns-push-type"], said["apns-priority"]) == (kind, priority)


def test_a_background_push_has_the_key_that_makes_it_one():
    assert body({"ios_push_type": "background", "key": 1}) == {"key": 1, "aps": {"content-available": 1}}


def test_every_attempt_of_a_push_has_the_same_id_and_no_other_push_has_it():
    app, other = app_with(), app_with()
    ids = [headers(push(JOINED, id=n), TOPIC, which)["apns-id"] for which in (app, other) for n in (1, 2)]
    assert len(set(ids)) == 4
    assert headers(push(JOINED, id=1), TOPIC, app)["apns-id"] == ids[0]
    assert len(headers(push(JOINED), TOPIC, app)["apns-collapse-id"].encode()) <= 64


@given(st.text())
def test_a_name_gives_the_uuid_of_the_standard(name):
    assert apns.uuid5(name) == str(uuid.uuid5(apns.NAMES, name))


@given(st.text(max_size=20), st.lists(st.text(max_size=50), min_size=1, max_size=4))
def test_what_is_prepared_for_many_pushes_is_what_each_would_be(other, texts):
    alike: dict[str, Any] = {}
    for words in (*texts, "x" * 5_000, ""):
        payload = JOINED | {"message": words, "other": other}
        assert shaped(push(payload, alike=alike)) == shaped(push(payload))


@pytest.mark.parametrize("channel, most", [("apns", 4096), ("apns_voip", 5120)])
@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀", '"'])
def test_a_long_text_is_cut_at_a_character_to_what_apple_takes(channel, most, letter):
    made = shaped(push({"message": letter * 6000, "key": "k" * 99}, channel=channel))
    assert made is not None and most - 8 < len(made) <= most
    kept = json.loads(made)["aps"]["alert"]["body"]
    assert kept == letter * (len(kept) - 1) + "…"


def test_a_text_that_fits_to_the_byte_is_not_cut():
    room = 4096 - len(shaped(push({"message": "x"})) or b"")
    assert body({"message": "x" * (room + 1)})["aps"]["alert"]["body"] == "x" * (room + 1)
    assert body({"message": "x" * (room + 2)})["aps"]["alert"]["body"].endswith("…")


@pytest.mark.parametrize("payload", [{"key": "k" * 5000}, {"message": "Hi", "key": "k" * 5000}])
def test_what_is_too_large_without_the_text_is_refused(providers, payload):
    assert sent(providers, push(payload)) == [
        Receipt(Outcome.REFUSED, "payload too large", cause=Cause.PAYLOAD_TOO_LARGE)
    ]
    assert providers.asked()["asked"] == []


@pytest.mark.parametrize("payload", [{"message": "\ud83d"}, {"key": "\ud83d"}, {"key": {1j: 1}}])
def test_what_cannot_be_written_is_refused(providers, payload):
    assert sent(providers, push(payload)) == [
        Receipt(Outcome.REFUSED, "payload cannot be written as JSON", cause=Cause.PAYLOAD_INVALID)
    ]


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "status, reason, outcome, cause",
    [
        (200, "", Outcome.ACCEPTED, Cause.ACCEPTED),
        (400, "BadCollapseId", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "BadDeviceToken", Outcome.GONE, Cause.TOKEN_GONE),
        (400, "BadExpirationDate", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "BadMessageId", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "BadPriority", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "BadTopic", Outcome.REFUSED, Cause.WRONG_APPLICATION),
        (400, "DeviceTokenNotForTopic", Outcome.REFUSED, Cause.WRONG_APPLICATION),
        (400, "DuplicateHeaders", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "IdleTimeout", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE),
        (400, "InvalidPushType", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "MissingDeviceToken", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "MissingTopic", Outcome.REFUSED, Cause.WRONG_APPLICATION),
        (400, "PayloadEmpty", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (400, "TopicDisallowed", Outcome.REFUSED, Cause.WRONG_APPLICATION),
        (403, "BadCertificate", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "BadCertificateEnvironment", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "BadEnvironmentKeyIdInToken", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "ExpiredProviderToken", Outcome.REFUSED, Cause.CREDENTIALS_EXPIRED),
        (403, "Forbidden", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "InvalidProviderToken", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "MissingProviderToken", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (403, "UnrelatedKeyIdInToken", Outcome.REFUSED, Cause.CREDENTIALS_REFUSED),
        (404, "BadPath", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (405, "MethodNotAllowed", Outcome.REFUSED, Cause.REQUEST_REFUSED),
        (410, "ExpiredToken", Outcome.GONE, Cause.TOKEN_GONE),
        (410, "Unregistered", Outcome.GONE, Cause.TOKEN_GONE),
        (410, "", Outcome.GONE, Cause.TOKEN_GONE),
        (413, "PayloadTooLarge", Outcome.REFUSED, Cause.PAYLOAD_TOO_LARGE),
        (429, "TooManyProviderTokenUpdates", Outcome.LATER, Cause.RATE_LIMITED),
        (429, "TooManyRequests", Outcome.LATER, Cause.RATE_LIMITED),
        (500, "InternalServerError", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE),
        (503, "ServiceUnavailable", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE),
        (503, "Shutdown", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE),
        (302, "", Outcome.REFUSED, Cause.REDIRECTED),
    ],
)
def test_answers(status, reason, outcome, cause):
    receipt = read_answer(status, msgspec.json.encode({"reason": reason}) if reason else b"", {}, 0)
    assert (receipt.outcome, receipt.cause) == (outcome, cause)
    assert reason in receipt.reason


@pytest.mark.parametrize(
    "at, gone_at",
    [(1_700_000_000_999, 1_700_000_000), ("1", None), (None, None), (True, None), (0, None), (2**60, None)],
)
def test_when_a_token_died(at, gone_at):
    receipt = read_answer(410, msgspec.json.encode({"reason": "Unregistered", "timestamp": at}), {}, 0)
    assert receipt == Receipt(Outcome.GONE, "Unregistered (410)", gone_at=gone_at, cause=Cause.TOKEN_GONE)


def test_after_five_hundred_it_is_tried_again_by_our_own_schedule_unless_apple_names_a_time():
    assert read_answer(500, b"", {}, 0).wait_seconds is None
    assert read_answer(500, b"", {"retry-after": "3"}, 0).wait_seconds == 3
    assert read_answer(429, b"", {}, 0).wait_seconds is None


@pytest.mark.parametrize(
    "odd",
    [
        b"<html>",
        b"[]",
        b"{",
        b'{"reason":7}',
        b'{"reason":"a b<c>"}',
        b'{"reason":"' + b"x" * 99 + b'"}',
        b"\xff",
        b"[" * 9000,
    ],
)
def test_an_answer_that_cannot_be_read_is_told_by_its_status(odd):
    assert read_answer(403, odd, {}, 0) == Receipt(Outcome.REFUSED, "status 403", cause=Cause.CREDENTIALS_REFUSED)


# ── payloads in the format of APNs ───────────────────────────────────────────────────────────────────────────────────

GIVEN = {"aps": {"alert": {"title": "Ann", "body": "hi"}, "badge": 7, "sound": "default"}, "call_id": 7}


@pytest.mark.parametrize(
    "given, sent_as",
    [
        (GIVEN, GIVEN),
        ({"aps": {"alert": "hi"}}, {"aps": {"alert": {"body": "hi"}}}),
        ({"aps": {"content-available": 1}, "expiration": 5}, {"aps": {"content-available": 1}, "expiration": 5}),
        ({"aps": {"alert": {"loc-key": "HI"}}, "message": "x"}, {"aps": {"alert": {"loc-key": "HI"}}, "message": "x"}),
    ],
)
def test_a_payload_in_the_format_of_apns_goes_out_as_it_is(given, sent_as):
    body = shaped(push(universal.of_apns(given)))
    assert body and json.loads(body) == sent_as


def test_a_text_in_the_format_of_apns_is_shortened_like_any_other():
    body = shaped(push(universal.of_apns({"aps": {"alert": {"title": "Ann", "body": "x" * 5_000}}})))
    assert body and len(body) <= apns.LARGEST_BYTES
    alert = json.loads(body)["aps"]["alert"]
    assert (alert["title"], alert["body"][-1]) == ("Ann", "…")


def test_a_payload_of_apns_that_shows_nothing_is_sent_in_the_background():
    assert apns.push_type(push(universal.of_apns({"aps": {"content-available": 1}}))) == "background"
    assert apns.push_type(push(universal.of_apns(GIVEN))) == "alert"
