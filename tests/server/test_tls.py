"""The certificate is renewed while the server runs, also on SIGHUP, which ends no process."""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import servers
import trustme
from cryptography import x509
from servers import Server, eventually, serving_children

from ringbook.config import Config
from ringbook.server.tls import LOOK_SECONDS, Certificate

from .test_protocol import connect, everything, statuses

UPLOAD = b"POST /session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{"


class Files:
    """The certificate and key of a server's settings, and the authority that clients trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(folder / "ca.pem")
        self.renew()

    def renew(self) -> None:
        issued = self._authority.issue_cert("127.0.0.1")
        self._put("key.pem", issued.private_key_pem.bytes())
        self._put("chain.pem", issued.cert_chain_pems[0].bytes())

    def damage(self) -> None:
        self._put("chain.pem", b"-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")

    def _put(self, name: str, content: bytes) -> None:
        """Replace a file by renaming a new one, as certbot does."""
        (self._folder / "new").write_bytes(content)
        os.replace(self._folder / "new", self._folder / name)

    @property
    def settings(self) -> dict[str, str]:
        return {"tls_cert": str(self._folder / "chain.pem"), "tls_key": str(self._folder / "key.pem")}

    @property
    def ca(self) -> Path:
        return self._folder / "ca.pem"

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def number(self) -> int:
        """The serial number of the certificate in the file."""
        return x509.load_pem_x509_certificate((self._folder / "chain.pem").read_bytes()).serial_number


def shown(server: Server, files: Files) -> int:
    """The serial number of the certificate that a new connection gets."""
    with connect(server) as plain, files.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as one:
        found = one.getpeercert()
        assert found
        return int(str(found["serialNumber"]), 16)


def shown_by_all(server: Server, files: Files) -> set[int]:
    """The serial numbers on so many connections that each process serves some."""
    return {shown(server, files) for _ in range(20)}


def loads(server: Server) -> int:
    """How often a process has replaced its certificate."""
    return server.printed.count('"event":"certificate loaded"')


def wait_for_both(server: Server) -> None:
    """Wait until both processes serve: each logs it once it has loaded the certificate for the first SIGHUP."""
    eventually(lambda: len(serving_children(server)) == 2, "there are not two children")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: loads(server) == 2, "a process does not serve")


# ── the certificate ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_renewed_certificate_is_shown_after_sighup_and_no_request_is_interrupted(databases, tmp_path, options):
    files = Files(tmp_path)
    with (
        databases.fresh("postgresql") as url,
        servers.serve(url, tmp_path, *options, ca=files.ca, **files.settings) as server,
        connect(server) as plain,
        files.trusting().wrap_socket(plain, server_hostname="127.0.0.1") as under_way,
    ):
        assert shown(server, files) == files.number()
        under_way.sendall(UPLOAD)
        before = files.number()
        files.renew()
        assert files.number() != before
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: shown_by_all(server, files) == {files.number()}, "the new one was never shown")
        under_way.sendall(b"}")
        assert statuses(everything(under_way)) == [422]
        assert server.process.poll() is None


def test_a_renewed_certificate_is_shown_by_every_process_without_a_signal(databases, tmp_path):
    files = Files(tmp_path)
    with (
        databases.fresh("postgresql") as url,
        servers.serve(url, tmp_path, "--workers", "2", ca=files.ca, **files.settings) as server,
    ):
        wait_for_both(server)
        files.renew()
        eventually(lambda: shown_by_all(server, files) == {files.number()}, "the new one was never shown")
        eventually(lambda: loads(server) == 4, "a process has not loaded it")


def test_a_certificate_that_cannot_be_used_leaves_the_one_before_and_says_why(databases, tmp_path):
    files = Files(tmp_path)
    with databases.fresh("sqlite") as url, servers.serve(url, tmp_path, ca=files.ca, **files.settings) as server:
        before = files.number()
        files.damage()
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "certificate not loaded" in server.printed, "nothing was said")
        assert "one of the two files does not" in server.printed
        assert shown(server, files) == before
        files.renew()
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: shown(server, files) == files.number(), "it never recovered")


def test_a_process_that_replaces_another_waits_for_a_certificate_that_can_be_used(databases, tmp_path):
    files = Files(tmp_path)
    with (
        databases.fresh("postgresql") as url,
        servers.serve(url, tmp_path, "--workers", "2", ca=files.ca, **files.settings) as server,
    ):
        wait_for_both(server)
        before = files.number()
        files.damage()
        os.kill(serving_children(server)[0], signal.SIGKILL)
        eventually(lambda: '"serving":"none"' in server.printed, "the new process has not tried the certificate")
        assert shown_by_all(server, files) == {before}
        files.renew()
        eventually(lambda: shown_by_all(server, files) == {files.number()}, "the new one was never shown")
        assert server.process.poll() is None


def loaded(tmp_path: Path) -> tuple[Files, Certificate]:
    files = Files(tmp_path)
    return files, Certificate(Config(**files.settings))


def test_files_that_are_replaced_one_after_the_other_are_loaded_once_both_are_there(tmp_path, capsys):
    _, certificate = loaded(tmp_path)
    (tmp_path / "other").mkdir()
    Files(tmp_path / "other")
    first, now = certificate.context, 0.0
    certificate.look(now)
    for name in ("key.pem", "chain.pem"):
        shutil.copy(tmp_path / "other" / name, tmp_path / name)
        certificate.look(now := now + LOOK_SECONDS)
        assert certificate.context is first
    certificate.look(now + LOOK_SECONDS)
    assert certificate.context is not first
    assert "not loaded" not in "".join(capsys.readouterr())


def test_a_change_is_loaded_within_a_minute(tmp_path):
    files, certificate = loaded(tmp_path)
    first = certificate.context
    certificate.look(0)
    files.renew()
    for second in range(1, 61):
        certificate.look(second)
    assert certificate.context is not first


def test_files_that_disappear_leave_the_certificate_before(tmp_path):
    _, certificate = loaded(tmp_path)
    first = certificate.context
    (tmp_path / "chain.pem").unlink()
    for second in range(0, 61, LOOK_SECONDS):
        certificate.look(second)
    assert certificate.context is first


# ── the signal ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind, options", [("sqlite", ()), ("postgresql", ("--workers", "2"))])
def test_sighup_without_tls_interrupts_no_request_and_ends_no_process(databases, tmp_path, kind, options):
    with databases.fresh(kind) as url, servers.serve(url, tmp_path, *options) as server, connect(server) as under_way:
        before = serving_children(server)
        under_way.sendall(UPLOAD)
        for pid in [server.process.pid, *before]:
            os.kill(pid, signal.SIGHUP)
        time.sleep(1)
        under_way.sendall(b"}")
        assert statuses(everything(under_way)) == [422]
        assert server.process.poll() is None
        assert serving_children(server) == before


@pytest.mark.parametrize("port", [0, 1])
def test_sighup_does_not_end_a_worker(databases, tmp_path, port):
    given = {"worker_metrics_port": str(servers.free_port())} if port else {}
    with databases.fresh("sqlite") as url, worker(url, tmp_path / "log", **given) as process:
        eventually(lambda: "working" in (tmp_path / "log").read_text(), "it never began")
        process.send_signal(signal.SIGHUP)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.poll() is None


def test_a_worker_shows_a_renewed_certificate_after_sighup(databases, tmp_path):
    files, port = Files(tmp_path), servers.free_port()
    with (
        databases.fresh("sqlite") as url,
        worker(url, tmp_path / "log", worker_metrics_port=str(port), **files.settings) as process,
    ):
        server = Server(f"https://127.0.0.1:{port}", url, servers.Application(0, "", ""), tmp_path / "log", process)
        eventually(lambda: answers(lambda: shown(server, files)), "it never answered")
        files.renew()
        process.send_signal(signal.SIGHUP)
        eventually(lambda: shown(server, files) == files.number(), "the new one was never shown")


def worker(url: str, log: Path, **settings: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return servers.running([servers.program(), "worker"], log, environment=servers.environment(url, **settings))


def answers(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True
