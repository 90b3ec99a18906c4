"""The files in deploy/: what they name exists, units and image have few rights, Caddy logs no secrets."""

import http.client
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from asking import line, person
from prometheus_client.metrics import MetricWrapperBase
from servers import Server, eventually, free_port, get, running, serve, wait_until

from ringbook import config, metrics
from ringbook.cli.__main__ import cli

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
NEED_CADDY = "The tests need caddy: `make test` installs it on Debian as root, else apt or brew install it"
UNITS = ("ringbook.service", "ringbook-worker.service")
BACKUP = "ringbook-backup.service"


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


# ── what is named exists ─────────────────────────────────────────────────────────────────────────────────────────────


def test_every_setting_that_is_named_exists():
    known = {setting.variable for setting in config.settings()}
    known |= {f"{setting.variable}_FILE" for setting in config.settings() if setting.secret}
    named = {name for file in DEPLOY.rglob("*") if file.is_file() for name in settings_in(file)}
    assert len(named) > 5 and named <= known


def settings_in(file: Path) -> set[str]:
    return set(re.findall(r"RINGBOOK_[A-Z_]*[A-Z]", file.read_text("utf-8")))


def test_every_command_that_is_run_exists():
    starts = [
        line for unit in (*UNITS, BACKUP) for line in (DEPLOY / unit).read_text().splitlines() if "ExecStart=" in line
    ]
    named = {line.partition("/bin/ringbook ")[2].split()[0] for line in starts}
    named |= {one["command"][0] for one in compose()["services"].values() if "command" in one}
    assert named == {"serve", "worker", "backup", "migrate"} and named <= set(cli)


def test_what_the_image_copies_is_let_into_its_build():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    wanted = {name for names in copied for name in names.split()}
    assert wanted == {"requirements.lock", "pyproject.toml", "README.md", "LICENSE", "src"}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == wanted and all((ROOT / name).exists() for name in wanted)


# ── what is promised ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_units_may_do_equally_little():
    texts = [[line for line in (DEPLOY / unit).read_text().splitlines() if "=" in line] for unit in UNITS]
    differ = {line.partition("=")[0] for line in set(texts[0]) ^ set(texts[1])}
    assert differ == {"Description", "ExecStart"}


def test_the_backup_runs_as_the_user_of_the_service_and_may_do_less():
    service, backup = (
        {line for line in (DEPLOY / unit).read_text().splitlines() if "=" in line} for unit in (UNITS[0], BACKUP)
    )
    assert {"User=ringbook", "Group=ringbook", "StateDirectory=ringbook", "ProtectSystem=strict"} <= backup
    assert {line.partition("=")[0] for line in backup - service} == {
        *("Description", "Type", "ExecStart", "ReadWritePaths", "RestrictAddressFamilies"),
    }


def test_ringbook_in_containers_runs_without_rights_and_its_secrets_are_files():
    services = compose()["services"]
    for name in ("migrate", "server", "worker"):
        one = services[name]
        assert one["read_only"] and one["cap_drop"] == ["ALL"] and one["user"] == "10001:10001"
        assert "no-new-privileges:true" in one["security_opt"]
        secrets = [key for key in one["environment"] if "DATABASE" in key or "TOKEN" in key]
        assert secrets and all(key.endswith("_FILE") for key in secrets)
    opened = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert set(opened) == {"caddy", "server"} and all(port.startswith("127.0.0.1:") for port in opened["server"])
    assert services["server"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


# ── watching ─────────────────────────────────────────────────────────────────────────────────────────────────────────

OTHERS = {"up", "node_filesystem_avail_bytes", "node_filesystem_size_bytes", "process_resident_memory_bytes"}


def metrics_known() -> set[str]:
    """The names of Ringbook's metrics."""
    families = [one.describe()[0] for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    suffix = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    return {family.name + end for family in families for end in suffix[family.type]}


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ringbook_[a-z_]+|node_[a-z_]+|process_[a-z_]+|up(?=[{ ]))", expression))


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads((DEPLOY / "grafana" / "ringbook.json").read_text("utf-8"))["panels"]


def test_every_metric_that_the_board_or_an_alarm_asks_for_exists():
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    alarms = [rule["expr"] for rule in rules()]
    assert len(asked) > 15 and len(alarms) == 9
    for expression in asked + alarms:
        named = metrics_in(expression)
        assert named and named <= metrics_known() | OTHERS, expression


def test_every_metric_is_on_the_board():
    asked = {name for panel in panels() for target in panel.get("targets", []) for name in metrics_in(target["expr"])}
    stems = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in metrics_known()} <= stems


def test_every_panel_says_what_it_shows_and_none_lies_on_another():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        where = panel["gridPos"]
        cells = {(where["x"] + x, where["y"] + y) for x in range(where["w"]) for y in range(where["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["title"] and (panel["type"] == "row" or panel["description"].endswith("."))
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alarm_leads_to_what_to_do_and_has_a_test_of_a_good_and_of_a_bad_day():
    page = (ROOT / "docs" / "how-to" / "watch.md").read_text("utf-8")
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text("utf-8"))["tests"]
    for rule in rules():
        assert f"\n### {rule['alert']}\n" in page
        assert rule["annotations"]["runbook"] == f"docs/how-to/watch.md#{rule['alert'].lower()}"
        speaks = [bool(one["exp_alerts"]) for test in tests for one in cases(test, rule["alert"])]
        assert True in speaks and False in speaks


def cases(test: dict[str, Any], alert: str) -> list[dict[str, Any]]:
    return [one for one in test["alert_rule_test"] if one["alertname"] == alert]


# ── Caddy ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def caddy(folder: Path, upstream: str) -> Iterator[tuple[int, Path]]:
    """Caddy with our Caddyfile, without TLS: its port and its log."""
    program = shutil.which("caddy")
    if not program:
        raise RuntimeError(NEED_CADDY)
    port, log = free_port(), folder / "caddy.log"
    own = {"DOMAIN": f"http://127.0.0.1:{port}", "UPSTREAM": upstream}
    own |= {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [program, "run", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile"]
    with running(command, log, environment=os.environ | own) as process:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/healthz"), OSError, process, log)
        yield port, log


def through(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        sent = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, sent, named | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_caddys_log_holds_no_query_no_header_and_no_number_also_when_ringbook_is_gone(databases, tmp_path):
    with databases.fresh("sqlite") as url:
        with serve(url, tmp_path, trusted_proxies="127.0.0.1") as server, caddy(tmp_path, at(server)) as (port, log):
            phone, who = line(7)["phone"], person(server, phone=line(7)["phone"])
            asked = f"/users/by_phone?phone={phone}&token={who.token}"
            assert through(port, "GET", asked, CB_Token=who.token)[0] == 200
            assert through(port, "POST", "/address_book", {"contacts": [line(8)]}, CB_Token=who.token)[0] == 200
            assert [through(port, "GET", path)[0] for path in ("/metrics", "/docs", "/dashboard/x")] == [404] * 3
            server.process.terminate()
            server.process.wait()
            assert through(port, "GET", asked, CB_Token=who.token)[0] == 502
            eventually(lambda: log.read_text().count('"/users/by_phone"') >= 2, "it logs nothing")
        written = log.read_text()
    assert "/address_book" in written and '"status":502' in written
    for secret in (phone, line(8)["phone"], who.token, "by_phone?", "Cb-Token"):
        assert secret not in written


def at(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def test_behind_caddy_a_client_cannot_claim_another_address(databases, tmp_path):
    limits = {"trusted_proxies": "127.0.0.1", "new_accounts_per_hour": "1"}
    with (
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, **limits) as server,
        caddy(tmp_path, at(server)) as front,
    ):
        keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
        answers = []
        for n in range(2):
            body = keys | {"user": {"login": f"user{n}", "password": "correct-horse"}}
            answers.append(through(front[0], "POST", "/session", body, X_Forwarded_For=f"192.0.2.{n}")[0])
        assert answers == [201, 429]


def test_caddy_spells_the_names_of_the_expiration_in_its_own_way_as_the_documents_say(databases, tmp_path):
    with (
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, trusted_proxies="127.0.0.1") as server,
        caddy(tmp_path, at(server)) as (port, _),
    ):
        request = f"GET /session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCB-Token: {person(server).token}\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
            one.sendall((request + "Connection: close\r\n\r\n").encode())
            head = b"".join(iter(lambda: one.recv(65536), b"")).partition(b"\r\n\r\n")[0].decode()
    names = re.findall(r"^(..-token-expirationdate):", head, re.MULTILINE | re.IGNORECASE)
    assert names == ["Cb-Token-Expirationdate", "Qb-Token-Expirationdate"]
    assert "`Cb-Token-Expirationdate`" in (ROOT / "docs" / "operations.md").read_text("utf-8")
