"""The page of admins: their roles and sessions, and invitations.

Every change needs an owner, and is in the audit log.
"""

from starlette.responses import Response

from .. import errors
from ..core import admin_answers, admins
from ..core.admins import ROLES, Role
from .endpoint import ROOT, Call, Route, Who

PAGE = f"{ROOT}/admins"


def show(call: Call) -> Response:
    """Every admin, and to owners the sessions and the open invitations."""
    found = admins.all_(call.db)
    sessions = {one.email: admins.sessions_of(call.db, one.email, call.now) for one in found if call.may_change}
    return call.page(
        "admins.html",
        admins=found,
        sessions=sessions,
        invitations=admins.invitations(call.db, call.now) if call.may_change else [],
        errors=call.refused.wrong,
        email=call.refused.typed.get("email", ""),
        role=call.refused.typed.get("role", admins.VIEWER),
    )


def invite(call: Call) -> Response:
    """Invites an admin. Only the page that follows shows the link, once."""
    assert call.login
    email, role = call.text("email").strip(), _role(call)
    try:
        token = admins.invite(call.db, email, role, call.by)
    except errors.Invalid as refused:
        return call.refuse(f"{PAGE}#invite", {refused.field: refused.reason}, typed=("email", "role"))
    nonce = admin_answers.keep(call.db, call.login, token, call.now)
    return call.redirect(f"{PAGE}/invited/{nonce}")


def link(call: Call) -> Response:
    """The link of an invitation, which is shown once."""
    assert call.login
    token = admin_answers.shown(call.db, call.login, call.request.path_params["nonce"], call.now)
    url = call.request.url
    address = f"{url.scheme}://{url.netloc}{ROOT}/invitation/{token}" if token else ""
    return call.page("invited.html", 200 if token else 410, link=address)


def withdraw(call: Call) -> Response:
    """Deletes an invitation."""
    admins.withdraw(call.db, call.text("invitation"), call.by)
    return call.redirect(PAGE, "The invitation was withdrawn: its link no longer works.")


def change_role(call: Call) -> Response:
    """Changes the role of an admin."""
    email, role = call.text("email"), _role(call)
    try:
        admins.set_role(call.db, email, role, by=call.by)
    except errors.Invalid as refused:
        return call.redirect(PAGE, refused.reason, kind="bad")
    return call.redirect(PAGE, f"The role of {email} is {role} now.")


def _role(call: Call) -> Role:
    role = call.text("role")
    if role not in ROLES:
        raise errors.Malformed("There is no such role.")
    return role


def remove(call: Call) -> Response:
    """Deletes an admin."""
    email = call.text("email")
    try:
        admins.remove(call.db, email, keep_owner=True, by=call.by)
    except errors.Invalid as refused:
        return call.redirect(PAGE, refused.reason, kind="bad")
    return call.redirect(PAGE, f"{email} is no longer an admin.")


def end_session(call: Call) -> Response:
    """Ends a session of an admin."""
    admins.end_session(call.db, call.text("email"), call.text("session"), call.by)
    return call.redirect(PAGE, f"The session of {call.text('email')} was ended.")


ROUTES = [
    Route(method="GET", path="/admins", handler=show),
    Route(method="POST", path="/admins/invite", handler=invite, who=Who.OWNER),
    Route(method="GET", path="/admins/invited/{nonce}", handler=link, who=Who.OWNER),
    Route(method="POST", path="/admins/withdraw", handler=withdraw, who=Who.OWNER),
    Route(method="POST", path="/admins/role", handler=change_role, who=Who.OWNER),
    Route(method="POST", path="/admins/remove", handler=remove, who=Who.OWNER),
    Route(method="POST", path="/admins/session/end", handler=end_session, who=Who.OWNER),
]
