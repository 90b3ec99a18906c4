"""Checks of the machine of a server: files and their modes, TLS, proxies, the disk, the clock.

python(version)          the version as text, with what is known against it; python_advice: only that, or ""
files(config, secrets)   each Check of a file that should be its owner's alone, or must be readable
proxies(config)          the proxies that may name the address of a client
database(config, db)     room on its disk, its clock beside ours, whether it takes writes
tls_trouble(config)      why TLS cannot be spoken with the given files; "" when it can
"""

import itertools
import os
import ssl
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from .. import errors
from ..config import Config
from ..store import db as databases
from ..store import keys

LEAST_FREE_BYTES = 1024**3
MOST_APART_SECONDS = 5
LEAST_DAYS = 14  # a certificate that expires sooner was not renewed in time
OTHER_KEY = (
    "the key in RINGBOOK_TLS_KEY does not belong to the certificate in RINGBOOK_TLS_CERT: give two files that were made"
    " together"
)
NO_PEM = (
    "RINGBOOK_TLS_CERT must hold a certificate chain and RINGBOOK_TLS_KEY its key without a password, both in PEM:"
    " one of the two files does not"
)
# By minor version: the first release that mends CVE-2024-7592 (quadratic time of http.cookies). 3.13.0 has the fix.
# Source: CPython, changelogs of 3.11.10 and 3.12.6, gh-123067.
MENDED = {(3, 11): 10, (3, 12): 6}
OLD_PYTHON = (
    "CVE-2024-7592 is open (Ringbook itself does not unquote cookies): use Python {major}.{minor}.{patch} or newer"
)
# How files begin that pg_dump (custom and plain) and SQLite write.
COPIES = (b"PGDMP", b"-- PostgreSQL database", b"SQLite format 3\0")
MOST_FILES = 1_000  # of a folder that are looked at
NO_PROXY = "no proxy is trusted, so a client's address is that of its connection"
BEHIND_ONE = ". Behind a proxy, set RINGBOOK_TRUSTED_PROXIES to its address, or all users share its limits"
EVERYBODY = {"0.0.0.0/0", "::/0"}


class Check(msgspec.Struct, frozen=True):
    """The result of one check: what was checked, whether it is right, and what was found."""

    what: str
    ok: bool
    seen: str


def python(version: tuple[int, int, int]) -> str:
    """The version of Python, with what is known against it."""
    advice = python_advice(version)
    return f"{'.'.join(map(str, version))} (3.11 or newer){f'; {advice}' if advice else ''}"


def python_advice(version: tuple[int, int, int]) -> str:
    """Which release to use in place of a version with a known hole; "" when none is known."""
    major, minor, patch = version
    mended = MENDED.get((major, minor), 0)
    return OLD_PYTHON.format(major=major, minor=minor, patch=mended) if patch < mended else ""


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def files(config: Config, secrets: Iterable[Path]) -> Iterator[Check]:
    """Check that only their owner can read files with secrets.

    secrets   files that settings were read from
    """
    for file in secrets:
        yield from private("file with secrets", file)
    if config.tls_cert:
        trouble = tls_trouble(config)
        yield _certificate(config.tls_cert) if not trouble else Check("TLS", False, trouble)
        yield from private("TLS key", Path(config.tls_key))
    if config.ca_file:
        trouble = authorities_trouble(config.ca_file)
        yield Check("certificate authorities", not trouble, trouble or config.ca_file)
    if databases.is_sqlite(config.database):
        file = databases.sqlite_file(config.database)
        for name in (file, Path(f"{file}-wal")):
            yield from private("database file", name)
        if key := keys.file_of(config.database, config.key_file):
            yield from private("key file", key)


def tls_trouble(config: Config) -> str:
    """Load the files as the server does."""
    if not config.tls_cert:
        return ""
    try:
        # Without this callback the library would ask for the key's password on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key, password=lambda: "")
    except ssl.SSLError as error:
        return OTHER_KEY if error.reason == "KEY_VALUES_MISMATCH" else NO_PEM
    except OSError as error:
        return f"RINGBOOK_TLS_CERT or RINGBOOK_TLS_KEY cannot be read ({error.strerror})"
    return ""


def authorities_trouble(file: str) -> str:
    """Why this file of certificate authorities cannot be used; "" when it can."""
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        return f"RINGBOOK_CA_FILE must be a file with certificates, PEM ({error.strerror})"
    return ""


def _certificate(file: str) -> Check:
    from cryptography import x509

    ends = x509.load_pem_x509_certificates(Path(file).read_bytes())[0].not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    seen = f"{file} and its key go together, until {ends:%Y-%m-%d}"
    return Check("TLS", days >= LEAST_DAYS, seen if days >= LEAST_DAYS else f"{seen}: renew it")


def database_in(folder: Path) -> Path | None:
    """Data of PostgreSQL, or a copy of a database, in this folder; None when there is none."""
    for data in (folder, *folder.parents):
        if os.path.exists(data / "PG_VERSION"):
            return data
    try:
        files = sorted(one for one in itertools.islice(folder.iterdir(), MOST_FILES) if one.is_file())
        return next((one for one in files if _begins(one).startswith(COPIES)), None)
    except OSError:
        return None


def _begins(file: Path) -> bytes:
    """The first bytes of a file; none of one that cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(64).removeprefix(b"--\n")
    except OSError:
        return b""


def private(what: str, file: Path) -> Iterator[Check]:
    """Is this file its owner's alone?"""
    if os.path.isfile(file) and not file.is_relative_to("/run"):  # containers and systemd protect those
        mode = file.stat().st_mode & 0o777
        advice = "" if mode & 0o077 == 0 else f", open to others: chmod 600 {file}"
        yield Check(what, not advice, f"{file} has mode {mode:o}{advice}")


# ── whom a request came from ─────────────────────────────────────────────────────────────────────────────────────────


def proxies(config: Config) -> Check:
    """Check the trusted proxies: trust in all lets anybody claim any address; without trust a proxy's users are one."""
    trusted = ", ".join(config.trusted_proxies)
    if EVERYBODY & set(config.trusted_proxies):
        wrong = "is every address, so anybody can claim any address: name your proxies in RINGBOOK_TRUSTED_PROXIES"
        return Check("proxies", False, f"{trusted} {wrong}")
    if trusted:
        return Check("proxies", True, f"{trusted}: these may name the address of a client")
    return Check("proxies", True, NO_PROXY + ("" if config.tls_cert else BEHIND_ONE))


# ── the database's machine ───────────────────────────────────────────────────────────────────────────────────────────


def database(config: Config, db: databases.Database) -> Iterator[Check]:
    """The checks of the database's disk and clock."""
    if disk := db.disk():
        free, size = disk
        advice = "" if free >= LEAST_FREE_BYTES else ", too little to go on for long: make room"
        yield Check("disk", not advice, f"{gibibytes(free)} of {gibibytes(size)} free{advice}")
    if not databases.is_sqlite(config.database):
        yield _clock(db)
    try:
        db.probe()
        yield Check("writing", True, "the database takes writes")
    except errors.Unavailable as trouble:
        yield Check("writing", False, trouble.reason)


def _clock(db: databases.Database) -> Check:
    before, theirs, after = time.time(), db.clock(), time.time()
    apart = theirs - (before + after) / 2
    seen = f"{abs(apart):.1f} s {'behind' if apart > 0 else 'ahead of'} the database's"
    ok = abs(apart) <= MOST_APART_SECONDS + (after - before)
    return Check("clock", ok, seen if ok else f"{seen}: synchronise both (NTP)")


def gibibytes(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1024**3:.1f} GiB"
