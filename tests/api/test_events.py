"""Events over HTTP: how often, and how a message is read. What one request is answered stands in tests/wire/6.*."""

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from asking import Answer, Person, guest, person, rows, write
from hypothesis import given
from hypothesis import strategies as st
from push.providers import fcm_token
from servers import Server, application, serve

from ringbook import errors
from ringbook.api.events import DEEPEST, payload_for, payload_of, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def packed(payload: Any) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


def subscribed(who: Person, token: str = "") -> Person:
    device = {
        "notification_channel": "gcm",
        "push_token": {
            "environment": "production",
            "client_identification_sequence": token or f"fcm-token-of-{who.id}",
        },
        "device": {"platform": "android", "udid": "phone"},
    }
    assert who.ask("POST", "/subscriptions", device).status == 201
    return who


def send(who: Person, *to: Person, **payload: Any) -> Answer:
    message = packed({"message": "hi"} | payload)
    return who.ask("POST", "/events", {"event": {"message": message, "user": {"ids": [one.id for one in to]}}})


def test_an_id_that_nobody_can_have_is_nobody(server):
    """Like any other unknown id: on a cluster a number beyond 32 bits must not reach the database."""
    ann, bob = subscribed(person(server)), subscribed(person(server))
    message = packed({"message": "hi"})
    answers = [
        ann.ask("POST", "/events", {"event": {"message": message, "user": {"ids": to}}})
        for to in ([2_147_483_647], [3_000_000_000], [bob.id, 3_000_000_000], "3000000000", f"{bob.id},3000000000")
    ]
    assert {one.status for one in answers} == {201}
    assert len(rows(server, "SELECT id FROM pushes WHERE about_user_id = :id", id=ann.id)) == 2


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_sends_too_often_hears_how_long_to_wait_and_others_go_on(server):
    ann, bob = subscribed(person(server)), subscribed(person(server))
    answers = [send(ann, bob)]
    while answers[-1].status == 201 and len(answers) < 1_000:
        answers.append(send(ann, bob))
    assert len(answers) > 60
    assert answers[-1].status == 429
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json == {"errors": ["Too many events from this user"]}
    assert send(bob, ann).status == 201


def test_a_sender_learns_neither_how_many_devices_nor_whose(server):
    ann, bob, cat = person(server), subscribed(person(server)), subscribed(person(server))
    one, two = send(ann, bob).json, send(ann, bob, cat).json
    for answer in (*one, *two):
        answer["event"]["id"] = answer["event"]["created_at"] = answer["event"]["updated_at"] = None
    assert one == two


EVENTS = ("events", "events?per_page=1", "events/{id}", "events/{id}/status")
UNKNOWN = 2_000_000_000


def without_device(server: Server) -> int:
    return person(server).id


def with_device(server: Server) -> int:
    return subscribed(person(server)).id


def with_many_devices(server: Server) -> int:
    who = person(server)
    for channel, token in (("gcm", f"fcm-token-of-{who.id}"), ("apns", f"{who.id:064x}")):
        device = {
            "notification_channel": channel,
            "push_token": {"environment": "production", "client_identification_sequence": token},
            "device": {"platform": "android", "udid": channel},
        }
        assert who.ask("POST", "/subscriptions", device).status == 201
    return who.id


def hidden(server: Server) -> int:
    who = subscribed(person(server))
    assert who.ask("PUT", f"/users/{who.id}", {"user": {"discoverable": "nobody"}}).status == 200
    return who.id


def deleted(server: Server) -> int:
    who = subscribed(person(server))
    assert who.ask("DELETE", f"/users/{who.id}").status == 200
    return who.id


def heard(server: Server, to: int, **event: Any) -> bytes:
    """Everything that a new user hears who sends an event and looks it up, with constant ids and times."""
    ann = person(server)
    event = {"message": packed({"message": "hi"}), "user": {"ids": [to]}} | event
    sent = ann.ask("POST", "/events", {"event": event})
    (id_,) = {one["event"]["id"] for one in sent.json}
    later = [ann.ask(method, path.format(id=id_)) for method, path in LOOKS]
    raw = b"\n".join(f"{one.status} ".encode() + one.raw for one in (sent, *later))
    raw = re.sub(rb'"(id|user_id)":\d+', rb'"\1":0', raw)
    return re.sub(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"', b'"then"', raw)


LOOKS = [*(("GET", f"/{path}") for path in EVENTS), ("PUT", "/events/{id}"), ("DELETE", "/events/{id}")]
OTHERS = (with_device, with_many_devices, hidden, deleted, lambda _server: UNKNOWN)


@pytest.mark.parametrize("event", [{}, {"push_type": "gcm"}, {"push_type": "apns"}, {"environment": "development"}])
def test_a_sender_hears_the_same_bytes_whoever_the_recipient_is(server, event):
    expected = heard(server, without_device(server), **event)
    assert expected.startswith(b"201 ")
    for recipient in OTHERS:
        assert heard(server, recipient(server), **event) == expected


@pytest.mark.parametrize("named", [{"external_user": {"ids": ["nobody"]}}, {"user": {"tags": {"any": ["nobody"]}}}])
def test_an_event_to_an_id_or_a_tag_that_nobody_has_is_accepted(server, named):
    assert heard(server, UNKNOWN, **({"user": None} | named)) == heard(server, without_device(server))


def test_the_answers_are_the_same_after_the_push_was_delivered_or_parked(server):
    """The outcomes are written as a worker writes them: the server of the tests sends nothing."""
    ann, bob = person(server), subscribed(person(server))
    (first, *_) = send(ann, bob).json
    looked = [ann.ask("GET", f"/events/{first['event']['id']}{more}").raw for more in ("", "/status")]
    for outcome in ("accepted", "parked", "gone", "expired"):
        write(server, "UPDATE pushes SET outcome = :outcome WHERE about_user_id = :id", outcome=outcome, id=ann.id)
        assert [ann.ask("GET", f"/events/{first['event']['id']}{more}").raw for more in ("", "/status")] == looked


def test_a_user_lists_and_deletes_own_events_only(server):
    ann, bob = subscribed(person(server)), person(server)
    ids = [send(ann, ann).json[0]["event"]["id"] for _ in range(3)]
    page = ann.ask("GET", "/events?per_page=2&page=2").json
    assert (page["current_page"], page["per_page"], page["total_entries"]) == (2, 2, 3)
    assert [one["event"]["id"] for one in page["items"]] == [min(ids)]
    assert bob.ask("GET", "/events").json["items"] == []
    for method in ("GET", "PUT", "DELETE"):
        assert bob.ask(method, f"/events/{ids[0]}").status == 404
    assert ann.ask("DELETE", f"/events/{ids[0]}").status == 200
    for method in ("GET", "PUT", "DELETE"):
        assert ann.ask(method, f"/events/{ids[0]}").status == 404
    waiting = rows(server, "SELECT event_id FROM pushes WHERE about_user_id = :id", id=ann.id)
    assert sorted(row["event_id"] for row in waiting) == sorted(ids[1:])


def test_neither_texts_nor_tokens_are_answered_or_logged(server):
    ann, bob = person(server), subscribed(person(server))
    answer = send(ann, bob, message="the secret plan")
    assert answer.status == 201
    assert "fcm-token" not in answer.raw.decode()
    assert "secret plan" not in server.printed and "fcm-token" not in server.printed


def test_people_of_another_application_are_not_reached(server):
    ann, bob = person(server), subscribed(person(server))
    eve = person(server, application(server.database_url))
    assert send(eve, bob).status == 201
    assert rows(server, "SELECT id FROM pushes WHERE about_user_id = :id", id=eve.id) == []
    assert send(ann, bob).status == 201


def test_a_guest_may_send_and_a_session_without_a_user_may_not(server):
    bob = subscribed(person(server))
    assert send(guest(server), bob).status == 201
    ended = person(server)
    assert ended.ask("DELETE", "/login").status == 200
    assert send(ended, bob).status == 403


def test_an_event_arrives_at_the_provider_as_the_app_wrote_it(databases, providers, tmp_path):
    with databases.fresh("sqlite") as url:
        config = {name: str(value).lower() if value is True else str(value) for name, value in providers.config.items()}
        with serve(url, tmp_path, **config) as server:
            app = application(url, **providers.settings)
            ann, bob = person(server, app), subscribed(person(server, app), fcm_token())
            (event, _) = send(ann, bob, call_id=7).json
            asked = waited_for(lambda: providers.asked()["asked"])
            told = waited_for(lambda: rows(server, "SELECT * FROM pushes WHERE outcome IS NOT NULL"))
    (body,) = [json.loads(one["body"])["message"] for one in asked]
    assert (body["token"], body["data"]) == (fcm_token(), {"message": "hi", "call_id": "7"})
    (row,) = told
    assert (row["event_id"], row["outcome"], row["message"]) == (event["event"]["id"], "accepted", None)


def waited_for(look: Callable[[], list[Any]]) -> list[Any]:
    """What there is to see as soon as there is something."""
    deadline = time.monotonic() + 20
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return seen


# ── how a message is read ────────────────────────────────────────────────────────────────────────────────────────────


@given(payload=st.dictionaries(st.text(), VALUES), url=st.booleans(), padded=st.booleans(), width=st.integers(1, 76))
def test_a_message_is_read_in_every_spelling_of_base64(payload, url, padded, width):
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    text = encode(json.dumps(payload).encode()).decode()
    text = text if padded else text.rstrip("=")
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    assert payload_of(text) == payload_of("\n".join(lines)) == payload_of("\r\n".join([*lines, ""])) == payload


@pytest.mark.parametrize(
    "message",
    ["", "=", "a", "hi", "eyJ hIjoxfQ", "eyJ…", '{"message":"hi"}', "IA==", "AA==", "aABp", "aIU="],
)
def test_what_is_neither_an_object_nor_a_text_in_base64_is_refused(message):
    with pytest.raises(errors.Invalid, match="base64 of a JSON object") as refused:
        payload_of(message)
    assert refused.value.field == "message"


@pytest.mark.parametrize("text", ["hi", "Grüße 👋", "two\nlines\tand a tab", "5", "null", "[]", '"hi"', "[" * 4000])
def test_the_base64_of_a_plain_text_is_a_push_with_this_text(text):
    for channel in ("", "gcm", "apns", "apns_voip"):
        assert payload_for(channel, base64_of(text)) == {"message": text}
        assert read({"message": base64_of(text), "push_type": channel, "user": {"ids": 1}}).payload == {"message": text}


@pytest.mark.parametrize("raw", [b'{"a":' * 4000, b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b"{"])
def test_no_message_is_too_strange_to_be_refused(raw):
    with pytest.raises(errors.Invalid):
        payload_of(base64.b64encode(raw).decode())


def test_a_message_is_nested_only_so_deep():
    deep: Any = {}
    for _ in range(DEEPEST - 1):
        deep = {"a": deep}
    assert payload_of(packed(deep)) == deep
    with pytest.raises(errors.Invalid):
        payload_of(packed({"a": deep}))


@given(event=VALUES)
def test_whatever_an_app_sends_is_read_or_refused(event):
    with pytest.raises(errors.Invalid):  # no message that can be read is among these
        read(event)


@given(empty=st.dictionaries(st.text(), st.sampled_from([None, "", [], {}, {"any": None}, [None]])))
def test_what_is_left_empty_is_as_if_it_were_left_out(empty):
    said = {"message": packed({"message": "hi"}), "user": {"ids": [1]}}
    assert read(empty | said) == read(said)


# ── formats of one channel ───────────────────────────────────────────────────────────────────────────────────────────


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "message, payload",
    [
        (f"data.message={base64_of('this+is+a+message')}", {"message": "this is a message"}),
        (f"data.message={base64_of('100%25')}&data.call_id={base64_of('7')}", {"message": "100%", "call_id": "7"}),
        (packed({"message": "hi", "call_id": 7}), {"message": "hi", "call_id": 7}),
    ],
)
def test_a_message_for_fcm_is_a_form_or_universal(message, payload):
    assert payload_for("gcm", message) == payload


@pytest.mark.parametrize("channel", ["apns", "apns_voip"])
@pytest.mark.parametrize("prefix", ["", "payload="])
def test_a_message_for_apns_has_aps_or_is_universal(channel, prefix):
    given = {"aps": {"alert": "hi", "badge": 7}, "own": 1}
    assert payload_for(channel, prefix + packed(given)) == {"message": "hi", "apns_payload": given}
    assert payload_for(channel, prefix + packed({"message": "hi"})) == {"message": "hi"}


@pytest.mark.parametrize(
    "channel, message",
    [
        ("gcm", "data.message"),
        ("gcm", "data.message=%%%"),
        ("gcm", f"data.message={base64_of('x')}&other={base64_of('x')}"),
        ("gcm", "data.message=" + base64.b64encode(b"\xff").decode()),
        ("gcm", "data.message=" + base64_of("%ff")),
        ("gcm", "payload=" + packed({"message": "hi"})),
        ("apns", "payload="),
        ("apns", "payload=" + base64_of("[1]")),
        ("apns_voip", "payload=" + base64_of("hi")),
        ("", "payload=" + packed({"aps": {"alert": "hi"}})),
        ("", f"data.message={base64_of('hi')}"),
    ],
)
def test_a_message_in_another_format_is_refused(channel, message):
    with pytest.raises(errors.Invalid) as refused:
        payload_for(channel, message)
    assert refused.value.field == "message"


@pytest.mark.parametrize("channel, spelled", [("gcm", "GCM"), ("apns", " Apns"), ("apns_voip", "APNS_VOIP")])
def test_names_are_compared_without_case(channel, spelled):
    event = {"message": f"data.message={base64_of('hi')}" if channel == "gcm" else packed({"aps": {"alert": "hi"}})}
    lower = {"notification_type": "push", "event_type": "one_shot", "environment": "development", "push_type": channel}
    upper = {name: value.upper() for name, value in lower.items()} | {"push_type": spelled}
    to = {"user": {"ids": [1]}}
    assert read(event | to | upper) == read(event | to | lower)
    assert read(event | to | lower).channel == channel


@pytest.mark.parametrize(
    "field, named",
    [
        ("login", {"user": {"ids": [1], "login": "ann"}}),
        ("tag", {"user": {"tags": {"tag": "vip"}}}),
        ("tags", {"external_user": {"tags": {"any": "vip"}}}),
    ],
)
def test_another_way_of_naming_recipients_is_refused_and_not_ignored(field, named):
    with pytest.raises(errors.Invalid) as refused:
        read({"message": packed({"message": "hi"})} | named)
    assert refused.value.field == field
