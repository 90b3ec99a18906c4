"""Text messages: what a gateway is sent, and what its answers mean."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import free_port
from verify.gateway import Asked, Gateway

from ringbook import errors
from ringbook.app_settings import AppSettings
from ringbook.outbound.requests import Outgoing
from ringbook.verify import sms
from ringbook.verify.sms import FORM, NotTaken, Template

LOCAL = Outgoing(allow_private=True, timeout_seconds=10)
NUMBER = "447700900123"
AWKWARD = 'a "code" \\ is\n<#{to}> & 100% + ü 😀'
VALUES = {"to": f"+{NUMBER}", "text": AWKWARD}
TOKEN = "not-a-real-token"
TWILIO = {
    "sms_gateway": "twilio",
    "sms_twilio_account_sid": "AC00",
    "sms_twilio_auth_token": TOKEN,
    "sms_twilio_from": "+12025550100",
}
texts = st.text(st.characters(exclude_categories=["Cs"]))


def sent(gateway: Gateway, text: str = AWKWARD, **settings: Any) -> Asked:
    """What the gateway was asked."""
    given = {"sms_gateway": "http", "sms_gateway_url": f"{gateway.url}/send"} | settings
    sms.send(AppSettings(**given), LOCAL, NUMBER, text)
    return gateway.asked[-1]


def headers(**given: str) -> str:
    return json.dumps({name.replace("_", "-"): value for name, value in given.items()})


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_as_it_comes_a_gateway_is_sent_json(gateway):
    asked = sent(gateway)
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", "/send", "application/json")
    assert json.loads(asked.body) == {"to": f"+{NUMBER}", "text": AWKWARD}


def test_headers_are_sent_and_json_is_what_a_body_is_unless_they_say_otherwise(gateway):
    asked = sent(gateway, sms_gateway_headers=headers(Authorization="Bearer x"))
    assert (asked.headers["authorization"], asked.headers["content-type"]) == ("Bearer x", "application/json")
    assert json.loads(asked.body)["text"] == AWKWARD


def test_a_form_is_written_as_a_form(gateway):
    kind = headers(content_type=f"{FORM}; charset=utf-8")
    asked = sent(gateway, sms_gateway_headers=kind, sms_gateway_body="to=#{to}&m=#{text}&x=1", sms_gateway_method="PUT")
    assert asked.method == "PUT"
    assert parse_qs(asked.body.decode()) == {"to": [f"+{NUMBER}"], "m": [AWKWARD], "x": ["1"]}


def test_xml_is_written_as_xml(gateway):
    body = '<sms to="#{to}" text="#{text}">#{text}</sms>'
    asked = sent(
        gateway, "a \"code\" <&> 'x'", sms_gateway_headers=headers(Content_Type="text/xml"), sms_gateway_body=body
    )
    found = ElementTree.fromstring(asked.body)
    assert (found.attrib["text"], found.text) == ("a \"code\" <&> 'x'",) * 2


def test_plain_text_is_written_as_it_is(gateway):
    asked = sent(gateway, sms_gateway_headers=headers(Content_Type="text/plain"), sms_gateway_body="#{to} #{text}")
    assert asked.body.decode() == f"+{NUMBER} {AWKWARD}"


def test_an_address_may_hold_number_and_text_and_a_get_has_no_body(gateway):
    url = f"{gateway.url}/to/#{{to}}?text=#{{text}}&key=k"
    asked = sent(gateway, sms_gateway_url=url, sms_gateway_method="GET")
    parts = urlsplit(asked.path)
    assert (asked.method, parts.path, asked.body) == ("GET", f"/to/%2B{NUMBER}", b"")
    assert parse_qs(parts.query) == {"text": [AWKWARD], "key": ["k"]}


def test_a_host_is_never_made_of_a_number():
    assert sms.filled_url("https://#{to}.example/", VALUES) == "https://#{to}.example/"
    assert sms.filled_url("https://sms.example?to=#{to}", VALUES) == f"https://sms.example?to=%2B{NUMBER}"


@given(texts)
def test_whatever_the_text_json_stays_json(text):
    template = Template("POST", "", {"Content-Type": "application/vnd.sms+json"}, '{"text": "#{text}", "to": "#{to}"}')
    body = sms.filled_body(template, VALUES | {"text": text})
    assert json.loads(body or b"") == {"text": text, "to": f"+{NUMBER}"}


@given(texts)
def test_whatever_the_text_a_form_and_an_address_stay_what_they_are(text):
    template = Template("POST", "", {"Content-Type": FORM}, "text=#{text}&to=#{to}")
    body = sms.filled_body(template, VALUES | {"text": text}) or b""
    query = urlsplit(sms.filled_url("https://sms.example/?text=#{text}&to=#{to}", VALUES | {"text": text})).query
    for said in (body.decode(), query):
        assert parse_qs(said, keep_blank_values=True) == {"text": [text], "to": [f"+{NUMBER}"]}


def test_twilio_is_sent_what_its_documentation_says(gateway):
    asked = sent(gateway, **TWILIO, sms_gateway_url=f"{gateway.url}/")
    assert (asked.method, asked.path) == ("POST", "/2010-04-01/Accounts/AC00/Messages.json")
    assert asked.headers["content-type"] == FORM
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"AC00:{TOKEN}"
    assert parse_qs(asked.body.decode()) == {"To": [f"+{NUMBER}"], "From": ["+12025550100"], "Body": [AWKWARD]}


def test_a_messaging_service_of_twilio_may_send(gateway):
    asked = sent(gateway, **TWILIO | {"sms_twilio_from": "MG00"}, sms_gateway_url=gateway.url)
    assert parse_qs(asked.body.decode()).keys() == {"To", "MessagingServiceSid", "Body"}


def test_twilios_own_address_is_the_default():
    assert sms.address(AppSettings(**TWILIO)) == "https://api.twilio.com/"


def test_the_console_prints_the_message_marked_as_development_and_not_the_number(capsys):
    sms.send(AppSettings(sms_gateway="console"), Outgoing(), NUMBER, "123456 is your code.")
    printed = capsys.readouterr()
    assert printed.err.startswith("DEVELOPMENT") and "…23: 123456 is your code.\n" in printed.err
    assert NUMBER[:-2] not in printed.err and printed.out == ""


# ── what the answers mean ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_2xx_is_sent(gateway, status):
    gateway.status = status
    assert sent(gateway)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_anything_else_is_told_by_its_number_and_never_by_its_words(gateway, status):
    gateway.status, gateway.body = status, f'{{"message": "{NUMBER} is on fire"}}'.encode()
    gateway.headers = {"Location": "/elsewhere"}
    with pytest.raises(errors.Unavailable, match=f"answered {status}") as refused:
        sent(gateway)
    assert "fire" not in refused.value.reason and NUMBER not in refused.value.reason
    assert len(gateway.asked) == 1


def test_a_gateway_that_is_not_there_is_told_without_its_name():
    settings = AppSettings(sms_gateway="http", sms_gateway_url=f"http://127.0.0.1:{free_port()}/?key=k")
    with pytest.raises(NotTaken, match="cannot be reached") as refused:
        sms.send(settings, LOCAL, NUMBER, "text")
    assert "127.0.0.1" not in refused.value.reason
    assert (refused.value.may_cost, refused.value.may_arrive) == (False, False)


@pytest.mark.parametrize("status, may_cost", [(301, True), (400, False), (404, False), (499, False), (500, True)])
def test_what_a_gateway_has_not_refused_may_have_been_sent(gateway, status, may_cost):
    gateway.status = status
    with pytest.raises(NotTaken) as refused:
        sent(gateway)
    assert (refused.value.may_cost, refused.value.may_arrive) == (may_cost, False)


def test_a_gateway_that_hangs_up_may_have_sent_it(gateway):
    gateway.raw = lambda write: write(b"")
    with pytest.raises(NotTaken, match="did not say whether") as refused:
        sent(gateway)
    assert (refused.value.may_cost, refused.value.may_arrive) == (True, True)


def test_a_gateway_on_a_private_network_is_refused_unless_allowed(gateway):
    with pytest.raises(errors.Unavailable):
        sms.send(AppSettings(sms_gateway="http", sms_gateway_url=gateway.url), Outgoing(), NUMBER, "text")
    assert gateway.asked == []


# ── what is missing ──────────────────────────────────────────────────────────────────────────────────────────────────


READY: dict[str, dict[str, Any]] = {
    "console": {"sms_gateway": "console", "sms_regions": "GB"},
    "http": {"sms_gateway": "http", "sms_regions": "GB", "sms_gateway_url": "https://sms.example/"},
    "twilio": TWILIO | {"sms_regions": "GB"},
}


@pytest.mark.parametrize("kind", READY)
def test_nothing_is_missing(kind):
    assert sms.trouble(AppSettings(**READY[kind])) == ""


@pytest.mark.parametrize("kind, setting", [(kind, name) for kind, given in READY.items() for name in given])
def test_the_setting_that_is_missing_is_named(kind, setting):
    settings = msgspec.structs.replace(AppSettings(**READY[kind]), **{setting: ""})
    assert sms.trouble(settings).startswith(f"{setting} is empty")


@pytest.mark.parametrize(
    "settings, address",
    [
        ({}, ""),
        ({"sms_gateway": "console"}, ""),
        (
            {"sms_gateway": "http", "sms_gateway_url": "https://sms.example:8443/send?to=#{to}"},
            "https://sms.example:8443/",
        ),
        ({"sms_gateway": "http", "sms_gateway_url": "https://sms.example?key=k"}, "https://sms.example/"),
    ],
)
def test_the_root_of_a_gateway(settings, address):
    assert sms.address(AppSettings(**settings)) == address
