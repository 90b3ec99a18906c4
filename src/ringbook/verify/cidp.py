"""Identifies a user through the application's own identity provider, whose answer is trusted.

    Identity                          the user and the profile that the provider returned
    identify(settings, outgoing, …)   asks the provider; Invalid when it refuses the log-in

Source: protocol §2.3. The request is made of `cidp_request`, a JSON object of parameters in which #{login} and
#{password} stand for what was typed; the answer is read by `cidp_response`, a JSON object of texts in which
#{user.id} stands for the value at that path.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec

from .. import errors
from ..app_settings import AppSettings
from ..logs import log
from ..outbound.requests import Answer, Outgoing, Unreachable
from ..profile_fields import LONGEST_TOKEN

REFUSED = 'Custom Identity Provider responded with an error = "{error}". Status code = {status}'
PLACE = re.compile(r"#\{([^{}]*)\}")
LARGEST_UID = 255
LARGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that the provider returned; "" for values that it left out."""

    uid: str
    login: str
    full_name: str
    email: str
    phone: str


def identify(settings: AppSettings, outgoing: Outgoing, login: str, password: str) -> Identity:
    """Ask the provider once, without following a redirect.

    Raises Invalid with the documented text when it answers anything but 200 with a uid, Unavailable when it does not
    answer, or has an address that we do not go to.
    """
    if len(login) + len(password) > LONGEST_TOKEN:
        raise errors.Invalid("is too long", field="login")
    url = request_url(settings, login, password)
    try:
        answer = outgoing.request("GET", url, headers={"Accept": "application/json"})
    except Unreachable as error:
        log.warning("identity provider not reached", why=str(error))
        raise errors.Unavailable("the identity provider cannot be reached just now. Try again.") from None
    return read_answer(answer, msgspec.json.decode(settings.cidp_response, type=dict[str, str]))


def request_url(settings: AppSettings, login: str, password: str) -> str:
    """The address of the request, with the credentials in their placeholders. An existing query is kept."""
    typed = {"login": login, "password": password}
    request = msgspec.json.decode(settings.cidp_request, type=dict[str, str])
    filled = {name: _filled(template, lambda place: typed.get(place, "")) for name, template in request.items()}
    query = urlencode(filled, errors="replace")
    address = settings.cidp_url.partition("#")[0]
    return f"{address}{'&' if '?' in address else '?'}{query}"


def read_answer(answer: Answer, mapping: dict[str, str]) -> Identity:
    """The identity in an answer, read by the application's mapping."""
    if answer.status != 200:
        raise _refused(_error_text(answer), answer.status)
    try:
        values: Any = msgspec.json.decode(answer.body)
    except (ValueError, RecursionError):
        raise _refused("the answer is not JSON", answer.status) from None
    found = {name: _filled(template, lambda path: _at(values, path)) for name, template in mapping.items()}
    said = {name: _cleaned(text) for name, text in found.items()}
    uid = found.get("uid", "")
    paths = [path.strip() for path in PLACE.findall(mapping.get("uid", ""))]
    # A uid of which a part is missing, or that is the same for everybody, would let people into one another's account.
    if not said.get("uid") or not paths or not all(_at(values, path) for path in paths):
        raise _refused("the answer holds no uid", answer.status)
    if uid != said["uid"]:  # cleaned, those of two people could become one
        raise _refused("the uid holds blanks or characters that cannot be seen", answer.status)
    if len(uid) > LARGEST_UID:
        raise _refused("the uid is too long", answer.status)
    return Identity(uid, **{name: said.get(name, "") for name in ("login", "full_name", "email", "phone")})


def _filled(template: str, value: Callable[[str], str]) -> str:
    return PLACE.sub(lambda place: value(place[1].strip()), template)


def _at(values: Any, path: str) -> str:
    """The text or integer at a dotted path, "" when there is none; a number in the path counts in a list."""
    for step in path.split("."):
        if isinstance(values, dict):
            values = values.get(step)
        elif isinstance(values, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(values):
            values = values[int(step[:9])]
        else:
            return ""
    return str(values) if isinstance(values, str | int) and not isinstance(values, bool) else ""


def _error_text(answer: Answer) -> str:
    """The provider's error: `error` or `message` of a JSON body, else a short text, else the name of the status."""
    try:
        values: Any = msgspec.json.decode(answer.body)
        text = _at(values, "error") or _at(values, "message") or (values if isinstance(values, str) else "")
    except (ValueError, RecursionError):
        text = answer.body.decode("utf-8", "ignore")
        text = "" if text.lstrip().startswith(("<", "{", "[")) else text
    return _cleaned(text)[:LARGEST_ERROR] or _phrase(answer.status)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "no reason given"


def _cleaned(text: str) -> str:
    """The text in one line, without unprintable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _refused(error: str, status: int) -> errors.Invalid:
    told = f"the identity provider said no, with status {status}; what it said is in the answer"
    return errors.Invalid(REFUSED.format(error=error, status=status), told=told)
