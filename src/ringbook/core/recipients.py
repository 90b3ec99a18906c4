"""Recipients of an event: by ids, by external ids, or by tags.

    Recipients   as the sender names them, in one of the three ways
    check        refuses recipients that are missing, too many or named in several ways
    found        the ids of the users, or the refusal when the tags match too many
    charged      how many recipients a request is charged for
    fits         do a user's tags meet the conditions?

The bound on recipients holds however they are named. Users are looked for by one tag at a time, so that no request
reads more rows of the table of tags than `MOST_TAGGED` allows.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct

from .. import errors
from ..store import users
from ..store.db import Tx

MOST_RECIPIENTS = 100
MOST_TAGS = 20
MOST_TAGGED = 1_000  # the most users whose tags one event compares
TOO_MANY_TAGGED = f"match too many users: an event has at most {MOST_RECIPIENTS} recipients"


class Recipients(Struct, frozen=True, kw_only=True):
    """The recipients as the sender names them.

    external_ids   compared with `external_id`, else with `external_user_id`
    any_tags       a recipient has at least one of these tags
    all_tags       a recipient has exactly these tags
    no_tags        a recipient has none of these tags; only together with one of the other two
    """

    ids: Sequence[int] = ()
    external_ids: Sequence[str] = ()
    any_tags: Sequence[str] = ()
    all_tags: Sequence[str] = ()
    no_tags: Sequence[str] = ()

    @property
    def tags(self) -> Sequence[str]:
        """All tags that are named."""
        return [*self.any_tags, *self.all_tags, *self.no_tags]


def check(to: Recipients) -> None:
    """Raises Invalid with the field unless recipients are named in one way, and not too many of them."""
    named = [
        field for field, values in (("ids", to.ids), ("external_ids", to.external_ids), ("tags", to.tags)) if values
    ]
    if not named:
        raise errors.Invalid("can't be blank", field="ids")
    if len(named) > 1:
        raise errors.Invalid(f"cannot be combined with {named[0]}: name recipients in one way", field=named[1])
    for field, values in (("ids", to.ids), ("external_ids", to.external_ids)):
        if len(set(values)) > MOST_RECIPIENTS:
            raise errors.Invalid(f"has more than {MOST_RECIPIENTS} users", field=field)
    if len(set(to.tags)) > MOST_TAGS:
        raise errors.Invalid(f"has more than {MOST_TAGS} tags", field="tags")
    if to.no_tags and not (to.any_tags or to.all_tags):
        raise errors.Invalid("must have `any` or `all` beside `exclude`", field="tags")


def found(tx: Tx, app_id: int, to: Recipients) -> list[int] | errors.Invalid:
    """The ids of the recipients in order, also of users who do not exist; or why there are too many."""
    if to.ids:
        return sorted(set(to.ids))
    if to.external_ids:
        return _bounded(_external(tx, app_id, to.external_ids), "external_ids")
    return _tagged(tx, app_id, to)


def charged(to: Recipients, found_: Sequence[int]) -> int:
    """How many recipients a request is charged for: as many as it names, or as many users as have the tags."""
    return len(set(to.ids)) or len(set(to.external_ids)) or max(1, len(found_))


def _external(tx: Tx, app_id: int, names: Sequence[str]) -> list[int]:
    most = MOST_RECIPIENTS + 1  # an external id need not be unique
    found_ = users.with_external_ids(tx, app_id, sorted(set(names)), most)
    known = {name for _, name in found_}
    numbers = {int(name) for name in names if name not in known and _is_number(name)}
    by_number = users.with_external_user_ids(tx, app_id, sorted(numbers)) if numbers else []
    return [*(user_id for user_id, _ in found_), *by_number]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19


def _tagged(tx: Tx, app_id: int, to: Recipients) -> list[int] | errors.Invalid:
    folded = Recipients(any_tags=_folded(to.any_tags), all_tags=_folded(to.all_tags), no_tags=_folded(to.no_tags))
    candidates = _candidates(tx, app_id, folded)
    if candidates is None:
        return errors.Invalid(TOO_MANY_TAGGED, field="tags")
    own: dict[int, set[str]] = {}
    for user_id, tag in users.tags_of(tx, candidates):
        own.setdefault(user_id, set()).add(tag)
    return _bounded([user_id for user_id, tags in own.items() if fits(tags, folded)], "tags")


def _candidates(tx: Tx, app_id: int, to: Recipients) -> list[int] | None:
    """Users among whom all recipients are; None when there are too many to compare."""
    bases: list[Sequence[str]] = [[tag] for tag in to.all_tags] or [to.any_tags]
    for tags in bases:
        if len(ids := users.tagged(tx, app_id, tags, MOST_TAGGED + 1)) <= MOST_TAGGED:
            return sorted(set(ids))
    return None


def fits(own: AbstractSet[str], to: Recipients) -> bool:
    """Do a user's tags meet all conditions?"""
    return (
        (not to.any_tags or not own.isdisjoint(to.any_tags))
        and (not to.all_tags or own == set(to.all_tags))
        and own.isdisjoint(to.no_tags)
    )


def _folded(tags: Iterable[str]) -> list[str]:
    return sorted({users.fold(tag) for tag in tags})


def _bounded(ids: Sequence[int], field: str) -> list[int] | errors.Invalid:
    one = sorted(set(ids))
    return one if len(one) <= MOST_RECIPIENTS else errors.Invalid(TOO_MANY_TAGGED, field=field)
