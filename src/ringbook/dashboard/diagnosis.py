"""The page "Why not found?": checks each step from an upload to a push, for one user and one number."""

from starlette.responses import Response

from .. import errors
from ..core import diagnosis, user_lookup
from .endpoint import Call, Route


def form(call: Call) -> Response:
    """The form; a link can fill in the user."""
    return page(call, user=call.query("user"))


def ask(call: Call) -> Response:
    """The result, step by step. The number is sent by POST, so that it appears in no address and no history."""
    user, number = call.text("user").strip(), call.text("number").strip()
    wrong = {name: "Enter a value." for name, value in (("user", user), ("number", number)) if not value}
    if wrong:
        return page(call, 422, user=user, number=number, wrong=wrong)
    try:
        user_id = user_lookup.one_user(call.db, call.app, user).id
        names = call.text("names") == "on"
        answer = diagnosis.diagnose(call.db, user_id, number, call.now, app_id=call.app.id, names=names, by=call.by)
    except (errors.NotFound, errors.Invalid) as refused:
        return page(call, 422, user=user, number=number, wrong={"user": sentence(refused.reason)})
    return page(call, user=user, number=number, answer=answer, names=names)


def page(
    call: Call,
    status: int = 200,
    *,
    user: str = "",
    number: str = "",
    wrong: dict[str, str] | None = None,
    answer: diagnosis.Answer | None = None,
    names: bool = False,
) -> Response:
    """The form, with the result below it."""
    return call.page(
        "why.html", status, app=call.app, user=user, number=number, errors=wrong or {}, answer=answer, names=names
    )


def sentence(reason: str) -> str:
    """A reason with a capital letter and a full stop."""
    return reason[:1].upper() + reason[1:] + ("" if reason.endswith(".") else ".")


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/why", handler=form),
    Route(method="POST", path="/apps/{app_id}/why", handler=ask),
]
