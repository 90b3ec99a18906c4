"""`ringbook check` of the machine: file modes, certificates, proxies, disk space, clocks, writes to the database."""

import datetime
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from servers import SEAL, name_in

from ringbook import config
from ringbook.config import Config
from ringbook.server import machine
from ringbook.store import db as store


def certificate(folder: Path, days: float) -> Config:
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    made = trustme.CA().issue_cert("localhost", not_after=ends)
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    files = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    return Config(database="postgresql://x", **files)


@pytest.mark.parametrize("days, ok", [(90, True), (20, True), (10, False), (-1, False)])
def test_a_certificate_that_ends_soon_is_told(tmp_path, days, ok):
    tls, key = machine.files(certificate(tmp_path, days), [])
    assert tls.ok is ok and key.ok
    assert ("renew it" in tls.seen) is not ok


def test_files_that_secrets_come_from_are_their_owners_alone(tmp_path):
    url, token, toml = tmp_path / "url", tmp_path / "token", tmp_path / "ringbook.toml"
    url.write_text("sqlite:///x.db")
    token.write_text("t")
    toml.write_text(f'metrics_token_file = "{token}"\nport = 9000\n')
    environ = {"RINGBOOK_DATABASE_FILE": str(url), "HOME": "/", "RINGBOOK_PORT": "1"}
    assert config.secret_files(environ, toml) == [url, token]
    toml.write_text('metrics_token = "t"\n')
    assert config.secret_files(environ, toml) == [url, toml]
    assert config.secret_files({}, None) == []
    url.chmod(0o400)
    toml.chmod(0o640)
    one, other = machine.files(Config(database="postgresql://x"), [url, toml])
    assert (one.ok, other.ok) == (True, False)
    assert f"chmod 600 {toml}" in other.seen


@pytest.mark.parametrize(
    "given, ok, said",
    [
        ({}, True, "all users share its limits"),
        ({"tls_cert": "c", "tls_key": "k"}, True, "no proxy is trusted"),
        ({"trusted_proxies": ("10.0.0.1/32",)}, True, "10.0.0.1/32: these may name"),
        ({"trusted_proxies": ("10.0.0.1/32", "0.0.0.0/0")}, False, "is every address"),
        ({"trusted_proxies": ("::/0",)}, False, "RINGBOOK_TRUSTED_PROXIES"),
    ],
)
def test_whoever_is_believed_is_told_and_everybody_is_too_many(given, ok, said):
    seen = machine.proxies(Config(**given))
    assert seen.ok is ok and said in seen.seen


def found(db: store.Database, url: str) -> dict[str, machine.Check]:
    return {check.what: check for check in machine.database(Config(database=url), db)}


def test_all_is_well_with_a_database_in_order(db, database_url):
    checks = found(db, database_url)
    assert all(check.ok for check in checks.values()), checks
    assert set(checks) == ({"disk", "writing"} if store.is_sqlite(database_url) else {"clock", "writing"})


def test_a_disk_that_is_nearly_full_is_told(databases, monkeypatch):
    usage = shutil._ntuple_diskusage(100 * 1024**3, 0, 1024**2)
    with databases.fresh("sqlite") as url, closing(open_(url)) as db:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert found(db, url)["disk"] == machine.Check(
            "disk", False, "0.0 GiB of 100.0 GiB free, too little to go on for long: make room"
        )


def open_(url: str) -> store.Database:
    return store.connect(url, seal=SEAL)


@pytest.mark.parametrize("apart, said", [(60, "s behind the database's"), (-60, "s ahead of the database's")])
def test_clocks_that_differ_are_told(databases, monkeypatch, apart, said):
    with databases.fresh("postgresql") as url, closing(open_(url)) as db:
        theirs = db.clock()
        monkeypatch.setattr(machine.time, "time", lambda: theirs - apart)
        clock = found(db, url)["clock"]
        assert not clock.ok and "NTP" in clock.seen and said in clock.seen


def test_a_database_that_takes_no_writes_is_told(databases):
    with databases.fresh("postgresql") as url, closing(open_(url)) as db:
        with db.write() as tx:
            tx.run(f"ALTER DATABASE {name_in(url)} SET default_transaction_read_only = on")
        with closing(open_(url)) as later:
            assert not found(later, url)["writing"].ok


@pytest.mark.parametrize(
    ("version", "mended"),
    [((3, 11, 9), "3.11.10"), ((3, 11, 10), ""), ((3, 12, 5), "3.12.6"), ((3, 12, 6), ""), ((3, 13, 0), "")],
)
def test_a_python_with_a_known_hole_is_told_with_the_release_that_mends_it(
    version: tuple[int, int, int], mended: str
) -> None:
    assert (f"use Python {mended} or newer" in machine.python_advice(version)) == bool(mended)
    assert ("CVE-2024-7592" in machine.python(version)) == bool(mended)
