"""The settings of the process. Each is declared once, with name, type, default, unit and meaning, and checked once.

Config, Limits      the settings; `option` declares the meaning, the unit and the range of each
load(environ, …)    read them from the command line, the environment and the TOML file
settings()          their descriptions, for the documentation, the dashboard and tests
secret_files(…)     the files from which secrets are read

The setting `port` is RINGBOOK_PORT in the environment and `port` in the TOML file. The command line overrides the
environment, and the environment overrides the file. A secret can also be read from a file of its own:
RINGBOOK_DATABASE_FILE (in the TOML file: `database_file`) names a file that contains the value of RINGBOOK_DATABASE.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

PREFIX = "RINGBOOK_"
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}
ADDRESSES = ("firebase_certificates_url", "fcm_endpoint", "apns_endpoint", "apns_sandbox_endpoint")


class ConfigError(Exception):
    """A setting is unknown or wrong. The text names the setting and says what it accepts."""


def option(
    meaning: str, unit: str = "", *, low: int | None = None, high: int | None = None, secret: bool = False
) -> Meta:
    """Declare a setting.

    meaning     a phrase for the documentation
    unit        what its number counts
    low, high   the smallest and the largest number that it accepts
    secret      its value is never shown, and it can be read from a file
    """
    return Meta(description=meaning, ge=low, le=high, extra={"unit": unit, "secret": secret})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on what one client, user, network or application may do. A request beyond a limit changes nothing."""

    max_body_bytes: Annotated[int, option("the largest body of a request that uploads contacts", "bytes", low=1024)] = (
        8 * 1024 * 1024
    )
    max_head_bytes: Annotated[
        int, option("the largest head of a request: request line and headers together", "bytes", low=4096, high=1048576)
    ] = 65_536
    head_seconds: Annotated[
        int,
        option(
            "the longest time for a head, counted from its first byte, and the longest silence on a new connection",
            "seconds",
            low=1,
        ),
    ] = 20
    max_unfinished_head_bytes: Annotated[
        int, option("the memory of one process for heads that have not arrived completely", "bytes", low=65536)
    ] = 32 * 1024 * 1024
    max_queued_requests: Annotated[
        int, option("the most requests that may wait behind another one on the same connection", "requests", low=1)
    ] = 16
    handshake_seconds: Annotated[int, option("the longest time for a TLS handshake", "seconds", low=1)] = 20
    handshakes_per_address_per_second: Annotated[
        int,
        option(
            "the most TLS handshakes that one address (IPv6: one /64) begins in a second, except from loopback and from"
            " trusted proxies; further ones wait; 0 = no limit",
            "handshakes",
            low=0,
        ),
    ] = 50
    answer_seconds: Annotated[
        int, option("the longest time in which a client may read nothing of its response", "seconds", low=1)
    ] = 20
    max_unsent_bytes: Annotated[
        int, option("the memory of one process for responses that clients have not read yet", "bytes", low=1048576)
    ] = 128 * 1024 * 1024
    connections_per_address: Annotated[
        int,
        option(
            "the most open connections from one address (IPv6: one /64) to one process, except from loopback and"
            " from trusted proxies; 0 = the smaller of 2500 and half of the process's file handles",
            "connections",
            low=0,
        ),
    ] = 0
    reserved_handles: Annotated[
        int,
        option(
            "file handles of a process that connections may not use; at most a quarter of all its file handles",
            "handles",
            low=0,
        ),
    ] = 100
    max_bodies_in_flight_bytes: Annotated[
        int, option("the memory of one process for request bodies", "bytes", low=1024 * 1024)
    ] = 128 * 1024 * 1024
    least_body_bytes_per_second: Annotated[
        int,
        option(
            "a body that has not arrived after 10 seconds must have arrived at this rate on average, or its request"
            " gets 408; 0 = only the limit of 60 seconds",
            "bytes",
            low=0,
        ),
    ] = 1024
    large_uploads_per_user: Annotated[
        int,
        option(
            "the most uploads over 256 KiB that one user may send to one process at the same time; 0 = no limit",
            "uploads",
            low=0,
        ),
    ] = 1
    max_book_contacts: Annotated[int, option("the most contacts in one address book", "contacts", low=1)] = 50_000
    max_user_contacts: Annotated[
        int, option("the most contacts in all address books of one user together", "contacts", low=1)
    ] = 100_000
    max_user_bytes: Annotated[
        int,
        option(
            "the size of the contacts in the address books of one user, as they are stored: encrypted and padded; one"
            " of more than 944 bytes counts 4096 more, because it gets a page of its own",
            "bytes",
            low=1024,
        ),
    ] = 16 * 1024 * 1024
    max_upload_contacts: Annotated[int, option("the most contacts in one upload", "contacts", low=1)] = 50_000
    max_books: Annotated[
        int, option("the most address books of one user (one for each device that sends a `udid`)", "books", low=1)
    ] = 20
    max_subscriptions: Annotated[int, option("the most push subscriptions of one user", "subscriptions", low=1)] = 10
    permits: Annotated[
        int,
        option(
            "the most new numbers that one user may add to address books at once (permits); 0 = no limit",
            "numbers",
            low=0,
        ),
    ] = 50_000
    permits_per_hour: Annotated[
        int, option("the permits that a user gets back each hour; 0 = none", "numbers", low=0)
    ] = 6
    guest_permits: Annotated[int, option("the same as `permits`, for a guest; 0 = no limit", "numbers", low=0)] = 100
    small_book_permits_per_day: Annotated[
        int,
        option(
            "the most new numbers of one verified number in a day that count neither for the address nor for the"
            " application, so that the limits of these never stop a small address book; 0 = none",
            "numbers",
            low=0,
        ),
    ] = 300
    address_permits_per_day: Annotated[
        int, option("the most new numbers in a day from one address (IPv6: one /64); 0 = no limit", "numbers", low=0)
    ] = 500_000
    wrong_passwords: Annotated[
        int,
        option(
            "the most wrong passwords for one account from one address; ten times as many where the account has"
            " signed in from the network before; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 10
    wrong_password_minutes: Annotated[int, option("the time over which `wrong_passwords` counts", "minutes", low=1)] = (
        15
    )
    wrong_sign_ins_per_hour: Annotated[
        int,
        option(
            "the most refused sign-ins in an hour from one address (IPv6: one /64), for all accounts together; 0"
            " = no limit",
            "tries",
            low=0,
        ),
    ] = 1_000
    password_checks_per_hour: Annotated[
        int,
        option(
            "the most sign-ins of one account with a password in an hour from one address, right ones as well; 0 = no"
            " limit",
            "sign-ins",
            low=0,
        ),
    ] = 300
    address_password_checks_per_hour: Annotated[
        int,
        option("the same from one address (IPv6: one /64), for all accounts together; 0 = no limit", "sign-ins", low=0),
    ] = 10_000
    contact_changes_per_day: Annotated[
        int,
        option(
            "the most contacts that one user's uploads create, change, move or delete in a day, without uploads of 20"
            " or less; 0 = no limit",
            "contacts",
            low=0,
        ),
    ] = 1_000_000
    wrong_admin_passwords_per_hour: Annotated[
        int,
        option(
            "the most wrong passwords for one admin in an hour, from loopback and from all addresses where this"
            " admin has not logged in during the last 30 days; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 100
    new_sessions_per_hour: Annotated[
        int,
        option(
            "the most signed sign-ins and sessions without a user in an hour from one address (IPv6: one /64); 0"
            " = no limit",
            "sessions",
            low=0,
        ),
    ] = 10_000
    refused_uploads_per_hour: Annotated[
        int,
        option("the most refused uploads over 256 KiB of one user in an hour; 0 = no limit", "uploads", low=0),
    ] = 60
    max_user_sessions: Annotated[
        int,
        option(
            "the most sessions of one user; a further sign-in ends the session that was used longest ago",
            "sessions",
            low=1,
            high=1000,
        ),
    ] = 100
    audited_refusals_per_hour: Annotated[
        int,
        option(
            "the most refused log-ins to the dashboard that the audit log records in an hour; 0 = no limit",
            "entries",
            low=0,
        ),
    ] = 100
    codes_per_number_per_hour: Annotated[
        int,
        option(
            "the most one-time codes sent to one number in an hour, of these half for one /48 network (IPv4: one /24);"
            " a network from which the number has signed in has as many for itself; 0 = no limit",
            "codes",
            low=0,
        ),
    ] = 5
    codes_per_address_per_hour: Annotated[
        int,
        option(
            "the most one-time codes requested in an hour from one address (IPv6: one /64); 0 = no limit",
            "codes",
            low=0,
        ),
    ] = 60
    resets_per_user_per_hour: Annotated[
        int,
        option(
            "the most mails for a new password to one e-mail in an hour, of these half for one /48 network (IPv4: one"
            " /24); a network from which the account has signed in has as many for itself; 0 = no limit",
            "mails",
            low=0,
        ),
    ] = 3
    resets_per_user_per_day: Annotated[
        int,
        option(
            "the most mails for a new password to one e-mail in a day that are requested from networks where the"
            " account has not signed in, and as many again from all others; 0 = no limit",
            "mails",
            low=0,
        ),
    ] = 24
    max_reset_links_per_user: Annotated[
        int,
        option(
            "the most valid links to a new password of one user that are requested from networks where the account has"
            " not signed in, and as many again from all others; no further one is sent",
            "links",
            low=1,
        ),
    ] = 25
    resets_per_address_per_hour: Annotated[
        int,
        option(
            "the most requests for a new password in an hour from one address (IPv6: one /64); 0 = no limit",
            "requests",
            low=0,
        ),
    ] = 60
    events_per_minute: Annotated[
        int,
        option("the most calls in a minute with which one user sends pushes to others; 0 = no limit", "calls", low=0),
    ] = 60
    events_per_address_per_minute: Annotated[
        int,
        option(
            "the most calls in a minute from one address (IPv6: one /64) that send pushes to other users; 0 = no limit",
            "calls",
            low=0,
        ),
    ] = 1_000
    pushes_per_sender_per_day: Annotated[
        int,
        option(
            "the most pushes that one user may send to others in a day, one for each recipient; each 512 bytes of an"
            " event's text count as one more; 0 = no limit",
            "pushes",
            low=0,
        ),
    ] = 2_000
    max_waiting_per_sender: Annotated[
        int, option("the most pushes of one sender that may wait for delivery; 0 = no limit", "pushes", low=0)
    ] = 1_000
    max_waiting_per_subscription: Annotated[
        int,
        option(
            "the most pushes from users that may wait for one subscription; further pushes are dropped; 0 = no limit",
            "pushes",
            low=0,
        ),
    ] = 100
    new_accounts_per_hour: Annotated[
        int,
        option(
            "the most accounts created in an hour from one address (IPv6: one /64); 0 = no limit", "accounts", low=0
        ),
    ] = 1_000
    sign_ups_alarm_per_hour: Annotated[
        int,
        option(
            "sign-ups of one application in an hour at which the operator is alarmed; ten times as many as in a usual"
            " hour of the last week, and at least 100, alarm too; none is refused; 0 = only the second alarm",
            "sign-ups",
            low=0,
        ),
    ] = 1_000
    phone_changes_per_day: Annotated[
        int,
        option(
            "how often a user may change the phone to another number that is not verified, in a day; 0 = no limit",
            "changes",
            low=0,
        ),
    ] = 3
    searches_per_minute: Annotated[
        int, option("the most searches for users by one user in a minute; 0 = no limit", "searches", low=0)
    ] = 120
    address_searches_per_minute: Annotated[
        int,
        option(
            "the most searches for users in a minute from one address (IPv6: one /64); 0 = no limit", "searches", low=0
        ),
    ] = 1_200
    search_turn_seconds: Annotated[
        int,
        option(
            "how long a search waits for an earlier one of its user, and for its turn, before it is refused",
            "seconds",
            low=1,
        ),
    ] = 5
    requests_at_once_per_user: Annotated[
        int,
        option(
            "the most small requests of one user that one process works on at the same time; further ones wait for"
            " their turn",
            "requests",
            low=1,
        ),
    ] = 2
    requests_at_once_per_address: Annotated[
        int,
        option(
            "the same for one address (IPv6: one /64), except loopback and trusted proxies; 0 = half of"
            " RINGBOOK_THREADS",
            "requests",
            low=0,
        ),
    ] = 0
    turn_seconds: Annotated[
        int, option("how long a request waits for its turn before it gets 503", "seconds", low=1)
    ] = 10
    max_waiting_requests: Annotated[
        int,
        option(
            "the most requests of one kind that wait for their turn in one process; when there are more, the address"
            " with most of them loses its last one",
            "requests",
            low=1,
        ),
    ] = 1_000
    search_seconds: Annotated[int, option("the longest time of one search in the database", "seconds", low=1)] = 2
    max_search_values: Annotated[
        int, option("the most values in one query for users, all conditions together", "values", low=1)
    ] = 100
    max_search_excluded: Annotated[
        int,
        option("the most values in conditions with `nin`, all such conditions of one search together", "values", low=0),
    ] = 100
    max_search_offset: Annotated[int, option("the most users that a search may skip", "users", low=0)] = 10_000
    max_search_total: Annotated[
        int, option("the most users that a search counts: `total_entries` is never larger", "users", low=1)
    ] = 10_000
    subnet_permits_per_day: Annotated[
        int,
        option("the same as `network_permits_per_day`, from one /56 network; 0 = no limit", "numbers", low=0),
    ] = 1_000_000
    network_permits_per_day: Annotated[
        int,
        option(
            "the most new numbers of one application in 24 hours from one /48 network (IPv4: one /24), of users who"
            " were verified more than a day ago and of all others; never more than a quarter of the application's"
            " ceiling for the first and a tenth for the others; 0 = no limit",
            "numbers",
            low=0,
        ),
    ] = 2_000_000
    app_permits_per_day: Annotated[
        int,
        option(
            "the ceiling of each application without the setting new_numbers_per_day: the most new numbers of all its"
            " users in 24 hours; 0 = automatic: the larger of 2,000,000 and 20 per established user, whose number was"
            " verified more than a week ago and is in an address book of another user",
            "numbers",
            low=0,
        ),
    ] = 0
    subnet_accounts_per_hour: Annotated[
        int, option("the most accounts created in an hour from one /56 network; 0 = no limit", "accounts", low=0)
    ] = 2_000
    network_accounts_per_hour: Annotated[
        int,
        option(
            "the most accounts created in an hour from one /48 network (IPv4: one /24); 0 = no limit", "accounts", low=0
        ),
    ] = 4_000
    subnet_codes_per_hour: Annotated[
        int, option("the most one-time codes requested in an hour from one /56 network; 0 = no limit", "codes", low=0)
    ] = 120
    network_codes_per_hour: Annotated[
        int,
        option(
            "the most one-time codes requested in an hour from one /48 network (IPv4: one /24); 0 = no limit",
            "codes",
            low=0,
        ),
    ] = 240
    subnet_resets_per_hour: Annotated[
        int,
        option("the most requests for a new password in an hour from one /56 network; 0 = no limit", "requests", low=0),
    ] = 120
    network_resets_per_hour: Annotated[
        int,
        option(
            "the most requests for a new password in an hour from one /48 network (IPv4: one /24); 0 = no limit",
            "requests",
            low=0,
        ),
    ] = 240
    subnet_sessions_per_hour: Annotated[
        int,
        option(
            "the most signed sign-ins and sessions without a user in an hour from one /56 network; 0 = no limit",
            "sessions",
            low=0,
        ),
    ] = 20_000
    network_sessions_per_hour: Annotated[
        int,
        option(
            "the most signed sign-ins and sessions without a user in an hour from one /48 network (IPv4: one"
            " /24); 0 = no limit",
            "sessions",
            low=0,
        ),
    ] = 40_000
    subnet_wrong_sign_ins_per_hour: Annotated[
        int,
        option(
            "the most refused sign-ins in an hour from one /56 network, for all accounts together; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 2_000
    network_wrong_sign_ins_per_hour: Annotated[
        int,
        option(
            "the most refused sign-ins in an hour from one /48 network (IPv4: one /24), for all accounts"
            " together; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 4_000


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process."""

    database: Annotated[
        str,
        option(
            "sqlite:///FILE (from the working directory) or postgresql://USER:PASSWORD@HOST/NAME; several"
            " PostgreSQL hosts are written as HOST1:PORT1,HOST2:PORT2",
            secret=True,
        ),
    ] = "sqlite:///ringbook.db"
    key_file: Annotated[
        str,
        option(
            "file with the storage key, which `ringbook key create FILE` creates; empty = ringbook.key beside a SQLite"
            " database ringbook.db, where the first start creates it; PostgreSQL requires a file"
        ),
    ] = ""
    erasures_folder: Annotated[
        str,
        option(
            "folder of the journal of erasures; empty = a folder beside the SQLite file; with PostgreSQL, no journal"
        ),
    ] = ""
    erasures_kept_days: Annotated[
        int,
        option("how long the journal of erasures is kept; it is deleted by whole months", "days", low=1, high=36500),
    ] = 400
    database_pool: Annotated[int, option("the most PostgreSQL connections of one process", "connections", low=1)] = 10
    database_seconds: Annotated[
        int,
        option(
            "the longest time that a serving process waits for PostgreSQL's answer to one statement; then the request"
            " gets 503 and the connection is closed; longer than RINGBOOK_SEARCH_SECONDS; 0 = without end",
            "seconds",
            low=0,
        ),
    ] = 10
    sqlite_cache_bytes: Annotated[
        int,
        option(
            "memory for pages of a SQLite file that uploads change; 0 = automatic: 1/128 of the machine's memory, at"
            " least 8 MiB and at most 16 MiB",
            "bytes",
            low=0,
            high=2**40,
        ),
    ] = 0
    registered_cache_bytes: Annotated[
        int,
        option(
            "with SQLite, memory in which a serving process keeps lists of registered contacts (`compact=1`), to give"
            " them again while nothing has changed; 0 = none",
            "bytes",
            low=0,
            high=2**40,
        ),
    ] = 8 * 1024 * 1024
    host: Annotated[str, option("address to listen on; 0.0.0.0 or :: = all networks of this machine")] = "127.0.0.1"
    port: Annotated[int, option("port to listen on; 0 = any free port", low=0, high=65535)] = 8080
    admin_port: Annotated[
        int,
        option(
            "separate port for /dashboard, /docs and /metrics, which `port` then no longer serves; 0 = no"
            " separate port",
            low=0,
            high=65535,
        ),
    ] = 0
    public_url: Annotated[
        str,
        option(
            "address at which apps reach this server, such as https://contacts.example.com, without a path; empty ="
            " not known"
        ),
    ] = ""
    worker_metrics_port: Annotated[
        int,
        option("port on which `ringbook worker` serves /metrics, /healthz and /readyz; 0 = none", low=0, high=65535),
    ] = 0
    workers: Annotated[
        int, option("number of serving processes; more than one needs PostgreSQL", "processes", low=1)
    ] = 1
    threads: Annotated[
        int, option("the most requests that one process works on at the same time", "threads", low=1)
    ] = 8
    search_threads: Annotated[
        int,
        option(
            "the most searches for users that one process works on at the same time, in addition to `threads`",
            "threads",
            low=1,
        ),
    ] = 2
    heavy_threads: Annotated[
        int,
        option(
            "the most requests with whole address books or large uploads that one process works on at the same time, in"
            " addition to `threads`; one user has one of them, and one address half",
            "threads",
            low=1,
        ),
    ] = 2
    trusted_proxies: Annotated[
        tuple[str, ...],
        option(
            "addresses or networks of your reverse proxies; X-Forwarded-For and X-Forwarded-Proto are read only"
            " from them"
        ),
    ] = ()
    tls_cert: Annotated[
        str, option("file with the certificate chain (PEM), to serve HTTPS without a reverse proxy")
    ] = ""
    tls_key: Annotated[str, option("file with the private key of the certificate (PEM)")] = ""
    metrics_token: Annotated[
        str,
        option("bearer token that allows reading /metrics; empty = only the admin port serves /metrics", secret=True),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], option("lowest level of the log lines that are written")
    ] = "info"
    allow_private_addresses: Annotated[
        bool,
        option(
            "send requests to loopback and private addresses when a URL of a user or an application leads there;"
            " for development"
        ),
    ] = False
    outgoing_ports: Annotated[
        tuple[int, ...], option("ports, in addition to 443, that URLs of users and applications may use")
    ] = ()
    ca_file: Annotated[
        str, option("file with further certificate authorities (PEM) that are trusted for outgoing requests")
    ] = ""
    firebase_certificates_url: Annotated[
        str, option("URL of the certificates for Firebase's ID tokens; empty = Google's")
    ] = ""
    firebase_auth_emulator_host: Annotated[
        str,
        option(
            "host:port of a Firebase Auth emulator; its unsigned tokens are then accepted, so use it for"
            " development only"
        ),
    ] = ""
    fcm_endpoint: Annotated[str, option("URL of FCM; empty = Google's")] = ""
    apns_endpoint: Annotated[str, option("URL of APNs; empty = Apple's")] = ""
    apns_sandbox_endpoint: Annotated[
        str, option("URL of the APNs sandbox, which serves development subscriptions; empty = Apple's")
    ] = ""
    smtp_host: Annotated[
        str, option("host of the SMTP server that sends mails for new passwords; empty = no mails are sent")
    ] = ""
    smtp_port: Annotated[int, option("port of the SMTP server: 587 for starttls, 465 for tls", low=1, high=65535)] = 587
    smtp_tls: Annotated[
        Literal["starttls", "tls", "none"],
        option("how the connection to the SMTP server is encrypted; none is for a server on this machine"),
    ] = "starttls"
    smtp_user: Annotated[str, option("user at the SMTP server; empty = no log-in")] = ""
    smtp_password: Annotated[str, option("password at the SMTP server", secret=True)] = ""
    smtp_from: Annotated[
        str, option("sender of the mails, such as Friends <no-reply@example.com>; required with smtp_host")
    ] = ""
    pushes_kept_days: Annotated[
        int,
        option(
            "how long the record of a push is kept after its final outcome; its text is deleted at the outcome",
            "days",
            low=1,
            high=3650,
        ),
    ] = 7
    audit_kept_days: Annotated[
        int, option("how long the entries of the audit log are kept", "days", low=1, high=36500)
    ] = 730
    books_kept_days: Annotated[
        int,
        option(
            "the address books of a user are deleted after so many days without an upload, a sign-in or a request"
            " of the user; 0 = never",
            "days",
            low=0,
            high=36500,
        ),
    ] = 0
    limits: Limits = Limits()

    def __repr__(self) -> str:
        # The database URL may hold a password, and a repr ends up in logs.
        return f"Config(port={self.port}, workers={self.workers})"


class Setting(msgspec.Struct, frozen=True):
    """The description of one setting."""

    name: str
    type: Any
    default: Any
    unit: str
    meaning: str
    accepts: str
    secret: bool

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return PREFIX + self.name.upper()


def settings() -> list[Setting]:
    """The descriptions of all settings: first `Config`, then `Limits`."""
    return [*_described(Config), *_described(Limits)]


def load(environ: Mapping[str, str], file: Path | str | None = None, given: Mapping[str, Any] | None = None) -> Config:
    """Read the settings: `given` (command line) overrides `environ`, which overrides the TOML `file` and the defaults.

    Raises ConfigError for an unknown or wrong setting; the text names it and says what it accepts.
    """
    values = {**_from_file(file), **_from_environment(environ), **_from_command(given or {})}
    limits = Limits(**{name: values.pop(name) for name in Limits.__struct_fields__ if name in values})
    return _consistent(Config(**values, limits=limits))


def secret_files(environ: Mapping[str, str], file: Path | str | None = None) -> list[Path]:
    """The files that contain secrets: those that settings name, and the TOML `file` if a secret is written in it."""
    written = [*_written(environ).items(), *(_toml(file).items() if file else ())]
    secrets = {setting.name for setting in settings() if setting.secret}
    found = [Path(value) for name, value in written if name.removesuffix("_file") in secrets and name not in secrets]
    return [*found, Path(file)] if file and secrets & _toml(file).keys() else found


def _described(struct: type[msgspec.Struct]) -> Iterator[Setting]:
    for field in msgspec.structs.fields(struct):
        if get_origin(field.type) is Annotated:
            kind, meta = get_args(field.type)
            extra = meta.extra
            accepts = _accepts(field.name, kind, meta)
            yield Setting(
                field.name, field.type, field.default, extra["unit"], meta.description, accepts, extra["secret"]
            )


def _accepts(name: str, kind: Any, meta: Meta) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if kind is bool:
        return "true or false"
    if kind is int:
        return (
            f"a whole number from {meta.ge} to {meta.le}"
            if meta.le is not None
            else f"a whole number, {meta.ge} or more"
        )
    return {
        "database": "sqlite:///FILE or postgresql://…",
        "outgoing_ports": "ports from 1 to 65535 separated by commas, such as 8443, 9443",
        "smtp_from": "an address, or a name and an address in < >",
        "trusted_proxies": "addresses and networks separated by commas, such as 10.0.0.1, 192.168.0.0/16",
        **dict.fromkeys(ADDRESSES, "an https:// or http:// address"),
    }.get(name, "text")


def _from_command(given: Mapping[str, Any]) -> dict[str, Any]:
    return _read({name: value for name, value in given.items() if value is not None}, lambda name: "--" + name)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    return _read(_written(environ), lambda name: PREFIX + name.upper())


def _written(environ: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}


def _from_file(file: Path | str | None) -> dict[str, Any]:
    return _read(_toml(file), lambda name: f"{name} in {file}") if file else {}


def _toml(file: Path | str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML ({error})") from None


def _read(written: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, Any]:
    """The checked values of one source. `shown` turns a setting's name into the spelling of that source."""
    known = {setting.name: setting for setting in settings()}
    secrets = {f"{setting.name}_file": setting for setting in known.values() if setting.secret}
    values: dict[str, Any] = {}
    for name, value in written.items():
        if name not in known and name not in secrets:
            raise ConfigError(_unknown(name, shown, [*known, *secrets]))
        setting = known.get(name) or secrets[name]
        if setting.name in values:
            raise ConfigError(f"{shown(setting.name)} and {shown(setting.name + '_file')}: give one of the two")
        text = value if name in known else _secret(shown(name), value)
        values[setting.name] = _value(setting, text, shown(name))
    return values


def _unknown(name: str, shown: Callable[[str], str], names: list[str]) -> str:
    near = closest(name, names)
    hint = f"did you mean {shown(near)}?" if near else "the guide, which a server shows at /guide, lists all settings"
    return f"{shown(name)} is not a setting; {hint}"


def closest(name: str, names: Iterable[str]) -> str:
    """The most similar name, or "". Words that both names begin or end with do not make them similar."""
    near = difflib.get_close_matches(name, list(names), n=5)
    return next((one for one in near if _is_similar(name.split("_"), one.split("_"))), "")


def _is_similar(one: list[str], other: list[str]) -> bool:
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    if not one or not other:  # only a word is missing
        return True
    return difflib.SequenceMatcher(None, "_".join(one), "_".join(other)).ratio() >= 0.6


def _secret(shown: str, file: Any) -> str:
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{shown}: {file!r} cannot be read ({getattr(error, 'strerror', 'not a text file')})"
        ) from None


def _value(setting: Setting, written: Any, shown: str) -> Any:
    try:
        value = msgspec.convert(_loosened(setting, written), setting.type, strict=not isinstance(written, str))
        return _checked(setting.name, value)
    except (msgspec.ValidationError, ValueError):
        got = "its value" if setting.secret else repr(written)
        raise ConfigError(f"{shown}: {got} is not accepted; it takes {setting.accepts}") from None


def _loosened(setting: Setting, written: Any) -> Any:
    """Parse text from the environment or the command line: words become booleans, commas separate list items."""
    if not isinstance(written, str):
        return written
    text = written.strip()
    if isinstance(setting.default, bool):
        return {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}.get(text.lower(), text)
    if isinstance(setting.default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.lower() if setting.name == "log_level" else text


def _checked(name: str, value: Any) -> Any:
    """Check what the type alone cannot check. Raises ValueError for a wrong value; returns the value."""
    if name == "database" and not re.match(r"sqlite:///.|postgres(ql)?://", value):
        raise ValueError(name)
    if name == "database":
        check_ports(value)
    if name in ADDRESSES and value:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.port == 0:
            raise ValueError(name)
    if name == "smtp_from" and value and not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", parseaddr(value)[1]):
        raise ValueError(name)
    if name == "public_url" and value:
        return _origin(value)
    if name == "outgoing_ports" and not all(0 < port < 65536 for port in value):
        raise ValueError(name)
    if name == "trusted_proxies":
        # Clears the host bits, so `10.0.0.5/8` becomes `10.0.0.0/8`. Otherwise it would not be read as a network.
        return tuple(str(ipaddress.ip_network(network, strict=False)) for network in value)
    return value


def _origin(url: str) -> str:
    """The address without a slash at its end. Raises ValueError unless it is http(s), a host and perhaps a port."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.port == 0 or "@" in parts.netloc:
        raise ValueError(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc):
        raise ValueError(url)
    return f"{parts.scheme}://{parts.netloc}"


def check_ports(url: str) -> None:
    """Raise ValueError if a port of the database URL is not a port number. The driver's error quotes the password."""
    hosts = re.sub(r"^\w+://", "", url).partition("/")[0].partition("?")[0].rpartition("@")[2]
    for host in hosts.split(","):
        _ = urlsplit(f"//{host}").port


def _consistent(config: Config) -> Config:
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("RINGBOOK_TLS_CERT and RINGBOOK_TLS_KEY belong together: set both, or neither")
    if config.limits.max_bodies_in_flight_bytes < 2 * config.limits.max_body_bytes:
        raise ConfigError("RINGBOOK_MAX_BODIES_IN_FLIGHT_BYTES must be at least twice RINGBOOK_MAX_BODY_BYTES")
    if config.admin_port and config.admin_port == config.port:
        raise ConfigError("RINGBOOK_ADMIN_PORT must differ from RINGBOOK_PORT")
    if config.smtp_host and not (config.smtp_from and config.public_url):
        raise ConfigError("RINGBOOK_SMTP_HOST needs RINGBOOK_SMTP_FROM and RINGBOOK_PUBLIC_URL, which links begin with")
    return config
