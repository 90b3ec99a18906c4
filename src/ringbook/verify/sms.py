"""Text messages: sends them through the gateway that the application's owner has chosen.

    send(settings, outgoing, number, text)   gives a message to the gateway; NotTaken when it is not accepted
    NotTaken                                 the gateway refused the message, or did not confirm it
    trouble(settings)                        which setting is missing; "" when none is
    address(settings)                        the root URL of the gateway, for checks that send nothing
    GATEWAYS                                 the gateways: one row each

`console` prints the message, for development. `http` makes one request, put together from the settings; `twilio` is the
same with settings of ours. In address and body #{to} stands for the number with its +, and #{text} for the message,
written as the address or the body's Content-Type (JSON, where the settings name none) needs it. 2xx means sent, 4xx
means that it was not; what else a gateway says is not passed on, since it may quote the number.

Sources for Twilio: its pages "Messages resource" of the Messaging API (POST to /2010-04-01/Accounts/{AccountSid}/
Messages.json with To, Body, and From or MessagingServiceSid) and "Twilio API requests" (a form, and HTTP basic
authentication with the account SID as the user and the auth token as the password).
"""

import base64
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import msgspec
from msgspec import Struct

from .. import errors
from ..app_settings import AppSettings
from ..outbound.requests import Outgoing, Unreachable

TWILIO = "https://api.twilio.com"
TWILIO_PATH = "/2010-04-01/Accounts/{sid}/Messages.json"
SERVICE = "MG"  # how the SID of a Twilio messaging service begins
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PLACE = re.compile(r"#\{(to|text)\}")
HOST = re.compile(r"https?://(?:#\{\w+\}|[^/?#])*", re.IGNORECASE)
AGAIN = "The code could not be sent: the gateway {why}. Try again."
SILENT = "The gateway did not say whether it has sent the code. A code that comes now is no use: ask again."


class NotTaken(errors.Unavailable):
    """The gateway did not accept a message.

    may_cost     the request was sent, and not refused with 4xx: the message may have been sent and may cost money
    may_arrive   no answer came: the message may still arrive
    """

    def __init__(self, reason: str, *, may_cost: bool, may_arrive: bool) -> None:
        super().__init__(reason)
        self.may_cost = may_cost
        self.may_arrive = may_arrive


@dataclass(frozen=True, slots=True)
class Template:
    """A request with places for number and text."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


def send(settings: AppSettings, outgoing: Outgoing, number: str, text: str) -> None:
    """Give a message to the gateway, for a number (its digits, country code first)."""
    make_template = GATEWAYS[settings.sms_gateway].template
    if not make_template:
        _print(number, text)
        return
    template = make_template(settings)
    values = {"to": f"+{number}", "text": text}
    url, body = filled_url(template.url, values), filled_body(template, values)
    try:
        answer = outgoing.request(template.method, url, headers=template.headers, body=body)
    except Unreachable as silent:
        reason = SILENT if silent.sent else AGAIN.format(why="cannot be reached")
        raise NotTaken(reason, may_cost=silent.sent, may_arrive=silent.sent) from silent
    if not 200 <= answer.status < 300:
        reason = AGAIN.format(why=f"answered {answer.status}")
        raise NotTaken(reason, may_cost=not 400 <= answer.status < 500, may_arrive=False)


def trouble(settings: AppSettings) -> str:
    """Why nothing can be sent: the first setting that is missing or wrong; "" when all are right."""
    if not settings.sms_gateway:
        return "sms_gateway is empty"
    missing = [name for name in GATEWAYS[settings.sms_gateway].needed if not getattr(settings, name)]
    if missing:
        return f"{missing[0]} is empty"
    if settings.sms_gateway == "http":
        said = settings.sms_gateway_url + settings.sms_gateway_body
        for place in ("#{to}", "#{text}"):
            if place not in said:
                return f"neither sms_gateway_url nor sms_gateway_body has a place for {place}"
    return "" if settings.sms_regions else "sms_regions is empty, so no code is sent to any country"


def address(settings: AppSettings) -> str:
    """The root of the gateway's server, "" when nothing is sent over the network."""
    gateway = GATEWAYS.get(settings.sms_gateway)
    if not gateway or not gateway.template:
        return ""
    found = HOST.match(gateway.template(settings).url)
    return f"{found[0]}/" if found else ""


def filled_url(url: str, values: dict[str, str]) -> str:
    """The URL with its places filled. Places in the host stay, so that no number is looked up as a name."""
    found = HOST.match(url)
    end = found.end() if found else 0
    return url[:end] + _filled(url[end:], values, _in_address)


def filled_body(template: Template, values: dict[str, str]) -> bytes | None:
    """The body with its places filled; a GET has none."""
    if template.method == "GET":
        return None
    kind = next((value for name, value in template.headers.items() if name.lower() == "content-type"), "")
    media = kind.partition(";")[0].strip().lower()
    write = next((write for ending, write in WRITTEN.items() if media.endswith(ending)), str)
    return _filled(template.body, values, write).encode()


def _filled(template: str, values: dict[str, str], write: Callable[[str], str]) -> str:
    return PLACE.sub(lambda place: write(values[place[1]]), template)


def _in_address(value: str) -> str:
    return quote(value, safe="")


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _in_xml(value: str) -> str:
    return escape(value, {'"': "&quot;"})


# How a value is written within a body, by the end of the body's Content-Type; in any other just as it is.
WRITTEN: dict[str, Callable[[str], str]] = {"json": _in_json, "x-www-form-urlencoded": quote_plus, "xml": _in_xml}


def _http(settings: AppSettings) -> Template:
    headers = msgspec.json.decode(settings.sms_gateway_headers, type=dict[str, str])
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = JSON
    return Template(settings.sms_gateway_method, settings.sms_gateway_url, headers, settings.sms_gateway_body)


def _twilio(settings: AppSettings) -> Template:
    sid, sender = settings.sms_twilio_account_sid, settings.sms_twilio_from
    root = (settings.sms_gateway_url or TWILIO).rstrip("/")
    login = base64.b64encode(f"{sid}:{settings.sms_twilio_auth_token}".encode()).decode()
    who = "MessagingServiceSid" if sender.startswith(SERVICE) else "From"
    body = f"To=#{{to}}&{who}={quote_plus(sender)}&Body=#{{text}}"
    url = root + TWILIO_PATH.format(sid=quote(sid, safe=""))
    return Template("POST", url, {"Content-Type": FORM, "Authorization": f"Basic {login}"}, body)


class Gateway(Struct, frozen=True):
    """One value of the setting `sms_gateway`.

    needed     the settings without which it cannot send
    template   the request that sends a message; None: the message is printed
    """

    needed: tuple[str, ...]
    template: Callable[[AppSettings], Template] | None


GATEWAYS = {
    "console": Gateway((), None),
    "http": Gateway(("sms_gateway_url",), _http),
    "twilio": Gateway(("sms_twilio_account_sid", "sms_twilio_auth_token", "sms_twilio_from"), _twilio),
}


def _print(number: str, text: str) -> None:
    """Print a message. This is the only place that prints a code: a developer without a gateway needs to see it."""
    sys.stderr.write(f"DEVELOPMENT (sms_gateway = console, nothing is sent): to …{number[-2:]}: {text}\n")
    sys.stderr.flush()
