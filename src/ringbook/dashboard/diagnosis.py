"""The page "Why not found?": checks each step from an upload to a push, for one user and one contact.

It is asked from both sides: whom a user does not find, and who does not find a user. The result has an address of its
own, in which the user and the contact are sealed. The audit log records a check when the form is sent; the address is
signed by that session, and shows another session only the form. The page is for owners, because a check says whether
a book contains a number.
"""

from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from .. import errors
from ..core import diagnosis, sealed_links, user_lookup
from .endpoint import ROOT, Call, Route, Who

PURPOSE = "why"


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """What an admin asked: who looks, for whom (both as they were typed), and whether names are revealed."""

    user: str
    contact: str
    names: bool = False


_asked = msgspec.json.Decoder(Asked)


def form(call: Call) -> Response:
    """The form, which a link can fill in, or the result that the address names."""
    part = call.query("of")
    text = sealed_links.opened(call.db, PURPOSE, call.app.id, part) if part else None
    if not text:
        typed = {"user": call.query("user"), "contact": only_id(call.query("contact"))} | call.refused.typed
        return page(call, Asked(typed["user"], typed["contact"]), wrong=call.refused.wrong)
    asked = _asked.decode(text)
    assert call.login
    if not call.login.is_signed(part, call.query("by")):
        return page(call, asked)
    return result(call, asked)


def only_id(text: str) -> str:
    """The text if it is an id. A number is not taken from an address that a link contains in clear."""
    return text if text.isascii() and text.isdigit() and len(text) < 10 else ""


def ask(call: Call) -> Response:
    """Records the check in the audit log, and leads to its result."""
    assert call.login
    asked = Asked(call.text("user").strip(), call.text("contact").strip(), call.text("names") == "on")
    if wrong := {name: "Enter a value." for name in ("user", "contact") if not getattr(asked, name)}:
        return refused(call, wrong)
    try:
        diagnosed(call, asked, is_recorded=True)
    except Wrong as wrong_field:
        return refused(call, {wrong_field.field: wrong_field.reason})
    part = sealed_links.sealed(call.db, PURPOSE, call.app.id, msgspec.json.encode(asked).decode())
    return call.redirect(f"{address(call)}?{urlencode({'of': part, 'by': call.login.signature(part)})}")


def refused(call: Call, wrong: dict[str, str]) -> Response:
    """Leads back to the form."""
    return call.refuse(address(call), wrong, typed=("user", "contact"))


def result(call: Call, asked: Asked) -> Response:
    """The result, step by step."""
    try:
        return page(call, asked, answer=diagnosed(call, asked, is_recorded=False))
    except Wrong as wrong_field:  # the user was erased meanwhile
        return page(call, asked, wrong={wrong_field.field: wrong_field.reason})


class Wrong(Exception):
    """A field of the form that means nobody."""

    def __init__(self, field: str, refused: errors.Refused) -> None:
        super().__init__(field)
        self.field, self.reason = field, sentence(refused.reason)


def diagnosed(call: Call, asked: Asked, *, is_recorded: bool) -> diagnosis.Answer:
    """The answer to what was asked. Raises Wrong."""
    field = "user"
    try:
        user_id = user_lookup.one_user(call.db, call.app, asked.user).id
        field = "contact"
        number = diagnosis.number_of(call.db, call.app, user_id, asked.contact)
        by = call.by if is_recorded else None
        return diagnosis.diagnose(call.db, user_id, number, call.now, app_id=call.app.id, names=asked.names, by=by)
    except (errors.NotFound, errors.Invalid) as refused:
        raise Wrong(field, refused) from None


def page(
    call: Call,
    asked: Asked,
    *,
    wrong: dict[str, str] | None = None,
    answer: diagnosis.Answer | None = None,
) -> Response:
    """The form, with the result below it."""
    return call.page("why.html", app=call.app, asked=asked, errors=wrong or {}, answer=answer)


def address(call: Call) -> str:
    """The address of the page."""
    return f"{ROOT}/apps/{call.app.id}/why"


def sentence(reason: str) -> str:
    """A reason with a capital letter and a full stop."""
    return reason[:1].upper() + reason[1:] + ("" if reason.endswith(".") else ".")


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/why", handler=form, who=Who.OWNER),
    Route(method="POST", path="/apps/{app_id}/why", handler=ask, who=Who.OWNER, repeats=True),
]
