"""Users over HTTP (protocol §3): sign up, change and leave; look others up one by one, by V2 queries, the V1 way."""

from collections.abc import Callable
from typing import Any, cast, get_args

from msgspec import UNSET

from .. import errors
from ..core import sessions, user_search, users
from ..core.user_search import FIELDS, Asked, Operator, Query
from ..core.users import Fields
from .endpoint import Answer, Call, Route, Who
from .shapes import OldUserPage, OneUser, UserIn, UserPage, UserRequest, user_out
from .wire import integer, moment, take, text, texts

PAGING = {
    "offset": "users to skip",
    "limit": "users to show, at most 100",
    "sort_asc": "a field",
    "sort_desc": "a field",
}
OPERATORS: dict[str, Operator] = {name: name for name in get_args(Operator)}
OLD_OPERATORS: dict[str, Operator] = {
    "eq": "in",
    "in": "in",
    "ne": "nin",
    "gt": "gt",
    "ge": "gte",
    "lt": "lt",
    "le": "lte",
}
OLD_PAGING = {"page": "from 1", "per_page": "users on a page, 10 or as many as this, at most 100"}
OLD_PER_PAGE = 10
LISTING_FORBIDDEN = "Users retrieving forbidden in admin panel: `ringbook app set {app} users_v1_list true` allows it"
CANNOT_RESET = "cannot be reset by mail: an admin can, with `ringbook users reset-password ID`"


# ── one's own account ────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(call: Call) -> Answer:
    """Sign up

    Login or email is required, and a password of 8 characters or more. Login (3 to 70 characters), email,
    external_user_id and facebook_id are unique in the application, in any case. Outer blanks are trimmed, but not in
    passwords. At most: email 254 characters, phone 64, website and avatar 2,000, custom_data 20,000, other texts 255;
    5 tags of 64 characters; a website without a scheme gains http://. `timezone` is in minutes. A phone is kept as it
    was typed, whatever it is, and need not be unique; contacts are matched by its number.
    """
    fields = fields_of(call)
    user = users.sign_up(call.db, call.config.limits, call.app, fields, call.address, call.now)
    return Answer(OneUser(user_out(user)), status=201)


def change(call: Call) -> Answer:
    """Change oneself

    Only what is sent changes; null or a blank text removes a value. A new password needs the old one, and ends the
    user's other sessions. The rules are those of signing up. A guest changes neither login, email, phone nor password.
    """
    user = users.update(
        call.db,
        call.config.limits,
        call.caller,
        call.path_id(),
        fields_of(call),
        session=sessions.digest(call.token),
        now=call.now,
    )
    return Answer(OneUser(user_out(user)))


def fields_of(call: Call) -> Fields:
    """What the app says about its user: the fields that are there."""
    values = call.values.get("user")
    if not isinstance(values, dict):
        raise errors.Invalid("is required", field="user")
    given = take(UserIn, values)
    said = {name: getattr(given, name) for name in UserIn.__struct_fields__ if getattr(given, name) is not UNSET}
    if values.get("oldPassword") is not None and "old_password" not in said:  # Flutter's spelling (protocol §3.4)
        said["old_password"] = text(values["oldPassword"], "old_password")
    return cast(Fields, said)


def leave(call: Call) -> Answer:
    """Delete oneself

    With the user's sessions, address books and everything else about the user.
    """
    users.leave(call.db, call.caller, call.path_id())
    return Answer()


def leave_by_external_id(call: Call) -> Answer:
    """Delete oneself, named by external id"""
    me = users.find(call.db, call.config.limits, call.caller, "id", call.user_id, call.now)
    if external_id(call) not in (me.external_id, str(me.external_user_id)):
        raise errors.Forbidden("You may only delete yourself")
    users.leave(call.db, call.caller, me.id)
    return Answer()


def reset_password(call: Call) -> Answer:
    """Reset a forgotten password

    Refused for now, since this server sends no mail: an admin can, with `ringbook users reset-password ID`.
    """
    raise errors.Invalid(CANNOT_RESET, field="password")


# ── one user ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show(call: Call) -> Answer:
    """Look a user up by id

    Of somebody else, phone and email (and a login that is one of these) are null unless the caller holds the user's
    number in an address book, or the application's setting `profiles` is `open`.
    """
    return found(call, "id", call.path_id())


def by_login(call: Call) -> Answer:
    """Look a user up by login"""
    return found(call, "login", parameter(call, "login"))


def by_email(call: Call) -> Answer:
    """Look a user up by email

    Costs one permit, as a number that is new to an address book does, whether somebody has it or not.
    """
    return found(call, "email", parameter(call, "email"))


def by_phone(call: Call) -> Answer:
    """Look a user up by phone, in any spelling

    The oldest user with the number. Costs one permit unless the caller holds the number, whether or not anybody has it.
    """
    return found(call, "phone", parameter(call, "phone"))


def by_facebook_id(call: Call) -> Answer:
    """Look a user up by Facebook id"""
    return found(call, "facebook_id", parameter(call, "facebook_id"))


def by_twitter_id(call: Call) -> Answer:
    """Look a user up by Twitter id"""
    return found(call, "twitter_id", parameter(call, "twitter_id"))


def by_external_id(call: Call) -> Answer:
    """Look a user up by external id

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


def parameter(call: Call, name: str) -> str:
    """A parameter that must be there."""
    value = call.values.get(name)
    if value is None or value == "":
        raise errors.Invalid("is required", field=name)
    return text(value, name)


def external_id(call: Call) -> str:
    """The external id in the path."""
    name = text(call.request.path_params["id"], "id")
    if not name:
        raise errors.NotFound("Not found")
    return name


# ── V2: users by a query ─────────────────────────────────────────────────────────────────────────────────────────────


def search(call: Call) -> Answer:
    """Look users up by a query

    `field=value`, `field[in][]=…`, `field[nin][]=…` (up to 1,000 values each), `field[start_with]=…` (4 characters or
    more, shows at most 5 users), and for dates `field[gt|gte|lt|lte]=…` (ISO 8601 or Unix seconds). All conditions
    must hold, and at least one of them be `=`, `in` or `start_with` on a field that is no date. Each phone and email
    that is named costs one permit unless the caller holds it, whether somebody has it or not; while the application's
    setting `profiles` is `known`, neither can be searched by beginning nor sorted by.
    """
    query = query_of(call)
    page, total = users.search(call.db, call.config.limits, call.caller, query, call.now)
    return Answer(UserPage(query.limit, query.offset, total, [user_out(user) for user in page]))


def query_of(call: Call) -> Query:
    """The query in the request's parameters; Invalid says what of it cannot be asked."""
    values = {name: value for name, value in call.values.items() if value is not None}
    asked = [one for name in values.keys() - PAGING.keys() for one in asked_of(name, values[name])]
    if not any(user_search.stands_alone(one) for one in asked):
        raise errors.Invalid("The query needs a field that is no date with =, in or start_with")
    if any(one.operator in user_search.COMPARING and one.field in user_search.NUMBERS for one in asked):
        raise errors.Invalid("Only dates can be compared")
    return user_search.query(
        call.app,
        asked,
        sort=text(values.get("sort_desc") or values.get("sort_asc") or "id", "sort"),
        descending=bool(values.get("sort_desc")),
        offset=integer(values.get("offset", 0), "offset"),
        limit=integer(values.get("limit", user_search.MOST_PER_PAGE), "limit"),
    )


def asked_of(field: str, value: Any) -> list[Asked]:
    """The conditions on one field: `x`, `["x", "y"]` or `{"in": ["x", "y"], "gt": …}`."""
    if not isinstance(value, dict):
        listed = value if isinstance(value, list) else [value]
        return [Asked(field, "in", tuple(read(field, item) for item in listed))]
    return [Asked(field, operator(name, field), operands(field, name, inner)) for name, inner in value.items()]


def operator(name: str, field: str, known: dict[str, Operator] = OPERATORS) -> Operator:
    """An operator by its name."""
    if name not in known:
        raise errors.Invalid(f"has an operator that is not one of {', '.join(known)}", field=field)
    return known[name]


def operands(field: str, operator: str, value: Any) -> tuple[str | int, ...]:
    """The values of an operator: for lists also a text with commas."""
    if operator not in ("in", "nin"):
        return (read(field, value),)
    listed = value if isinstance(value, list) else texts(value, field)
    return tuple(read(field, item) for item in listed)


def read(field: str, value: Any) -> str | int:
    """A value as its field's kind."""
    if field not in FIELDS:
        raise errors.Invalid("is not a field that users can be searched by", field=field)
    return reader(field)(value, field)


def reader(field: str) -> Callable[[Any, str], str | int]:
    """What reads a field's values."""
    if field in user_search.NUMBERS:
        return integer
    return moment if field in user_search.DATES else text


# ── V1: lists ────────────────────────────────────────────────────────────────────────────────────────────────────────


def list_users(call: Call) -> Answer:
    """List users (V1)

    `filter[]=TYPE FIELD OPERATOR VALUE` with eq, ne, in, gt, ge, lt, le or between; `order=asc|desc TYPE FIELD`. With
    a filter `id in` or `id eq` this always works; without one, only if the application's setting `users_v1_list`
    allows it. What V2 says of phones and emails holds here too.
    """
    asked = [one for filter_ in filters(call.values.get("filter")) for one in old_asked(filter_)]
    if not any(one.field == "id" and one.operator == "in" for one in asked):
        allow_listing(call)
    return old_page(call, asked)


def by_full_name(call: Call) -> Answer:
    """Look users up by full name (V1)

    If the application's setting `users_v1_list` allows it.
    """
    allow_listing(call)
    return old_page(call, [Asked("full_name", "in", (parameter(call, "full_name"),))])


def by_tags(call: Call) -> Answer:
    """Look users up by tags (V1)

    Users with at least one of the tags, if the application's setting `users_v1_list` allows it.
    """
    allow_listing(call)
    tags = texts(call.values.get("tags") or parameter(call, "tags"), "tags")
    return old_page(call, [Asked("user_tags", "in", tuple(tags))])


def allow_listing(call: Call) -> None:
    """Refuse to list users unless the application's owner wants it (protocol §1.6)."""
    if not call.app.settings.users_v1_list:
        raise errors.Invalid(LISTING_FORBIDDEN.format(app=call.app.id))


def old_page(call: Call, asked: list[Asked]) -> Answer:
    """A page of users, each wrapped."""
    number, size = page_number(call, "page", 1), min(page_number(call, "per_page", OLD_PER_PAGE), 100)
    sort, descending = order(call.values.get("order"))
    offset = (number - 1) * size
    query = user_search.query(call.app, asked, sort=sort, descending=descending, offset=offset, limit=size)
    page, total = users.search(call.db, call.config.limits, call.caller, query, call.now)
    return Answer(OldUserPage(number, size, total, [OneUser(user_out(user)) for user in page]))


def page_number(call: Call, name: str, default: int) -> int:
    """A parameter that counts from 1."""
    value = call.values.get(name)
    number = default if value is None or value == "" else integer(value, name)
    if not 1 <= number <= user_search.LARGEST_OFFSET // 100:
        raise errors.Invalid("must be 1 or more", field=name)
    return number


def order(value: Any) -> tuple[str, bool]:
    """`desc date created_at` as the field and whether it descends; by id when there is none."""
    if not value:
        return "id", False
    words = text(value, "order").split()
    if len(words) != 3 or words[0] not in ("asc", "desc"):
        raise errors.Invalid("must be asc or desc, a type and a field", field="order")
    return words[2], words[0] == "desc"


def filters(value: Any) -> list[str]:
    """The filters in `filter[]=…`, `filter[gt]=…` or `filter=…`."""
    listed = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    return [text(item, "filter") for item in listed if item]


def old_asked(filter_: str) -> list[Asked]:
    """`number id in 1,2` as a condition; `between` as two."""
    words = filter_.split(maxsplit=3)
    if len(words) != 4:
        raise errors.Invalid("must be a type, a field, an operator and a value", field="filter")
    _, field, name, value = words
    if name == "between":
        low, comma, high = value.partition(",")
        if not comma:
            raise errors.Invalid("between needs two values with a comma", field="filter")
        return [Asked(field, "gte", (old_read(field, low),)), Asked(field, "lte", (old_read(field, high),))]
    listed = texts(value, field) if name == "in" else [value]
    values = tuple(old_read(field, item) for item in listed)
    return [Asked(field, operator(name, field, OLD_OPERATORS), values)]


def old_read(field: str, value: str) -> str | int:
    """A value as its field's kind; dates are also written 2018.12.05."""
    return read(field, value.replace(".", "-") if field in user_search.DATES else value)


QUERY = PAGING | dict.fromkeys(FIELDS, "a value, or with an operator in brackets")

ROUTES: list[Route] = [
    Route(
        method="POST",
        path="/users",
        handler=sign_up,
        who=Who.APPLICATION,
        status=201,
        request=UserRequest,
        answer=OneUser,
        refusals=(422, 429),
        hashes=True,
    ),
    Route(
        method="GET",
        path="/users",
        handler=list_users,
        query=OLD_PAGING | {"filter[]": "TYPE FIELD OPERATOR VALUE, any number of times", "order": "asc TYPE FIELD"},
        answer=OldUserPage,
        refusals=(422, 429),
    ),
    Route(method="GET", path="/users/v2", handler=search, query=QUERY, answer=UserPage, refusals=(422, 429)),
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
    Route(
        method="GET",
        path="/users/by_full_name",
        handler=by_full_name,
        query={"full_name": "the whole name, in any case", **OLD_PAGING},
        answer=OldUserPage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/users/by_tags",
        handler=by_tags,
        query={"tags": "with commas between", **OLD_PAGING},
        answer=OldUserPage,
        refusals=(422,),
    ),
    *(
        Route(
            method=method,
            path="/users/password/reset",
            handler=reset_password,
            who=Who.SESSION,
            status=422,
            refusals=(422,),
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
    Route(method="GET", path="/users/{id}", handler=show, answer=OneUser, refusals=(404,)),
    Route(
        method="PUT",
        path="/users/{id}",
        handler=change,
        request=UserRequest,
        answer=OneUser,
        refusals=(404, 422, 429),
        hashes=True,
    ),
    Route(method="DELETE", path="/users/{id}", handler=leave, refusals=(404,)),
]
