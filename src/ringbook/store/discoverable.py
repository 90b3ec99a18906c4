"""The preference `discoverable`: who finds a user by a number.

Rules                    which numbers an application's users find; the condition for rows of the table `numbers`
mutual                   those of some users whose books contain a number of the viewer
chosen, of_user          what users have chosen, or one user
of_numbers, of_logins    the users with these numbers or logins, and what they have chosen

The codes are those of the columns `preferences.discoverable` and `numbers.discoverable`. The second is a copy of the
first, because the reading of registered contacts joins `numbers` alone. Whoever writes a row of `numbers` sets it.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from ..preferences import AUDIENCES, Audience
from ..profile_fields import FIELDS
from . import numbers, profiles
from .db import Rows, Tx
from .preferences import audience, code

NOT_CHOSEN = code(None)
CODES = (NOT_CHOSEN, *map(code, AUDIENCES))


class Rules(Struct, frozen=True):
    """Which numbers an application's users find.

    verified_only   only verified numbers count
    default         who finds users who have not chosen
    choice          does a choice count?
    """

    verified_only: bool
    default: Audience
    choice: bool

    def audience(self, code: int) -> Audience:
        """Who finds a user with this code."""
        return (audience(code) if self.choice else None) or self.default

    def codes(self, wanted: Audience) -> frozenset[int]:
        """The codes of users whom this audience finds."""
        return _codes(self, wanted)

    def condition(self) -> str:
        """True of rows `n` of numbers that count, and whose user is found by somebody, or is :viewer."""
        return _condition(self)

    def found(self, alias: str) -> str:
        """True of rows with a code of users whom somebody finds."""
        return _found(self, alias)

    def params(self, viewer_id: int) -> dict[str, int]:
        """The parameters of a statement with the condition."""
        return {"viewer": viewer_id}


@lru_cache
def _codes(rules: Rules, wanted: Audience) -> frozenset[int]:
    return frozenset(code for code in CODES if rules.audience(code) == wanted)


@lru_cache
def _condition(rules: Rules) -> str:
    counts = "" if not rules.verified_only else "n.verified_at IS NOT NULL AND "
    return f"{counts}({_found(rules, 'n')} OR n.user_id = :viewer)"


@lru_cache
def _found(rules: Rules, alias: str) -> str:
    hidden = sorted(_codes(rules, "nobody"))
    return " AND ".join(f"{alias}.discoverable <> {code}" for code in hidden) or "1 = 1"


def mutual(tx: Tx, viewer_id: int, user_ids: Collection[int], *, verified_only: bool) -> set[int]:
    """Those of these users who have a number of the viewer (with `verified_only`: a verified one) in any book."""
    rows = tx.tuples(
        "SELECT DISTINCT c.owner_id FROM numbers AS n CROSS JOIN contacts AS c WHERE n.user_id = :viewer"
        " AND (n.verified_at IS NOT NULL OR :verified_only = 0)"
        " AND c.app_id = n.app_id AND c.number = n.number AND c.owner_id IN :user_ids",
        viewer=viewer_id,
        verified_only=int(verified_only),
        user_ids=Rows.of("id", sorted(user_ids)),
    )
    return {row[0] for row in rows}


def chosen(tx: Tx, user_ids: Collection[int]) -> dict[int, int]:
    """By user: the code that the user has chosen, without those who have not chosen."""
    rows: Any = tx.tuples(
        f"SELECT user_id, discoverable FROM preferences WHERE user_id IN :ids AND discoverable <> {NOT_CHOSEN}",
        ids=Rows.of("id", sorted(user_ids)),
    )
    return dict(rows)


def of_user(tx: Tx, user_id: int) -> int:
    """The code for the user's rows of `numbers`."""
    return chosen(tx, [user_id]).get(user_id, NOT_CHOSEN)


def of_numbers(tx: Tx, app_id: int, wanted: Sequence[int]) -> dict[int, int]:
    """By user: the code of each user who has one of these numbers."""
    rows: Any = tx.tuples(
        "SELECT n.user_id, n.discoverable FROM :numbers AS v CROSS JOIN numbers AS n"
        " WHERE n.app_id = :app_id AND n.number = v.number",
        app_id=app_id,
        numbers=Rows.of("number", sorted(numbers.keyed_all(tx, app_id, wanted))),
    )
    return dict(rows)


def of_logins(tx: Tx, app_id: int, folded: Sequence[str]) -> dict[str, int]:
    """By folded login: the user who has it."""
    field = FIELDS["login"]
    given = {profiles.found_by(tx, app_id, field, login): login for login in folded}
    rows = tx.tuples(
        f"SELECT u.{field.found_column}, u.id FROM users AS u"
        f" WHERE u.app_id = :app_id AND u.{field.found_column} IN :logins",
        app_id=app_id,
        logins=Rows.of("login", list(given)),
    )
    return {given[value]: user_id for value, user_id in rows}
