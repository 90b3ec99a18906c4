"""The client's requests are those documented in tests/wire/, and it reads the answers documented there."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from client.documented import exchange
from ringbook_client import (
    Code,
    Contact,
    Email,
    FirebaseEmail,
    FirebasePhone,
    Guest,
    Login,
    Registered,
    Rejected,
    Removal,
    Report,
    calls,
    errors,
    wire,
)
from ringbook_client.calls import App

from client import documented

APP = App(1, "KEY")
ANN = Login("ann", "correct-horse")
WEB = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SAME = {"environment": "production", "bundle": "com.example", "device": "BFE36393", "platform": "android"}
DEVICE = "d6236da0-f941-11e8-8eb2-f2801f1b9fd1"

DOCUMENTED = [
    ("2.1-user-session", 0, calls.create_session(APP, Login("john", "correct-horse"))),
    ("2.1-user-session-by-email", 0, calls.create_session(APP, Email("John@example.org", "correct-horse"))),
    ("2.1-guest", 0, calls.create_session(APP, Guest("Olof"))),
    ("2.1-providers", 4, calls.create_session(APP, FirebasePhone("eyJ", "p"))),
    ("2.1-providers", 5, calls.create_session(APP, FirebaseEmail("eyJ", "p"))),
    ("2.1-application-session", 0, calls.create_session(APP, None)),
    ("2.1-phone-session", 0, calls.send_code(APP, "+44 7700 900123")),
    ("2.1-phone-session", 1, calls.create_session(APP, Code("3df6", "123456"))),
    ("2.2-show-session", 0, calls.get_session()),
    ("2.2-end-session", 0, calls.delete_session()),
    ("2.2-end-other-sessions", 1, calls.delete_other_sessions()),
    ("2.2-sign-in", 0, calls.log_in(ANN)),
    ("2.2-sign-out", 0, calls.log_out()),
    ("3.3-one-user", 0, calls.get_user(271)),
    ("3.3-one-user", 3, calls.find_user(login="eve")),
    ("3.3-one-user", 4, calls.find_user(external_id="b-1")),
    ("3.3-by-phone-and-email", 1, calls.find_user(phone="+1 202 555 0103")),
    ("3.3-by-phone-and-email", 2, calls.find_user(email="Eve@example.org")),
    ("3.3-v2", 1, calls.get_users({"id[in]": [271, 271]}, limit=100, offset=0, sort=None)),
    ("3.4-update", 2, calls.update_user(271, {"phone": None, "tags": None}, None)),
    ("3.4-password-reset", 1, calls.send_password_reset("ann@example.org")),
    ("3.4-delete", 1, calls.delete_user(271)),
    ("4.1-upload", 2, calls.upload_address_book(
        [Contact("Bobby", "12025550101"), Contact("Dan", "12025550103"), Removal("12025550102")],
        force=False, device=None,
    )),
    ("4.1-force", 0, calls.upload_address_book(
        [Contact("Dan", "12025550103"), Contact("Bob", "12025550101"), Contact("bad", "1")], force=True, device=None
    )),
    ("4.4-udid", 2, calls.upload_address_book([Contact("Tablet", "12025550103")], force=True, device="tablet")),
    ("4.4-udid", 5, calls.upload_address_book([], force=True, device=None)),
    ("4.2-retrieve", 2, calls.get_address_book(None)),
    ("4.4-udid", 4, calls.get_address_book(DEVICE)),
    ("4.3-registered-compact", 0, calls.get_registered_users(compact=True, device=None)),
    ("4.3-registered-full", 0, calls.get_registered_users(compact=False, device=None)),
    ("4.3-registered-udid", 0, calls.get_registered_users(compact=True, device="phone")),
    ("4.3-registered-since", 0, calls.registered_since("0", compact=True, device=None)),
    ("4.3-registered-since", 3, calls.registered_since("0", compact=True, device="unknown")),
    ("5.1-subscribe", 0, calls.create_subscription("gcm", "fcm-token-of-ann", **SAME)),
    ("5.1-web", 0, calls.create_web_subscription(
        "https://push.example.com/abc", auth="MDEyMzQ1Njc4OWFiY2RlZg", p256dh=WEB,
        device="browser", environment="development",
    )),
    ("5.1-subscribe", 3, calls.get_subscriptions()),
    ("5.2-list-and-end", 5, calls.delete_subscription(50)),
    ("6.1-events", 3, calls.send_push([271], {"message": "hi"}, environment="production")),
]  # fmt: skip
documented_calls = pytest.mark.parametrize(
    "file, at, call", DOCUMENTED, ids=[f"{file}[{at}]" for file, at, _ in DOCUMENTED]
)


def without_suffix(path: str) -> str:
    """A documented path without the suffix .json, which this client does not send."""
    return path.removesuffix(".json")


@documented_calls
def test_each_request_is_the_documented_one(file, at, call):
    request, _ = exchange(file, at)
    path, _, query = request["path"].partition("?")
    assert (call.request.method, call.request.path) == (request["method"], without_suffix(path))
    assert sorted(call.request.query) == sorted(parse_qsl(query))
    assert json.loads(json.dumps(call.request.body)) == request.get("json")
    assert call.needs_session == ("CB-Token" in request.get("headers", {}) or "QB-Token" in request.get("headers", {}))


@documented_calls
def test_each_documented_answer_is_read(file, at, call):
    _, answer = exchange(file, at)
    if answer.status >= 400:
        with pytest.raises(errors.Refused):
            call.result(answer)
    else:
        call.result(answer)


def test_sign_up_sends_the_auth_key_of_the_application():
    request = calls.sign_up(APP, {"login": "one", "password": "correct-horse"}).request
    documented_request, _ = exchange("3.2-sign-up-key", 0)
    assert request.body == documented_request["json"] and request.headers == {"CB-AuthKey": "KEY"}


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(file: str, at: int):
    call = next(call for name, number, call in DOCUMENTED if (name, number) == (file, at))
    return call.result(exchange(file, at)[1])


def test_a_report_has_the_rejected_contacts():
    bad = Rejected(Contact("bad", "1"), 2, ("Length of 'phone' field should be min: 10 and max: 15.",))
    assert read("4.1-force", 0) == Report(created=1, updated=1, deleted=1, rejected=(bad,))


def test_an_address_book_keeps_its_order():
    assert [one.name for one in read("4.2-retrieve", 2)] == ["Dacia", "Oliver Knox", "Bob", "Cat"]


def test_registered_contacts_have_the_name_in_the_callers_book():
    bobby = Registered(id=271, name="Bobby", phone="12025550102", user=None)
    assert read("4.3-registered-compact", 0)[0] == bobby
    whole = read("4.3-registered-full", 0)[0]
    assert (whole.name, whole.user.full_name, whole.user.email) == ("Bobby", "Bob Example", "bob@example.org")


def test_a_session_hides_its_token_when_printed():
    session = read("2.1-user-session", 0)
    assert session.user_id == 271 and session.created_at == datetime(2018, 12, 5, 11, 58, 2, tzinfo=UTC)
    assert session.token not in repr(session)
    assert "correct-horse" not in repr(ANN) and "123456" not in repr(Code("3df6", "123456"))


def test_a_page_of_users_counts_all_of_them():
    page = read("3.3-v2", 1)
    assert (len(page.users), page.total, page.offset, page.limit) == (2, 2, 0, 100)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = {400: "Malformed", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 422: "Invalid", 429: "TooMany"}
KINDS_BY_TEXT = {b"Required session does not exist": "SessionExpired", b"No application found": "UnknownApplication"}
REFUSALS = list(documented.refusals())


def test_every_documented_refusal_is_read_as_its_kind():
    assert len(REFUSALS) > 100
    for file, answer in REFUSALS:
        error = wire.refusal(answer)
        special = next((kind for text, kind in KINDS_BY_TEXT.items() if text in answer.body), None)
        assert type(error).__name__ == (special or KINDS[answer.status]), file
        assert error.reasons, file


def answered(status: int, body: bytes, **headers: str) -> Exception:
    return wire.refusal(wire.Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body))


def test_answers_of_a_proxy_are_read_by_their_status():
    busy = answered(503, b"<html>", retry_after="7")
    assert isinstance(busy, errors.ServerTrouble) and busy.wait_seconds == 7
    assert isinstance(answered(429, b""), errors.TooMany)
    assert isinstance(answered(404, b"<html>"), errors.BadAnswer)
    assert isinstance(answered(418, b'{"errors": ["teapot"]}'), errors.BadAnswer)


def test_retry_after_can_be_a_date():
    assert answered(429, b"", retry_after="Wed, 21 Oct 2015 07:28:00 GMT").wait_seconds == 0
    assert answered(429, b"", retry_after="Wed, 21 Oct 2115 07:28:00 GMT").wait_seconds > 86400
    assert answered(429, b"", retry_after="soon").wait_seconds is None
    assert answered(429, b"", retry_after="Wed, 21 Oct 2015 07:28:00 +" + "9" * 20).wait_seconds is None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"user": null}', b'{"user": {"id": "x"}}', b""])
def test_an_answer_in_another_form_raises_bad_answer(body):
    with pytest.raises(errors.BadAnswer):
        calls.get_user(1).result(wire.Answer(200, {}, body))


HOSTILE = {
    "an infinite number": b'{"created": 1e999, "updated": 0, "deleted": 0}',
    "a rejected entry that was not sent": b'{"created": 0, "updated": 0, "deleted": 0, "rejected": {"7": ["no"]}}',
    "a negative position": b'{"created": 0, "updated": 0, "deleted": 0, "rejected": {"-1": ["no"]}}',
    "endless nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_raises_bad_answer(body):
    with pytest.raises(errors.BadAnswer):
        calls.upload_address_book([Contact("Ann", "12025550101")], force=True, device=None).result(
            wire.Answer(200, {}, body)
        )
    assert isinstance(answered(422, body), errors.BadAnswer)


def test_an_answer_without_the_subscription_raises_bad_answer():
    call = calls.create_subscription("gcm", "t", device="d", platform="android", environment="production", bundle=None)
    with pytest.raises(errors.BadAnswer):
        call.result(wire.Answer(201, {}, b"[]"))


@pytest.mark.parametrize("token", ["a\nb", "é", 5, None])
def test_a_token_that_no_header_can_hold_raises_bad_answer(token):
    body = json.dumps({"session": {"id": 1, "token": token, "application_id": 1, "user_id": 1}}).encode()
    with pytest.raises(errors.BadAnswer):
        calls.create_session(App(1, "KEY"), None).result(wire.Answer(201, {}, body))


def test_control_characters_in_texts_of_the_server_are_replaced():
    assert str(answered(422, b'{"errors": {"name\\u001b[2J": ["is\\u001b[31m red\\r\\n", 5]}}')) == (
        "name?[2J is?[31m red??; name?[2J 5 (422)"
    )
    body = b'{"created": 0, "updated": 0, "deleted": 0, "rejected": {"0": ["\\u001b]0;", 5]}}'
    report = calls.upload_address_book([Contact("Ann", "1")], force=False, device=None).result(
        wire.Answer(200, {}, body)
    )
    assert report.rejected[0].reasons == ("?]0;", "5")


def test_find_user_takes_exactly_one_field():
    with pytest.raises(ValueError, match="give exactly one of login"):
        calls.find_user(login="ann", phone="12025550101")
