"""Webhooks: what a backend is told, how it knows who told it, and what its answers come to."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from push.listener import NOW, application, attempt, message
from servers import free_port
from verify.gateway import Gateway, listening

from ringbook.app_settings import webhook_key
from ringbook.model import App
from ringbook.push import webhook
from ringbook.push.transport import Cause, Message, NotSetUp, Outcome, Receipt
from ringbook.push.webhook import read_answer, signature

KEY = b"twenty-four bytes of key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
JOINED = {
    "id": "joined-12",
    "type": "contact_joined",
    "application_id": 3,
    "user_id": 271,
    "verified": True,
    "created_at": "2026-09-21T14:13:20Z",
}


@pytest.fixture
def backend(gateway: Gateway) -> Gateway:
    return gateway


def application_of(backend: Gateway, secret: str = SECRET, path: str = "/hook?from=ringbook") -> App:
    """An application with this backend."""
    return application(webhook_url=backend.url + path, webhook_secret=secret)[0]


def event(**others: object) -> Message:
    """Somebody has joined."""
    return message(JOINED | others, channel="webhook", token="", web_p256dh=None, web_auth=None)


# ── the request ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backend_gets_the_event_as_it_is_with_its_id_the_time_and_a_signature(backend):
    assert attempt(webhook.sender, application_of(backend), "", event()) == [
        Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)
    ]
    [asked] = backend.asked
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/hook?from=ringbook", JOINED)
    assert b" " not in asked.body and list(json.loads(asked.body)) == list(JOINED)
    assert asked.headers["content-type"] == "application/json"
    assert (asked.headers["webhook-id"], asked.headers["webhook-timestamp"]) == ("joined-12", str(NOW))
    signed = hmac.new(KEY, b"joined-12.%d.%s" % (NOW, asked.body), hashlib.sha256).digest()
    assert asked.headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()


def test_a_repeat_has_the_same_id_and_body_and_the_time_of_its_own(backend):
    app = application_of(backend)
    for now in (NOW, NOW + 300):
        attempt(webhook.sender, app, "", event(), now=now)
    first, second = backend.asked
    assert first.body == second.body and first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == (str(NOW), str(NOW + 300))
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_the_signature_is_that_of_standard_webhooks():
    """The example of the reference libraries' own tests."""
    key = webhook_key("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("name, at, body", [("joined-2", 1, b"x"), ("joined-1", 2, b"x"), ("joined-1", 1, b"y")])
def test_the_signature_covers_id_time_and_body(name, at, body):
    assert signature(KEY, name, at, body) != signature(KEY, "joined-1", 1, b"x")


# ── the key ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "secret, key",
    [(SECRET, KEY), ("any text", b"any text"), ("schlüssel", "schlüssel".encode()), ("whsec", b"whsec")],
)
def test_a_secret_is_base64_after_its_prefix_and_else_itself_the_key(secret, key):
    assert webhook_key(secret) == key


@pytest.mark.parametrize(
    "settings, trouble",
    [
        ({}, "webhook_url is empty"),
        ({"webhook_secret": SECRET}, "webhook_url is empty"),
        ({"webhook_url": "https://example.org/"}, "webhook_secret is empty"),
        ({"webhook_url": "https://example.org/", "webhook_secret": "whsec_"}, "not base64 after whsec_"),
        ({"webhook_url": "https://example.org/", "webhook_secret": "whsec_AAAA!"}, "not base64 after whsec_"),
        ({"webhook_url": "https://example.org/", "webhook_secret": "whsec_é"}, "not base64 after whsec_"),
        ({"webhook_url": "https://example.org/", "webhook_secret": "whsec_abc"}, "not base64 after whsec_"),
    ],
)
def test_without_an_address_or_a_key_nothing_is_sent_and_the_command_is_named(settings, trouble):
    with pytest.raises(NotSetUp, match=rf"{trouble} \(ringbook app set 3 webhook_(url|secret) "):
        attempt(webhook.sender, application(**settings)[0], "", event())


def test_a_secret_that_is_wrong_is_not_shown():
    with pytest.raises(ValueError) as raised:
        webhook_key("whsec_wrong but secret")
    assert "wrong" not in str(raised.value)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "status, outcome, cause, reason",
    [
        (200, Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (201, Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (202, Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (204, Outcome.ACCEPTED, Cause.ACCEPTED, ""),
        (301, Outcome.REFUSED, Cause.REDIRECTED, "redirects are not followed (301): set webhook_url to where it leads"),
        (400, Outcome.REFUSED, Cause.REQUEST_REFUSED, "your backend does not take it (400)"),
        (401, Outcome.REFUSED, Cause.CREDENTIALS_REFUSED, "your backend does not take it (401)"),
        (404, Outcome.REFUSED, Cause.REQUEST_REFUSED, "your backend does not take it (404)"),
        (408, Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "your backend is in trouble (408)"),
        (410, Outcome.REFUSED, Cause.REQUEST_REFUSED, "your backend wants no more of these (410)"),
        (425, Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "your backend is in trouble (425)"),
        (429, Outcome.LATER, Cause.RATE_LIMITED, "your backend is asked too often (429)"),
        (500, Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "your backend is in trouble (500)"),
        (502, Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "your backend is in trouble (502)"),
        (504, Outcome.LATER, Cause.PROVIDER_UNAVAILABLE, "your backend is in trouble (504)"),
    ],
)
def test_answers(backend, status, outcome, cause, reason):
    backend.status, backend.body = status, b"" if status == 204 else b"secret"
    assert attempt(webhook.sender, application_of(backend), "", event()) == [Receipt(outcome, reason, cause=cause)]


@pytest.mark.parametrize("status", [408, 425, 429, 503])
@pytest.mark.parametrize("value, seconds", [("90", 90), ("Mon, 21 Sep 2026 14:15:20 GMT", 120), ("soon", None)])
def test_a_backend_may_say_how_long_to_wait(backend, status, value, seconds):
    backend.status, backend.headers = status, {"Retry-After": value}
    [receipt] = attempt(webhook.sender, application_of(backend), "", event())
    assert (receipt.outcome, receipt.wait_seconds) == (Outcome.LATER, seconds)


@given(st.integers(100, 599))
def test_no_backend_ends_a_subscription(status):
    assert read_answer(status, {}, NOW).outcome is not Outcome.GONE


# ── where it goes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redirect_is_not_followed(backend):
    with listening() as other:
        backend.status, backend.headers = 302, {"Location": other.url}
        attempt(webhook.sender, application_of(backend), "", event())
        assert (len(backend.asked), other.asked) == (1, [])


def test_an_application_cannot_send_us_into_a_private_network(backend):
    for url in (backend.url, backend.url.replace("http:", "https:")):
        app = application(webhook_url=url, webhook_secret=SECRET)[0]
        ports = [int(url.rpartition(":")[2].partition("/")[0])]
        [receipt] = attempt(webhook.sender, app, "", event(), allow_private=False, ports=ports)
        assert receipt.outcome is Outcome.LATER and "RINGBOOK_ALLOW_PRIVATE_ADDRESSES" in receipt.reason
    assert backend.asked == []


@pytest.mark.parametrize("url", ["example.org", "https:///hook", "https://[::1/", "ftp://example.org/"])
def test_an_address_that_is_none_is_no_exception(url):
    [receipt] = attempt(webhook.sender, application(webhook_url=url, webhook_secret=SECRET)[0], "", event())
    assert receipt.outcome is Outcome.LATER


def test_a_backend_that_does_not_answer_is_told_again_and_its_address_not_shown():
    url = f"http://127.0.0.1:{free_port()}/secret"
    [receipt] = attempt(webhook.sender, application(webhook_url=url, webhook_secret=SECRET)[0], "", event())
    assert receipt.outcome is Outcome.LATER and "does not answer" in receipt.reason and "secret" not in receipt.reason
