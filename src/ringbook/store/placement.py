"""Each table once: where it lies on a cluster, and how each of its columns is stored.

    TABLES      by name; a test fails for a table or a column that is not named here
    of          those of a kind of database
    Table       one declaration
    reference, by, local   the three places

Places on a Citus cluster (docs/decisions/0003):

    reference   copied to every node: read in joins everywhere, written by all nodes together, so written seldom
    by a column distributed by it; the tables by `owner_id` and `user_id` are kept together with `books`
    local       on the coordinator only, and reached through it from every node

Storage of a column:

    plain       as it is: counts, times, ids, and what no one is harmed by
    keyed       a hash under a key: equal values can be found, no value can be read
    sealed      encrypted, bound to its place
    hashed      a hash without a key, of values that cannot be guessed
    bound       a MAC: whoever lacks the key cannot make one, so the row cannot be invented (`row_macs.py`)

A column is declared as it is stored today.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

Storage = Literal["plain", "keyed", "sealed", "hashed", "bound"]
REFERENCE, LOCAL = "", "local"
TOGETHER = ("owner_id", "user_id")  # columns by which a table is kept together with `books`


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    by        the column by which it is distributed; "" for a reference table, "local" for one of the coordinator
    columns   how each column is stored
    """

    by: str
    columns: dict[str, Storage]

    @property
    def is_reference(self) -> bool:
        """Whether every node has a copy."""
        return self.by == REFERENCE

    @property
    def is_distributed(self) -> bool:
        """Whether its rows are spread over the nodes."""
        return self.by not in (REFERENCE, LOCAL)

    @property
    def is_with_books(self) -> bool:
        """Whether a user's rows lie on the node of the user's books."""
        return self.by in TOGETHER


def by(
    column: str,
    plain: str,
    *,
    keyed: str = "",
    sealed: str = "",
    hashed: str = "",
    bound: str = "",
) -> Table:
    """A table that is distributed by a column. The others are names of columns, with spaces between."""
    kinds: dict[Storage, str] = {"plain": plain, "keyed": keyed, "sealed": sealed, "hashed": hashed, "bound": bound}
    return Table(column, {name: kind for kind, names in kinds.items() for name in names.split()})


reference = partial(by, REFERENCE)  # a reference table
local = partial(by, LOCAL)  # a table of the coordinator


TABLES = {
    # ── the schema itself
    "alembic_version": local("version_num"),
    "sequences": local("name value"),
    "locks": local("", keyed="name"),
    "erasures": local("database_id count rewritten"),
    # ── read everywhere
    # Every process reads these two every two seconds, also while the coordinator is down.
    "schema_state": reference("revision serves_from"),
    "keys": reference("fingerprint state created_at place", sealed="row_secret"),
    "applications": reference(
        # in `settings`, a JSON object, each text that may be a secret is sealed by itself
        "id name auth_key vapid_public_key settings created_at verified_since",
        sealed="auth_secret hash_key vapid_private_key",
    ),
    "admins": reference("created_at role", keyed="email", sealed="sealed", hashed="password_hash", bound="mac"),
    "users": reference(
        # `login` is NULL where the login reads like a phone number or an e-mail address: it is then in `login_sealed`.
        "id app_id login login_folded full_name full_name_folded one_time_until external_id external_user_id"
        " facebook_id twitter_id website avatar custom_data timezone user_tags is_guest guest_until created_at"
        " updated_at firebase_uid cidp_uid imported_at as_imported",
        keyed="login_keyed email_keyed",
        sealed="login_sealed email phone",
        hashed="password_hash",
        bound="password_mac",
    ),
    "numbers": reference("app_id user_id verified_at imported spelling discoverable", keyed="number", sealed="digits"),
    "tags": reference("app_id tag user_id"),
    # ── of one user, kept together
    "words": by("user_id", "app_id word user_id"),
    "seen": by("user_id", "user_id last_request_at"),
    "books": by(
        # `reports`: keyed digests of uploads, each with how many entries the upload had
        "owner_id",
        "owner_id book app_id device size next_seq synced_at version reported_version",
        keyed="reports",
    ),
    "totals": by("owner_id", "owner_id app_id contacts bytes announce_until"),
    "total_changes": by("owner_id", "owner_id app_id users books contacts"),
    "contacts": by("owner_id", "owner_id book app_id seq", keyed="number entry", sealed="sealed"),
    "discovered": by("owner_id", "owner_id book app_id incarnation generation", sealed="sealed"),
    "removed": by("owner_id", "owner_id app_id at", keyed="number", sealed="digits"),
    "announced": by(
        "owner_id",
        "owner_id app_id verified at joined_id joined_user_id place digest",
        keyed="number",
        sealed="digits",
    ),
    "preferences": by(
        "user_id", "user_id app_id announce discoverable notify quiet_from quiet_to time_zone digest locale"
    ),
    "joined_lists": by(
        "owner_id", "owner_id app_id incarnation last_place joined_id seen_up_to window_at window_count"
    ),
    "subscriptions": by(
        "user_id",
        "user_id id app_id device platform channel environment bundle web_p256dh created_at updated_at answered_at"
        " silent_since locale",
        keyed="token_key",
        sealed="token web_auth",
    ),
    "pushes": by(
        "user_id",
        "user_id id app_id subscription_id joined_id event_id about_user_id channel environment created_at due_at"
        " expires_at attempts outcome reason settled_at lane turn cause digest waits",
        keyed="number",
        sealed="message digits",
    ),
    # ── by their own keys
    "sessions": by(
        "token_hash",
        "id app_id user_id nonce ts created_at last_used_at expires_at guest_until",
        hashed="token_hash",
        bound="mac",
    ),
    "nonces": by("signature", "app_id signature expires_at"),
    "buckets": by("name", "used at expires_at", keyed="name", sealed="sealed"),
    # ── small, or written by few
    "codes": local(
        "app_id request_id created_at expires_at attempts answered_at",
        keyed="number",
        sealed="digits typed",
        hashed="code_hash",
    ),
    "resets": local(
        "id user_id app_id language known created_at due_at expires_at attempts", hashed="token_hash", bound="mac"
    ),
    "joined": local(
        "id app_id user_id verified created_at due_at told_up_to armed done_at result", keyed="number", sealed="digits"
    ),
    "sent_events": local("id user_id environment channel created_at expires_at kept_until"),
    "events": local("id user_id waiting expires_at", sealed="message"),
    "admin_sessions": local(
        "address browser created_at last_used_at expires_at", keyed="email", hashed="token_hash", bound="mac"
    ),
    "admin_invitations": local("role created_at expires_at", sealed="sealed", hashed="token_hash", bound="mac"),
    "admin_answers": local("expires_at", sealed="sealed", hashed="name"),
    "audit": local("id at app_id address action", keyed="admin subject", sealed="sealed"),
    "app_totals": local("app_id users books contacts recounted_users recounted_books recounted_contacts"),
    "sweeps": local("name place at"),
    "daily": local("app_id day name value"),
    "activity": local("app_id at name value"),
    "refusals": local("app_id request cause reason count first_at last_at"),
}
# Only a SQLite database has these. `part`: 20 of the 63 bits of a keyed number.
OF_SQLITE = {"number_changes": local("id part discoverable")}


def of(*, sqlite: bool) -> dict[str, Table]:
    """The tables of a kind of database, by name."""
    return TABLES | OF_SQLITE if sqlite else TABLES
