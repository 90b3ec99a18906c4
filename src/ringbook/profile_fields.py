"""The fields of a user's profile: each is declared once, as a field of `Profile`.

    Profile            the values; the type and the declaration (`field`) of each stand beside its name
    field(…)           description, bounds, check and uses of one field
    declared(struct)   the declarations of a struct, by key
    FIELDS             the declarations of `Profile`
    IMPORT_COLUMNS     the columns of a file of users
    fold(text)         the form of a text in which texts are compared
    LONGEST_READ       the longest texts that are read at all; check_readable refuses a longer one

Made from these declarations: the requests and answers of the API and their description, what is checked and stored,
the columns that `store/` reads and writes, the fields of searches, the columns of imports, the export of a user, the
dashboard's page of a user, and the table in docs/api.md. The columns of `users` that hold a field follow from its
declaration (`Field.columns`); they are made in `store/migrations/`.
"""

import re
import typing
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from . import errors

# Takes a value that is not blank and the key by which errors name it. Returns the value to store, or raises Invalid.
Check = Callable[[Any, str], Any]
Sealed = Literal["", "always", "if private"]

DAY_MINUTES = 24 * 60
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
FOLDED_CHARACTERS = 1_000
MAX_TAGS = 5
MAX_TAG_CHARACTERS = 64
# By the name of a field in requests, in characters. A longer text is refused before it is folded, before a regular
# expression runs on it and before a number is looked for in it. What may be stored is shorter: see `Profile`.
LONGEST_READ = {"login": 255, "email": 255, "phone": 256, "number": 256}
LONGEST_TOKEN = 8_192  # of a login that an application's identity provider is asked about
LONGEST_QUERY = 8_192  # characters of all texts in the conditions of one search together
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def fold(text: str) -> str:
    """The form of a text that comparisons use: composed, without case, without surrounding spaces.

    Texts longer than `FOLDED_CHARACTERS` are cut: no field that is compared is that long, and composing takes quadratic
    time.
    """
    text = text[:FOLDED_CHARACTERS]
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def is_readable(text: str, key: str) -> bool:
    """Whether the text is no longer than what is read of this field."""
    return len(text) <= LONGEST_READ.get(key, len(text))


def check_readable(text: str, key: str) -> None:
    """Refuse a text that is longer than what is read of this field. Raises Invalid."""
    if not is_readable(text, key):
        raise errors.Invalid(f"is too long (maximum is {LONGEST_READ[key]} characters)", field=key)


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def email_address(text: str, key: str) -> str:
    """A text with one @ and no blanks."""
    if not EMAIL.fullmatch(text):
        raise errors.Invalid("must be an e-mail address", field=key)
    return text


def web_address(text: str, key: str) -> str:
    """An http or https address; http:// is added if the text has no scheme."""
    scheme = SCHEME.match(text)
    if not scheme:
        return f"http://{text}"
    if scheme[1].lower() not in ("http", "https"):
        raise errors.Invalid("must be an http or https address", field=key)
    return text


def minutes_of_a_day(minutes: int, key: str) -> int:
    """Minutes, at most a day of them in either direction."""
    if abs(minutes) > DAY_MINUTES:
        raise errors.Invalid("must be minutes, a day of them at most", field=key)
    return minutes


def tags(texts: list[str], key: str) -> str | None:
    """The tags with commas between them; of tags that differ only in case, the first."""
    each = {fold(tag): tag.strip() for tag in reversed(texts) if tag.strip()}
    if len(each) > MAX_TAGS:
        raise errors.Invalid(f"has more than {MAX_TAGS} tags", field=key)
    if any("," in tag or len(tag) > MAX_TAG_CHARACTERS for tag in each.values()):
        reason = f"has a tag with a comma or of more than {MAX_TAG_CHARACTERS} characters"
        raise errors.Invalid(reason, field=key)
    return ",".join(reversed(each.values())) or None


# ── the declarations ─────────────────────────────────────────────────────────────────────────────────────────────────


def field(
    help: str = "",
    *,
    max_characters: int = 0,
    min_characters: int = 0,
    check: Check | None = None,
    folded: bool = False,
    unique: bool = False,
    sealed: Sealed = "",
    searchable: bool = False,
    imported: bool = False,
    exported: bool = True,
    identifying: bool = False,
    requested_as: str = "",
    requested_type: Any = None,
    requested_help: str = "",
    example: str | None = None,
) -> Meta:
    """Declare one field.

    help              what it holds: a phrase for the description of the API and the documentation
    max_characters    the longest text, after outer blanks are trimmed; every text needs it
    min_characters    the shortest text
    check             checks a value that is not blank, and returns the value to store
    folded            comparisons use its folded form, so that case does not matter
    unique            no two users of an application have the same value; the migration makes an index that ensures it
    sealed            "always": it is stored sealed, so that users are found by whole values only; "if private": it is
                      stored sealed if it reads like a phone number or an e-mail address, else in clear
    searchable        users can be searched by it, and sorted by it where it is stored in clear
    imported          a file of users may have it as a column
    exported          the export of a user and the dashboard show it
    identifying       it says who the user is: guests cannot change it, and a look-up by it may cost permits
    requested_as      its name in requests, if that is not its key
    requested_type    its type in requests, if that is not its type
    requested_help    `help` for requests, if that differs
    example           a value for the description of the API
    """
    bounds = _bounds(min_characters, max_characters)
    distinct = f"unique in the application{', in any case' if folded else ''}" if unique else ""
    extra = {
        "max_characters": max_characters,
        "min_characters": min_characters,
        "check": check,
        "folded": folded,
        "unique": unique,
        "sealed": sealed,
        "searchable": searchable,
        "imported": imported,
        "exported": exported,
        "identifying": identifying,
        "requested_as": requested_as,
        "requested_type": requested_type,
        "example": example,
        "requested_help": "; ".join(part for part in (requested_help or help, bounds, distinct) if part),
    }
    described = "; ".join(part for part in (help, bounds, distinct) if part)
    return Meta(description=described or None, examples=None if example is None else [example], extra=extra)


def _bounds(least: int, most: int) -> str:
    if not most:
        return ""
    return f"{least} to {most:,} characters" if least else f"at most {most:,} characters"


class Profile(Struct, frozen=True, gc=False):
    """A user's id, and what an app may store about its user. A value can be made from a row, without names.

    Where the protocol states no bound, the bound is ours (docs/wire.md §3.2).
    """

    id: Annotated[int, Meta(ge=1, le=2**31 - 1, examples=[271])]
    login: (
        Annotated[
            str,
            field(
                min_characters=3,
                max_characters=70,
                folded=True,
                unique=True,
                sealed="if private",
                searchable=True,
                imported=True,
                identifying=True,
                example="ann",
            ),
        ]
        | None
    )
    email: (
        Annotated[
            str,
            field(
                max_characters=254,
                check=email_address,
                folded=True,
                unique=True,
                sealed="always",
                searchable=True,
                imported=True,
                identifying=True,
                example="ann@example.com",
            ),
        ]
        | None
    )
    phone: (
        Annotated[
            str,
            field(
                "in any spelling",
                max_characters=64,
                sealed="always",
                searchable=True,
                imported=True,
                identifying=True,
                example="+44 7700 900123",
            ),
        ]
        | None
    )
    full_name: (
        Annotated[
            str,
            field(max_characters=255, folded=True, searchable=True, imported=True, example="Ann Example"),
        ]
        | None
    )
    external_id: (
        Annotated[str, field("your own id of the user", max_characters=255, searchable=True, imported=True)] | None
    )
    external_user_id: (
        Annotated[int, field("your own id of the user, as a number", unique=True, searchable=True, imported=True)]
        | None
    )
    facebook_id: Annotated[str, field(max_characters=255, unique=True, searchable=True, imported=True)] | None
    twitter_id: Annotated[str, field(max_characters=255, searchable=True, imported=True)] | None
    website: (
        Annotated[
            str,
            field(
                "an http or https address; http:// is added if it has no scheme",
                max_characters=2_000,
                check=web_address,
            ),
        ]
        | None
    )
    avatar: Annotated[str, field(max_characters=2_000)] | None
    custom_data: Annotated[str, field("any text, also JSON; every user may read it", max_characters=20_000)] | None
    timezone: Annotated[int, field("minutes, a day of them at most", check=minutes_of_a_day)] | None
    user_tags: (
        Annotated[
            str,
            field(
                "tags, separated by commas",
                check=tags,
                searchable=True,
                exported=False,  # the rows of the table `tags` are
                requested_as="tag_list",
                requested_type=list[str],
                requested_help=f"at most {MAX_TAGS} tags of at most {MAX_TAG_CHARACTERS} characters; also as a text"
                " with commas; answers have it as `user_tags`, a text with commas",
                example="vip,climbing",
            ),
        ]
        | None
    )


class Field(Struct, frozen=True, kw_only=True):
    """The declaration of one field; `field` explains the attributes that it shares with it."""

    key: str
    type: Any
    help: str
    max_characters: int
    min_characters: int
    check: Check | None
    folded: bool
    unique: bool
    sealed: Sealed
    searchable: bool
    imported: bool
    exported: bool
    identifying: bool
    requested_as: str
    requested_type: Any
    requested_help: str
    example: str | None

    @property
    def request_meta(self) -> Meta:
        """What the description of the API says of it in requests."""
        shown = None if self.example is None or self.requested_type is not self.type else [self.example]
        return Meta(description=self.requested_help or None, examples=shown)

    # What `core/` gives to `store/` and gets from it: everything in clear.

    @property
    def folded_key(self) -> str:
        """The name of the folded form; "" for a field without one."""
        return f"{self.key}_folded" if self.folded else ""

    @property
    def compared_key(self) -> str:
        """The name of the form in which the field is compared."""
        return self.folded_key or self.key

    @property
    def private_key(self) -> str:
        """The name of the flag (0 or 1) that says whether the value must be sealed; "" where none decides."""
        return f"{self.key}_private" if self.sealed == "if private" else ""

    @property
    def values(self) -> dict[str, Any]:
        """The names of the field's values in clear, with their types."""
        names = {self.key: self.type, self.folded_key: str, self.private_key: int}
        return {name: kind for name, kind in names.items() if name}

    # What the table `users` holds.

    @property
    def sealed_column(self) -> str:
        """The column of sealed values; "" for a field that is always stored in clear."""
        return {"": "", "always": self.key, "if private": f"{self.key}_sealed"}[self.sealed]

    @property
    def keyed_column(self) -> str:
        """The column of the keyed value, by which a whole value of a sealed field is found; "" without one."""
        return f"{self.key}_keyed" if self.sealed and self.unique else ""

    @property
    def ordered_column(self) -> str:
        """The column by which users are sorted and found by a beginning; "" for a field that is always sealed."""
        return "" if self.sealed == "always" else self.compared_key

    @property
    def found_column(self) -> str:
        """The column by which users are found by whole values; "" if another table is used."""
        return self.keyed_column or self.ordered_column

    @property
    def columns(self) -> dict[str, Any]:
        """The columns, with their types."""
        names = {self.key: bytes if self.sealed == "always" else self.type}
        if self.sealed != "always":
            names[self.folded_key] = str
        names |= {self.sealed_column: bytes, self.keyed_column: bytes}
        return {name: kind for name, kind in names.items() if name}

    @property
    def documented_type(self) -> str:
        """The type of its value in requests, in words."""
        return {str: "text", int: "whole number"}.get(self.requested_type, "list of texts")

    def stored(self, value: Any) -> Any:
        """The value to store for a value of a request: trimmed and checked; None for none and for a blank text.

        Raises Invalid with the field's name in requests.
        """
        if isinstance(value, str):
            value = value.strip() or None
            self._check_length(value or "")
        if value is None or not self.check:
            return value
        return self.check(value, self.requested_as)

    def _check_length(self, text: str) -> None:
        if len(text) > self.max_characters:
            raise errors.Invalid(f"is too long (maximum is {self.max_characters} characters)", field=self.requested_as)
        if text and len(text) < self.min_characters:
            raise errors.Invalid(f"is too short (minimum is {self.min_characters} characters)", field=self.requested_as)


def declared(struct: type[Struct]) -> dict[str, Field]:
    """The declarations of a struct's fields, by key."""
    found = {}
    for one in msgspec.structs.fields(struct):
        annotated = typing.get_args(one.type)[0]
        if typing.get_origin(annotated) is not Annotated:
            continue  # the id: no app says it
        plain, meta = typing.get_args(annotated)
        extra = dict(meta.extra)
        extra["requested_as"] = extra["requested_as"] or one.name
        extra["requested_type"] = extra["requested_type"] or plain
        found[one.name] = Field(key=one.name, type=plain, help=meta.description or "", **extra)
    return found


FIELDS = declared(Profile)
IMPORT_COLUMNS = (
    "id",
    *(key for key, one in FIELDS.items() if one.imported),
    "verified",
    "last_request_at",
    "created_at",
)
