"""The running process: start, access to its ports, end. Real processes and real signals."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
import servers
from connecting import certificate
from core.joining import ANN, Play
from dashboard.visiting import Visitor
from push.providers import apns_token, providing
from servers import (
    SEAL,
    Databases,
    Server,
    children,
    ended,
    environment,
    free_port,
    program,
    ringbook,
    serving_children,
)
from terminals import Terminal, terminal

from ringbook.core import applications
from ringbook.server import welcome
from ringbook.server.sockets import CannotServe, listen
from ringbook.store import db as store

SDK = Path(__file__).parents[1] / "e2e"
PATIENCE_SECONDS = 30


def ask(
    port: int, path: str, method: str = "GET", body: Any = None, *, tls: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, str]:
    """Status and body of one request on a connection of its own; `x_forwarded_for` is the header X-Forwarded-For."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, named | ({"content-type": "application/json"} if sent else {}))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def session_of(server: Server, login: str, **headers: str) -> tuple[int, Any]:
    """Open a session for a login, which signs up if nobody has it."""
    app = server.app
    user = {"login": login, "password": "correct-horse"}
    body = {"application_id": app.application_id, "auth_key": app.auth_key, "user": user}
    status, text = ask(server.port, "/session", "POST", body, **headers)
    return status, json.loads(text)


def eventually(true: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; the test fails if it does not hold in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def lines(server: Server) -> list[dict[str, Any]]:
    """The log lines of a server whose stderr is not a terminal."""
    return [json.loads(line) for line in server.printed.splitlines()]


@pytest.fixture
def sqlite(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


@pytest.fixture
def postgres(databases: Databases) -> Iterator[str]:
    with databases.fresh("postgresql") as url:
        yield url


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def refused_start(database_url: str, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return ended([program(), "serve", *options], environment(database_url, **settings))


def test_a_busy_port_is_one_line_that_says_what_to_do(sqlite):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        refused = refused_start(sqlite, "--port", str(port))
    said = f"port {port} is in use: make serve PORT={port + 1} (or ringbook serve --port {port + 1})"
    assert (refused.returncode, refused.stderr) == (1, f"ringbook: {said}\n")


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(CannotServe, match="cannot listen on 192.0.2.1.*RINGBOOK_HOST"):
        listen("192.0.2.1", free_port())


def test_an_unknown_setting_stops_the_start(sqlite):
    refused = refused_start(sqlite, prot="1")
    assert refused.returncode == 2
    assert refused.stderr == "ringbook: RINGBOOK_PROT is not a setting; did you mean RINGBOOK_PORT?\n"


def test_an_empty_postgresql_database_is_not_served(databases):
    with databases.postgresql.database() as url:
        refused = refused_start(url, "--port", str(free_port()))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "run `ringbook migrate`" in refused.stderr


def test_without_postgresql_the_start_ends_with_one_line():
    refused = refused_start("postgresql://nobody@127.0.0.1:1/none", "--port", str(free_port()))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert "nothing accepts connections at the address in RINGBOOK_DATABASE" in refused.stderr


def test_on_sqlite_several_workers_are_one_and_it_says_why(sqlite, tmp_path):
    with servers.serve(sqlite, tmp_path, "--workers", "3") as server:
        assert "SQLite has one writer" in server.printed
        assert children(server.process.pid) == []
        assert ask(server.port, "/healthz")[0] == 200


def test_tls_is_spoken_directly(sqlite, tmp_path):
    files, trusted = certificate(tmp_path)
    with servers.serve(sqlite, tmp_path, ca=tmp_path / "ca.pem", **files) as server:
        assert ask(server.port, "/healthz", tls=trusted)[0] == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server.port, "/healthz")


# ── the first start ──────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def first_start(folder: Path, port: int) -> Iterator[Terminal]:
    """`ringbook serve` on a terminal of its own."""
    command = [str(program()), "serve", "--port", str(port)]
    with terminal(command, environment(f"sqlite:///{folder}/first.db")) as shown:
        yield shown


def test_the_printed_javascript_signs_up_uploads_and_sees_a_friend(tmp_path):
    port = free_port()
    with first_start(tmp_path, port) as newcomer:
        newcomer.read_until("the keys again")
        answer = ringbook("app", "connect", "1", database_url=f"sqlite:///{tmp_path}/first.db", port=str(port))
        code = answer.stdout.split("node app.mjs\n\n")[1].split("\n\n── ")[0]
        for _ in ("once", "and once more"):
            ran = run_javascript(code)
            items = json.loads(ran.splitlines()[-1])["items"]
            assert [item["user"]["full_name"] for item in items] == ["Emil"], ran


def run_javascript(code: str) -> str:
    command = ["node", "--input-type=module", "-"]
    ran = subprocess.run(command, input=code, cwd=SDK, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_keys_are_shown_once_and_log_lines_on_a_terminal_are_for_people(tmp_path):
    port = free_port()
    with first_start(tmp_path, port) as first:
        secret = re.search(r"auth secret +(\w+)", first.read_until("the keys again"))
        password = re.search(r"e-mail +admin@localhost\n +password +(\S+)", first.shown)
        assert secret and password
        admin = Visitor(None, port)
        assert admin.post("/login", email="admin@localhost", password=password[1]).goes_to == "/dashboard"
        first.process.send_signal(signal.SIGINT)
        first.read_until(welcome.STOPPED)
        assert first.process.wait(PATIENCE_SECONDS) == 0
    with first_start(tmp_path, port) as second:
        assert secret[1] not in second.read_until("serving")
        assert f"Dashboard       http://127.0.0.1:{port}/dashboard" in second.shown
        assert "auth key" not in second.shown and "password" not in second.shown
        assert ask(port, "/healthz")[0] == 200
        line = next(line for line in second.read_until("/healthz").splitlines() if "/healthz" in line)
        assert not line.startswith("{")


def test_elsewhere_than_on_a_terminal_no_key_is_shown_but_the_command_that_shows_them(tmp_path):
    url = f"sqlite:///{tmp_path}/first.db"
    with servers.serve(url, tmp_path) as server:
        db = store.connect(url, seal=SEAL)
        first = applications.get(db, 1)
        db.close()
        assert "`ringbook app show 1 --secrets`" in server.printed
        assert "`ringbook admin create EMAIL`" in server.printed
        assert "There is no admin yet" in Visitor(server).get("/login").words
        assert first.auth_key not in server.printed
        assert first.auth_secret not in server.printed


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────────


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def can_connect(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_children_end_with_their_parent_when_it_is_killed(postgres, tmp_path):
    with servers.serve(postgres, tmp_path, "--workers", "2") as server:
        eventually(lambda: len(serving_children(server)) == 2, "there are not two children")
        orphans = serving_children(server)
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(alive(pid) for pid in orphans), "children outlived their parent")
        assert not can_connect(server.port)
    assert "Traceback" not in server.printed


def ready(port: int) -> bool:
    try:
        return ask(port, "/readyz")[0] == 200
    except OSError:
        return False


def test_a_child_that_dies_is_replaced_and_its_figures_stay(postgres, tmp_path):
    with servers.serve(postgres, tmp_path, "--workers", "2", metrics_token="open-sesame") as server:
        eventually(lambda: len(serving_children(server)) == 2, "there are not two children")
        for _ in range(20):
            ask(server.port, "/healthz")
        served = 'ringbook_requests_total{method="GET",route="/healthz",status="200"}'
        assert figure(server, served) == 20  # and so all have reported
        before = serving_children(server)
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: len(set(serving_children(server)) - set(before)) == 1, "nobody took its place")
        eventually(lambda: ready(server.port), "it never answered again")
        assert figure(server, served) == 20


def test_with_several_processes_sigterm_ends_all_in_order(postgres, tmp_path):
    with servers.serve(postgres, tmp_path, "--workers", "2") as server:
        eventually(lambda: len(serving_children(server)) == 2, "there are not two children")
        ours = serving_children(server)
    assert server.process.returncode == 0
    assert not any(alive(pid) for pid in ours)
    assert "Traceback" not in server.printed


@contextlib.contextmanager
def disk_of_its_own(folder: Path) -> Iterator[bool]:
    """Mount a small disk at the folder, if this user may; was it mounted?"""
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_useless(folder: Path, how: str, mounted: bool) -> None:
    """Make the folder unwritable; if it is not a separate disk, replace it by a file."""
    if how == "full" and mounted:
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
    elif how == "read-only" and mounted:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        for name in folder.iterdir():
            shutil.rmtree(name) if name.is_dir() else name.unlink()
    if how == "removed" and not mounted:
        folder.rmdir()
    elif not mounted:
        folder.rmdir()
        folder.touch()


@pytest.mark.parametrize("how", ["full", "read-only", "removed"])
def test_several_processes_need_no_folder_for_temporary_files(postgres, tmp_path, how):
    place = tmp_path / "tmp"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        mounted = how != "removed" and stack.enter_context(disk_of_its_own(place))
        with mock.patch.dict(os.environ, dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place))):
            server = stack.enter_context(
                servers.serve(postgres, tmp_path, "--workers", "2", metrics_token="open-sesame")
            )
        eventually(lambda: len(serving_children(server)) == 2, "there are not two children")
        assert session_of(server, "ann")[0] == 201
        make_useless(place, how, mounted)
        before = serving_children(server)
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: len(set(serving_children(server)) - set(before)) == 1, "nobody took its place")
        eventually(lambda: figure(server, 'ringbook_now{what="open"}') >= 3, "three pools, the parent's among them")
        assert [ask(server.port, f"/users/{n}")[0] for n in range(20)] == [401] * 20
        assert figure(server, 'ringbook_requests_total{method="GET",route="/users/{id}",status="401"}') == 20
        assert session_of(server, "bob")[0] == 201
        assert "Traceback" not in server.printed


def test_metrics_show_what_is_there_while_a_process_does_not_answer(postgres, tmp_path):
    with servers.serve(postgres, tmp_path, "--workers", "2", metrics_token="open-sesame") as server:
        eventually(lambda: figure(server, 'ringbook_now{what="open"}') >= 3, "a pool is missing")
        with stopped(server.process.pid):
            status, text = ask(server.port, "/metrics", authorization="Bearer open-sesame")
        assert (status, "ringbook_database_up 1.0" in text) == (200, True), "one process shows its own"
        child = serving_children(server)[0]
        with stopped(child):
            shown = [answer_of_somebody(server) for _ in range(3)]
        assert all('ringbook_requests_total{method="GET",route="/metrics"' in text for text in shown)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def answer_of_somebody(server: Server) -> str:
    """/metrics of a process that is not stopped; the system gives some connections to the stopped one."""
    for _ in range(PATIENCE_SECONDS):
        with contextlib.suppress(TimeoutError), socket.create_connection(("127.0.0.1", server.port), 3) as connection:
            token = b"Authorization: Bearer open-sesame\r\n"
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + token + b"\r\n")
            return connection.makefile("rb").read().decode()
    raise AssertionError("nobody answers")


# ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sigterm_finishes_what_is_in_flight(sqlite, tmp_path):
    with servers.serve(sqlite, tmp_path) as server:
        body = json.dumps({"application_id": server.app.application_id, "auth_key": server.app.auth_key}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            head = f"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            slow.sendall(head.encode() + body[:10])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: not can_connect(server.port), "it still takes connections")
            slow.sendall(body[10:])
            answer = slow.makefile("rb").read().decode()
        assert server.process.wait(PATIENCE_SECONDS) == 0
    assert answer.startswith("HTTP/1.1 201 ")
    assert '"token":' in answer


def test_a_database_that_is_silent_and_a_client_that_never_finishes_do_not_keep_the_server(postgres, tmp_path):
    with (
        servers.serve(postgres, tmp_path) as one,
        servers.serve(postgres, tmp_path, "--workers", "2") as several,
        psycopg.connect(postgres) as silent,
    ):
        silent.execute("LOCK TABLE users")
        waiting = [begun(server) for server in (one, several)]
        time.sleep(0.5)
        for server in (one, several):
            server.process.send_signal(signal.SIGTERM)
        for server in (one, several):
            assert server.process.wait(servers.STOP_SECONDS) >= 0, "it ends by itself"
        for sockets in waiting:
            for connection in sockets:
                connection.close()


def begun(server: Server) -> list[socket.socket]:
    """Begin two requests: one whose body never ends, one that waits for the table of users."""
    app = server.app
    user = {"login": "ann", "password": "correct-horse"}
    body = json.dumps({"application_id": app.application_id, "auth_key": app.auth_key, "user": user})
    found = []
    for text in ("{", body):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(f"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{text}".encode())
        found.append(connection)
    return found


# ── behind a proxy ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proxies, second", [("127.0.0.0/8", 201), ("", 429)])
def test_forwarded_headers_are_believed_from_trusted_proxies_only(sqlite, tmp_path, proxies, second):
    """The limit is one new account per address and hour, so the second sign-up shows which address counts."""
    with servers.serve(sqlite, tmp_path, trusted_proxies=proxies, new_accounts_per_hour="1") as server:
        assert session_of(server, "ann", x_forwarded_for="198.51.100.1")[0] == 201
        assert session_of(server, "bob", x_forwarded_for="203.0.113.9, 198.51.100.2")[0] == second
        assert session_of(server, "eve", x_forwarded_for="203.0.113.7, 198.51.100.1")[0] == 429


# ── /metrics and the admin port ──────────────────────────────────────────────────────────────────────────────────────


def figure(server: Server, name: str) -> float:
    """One value of /metrics; 0 if it is missing."""
    _, text = ask(server.port, "/metrics", authorization="Bearer open-sesame")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 403),
        ({"host": "localhost"}, 403),
        ({"host": "localhost", "x_forwarded_for": "127.0.0.1"}, 403),
        ({"authorization": "Bearer open-sesame"}, 200),
        ({"x_forwarded_for": "198.51.100.1", "authorization": "Bearer open-sesame"}, 200),
        ({"authorization": "Bearer wrong"}, 403),
        ({"authorization": "Bearer "}, 403),
    ],
)
def test_metrics_are_for_who_has_the_token(guarded, headers, status):
    assert ask(guarded.port, "/metrics", **headers)[0] == status


def test_without_a_token_metrics_are_at_the_admin_port_only(sqlite, tmp_path):
    with servers.serve(sqlite, tmp_path) as server:
        for headers in ({}, {"host": "localhost"}, {"authorization": "Bearer "}, {"authorization": "Bearer None"}):
            status, said = ask(server.port, "/metrics", **headers)
            assert (status, "RINGBOOK_METRICS_TOKEN" in said, "RINGBOOK_ADMIN_PORT" in said) == (403, True, True)
    admin = free_port()
    with servers.serve(sqlite, tmp_path, admin_port=str(admin)) as server:
        assert (ask(server.port, "/metrics")[0], ask(admin, "/metrics")[0]) == (404, 200)
    with servers.serve(sqlite, tmp_path, admin_port=str(admin), metrics_token="open-sesame") as server:
        assert [ask(port, "/metrics")[0] for port in (server.port, admin)] == [404, 403]
        assert ask(admin, "/metrics", authorization="Bearer open-sesame")[0] == 200


@pytest.fixture(scope="module")
def guarded(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    with (
        databases.fresh("sqlite") as url,
        servers.serve(url, folder, metrics_token="open-sesame", trusted_proxies="127.0.0.1") as server,
    ):
        yield server


def test_the_figures_are_sums_over_all_processes(postgres, tmp_path):
    with servers.serve(postgres, tmp_path, "--workers", "2", metrics_token="open-sesame") as server:
        eventually(lambda: figure(server, 'ringbook_now{what="open"}') >= 2, "one of the two pools is missing")
        for _ in range(40):
            assert ask(server.port, "/users/1")[0] == 401
        assert figure(server, 'ringbook_requests_total{method="GET",route="/users/{id}",status="401"}') == 40
        assert figure(server, 'ringbook_request_seconds_count{route="/users/{id}"}') == 40


def test_the_admin_port_takes_what_is_for_operators_from_the_public_one(sqlite, tmp_path):
    admin = free_port()
    with servers.serve(sqlite, tmp_path, admin_port=str(admin)) as server:
        for path, public, private in [
            ("/metrics", 404, 200),
            ("/docs", 404, 200),
            ("/openapi.json", 404, 200),
            ("/dashboard", 404, 303),
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/users/1", 401, 404),
        ]:
            assert (ask(server.port, path)[0], ask(admin, path)[0]) == (public, private), path


def test_without_an_admin_port_everything_is_at_the_one_port(guarded):
    for path in ("/metrics", "/docs", "/openapi.json", "/healthz", "/readyz"):
        assert ask(guarded.port, path, authorization="Bearer open-sesame")[0] == 200, path
    assert "Ringbook API" in ask(guarded.port, "/docs")[1]


def test_not_ready_when_the_database_is_gone_but_alive(databases, tmp_path):
    with (
        databases.fresh("postgresql") as url,
        servers.serve(url, tmp_path) as server,
    ):
        databases.postgresql.run(f"DROP DATABASE {servers.name_in(url)} WITH (FORCE)")
        assert ask(server.port, "/readyz")[0] == 503
        assert ask(server.port, "/healthz")[0] == 200


# ── log lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_request_is_one_line_and_none_holds_what_is_other_peoples(guarded):
    ask(guarded.port, "/no/such/path", "PATCH")
    eventually(lambda: lines(guarded)[-1].get("method") == "PATCH", "the line of the request before")
    before = len(lines(guarded))
    _, opened = session_of(guarded, "zoe-secret-login")
    token, user_id = opened["session"]["token"], opened["session"]["user_id"]
    contacts = [{"name": "Quentin Unique", "phone": "12025550177"}]
    ask(guarded.port, "/address_book.json", "POST", {"contacts": contacts}, cb_token=token)
    ask(guarded.port, "/address_book/registered_users?hidden-query=1", cb_token=token)
    ask(guarded.port, "/no/such/path-of-mine", cb_token=token)
    ask(guarded.port, "/session/1", "PUT", {"path-of-mine": 1}, cb_token=token)
    ask(guarded.port, "/users/phone?phone=12025550177", cb_token="not-a-token-of-ours")
    eventually(lambda: len(lines(guarded)) == before + 6, "not six lines")
    new = lines(guarded)[before:]
    assert {line["event"] for line in new} == {"request"}
    known = {"/session", "/address_book", "/address_book/registered_users"}
    assert [line["user"] for line in new if line["route"] in known] == [user_id] * 3
    assert sorted(line["route"] for line in new if line["route"] not in known) == ["/users/phone", "none", "none"]
    assert all(line["status"] and line["ms"] >= 0 for line in new)
    private = [
        "zoe-secret",
        "correct-horse",
        "Quentin",
        "5550177",
        "hidden-query",
        "path-of-mine",
        token,
        "not-a-token",
    ]
    assert [word for word in private if word in guarded.printed] == []


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_worker_alone_ends_at_sigterm(sqlite, tmp_path):
    log = tmp_path / "log"
    with servers.running([program(), "worker"], log, environment=environment(sqlite)) as process:
        eventually(lambda: "working" in log.read_text(), "it never began")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    "kind, words",
    [
        ("sqlite", ["worker"]),
        ("sqlite", ["serve", "--port", "0"]),
        ("postgresql", ["worker"]),
        ("postgresql", ["serve", "--port", "0", "--workers", "2"]),
    ],
)
def test_sigterm_waits_for_pushes_that_are_on_their_way_but_not_for_ever(kind, words, databases, tmp_path):
    """One provider takes a second to answer, another one never answers."""
    with (
        databases.fresh(kind) as url,
        providing(tmp_path) as providers,
        contextlib.closing(store.connect(url, seal=SEAL)) as db,
    ):
        play = Play(db, now=int(time.time()))
        play.set(**providers.settings)
        for who, order in (("bob", "slow-1000"), ("cleo", "never")):
            friend = play.person(who)
            play.holds(friend.id, (ANN, "Ann"))
            play.device(friend.id, apns_token(order), channel="apns", platform="ios")
        play.person("ann", ANN)
        its = environment(url, **{name: str(value) for name, value in providers.config.items()})
        with servers.running([program(), *words], tmp_path / "log", environment=its) as process:
            eventually(lambda: len(providers.asked()["asked"]) == 2, "nothing was sent")
            process.send_signal(signal.SIGTERM)
            assert process.wait(servers.STOP_SECONDS) == 0
        pushes = play.rows("SELECT outcome, attempts FROM pushes ORDER BY user_id")
        assert pushes == [{"outcome": "accepted", "attempts": 1}, {"outcome": None, "attempts": 1}]
        assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "several"])
def test_a_request_that_hangs_at_sigterm_takes_no_push_and_no_counter(options, databases, tmp_path):
    """It hangs for the whole grace period, and all the time another process writes pushes to a slow provider."""
    with (
        databases.fresh("postgresql") as url,
        providing(tmp_path) as providers,
        contextlib.closing(store.connect(url, seal=SEAL)) as db,
        psycopg.connect(url) as blocker,
    ):
        play = Play(db, now=int(time.time()))
        play.set(**providers.settings)
        bob = play.person("bob")
        play.device(bob.id, apns_token("slow-2500"), channel="apns", platform="ios")
        numbers = [f"+1 202 555 01{n:02}" for n in range(10, 99)]
        play.holds(bob.id, *[(number, f"Friend {number[-2:]}") for number in numbers])
        its = {name: str(value) for name, value in providers.config.items()}
        with servers.serve(url, tmp_path, *options, database_seconds="0", **its) as server:
            play.person("friend0", numbers[0])
            eventually(lambda: providers.asked()["asked"], "nothing was sent")
            blocker.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            with socket.create_connection(("127.0.0.1", server.port)) as hanging:
                hanging.sendall(b"GET /session HTTP/1.1\r\nHost: x\r\nCB-Token: " + b"1" * 40 + b"\r\n\r\n")
                time.sleep(0.5)
                server.process.send_signal(signal.SIGTERM)
                for n, number in enumerate(numbers[1:], 1):
                    if server.process.poll() is not None:
                        break
                    play.person(f"friend{n}", number)
                    time.sleep(0.3)
                assert server.process.wait(servers.STOP_SECONDS) == 0
        sent = len(providers.asked()["asked"])
        outcomes = [row["outcome"] for row in play.rows("SELECT outcome FROM pushes WHERE attempts > 0")]
        counted = play.rows("SELECT value FROM daily WHERE name = 'joined pushes accepted' AND day = 0")
        assert sent and outcomes == ["accepted"] * sent
        assert counted == [{"value": sent}]
