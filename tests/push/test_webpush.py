"""Web Push: what a browser decrypts, what a push service is told, and what its answers come to.

The counterpart is the npm package web-push-testing, which decrypts and checks signatures with code of its own.
"""

import asyncio
import base64
import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from push.listener import (
    NOW,
    Made,
    PushService,
    application,
    attempt,
    encoded,
    message,
    nobodys,
    push_service,
    vapid_keys,
)
from servers import free_port
from verify.gateway import Gateway, listening

from ringbook.config import Config
from ringbook.model import App
from ringbook.push import webpush
from ringbook.push.connections import Connections
from ringbook.push.transport import Cause, Message, NotSetUp, Outcome, Receipt, Sender, SenderContext
from ringbook.push.webpush import LARGEST_BYTES, WebPush, encrypted, headers, origin, read_answer, shaped

ANN = {"message": "Your friend Zoë joined. 🎉", "user_id": 271, "type": "contact_joined"}
CONTACT = "mailto:push@example.org"
DAY = 86_400


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with push_service(tmp_path_factory.mktemp("push-service")) as running:
        yield running


def sent(made: Made, app: App, private: str, *messages: Message) -> list[Receipt]:
    """Sent now: the service knows what time it is."""
    return attempt(made, app, private, *messages, now=int(time.time()))


@pytest.fixture
def gateway(gateway: Gateway) -> Gateway:
    """A push service that answers as a test wants."""
    gateway.status = 201
    return gateway


# ── with a push service that decrypts ────────────────────────────────────────────────────────────────────────────────


def test_a_browser_reads_what_was_sent_in_the_documented_shape(service):
    app, private = application(web_push_contact=CONTACT)
    browser = service.subscribe(app.vapid_public_key)
    payload = ANN | {"ios_badge": 1, "android_fcm_notification": {"title": "x"}, "expiration": NOW, "deep": {"a": [1]}}
    assert sent(webpush.sender, app, private, message(payload, browser)) == [
        Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
    ]
    data = {"message": ANN["message"], "user_id": 271, "type": "contact_joined", "deep": {"a": [1]}}
    assert service.received(browser) == [{"data": data}]


def test_the_largest_message_arrives_too(service):
    app, private = application()
    browser = service.subscribe(app.vapid_public_key)
    sent(webpush.sender, app, private, message({"message": "é" * 4000}, browser))
    [arrived] = service.received(browser)
    assert arrived["data"]["message"] == "é" * (len(arrived["data"]["message"]) - 1) + "…"
    assert len(json.dumps(arrived, ensure_ascii=False, separators=(",", ":")).encode()) >= LARGEST_BYTES - 1


def test_one_sender_serves_many_browsers_and_each_reads_its_own(service):
    app, private = application()
    browsers = [service.subscribe(app.vapid_public_key) for _ in range(3)]
    pushes = [message({"message": f"to {i}"}, browser, id=i) for i, browser in enumerate(browsers)]
    assert sent(webpush.sender, app, private, *pushes) == [Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)] * 3
    assert [service.received(browser) for browser in browsers] == [[{"data": {"message": f"to {i}"}}] for i in range(3)]


def test_an_ended_subscription_is_gone(service):
    app, private = application()
    browser = service.subscribe(app.vapid_public_key)
    service.expire(browser)
    assert sent(webpush.sender, app, private, message(ANN, browser)) == [
        Receipt(Outcome.GONE, "the subscription has ended (410)", cause=Cause.TOKEN_GONE)
    ]


def test_a_browser_that_subscribed_with_another_key_is_not_reached(service):
    app, private = application()
    browser = service.subscribe(vapid_keys()[0])
    [receipt] = sent(webpush.sender, app, private, message(ANN, browser))
    assert (receipt.outcome, service.received(browser)) == (Outcome.REFUSED, [])


def test_a_signature_by_another_key_is_refused(service):
    app, _private = application()
    browser = service.subscribe(app.vapid_public_key)
    stranger = ec.generate_private_key(ec.SECP256R1())
    [receipt] = sent(lambda app, way: WebPush(app, way.connections, stranger), app, "", message(ANN, browser))
    assert (receipt.outcome, service.received(browser)) == (Outcome.REFUSED, [])


# ── encryption ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_example_of_the_standard_comes_out_octet_by_octet():
    """RFC 8291 §5 and appendix A."""
    private = base64.urlsafe_b64decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw=")
    body = encrypted(
        b"When I grow up, I want to be a watermelon",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
        salt=base64.urlsafe_b64decode("DGv6ra1nlYgDCS1FRnbzlw=="),
        key=ec.derive_private_key(int.from_bytes(private), ec.SECP256R1()),
    )
    assert encoded(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3j"
        "l7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_no_two_messages_share_a_salt_or_a_key():
    browser = nobodys("https://push.example.org/")
    first, second = (encrypted(b"same", browser.p256dh, browser.auth) for _ in range(2))
    assert first[:16] != second[:16] and first[21:86] != second[21:86]


def test_keys_may_be_padded(service):
    app, private = application()
    browser = service.subscribe(app.vapid_public_key)
    padded = message(ANN, browser, web_p256dh=browser.p256dh + "=", web_auth=browser.auth + "==")
    assert sent(webpush.sender, app, private, padded) == [Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)]
    assert len(service.received(browser)) == 1


OFF_CURVE = encoded(b"\x04" + bytes(31) + b"\x01" + bytes(31) + b"\x01")


@pytest.mark.parametrize(
    "wrong",
    [
        {"web_p256dh": OFF_CURVE},
        {"web_p256dh": encoded(b"\x00")},
        {"web_p256dh": ""},
        {"web_p256dh": None},
        {"web_p256dh": "é"},
        {"web_auth": encoded(bytes(15))},
        {"web_auth": encoded(bytes(17))},
        {"web_auth": None},
        {"token": ""},
        {"token": "push.example.org/1"},
        {"token": "ftp://push.example.org/1"},
        {"token": "https://[::1/1"},
        {"token": "https://push.example.org:99999/1"},
    ],
)
def test_what_no_browser_could_have_sent_is_a_dead_subscription(wrong):
    app, private = application()
    assert attempt(webpush.sender, app, private, message(ANN, **wrong)) == [
        Receipt(Outcome.GONE, "no browser has such a subscription", cause=Cause.TOKEN_GONE)
    ]


@given(st.binary(max_size=70), st.binary(max_size=20))
def test_keys_are_used_or_are_a_value_error(p256dh, auth):
    try:
        encrypted(b"", encoded(p256dh), encoded(auth))
    except ValueError:
        return
    assert len(auth) == 16


# ── what is said to the push service ─────────────────────────────────────────────────────────────────────────────────


def test_the_request_says_how_and_by_whom_it_is_encrypted_and_signed(gateway):
    app, private = application(web_push_contact=CONTACT)
    endpoint = f"{gateway.url}/send/a%20b?c=d"
    assert attempt(webpush.sender, app, private, message(ANN, nobodys(endpoint))) == [
        Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
    ]
    [asked] = gateway.asked
    assert (asked.method, asked.path) == ("POST", "/send/a%20b?c=d")
    assert asked.headers["content-type"] == "application/octet-stream"
    assert asked.headers["content-encoding"] == "aes128gcm"
    assert (asked.headers["ttl"], asked.headers["urgency"]) == ("600", "high")
    assert claims_of(app, asked.headers["authorization"]) == {
        "aud": gateway.url,
        "exp": NOW + 12 * 3600,
        "sub": CONTACT,
    }
    assert asked.body[16:21] == (4096).to_bytes(4) + b"\x41"
    assert b"Zo" not in asked.body and b"contact_joined" not in asked.body


def claims_of(app: App, authorization: str) -> dict[str, Any]:
    """What the signed header says, if it is signed with the application's key."""
    token, key = authorization.removeprefix("vapid t=").split(", k=")
    assert key == app.vapid_public_key
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.urlsafe_b64decode(key + "=="))
    lasting = {"verify_exp": False, "verify_aud": False}
    said: dict[str, Any] = jwt.decode(token, public, ["ES256"], options=lasting)
    return said


def test_no_address_gets_a_header_that_is_made_for_another(gateway):
    app, private = application()
    attempt(webpush.sender, app, private, message(ANN, nobodys(f"{gateway.url}\\@push.example.org/x")))
    assert [claims_of(app, asked.headers["authorization"])["aud"] for asked in gateway.asked] == [gateway.url]


def test_a_push_service_that_keeps_us_waiting_is_left_alone(gateway):
    app, private = application()
    done = threading.Event()
    gateway.during = lambda: done.wait(20)

    async def twice() -> list[str]:
        async with Connections(allow_private=True, timeout_seconds=0.3) as connections:
            sender = webpush.sender(
                app, SenderContext(config=Config(), connections=connections, vapid_private_key=private)
            )
            return [(await sender.send(message(ANN, nobodys(gateway.url)), NOW)).reason for _ in range(2)]

    first, second = asyncio.run(twice())
    done.set()
    assert "took too long" in first and "a moment ago" in second


def test_without_a_contact_the_signed_header_names_none(gateway):
    app, private = application()
    attempt(webpush.sender, app, private, message(ANN, nobodys(gateway.url)))
    assert set(claims_of(app, gateway.asked[0].headers["authorization"])) == {"aud", "exp"}


def test_a_signed_header_is_kept_for_its_push_service_and_renewed_in_time(gateway):
    app, private = application()
    times = [NOW, NOW + 60, NOW + 11 * 3600, NOW + 11 * 3600 + 1, NOW + 30 * 3600]

    async def send(*services: Gateway) -> None:
        async with Connections(allow_private=True) as connections:
            sender = webpush.sender(
                app, SenderContext(config=Config(), connections=connections, vapid_private_key=private)
            )
            for now in times:
                for one in services:
                    await sender.send(message(ANN, nobodys(f"{one.url}/{now}")), now)

    with listening() as other:
        asyncio.run(send(gateway, other))
    for service in (gateway, other):
        signed = [asked.headers["authorization"] for asked in service.asked]
        assert [len(list(same)) for _, same in itertools.groupby(signed)] == [3, 1, 1]
        for now, one in zip(times, signed, strict=True):
            said = claims_of(app, one)
            assert said["aud"] == service.url and now + 3600 <= said["exp"] <= now + 12 * 3600


def test_a_clock_that_is_set_back_makes_a_new_signed_header(gateway):
    """One that ends more than a day from now is none (RFC 8292 §2)."""
    app, private = application()
    times = [NOW + 20 * 3600, NOW, NOW - 60]

    async def send() -> None:
        async with Connections(allow_private=True) as connections:
            sender = webpush.sender(
                app, SenderContext(config=Config(), connections=connections, vapid_private_key=private)
            )
            for now in times:
                await sender.send(message(ANN, nobodys(gateway.url)), now)

    asyncio.run(send())
    signed = [asked.headers["authorization"] for asked in gateway.asked]
    assert signed[1] == signed[2]
    for now, one in zip(times, signed, strict=True):
        assert now < claims_of(app, one)["exp"] < now + DAY


def test_users_who_name_ever_new_push_services_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(webpush, "MOST_TOKENS", 3)
    app, private = application()
    refused = [message(ANN, nobodys(f"http://127.0.0.1:{free_port()}/{i}"), id=i) for i in range(8)]
    made: list[WebPush] = []

    def kept(app: App, way: SenderContext) -> Sender:
        one = webpush.sender(app, way)
        assert isinstance(one, WebPush)
        made.append(one)
        return one

    assert {one.outcome for one in attempt(kept, app, private, *refused)} == {Outcome.LATER}
    assert 1 <= len(made[0]._tokens) <= 3


@pytest.mark.parametrize(
    "expires_at, ttl",
    [(NOW + 1, "1"), (NOW, "1"), (NOW - 5, "1"), (NOW + DAY, "86400"), (NOW + 400 * DAY, str(28 * DAY))],
)
def test_a_push_service_keeps_it_as_long_as_anybody_wants_it_but_never_0_seconds(expires_at, ttl):
    assert headers(message(ANN, expires_at=expires_at), NOW)["TTL"] == ttl


def test_a_repeat_replaces_the_first_and_nothing_else():
    def topic(now: int = NOW, **others: Any) -> str:
        return headers(message(ANN, **others), now)["Topic"]

    assert topic() == topic(NOW + 300) == topic(token="https://elsewhere.example.org/")
    assert len({topic(), topic(id=13), topic(created_at=NOW - 61)}) == 3
    assert len(topic()) == 32 and topic().isalnum()


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://push.example.org/a/b?c#d", "https://push.example.org"),
        ("https://push.example.org:443/", "https://push.example.org"),
        ("https://push.example.org:8443/", "https://push.example.org:8443"),
        ("HTTPS://Push.Example.ORG/A", "https://push.example.org"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:443", "http://localhost:443"),
        ("https://[2001:DB8::1]:1/", "https://[2001:db8::1]:1"),
        ("https://evil.example\\@push.example.org/", "https://evil.example"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_a_signed_header_is_for_the_origin_of_the_address(url, expected):
    assert origin(url) == expected


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(3800, 4100))
def test_a_text_that_is_too_long_is_cut_and_the_rest_stays(text, room):
    payload = {"message": text, "fill": "x" * room}
    made = shaped(payload)
    if made is None:
        assert len(json.dumps({"data": {"message": "…", "fill": "x" * room}}, separators=(",", ":"))) > LARGEST_BYTES
        return
    data = json.loads(made)["data"]
    assert len(made) <= LARGEST_BYTES and data["fill"] == payload["fill"]
    said = data.get("message", "")
    assert said == text or (said.endswith("…") and text.startswith(said[:-1]))


def test_the_largest_message_is_as_large_as_every_push_service_must_take():
    browser = nobodys("https://push.example.org/")
    made = shaped({"message": "x" * 9000})
    assert made is not None and len(made) == LARGEST_BYTES
    assert len(encrypted(made, browser.p256dh, browser.auth)) == 4096


def test_what_is_too_large_without_the_text_is_refused_unsent(gateway):
    app, private = application()
    push = message({"message": "Hi", "fill": "x" * 4000}, nobodys(gateway.url))
    assert attempt(webpush.sender, app, private, push) == [
        Receipt(Outcome.REFUSED, "payload too large", silent=None, cause=Cause.PAYLOAD_TOO_LARGE)
    ]
    assert gateway.asked == []


def test_a_push_without_a_text_has_none():
    assert shaped({"user_id": 271}) == b'{"data":{"user_id":271}}'


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

KEY = "the application's key is refused: did the browser subscribe with vapid_public_key, and is web_push_contact set?"


@pytest.mark.parametrize(
    "status, body, outcome, cause, reason",
    [
        (200, b"", Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (201, b"", Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (202, b"", Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (204, b"", Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (307, b"", Outcome.REFUSED, Cause.REDIRECTED, "the push service does not take it (307)"),
        (
            400,
            b'{"reason":"VapidPkHashMismatch"}',
            Outcome.REFUSED,
            Cause.REQUEST_REFUSED,
            "the push service does not understand the request (400 VapidPkHashMismatch)",
        ),
        (
            401,
            b'{"code":401,"errno":109,"message":"see /send/secret"}',
            Outcome.REFUSED,
            Cause.CREDENTIALS_REFUSED,
            f"{KEY} (401)",
        ),
        (403, b'{"reason":"BadJwtToken"}', Outcome.REFUSED, Cause.CREDENTIALS_REFUSED, f"{KEY} (403 BadJwtToken)"),
        (404, b"", Outcome.GONE, Cause.TOKEN_GONE, "the subscription has ended (404)"),
        (405, b"/send/secret", Outcome.REFUSED, Cause.REQUEST_REFUSED, "the push service does not take it (405)"),
        (406, b"", Outcome.LATER, Cause.RATE_LIMITED, "too many pushes (406)"),
        (410, b'{"reason":"Unregistered"}', Outcome.GONE, Cause.TOKEN_GONE, "the subscription has ended (410)"),
        (413, b"", Outcome.REFUSED, Cause.PAYLOAD_TOO_LARGE, "payload too large (413)"),
        (429, b"", Outcome.LATER, Cause.RATE_LIMITED, "too many pushes (429)"),
        (500, b"<html>", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "the push service does not take it (500)"),
        (503, b"", Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "the push service does not take it (503)"),
    ],
)
def test_answers(status, body, outcome, cause, reason):
    assert read_answer(status, body, {}, NOW) == Receipt(outcome, reason, cause=cause)


@pytest.mark.parametrize("status", [406, 429, 500, 503])
@pytest.mark.parametrize("value, seconds", [("90", 90), ("Mon, 21 Sep 2026 14:15:20 GMT", 120), ("soon", None)])
def test_a_push_service_may_say_how_long_to_wait(gateway, status, value, seconds):
    gateway.status, gateway.headers = status, {"Retry-After": value}
    app, private = application()
    [receipt] = attempt(webpush.sender, app, private, message(ANN, nobodys(gateway.url)))
    assert (receipt.outcome, receipt.wait_seconds) == (Outcome.LATER, seconds)


@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_part_of_an_answer_but_known_words_is_repeated(status, body):
    reason = read_answer(status, b"/send/secret " + body, {}, NOW).reason
    assert "secret" not in reason and reason.isascii() and len(reason) < 200


# ── where it goes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_redirects_are_not_followed(gateway):
    with listening() as other:
        gateway.status, gateway.headers = 307, {"Location": other.url}
        app, private = application()
        [receipt] = attempt(webpush.sender, app, private, message(ANN, nobodys(gateway.url)))
        assert (receipt.outcome, other.asked) == (Outcome.REFUSED, [])


def test_a_user_cannot_send_us_into_a_private_network(gateway):
    app, private = application()
    for url in (gateway.url, gateway.url.replace("http:", "https:")):
        here = {"allow_private": False, "ports": [int(url.rpartition(":")[2].partition("/")[0])]}
        [receipt] = attempt(webpush.sender, app, private, message(ANN, nobodys(url)), **here)
        assert receipt.outcome is Outcome.LATER and "RINGBOOK_ALLOW_PRIVATE_ADDRESSES" in receipt.reason
    assert gateway.asked == []


def test_a_push_service_that_does_not_answer_is_tried_again_and_its_address_not_told():
    app, private = application()
    push = message(ANN, nobodys(f"http://127.0.0.1:{free_port()}/send/secret"))
    [receipt] = attempt(webpush.sender, app, private, push)
    assert receipt.outcome is Outcome.LATER and "does not answer" in receipt.reason and "secret" not in receipt.reason


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_keys_that_are_none_or_do_not_belong_together_cannot_send():
    app, private = application()
    for wrong in ("", "é", "AAAA", private[:-4], vapid_keys()[1]):
        with pytest.raises(NotSetUp, match="keys for Web Push"):
            attempt(webpush.sender, app, wrong, message(ANN))


@pytest.mark.parametrize(
    "contact, trouble",
    [
        ("", ""),
        (CONTACT, ""),
        ("https://example.org/contact", ""),
        ("push@example.org", "web_push_contact must begin with mailto: or https: (RFC 8292 §2.1)"),
    ],
)
def test_keys_are_right_and_the_contact_is_looked_at(contact, trouble):
    app, private = application(web_push_contact=contact)

    async def checked() -> str:
        async with Connections() as connections:
            way = SenderContext(config=Config(), connections=connections, vapid_private_key=private)
            return await webpush.sender(app, way).check(NOW)

    assert asyncio.run(checked()) == trouble
