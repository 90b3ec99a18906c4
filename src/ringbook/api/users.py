"""Users over HTTP (protocol §3): sign up, change and leave; look up one user. Queries are in `user_search.py`."""

from msgspec import UNSET
from msgspec.structs import asdict

from .. import errors
from ..core import privacy, resets, sessions, users
from ..core.profile import Fields
from ..model import App, User
from . import online, proofs, user_search
from .endpoint import Answer, Call, Route, Who
from .shapes.contact_joined import chosen_in
from .shapes.users import (
    NO_NUMBER,
    ChangeRequest,
    OneUser,
    ResetRequest,
    StoredUser,
    UserIn,
    UserRequest,
    user_out,
)
from .user_search import parameter
from .wire import take, text

# ── the own account ──────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(call: Call) -> Answer:
    """Sign up

    Login or email is required, and a password of 8 characters or more. Outer blanks are trimmed, but not in passwords.
    A phone is stored as it was typed and need not be unique; contacts are matched by its number. One that cannot be a
    number is stored, and the answer has `hints`; with the application's setting `unreadable_phones` it is refused. The
    description of each field states its bounds, and whether it is unique in the application. A refusal names every bad
    field; values that are taken are named once the fields are well formed.
    """
    app = call.app  # first: a wrong key is refused before the fields are read
    faults = errors.Faults()
    fields = fields_of(call, faults)
    user = users.sign_up(call.db, call.config.limits, app, fields, call.address, call.now, faults=faults)
    return Answer(stored(app, fields, user), status=201)


def change(call: Call) -> Answer:
    """Update your account

    Only the fields that are sent change; null or a blank text removes a value. A new password needs the old one, and
    ends the user's other sessions. The rules are those of signing up. A guest cannot change login, email, phone or
    password. A verified number changes only with `provider` and a proof of the new number beside `user`; another one
    changes at most 3 times a day.
    """
    verified = proofs.verified_phone(call, call.app) if proofs.provider(call.values) else ""
    faults = errors.Faults()
    fields = fields_of(call, faults)
    faults.refuse()
    user = users.update(
        call.db,
        call.config.limits,
        call.caller,
        call.path_id(),
        fields,
        session=sessions.digest(call.token),
        now=call.now,
        verified_phone=verified,
    )
    return Answer(stored(call.app, fields, user))


def stored(app: App, fields: Fields, user: User) -> StoredUser:
    """The user after the request, with a hint if the request gave a phone that is not a number."""
    hints = {"phone": [NO_NUMBER]} if fields.get("phone") and not users.has_number(app, user.phone) else UNSET
    return StoredUser(user_out(user), hints)


def fields_of(call: Call, faults: errors.Faults) -> Fields:
    """The fields of the user that the request contains. Those that cannot be read are left out, and are in `faults`."""
    values = call.values.get("user", {} if proofs.provider(call.values) else None)
    if not isinstance(values, dict):
        raise errors.Invalid("is required", field="user")
    given = take(UserIn, values, faults=faults)
    fields: Fields = {name: value for name, value in asdict(given).items() if value is not UNSET}
    if chosen := fields.pop("contact_joined", None):
        fields["preferences"] = chosen_in(chosen)
    if values.get("oldPassword") is not None and "old_password" not in fields:  # Flutter's spelling (protocol §3.4)
        with faults.collected():
            fields["old_password"] = text(values["oldPassword"], "old_password")
    return fields


def leave(call: Call) -> Answer:
    """Delete your account

    Deletes the user's sessions, address books and all other data too.
    """
    users.leave(call.db, call.caller, call.path_id())
    return Answer()


def leave_by_external_id(call: Call) -> Answer:
    """Delete your account, by external id"""
    me = users.find(call.db, call.config.limits, call.caller, "id", call.user_id, call.now)
    numbered = None if me.external_user_id is None else str(me.external_user_id)
    if external_id(call) not in (me.external_id, numbered):
        raise errors.Forbidden("You may only delete yourself")
    users.leave(call.db, call.caller, me.id)
    return Answer()


def reset_password(call: Call) -> Answer:
    """Reset a forgotten password

    Sends a mail with a link to the stored e-mail of the user with this `email`. The answer is 200 whether or not there
    is such a user. It is 422 where the operator has not set an SMTP server.
    """
    resets.check_set_up(call.config)
    given, languages = parameter(call, "email"), call.headers.get("accept-language", "")
    resets.request(call.db, call.config, call.app, given, languages, call.address, call.now)
    return Answer()


# ── one user ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show(call: Call) -> Answer:
    """Look up a user by id

    Phone and email of other users (and a login that equals one of them) are null unless the caller has the user's
    number in an address book, or the application's setting `profiles` is `open`.
    """
    return Answer(OneUser(user_out(users.as_seen(call.db, call.caller, call.user))))


def show_in_loop(call: Call) -> Answer | None:
    """The same in the event loop. Refusals, and what needs a further statement, are left to a thread."""
    user = call.user
    if user and user.id != call.user_id:
        user = privacy.visible_if_held(caller, user, call.held) if (caller := call.caller_in_loop) else None
    return Answer(OneUser(user_out(user))) if user else None


def by_login(call: Call) -> Answer:
    """Look up a user by login"""
    return found(call, "login", parameter(call, "login"))


def by_email(call: Call) -> Answer:
    """Look up a user by email

    Costs one permit, as a new number in an address book does, whether or not a user has this email.
    """
    return found(call, "email", parameter(call, "email"))


def by_phone(call: Call) -> Answer:
    """Look up a user by phone, in any spelling

    The oldest user with the number. Costs one permit unless the number is in the caller's address book, whether or not
    a user has it.
    """
    return found(call, "phone", parameter(call, "phone"))


def by_facebook_id(call: Call) -> Answer:
    """Look up a user by Facebook id"""
    return found(call, "facebook_id", parameter(call, "facebook_id"))


def by_twitter_id(call: Call) -> Answer:
    """Look up a user by Twitter id"""
    return found(call, "twitter_id", parameter(call, "twitter_id"))


def by_external_id(call: Call) -> Answer:
    """Look up a user by external id

    By `external_id`, else by `external_user_id`.
    """
    name = external_id(call)
    try:
        return found(call, "external_id", name)
    except errors.NotFound:
        if not (name.isascii() and name.isdigit() and len(name) < 19):
            raise
    return found(call, "external_user_id", int(name))


def found(call: Call, field: str, value: str | int) -> Answer:
    """The user with this value, wrapped."""
    user = users.find(call.db, call.config.limits, call.caller, field, value, call.now)
    return Answer(OneUser(user_out(user)))


def external_id(call: Call) -> str:
    """The external id in the path."""
    name = text(call.request.path_params["id"], "id")
    if not name:
        raise errors.NotFound("Not found")
    return name


ROUTES: list[Route] = [
    *user_search.ROUTES,
    *online.ROUTES,
    Route(
        method="POST",
        path="/users",
        handler=sign_up,
        who=Who.APPLICATION,
        status=201,
        request=UserRequest,
        answer=StoredUser,
        refusals=(422, 429),
        slow=True,
    ),
    *(
        Route(
            method="GET",
            path=f"/users/{path}",
            handler=handler,
            query={field: "the value, required"},
            answer=OneUser,
            refusals=(404, 422, 429),
        )
        for path, handler, field in [
            ("by_login", by_login, "login"),
            ("by_email", by_email, "email"),
            ("by_phone", by_phone, "phone"),
            ("phone", by_phone, "phone"),
            ("by_facebook_id", by_facebook_id, "facebook_id"),
            ("by_twitter_id", by_twitter_id, "twitter_id"),
        ]
    ),
    *(
        Route(
            method=method,
            path="/users/password/reset",
            handler=reset_password,
            who=Who.SESSION,
            query={"email": "of the account"} if method == "GET" else {},
            request=ResetRequest if method == "POST" else None,
            refusals=(422, 429),
        )
        for method in ("GET", "POST")
    ),
    Route(
        method="GET",
        path="/users/external/{id:path}",
        handler=by_external_id,
        answer=OneUser,
        refusals=(404, 422),
    ),
    Route(method="DELETE", path="/users/external/{id:path}", handler=leave_by_external_id, refusals=(404, 422)),
    Route(
        method="GET",
        path="/users/{id}",
        handler=show,
        in_loop=show_in_loop,
        answer=OneUser,
        refusals=(404,),
        shows_user=True,
    ),
    Route(
        method="PUT",
        path="/users/{id}",
        handler=change,
        request=ChangeRequest,
        answer=StoredUser,
        refusals=(404, 422, 429),
        slow=True,
    ),
    Route(method="DELETE", path="/users/{id}", handler=leave, refusals=(404,)),
]
