"""The unmodified npm packages of ConnectyCube and QuickBlox, driven against a running server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from connecting import certificate
from e2e.verdicts import Verdict, agree, verdict
from servers import Databases, Server, serve

HERE = Path(__file__).parent
KIT_SECONDS = 150

# Checks of a kit that fail because we decided otherwise, each with its reason. Exactly these fail.
CONNECTYCUBE_DECIDED: dict[str, str] = {}
QUICKBLOX_DECIDED: dict[str, str] = {}


def drive(kit: str, server: Server, *options: str, ca: Path | None = None) -> Verdict:
    """Run a kit against a server, with its checks of undocumented behaviour."""
    node = shutil.which("node")
    assert node, "node 20 or newer is missing; make test installs it on Debian as root"
    assert (HERE / "node_modules").exists(), "the npm packages are missing; make test installs them"
    app = server.app
    keys = ["--app-id", str(app.application_id), "--auth-key", app.auth_key, "--auth-secret", app.auth_secret]
    command = [node, f"sdk_{kit}.mjs", "--endpoint", server.url, *keys, "--strict", *options]
    environment = os.environ | ({"NODE_EXTRA_CA_CERTS": str(ca)} if ca else {})
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=KIT_SECONDS)
    return verdict(done.stdout + done.stderr)


@contextmanager
def behind_tls(databases: Databases, folder: Path) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate of our own authority, and the authority's file."""
    (files, _), authority = certificate(folder), folder / "ca.pem"
    with databases.fresh("sqlite") as url, serve(url, folder, ca=authority, **files) as server:
        yield server, authority


# PostgreSQL without a pooler is used on two processes, below.
@pytest.mark.parametrize("kind", ["sqlite", "pgbouncer"])
def test_connectycubes_sdk_finds_what_it_expects(kind: str, databases: Databases, tmp_path: Path) -> None:
    with databases.fresh(kind) as url, serve(url, tmp_path) as server:
        agree(drive("connectycube", server), CONNECTYCUBE_DECIDED, checks=288)


# SQLite is used over TLS, below.
def test_quickbloxs_sdk_finds_what_it_expects(databases: Databases, tmp_path: Path) -> None:
    with databases.fresh("postgresql") as url, serve(url, tmp_path) as server:
        agree(drive("quickblox", server, "--hash", "sha1"), QUICKBLOX_DECIDED, checks=164)


def test_quickbloxs_sdk_over_tls_and_with_the_other_hash(databases: Databases, tmp_path: Path) -> None:
    with behind_tls(databases, tmp_path) as (server, ca):
        agree(drive("quickblox", server, "--hash", "sha256", ca=ca), QUICKBLOX_DECIDED, checks=164)


def test_connectycubes_sdk_on_two_processes(databases: Databases, tmp_path: Path) -> None:
    with databases.fresh("postgresql") as url, serve(url, tmp_path, "--workers", "2") as server:
        agree(drive("connectycube", server), CONNECTYCUBE_DECIDED, checks=288)
