"""The wire format of both dialects: fields, dates, errors and statuses.

    Dialect                                  ConnectyCube or QuickBlox
    take(kind, values)                       reads a request's values leniently as a struct of `kind`
    integer, flag, text, moment              read one value leniently
    integers, texts                          read several values leniently
    keyword                                  a name of the wire format in lower case
    status, refusal                          the status and body of a refusal
    named                                    names the field of a refusal as the wire does
    iso, expiration                          dates in bodies and in headers

The types of requests and answers are in `shapes/`.
Sources: docs/wire.md, section by section.
"""

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, NewType, TypeVar

import msgspec
from msgspec import Struct, UnsetType

from .. import errors, profile_fields
from ..exchange import statuses
from ..times import DAY, MINUTE

T = TypeVar("T", bound=Struct)
SignInLogin = NewType("SignInLogin", str)


class Dialect(Enum):
    """The family of SDKs that the caller belongs to."""

    CONNECTYCUBE = "CB"
    QUICKBLOX = "QB"


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# Without a field, these have the body {"errors": {"base": […]}}, the others {"errors": […]} (protocol §1.6).
MAPPED = (errors.Invalid, errors.Forbidden, errors.SessionGone)


def status(refused: errors.Refused, dialect: Dialect) -> int:
    """The status of a refusal; QuickBlox answers 422 where a user is needed, ConnectyCube 403."""
    if dialect is Dialect.QUICKBLOX and isinstance(refused, errors.NeedUser):
        return 422
    return statuses.status_of(type(refused), statuses.API)


class Errors(Struct):
    """A refusal: reasons as a list, or by field (`base` for the request as a whole)."""

    errors: list[str] | dict[str, list[str]]


def refusal(refused: errors.Refused) -> Errors:
    """The body of a refusal, in one of its two shapes."""
    if not (refused.field or isinstance(refused, MAPPED)):
        return Errors([refused.reason])
    reasons: dict[str, list[str]] = {}
    for one in (refused, *refused.others):
        reasons.setdefault(one.field or "base", []).append(one.reason)
    return Errors(reasons)


@contextmanager
def named(names: Mapping[str, str]) -> Iterator[None]:
    """A refusal inside names its field as the wire does.

    names   the names of fields in requests, by their names in core
    """
    try:
        yield
    except errors.Refused as refused:
        refused.field = names.get(refused.field, refused.field)
        raise


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────────────────


# Answers hold many dates. These tables and a cache of days take an eighth of the time of strftime.
MINUTES = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
SECONDS = [f"{second:02}" for second in range(60)]


def iso(seconds: int) -> str:
    """`2018-12-05T11:58:02Z`, as in every body."""
    return f"{_day(seconds // DAY)}T{MINUTES[seconds % DAY // MINUTE]}:{SECONDS[seconds % MINUTE]}Z"


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return datetime.fromtimestamp(days * DAY, UTC).strftime("%Y-%m-%d")


def iso_or_none(seconds: int | None) -> str | None:
    """`iso`, or null."""
    return None if seconds is None else iso(seconds)


def expiration(seconds: int) -> str:
    """`2021-06-04 12:10:53 UTC`: the one spelling of a token's end that every SDK parses (protocol §1.3, §11.4)."""
    return f"{_day(seconds // DAY)} {MINUTES[seconds % DAY // MINUTE]}:{SECONDS[seconds % MINUTE]} UTC"


# ── lenient reading ──────────────────────────────────────────────────────────────────────────────────────────────────

YES = {"1", "true"}
NO = {"0", "false", "", "null", "undefined"}


def integer(value: Any, field: str) -> int:
    """An integer, or the text of one; beyond 64 bits it is refused, since no database holds it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise errors.Invalid("must be an integer", field=field)
    try:
        number = int(value) if len(str(value)) < 20 else 2**64
    except ValueError:
        raise errors.Invalid("must be an integer", field=field) from None
    if abs(number) >= 2**63:
        raise errors.Invalid("must be an integer of at most 64 bits", field=field)
    return number


def flag(value: Any, field: str) -> bool:
    """A boolean in any of the spellings of protocol §1.4."""
    spelled = "" if value is None else str(value).lower()
    if spelled in YES | NO and isinstance(value, bool | int | str | None):
        return spelled in YES
    raise errors.Invalid("must be 0 or 1", field=field)


def text(value: Any, field: str) -> str:
    """A text without NUL and lone surrogates, which databases do not store; a number becomes its digits.

    One that is longer than what is read of this field is refused.
    """
    found = _storable(value, field)
    profile_fields.check_readable(found, field)
    return found


def sign_in_login(value: Any, field: str) -> str:
    """The login of a sign-in, which an identity provider may take as its own token: up to LONGEST_TOKEN characters."""
    found = _storable(value, field)
    if len(found) > profile_fields.LONGEST_TOKEN:
        raise errors.Invalid(f"is too long (maximum is {profile_fields.LONGEST_TOKEN} characters)", field=field)
    return found


def _storable(value: Any, field: str) -> str:
    """A text of any length."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise errors.Invalid("must be a text", field=field)
    if "\0" in value or not storable(value):
        raise errors.Invalid("holds characters that cannot be stored", field=field)
    return value


def keyword(value: str | None) -> str:
    """A name of the wire format, such as a channel or an environment, in lower case: `GCM` is `gcm`."""
    return (value or "").strip().lower()


def storable(value: str) -> bool:
    """Is it valid Unicode? Half an emoji (a lone surrogate) is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(value: Any, field: str) -> int:
    """A date as ISO 8601 or as Unix seconds → Unix seconds."""
    if isinstance(value, str) and not value.strip().lstrip("-").isdigit():
        try:
            when = datetime.fromisoformat(value.strip())
        except ValueError:
            raise errors.Invalid("must be a date: ISO 8601 or Unix seconds", field=field) from None
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    return integer(value, field)


def texts(value: Any, field: str) -> list[str]:
    """A list of texts, or a text with commas (also escaped ones, as QuickBlox sends them)."""
    if isinstance(value, list):
        return [part for item in value for part in texts(item, field)]
    parts = _storable(value, field).replace("%2c", ",").replace("%2C", ",").split(",")
    return [text(part.strip(), field) for part in parts if part.strip()]


def integers(value: Any, field: str) -> list[int]:
    """A list of integers, one alone, or a text with commas."""
    if isinstance(value, list):
        return [number for item in value for number in integers(item, field)]
    parts = texts(value, field) if isinstance(value, str) else [value]
    return [integer(part, field) for part in parts]


READERS: dict[Any, Callable[[Any, str], Any]] = {
    int: integer,
    bool: flag,
    str: text,
    SignInLogin: sign_in_login,
    list[int]: integers,
    list[str]: texts,
}


def take(kind: type[T], values: Any, *, field: str = "", faults: errors.Faults | None = None) -> T:
    """Reads a request's values as `kind`: ignores unknown names, reads values leniently, keeps null.

    faults   gets the refusals of fields that cannot be read, which are left out; without it, the first is raised

    Raises Invalid with the field.
    """
    if not isinstance(values, dict):
        raise errors.Invalid("must be an object", field=field)
    found = {}
    for name, key, reader in _fields(kind):
        if key in values:
            with faults.collected() if faults else nullcontext():
                found[name] = _read(reader, values[key], key)
    return kind(**found)


def _read(reader: Any, value: Any, field: str) -> Any:
    if value is None:
        return None
    if isinstance(reader, type) and issubclass(reader, Struct):
        return take(reader, value, field=field)
    return READERS[reader](value, field)


@lru_cache
def _fields(kind: type[Struct]) -> list[tuple[str, str, Any]]:
    """(attribute, name on the wire, reader) of each field."""
    hints = typing.get_type_hints(kind)
    info = msgspec.structs.fields(kind)
    return [(field.name, field.encode_name, _plain(hints[field.name])) for field in info]


def _plain(hint: Any) -> Any:
    """The type without None and UnsetType, as in `str | None | UnsetType`."""
    if typing.get_origin(hint) is Annotated:
        return _plain(typing.get_args(hint)[0])
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(_plain(part) for part in typing.get_args(hint) if part not in (types.NoneType, UnsetType))
    return hint
