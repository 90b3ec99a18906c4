"""Every setting of the process: name, type, default, unit, meaning; read once, checked once.

`Config` and `Limits` are the list; `load` reads them, `settings` describes them for docs and tests; `secret_files` are
those that hold secrets.

A setting called `port` is RINGBOOK_PORT in the environment and `port` in the TOML file; the command line wins
over the environment, the environment over the file. A secret may also stand in a file of its own:
RINGBOOK_DATABASE_FILE (or `database_file`) names a file that holds what RINGBOOK_DATABASE would.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
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
    """A setting that is unknown, wrong or missing; the text names it and says what it accepts."""


def option(
    meaning: str, unit: str = "", *, low: int | None = None, high: int | None = None, secret: bool = False
) -> Meta:
    """What a setting means; `unit` of its number, `low` and `high` the least and most it may be."""
    return Meta(description=meaning, ge=low, le=high, extra={"unit": unit, "secret": secret})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller may do; beyond a limit the answer is a refusal and nothing is changed."""

    max_body_bytes: Annotated[int, option("largest request body", "bytes", low=1024)] = 8 * 1024 * 1024
    max_head_bytes: Annotated[
        int, option("request line and headers of one request together", "bytes", low=4096, high=1048576)
    ] = 65_536
    head_seconds: Annotated[
        int, option("time for a new connection to send something, and for a head from its first byte", "seconds", low=1)
    ] = 20
    max_unfinished_head_bytes: Annotated[
        int, option("all incomplete heads that one process holds", "bytes", low=65536)
    ] = 32 * 1024 * 1024
    max_queued_requests: Annotated[
        int, option("requests that wait behind another one on the same connection", "requests", low=1)
    ] = 16
    handshake_seconds: Annotated[int, option("time for a TLS handshake", "seconds", low=1)] = 20
    answer_seconds: Annotated[
        int, option("time in which a client must take a further part of its answer", "seconds", low=1)
    ] = 20
    max_unsent_bytes: Annotated[
        int, option("all answers of one process that clients have not taken yet", "bytes", low=1048576)
    ] = 128 * 1024 * 1024
    connections_per_address: Annotated[
        int,
        option(
            "open connections from one address (IPv6: one /64) to one process, except loopback and trusted proxies;"
            " 0 = the smaller of 2500 and half of the process's file handles",
            "connections",
            low=0,
        ),
    ] = 0
    reserved_handles: Annotated[
        int,
        option("file handles that connections leave to everything else, at most a quarter of all", "handles", low=0),
    ] = 100
    max_bodies_in_flight_bytes: Annotated[
        int, option("request bodies that one process holds at the same time, all together", "bytes", low=1024 * 1024)
    ] = 128 * 1024 * 1024
    large_uploads_per_user: Annotated[
        int, option("uploads over 256 KiB that one user may send to a process at once; 0 = no limit", "uploads", low=0)
    ] = 1
    max_book_contacts: Annotated[int, option("contacts in one address book", "contacts", low=1)] = 50_000
    max_user_contacts: Annotated[int, option("contacts in all address books of one user", "contacts", low=1)] = 100_000
    max_user_bytes: Annotated[
        int, option("names and spellings in all address books of one user, in UTF-8", "bytes", low=1024)
    ] = 16 * 1024 * 1024
    max_upload_contacts: Annotated[int, option("contacts in one upload", "contacts", low=1)] = 50_000
    max_books: Annotated[int, option("address books (devices) of one user", "books", low=1)] = 20
    max_subscriptions: Annotated[int, option("push subscriptions of one user", "subscriptions", low=1)] = 10
    permits: Annotated[
        int, option("numbers new to a user's books that may come at once; 0 = no limit", "numbers", low=0)
    ] = 50_000
    permits_per_hour: Annotated[
        int, option("permits that come back to a user each hour; 0 = none", "numbers", low=0)
    ] = 6
    guest_permits: Annotated[int, option("the same as `permits`, for a guest; 0 = no limit", "numbers", low=0)] = 100
    address_permits_per_day: Annotated[
        int, option("new numbers from one address (IPv6: one /64) in a day; 0 = no limit", "numbers", low=0)
    ] = 500_000
    wrong_passwords: Annotated[
        int, option("wrong passwords for one account from one address before it waits; 0 = no limit", "tries", low=0)
    ] = 10
    wrong_password_minutes: Annotated[int, option("time in which wrong passwords are counted", "minutes", low=1)] = 15
    wrong_sign_ins_per_hour: Annotated[
        int,
        option(
            "sign-ins refused to one address (IPv6: one /64) in an hour, whichever accounts; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 1_000
    wrong_admin_passwords_per_hour: Annotated[
        int,
        option(
            "wrong passwords for one admin in an hour, from loopback and all addresses that the admin has not logged in"
            " from in the last 30 days; 0 = no limit",
            "tries",
            low=0,
        ),
    ] = 100
    new_sessions_per_hour: Annotated[
        int,
        option(
            "signed sign-ins, and sessions without a user, from one address in an hour; 0 = no limit",
            "sessions",
            low=0,
        ),
    ] = 10_000
    refused_uploads_per_hour: Annotated[
        int,
        option("uploads over 256 KiB of one user that may be refused in an hour; 0 = no limit", "uploads", low=0),
    ] = 60
    max_user_sessions: Annotated[
        int, option("sessions of one user; beyond it the one used longest ago ends", "sessions", low=1, high=1000)
    ] = 100
    audited_refusals_per_hour: Annotated[
        int, option("refused log-ins to the dashboard that the audit log notes in an hour; 0 = all", "entries", low=0)
    ] = 100
    codes_per_number_per_hour: Annotated[
        int, option("one-time codes sent to one number in an hour; 0 = no limit", "codes", low=0)
    ] = 5
    codes_per_address_per_hour: Annotated[
        int,
        option("one-time codes asked for from one address (IPv6: one /64) in an hour; 0 = no limit", "codes", low=0),
    ] = 60
    events_per_minute: Annotated[
        int, option("calls in a minute by which one user sends pushes to others; 0 = no limit", "calls", low=0)
    ] = 60
    events_per_address_per_minute: Annotated[
        int,
        option(
            "calls in a minute by which everybody at one address (IPv6: one /64) sends pushes to others; 0 = no limit",
            "calls",
            low=0,
        ),
    ] = 1_000
    pushes_per_sender_per_day: Annotated[
        int,
        option(
            "pushes that one user may send to others in a day, each 512 bytes of an event's text counted as one more;"
            " 0 = no limit",
            "pushes",
            low=0,
        ),
    ] = 2_000
    max_waiting_per_sender: Annotated[
        int, option("pushes sent by one user that may wait for delivery; 0 = no limit", "pushes", low=0)
    ] = 1_000
    max_waiting_per_subscription: Annotated[
        int,
        option(
            "pushes from users that may wait for one subscription; further ones are left out; 0 = no limit",
            "pushes",
            low=0,
        ),
    ] = 100
    new_accounts_per_hour: Annotated[
        int, option("accounts made from one address (IPv6: one /64) in an hour; 0 = no limit", "accounts", low=0)
    ] = 1_000
    searches_per_minute: Annotated[
        int, option("searches for users by one user in a minute; 0 = no limit", "searches", low=0)
    ] = 120
    address_searches_per_minute: Annotated[
        int,
        option("searches for users from one address (IPv6: one /64) in a minute; 0 = no limit", "searches", low=0),
    ] = 1_200
    search_seconds: Annotated[int, option("time that one search may take in the database", "seconds", low=1)] = 2
    max_search_values: Annotated[int, option("values in one search, all its conditions together", "values", low=1)] = (
        1_000
    )
    max_search_excluded: Annotated[int, option("of these, in conditions with `nin`", "values", low=0)] = 100
    max_search_offset: Annotated[int, option("users that a search may skip", "users", low=0)] = 10_000
    max_search_total: Annotated[
        int, option("users that a search counts: `total_entries` says no more than this", "users", low=1)
    ] = 10_000
    subnet_permits_per_day: Annotated[
        int, option("new numbers of an application from one /56 in any 24 hours; 0 = no limit", "numbers", low=0)
    ] = 1_000_000
    network_permits_per_day: Annotated[
        int,
        option(
            "new numbers of an application from one /48 (IPv4: one /24) in any 24 hours, and never more than a quarter"
            " of the application's ceiling; 0 = no limit",
            "numbers",
            low=0,
        ),
    ] = 2_000_000
    app_permits_per_day: Annotated[
        int,
        option(
            "ceiling: new numbers of one application in any 24 hours; 0 = automatic: the larger of 2,000,000 and 20 per"
            " user, where users of the last 30 days count 1,000 each",
            "numbers",
            low=0,
        ),
    ] = 0
    subnet_accounts_per_hour: Annotated[
        int, option("accounts made from one /56 in an hour; 0 = no limit", "accounts", low=0)
    ] = 2_000
    network_accounts_per_hour: Annotated[
        int, option("accounts made from one /48 (IPv4: one /24) in an hour; 0 = no limit", "accounts", low=0)
    ] = 4_000
    subnet_codes_per_hour: Annotated[
        int, option("one-time codes asked for from one /56 in an hour; 0 = no limit", "codes", low=0)
    ] = 120
    network_codes_per_hour: Annotated[
        int, option("one-time codes asked for from one /48 (IPv4: one /24) in an hour; 0 = no limit", "codes", low=0)
    ] = 240
    subnet_sessions_per_hour: Annotated[
        int,
        option(
            "signed sign-ins, and sessions without a user, from one /56 in an hour; 0 = no limit", "sessions", low=0
        ),
    ] = 20_000
    network_sessions_per_hour: Annotated[
        int,
        option(
            "signed sign-ins, and sessions without a user, from one /48 (IPv4: one /24) in an hour; 0 = no limit",
            "sessions",
            low=0,
        ),
    ] = 40_000
    subnet_wrong_sign_ins_per_hour: Annotated[
        int, option("sign-ins refused to one /56 in an hour, whichever accounts; 0 = no limit", "tries", low=0)
    ] = 2_000
    network_wrong_sign_ins_per_hour: Annotated[
        int,
        option(
            "sign-ins refused to one /48 (IPv4: one /24) in an hour, whichever accounts; 0 = no limit", "tries", low=0
        ),
    ] = 4_000


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process."""

    database: Annotated[
        str,
        option(
            "sqlite:///FILE (from the working directory) or postgresql://USER:PASSWORD@HOST/NAME,"
            " also with several hosts: HOST1:PORT1,HOST2:PORT2",
            secret=True,
        ),
    ] = "sqlite:///ringbook.db"
    key_file: Annotated[
        str,
        option(
            "file with the storage key, made by `ringbook key create FILE`; empty = ringbook.key beside a SQLite"
            " database ringbook.db, where the first start makes it. PostgreSQL needs one"
        ),
    ] = ""
    erasures_folder: Annotated[
        str,
        option("folder of the journal of erasures; empty = beside a SQLite file, and with PostgreSQL none is kept"),
    ] = ""
    erasures_kept_days: Annotated[
        int, option("how long the journal of erasures is kept, in whole months", "days", low=1, high=36500)
    ] = 400
    database_pool: Annotated[int, option("PostgreSQL connections of one process", "connections", low=1)] = 10
    host: Annotated[str, option("address to listen on; 0.0.0.0 or :: for every network of this machine")] = "127.0.0.1"
    port: Annotated[int, option("port to listen on; 0 = any free one", low=0, high=65535)] = 8080
    admin_port: Annotated[
        int,
        option("port of its own for /dashboard, /docs, /metrics, then gone from `port`; 0 = off", low=0, high=65535),
    ] = 0
    worker_metrics_port: Annotated[
        int,
        option("port at which `ringbook worker` answers /metrics, /healthz and /readyz; 0 = off", low=0, high=65535),
    ] = 0
    workers: Annotated[int, option("processes that serve (PostgreSQL only)", "processes", low=1)] = 1
    threads: Annotated[int, option("requests a process works on at the same time", "threads", low=1)] = 8
    search_threads: Annotated[
        int, option("searches for users that a process works on at the same time, beside `threads`", "threads", low=1)
    ] = 2
    trusted_proxies: Annotated[
        tuple[str, ...],
        option("addresses or networks of reverse proxies whose X-Forwarded-For and -Proto are believed"),
    ] = ()
    tls_cert: Annotated[str, option("file with the certificate chain (PEM), to speak TLS directly")] = ""
    tls_key: Annotated[str, option("file with the certificate's private key (PEM)")] = ""
    metrics_token: Annotated[
        str,
        option("bearer token that may read /metrics; empty = /metrics is served at the admin port only", secret=True),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], option("least serious log line written")] = (
        "info"
    )
    allow_private_addresses: Annotated[
        bool, option("let users' and applications' addresses lead to loopback and private networks (for development)")
    ] = False
    outgoing_ports: Annotated[
        tuple[int, ...], option("ports beside 443 that users' and applications' addresses may lead to")
    ] = ()
    ca_file: Annotated[str, option("file with certificate authorities (PEM) that outgoing requests also believe")] = ""
    firebase_certificates_url: Annotated[
        str, option("where the certificates of Firebase's ID tokens are published; empty = Google's address")
    ] = ""
    firebase_auth_emulator_host: Annotated[
        str,
        option("host:port of a Firebase Auth emulator, whose unsigned tokens are then believed: for development only"),
    ] = ""
    fcm_endpoint: Annotated[str, option("where FCM is; empty = Google's address")] = ""
    apns_endpoint: Annotated[str, option("where APNs is; empty = Apple's address")] = ""
    apns_sandbox_endpoint: Annotated[
        str, option("where the APNs sandbox is, for development subscriptions; empty = Apple's address")
    ] = ""
    pushes_kept_days: Annotated[
        int, option("how long a push is remembered, without its text, after it was settled", "days", low=1, high=3650)
    ] = 7
    audit_kept_days: Annotated[
        int, option("how long the audit log of what admins did is kept", "days", low=1, high=36500)
    ] = 730
    books_kept_days: Annotated[
        int,
        option(
            "address books go when their owner has not been there for so long; 0 = never", "days", low=0, high=36500
        ),
    ] = 0
    limits: Limits = Limits()

    def __repr__(self) -> str:
        # The database URL may hold a password, and a repr ends up in logs.
        return f"Config(port={self.port}, workers={self.workers})"


class Setting(msgspec.Struct, frozen=True):
    """One setting as documentation shows it."""

    name: str
    type: Any
    default: Any
    unit: str
    meaning: str
    accepts: str
    secret: bool

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()


def settings() -> list[Setting]:
    """Every setting, those of the process first, then the limits."""
    return [*_described(Config), *_described(Limits)]


def load(environ: Mapping[str, str], file: Path | str | None = None, given: Mapping[str, Any] | None = None) -> Config:
    """The settings of this process: `given` (command line) over `environ` over the TOML `file` over the defaults.

    An unknown or wrong setting is a ConfigError that names it and what it accepts.
    """
    values = {**_from_file(file), **_from_environment(environ), **_from_command(given or {})}
    limits = Limits(**{name: values.pop(name) for name in Limits.__struct_fields__ if name in values})
    return _consistent(Config(**values, limits=limits))


def secret_files(environ: Mapping[str, str], file: Path | str | None = None) -> list[Path]:
    """The files that secrets are read from: those that settings name, and a TOML `file` that holds one itself."""
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
    """The checked values of one source; `shown` spells a setting's name as that source does."""
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
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {shown(close[0])}?" if close else "docs/configuration.md lists them all"
    return f"{shown(name)} is not a setting; {hint}"


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
    """What was typed, a step nearer to the setting's type: words for booleans, commas for lists."""
    if not isinstance(written, str):
        return written
    text = written.strip()
    if isinstance(setting.default, bool):
        return {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}.get(text.lower(), text)
    if isinstance(setting.default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.lower() if setting.name == "log_level" else text


def _checked(name: str, value: Any) -> Any:
    """What a type cannot say; ValueError if it is wrong."""
    if name == "database" and not re.match(r"sqlite:///.|postgres(ql)?://", value):
        raise ValueError(name)
    if name == "database":
        check_ports(value)
    if name in ADDRESSES and value:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.port == 0:
            raise ValueError(name)
    if name == "outgoing_ports" and not all(0 < port < 65536 for port in value):
        raise ValueError(name)
    if name == "trusted_proxies":
        # Whole networks, spelt so that no reader takes `10.0.0.5/8` for a name.
        return tuple(str(ipaddress.ip_network(network, strict=False)) for network in value)
    return value


def check_ports(url: str) -> None:
    """Raise ValueError if a port of a database's address is none: the driver would say so and quote the password."""
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
    return config
