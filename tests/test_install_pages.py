"""The commands of the pages on installing and backing up, in a folder that stands for /opt, /etc and /var."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from servers import free_port, get, running, wait_until

ROOT = Path(__file__).parent.parent
HOW_TO = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What changes the machine or needs systemd, and what needs the network. The pages name these.
NOT_RUN = ("useradd", "chown", "systemctl", "journalctl", "install -m 0644 deploy/Caddyfile", "make wheel", "ls dist")
NOT_RUN += ("/opt/ringbook/bin/pip install --require-hashes", "python3 -m venv", "cp -r /var/backups/erasures")
NOT_RUN += ("cp /media/safe", "chmod 600 /tmp/rehearsal")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the machine, with Ringbook's wheel installed in opt/ringbook."""
    folder = tmp_path_factory.mktemp("machine")
    for name in ("opt", "etc/systemd/system", "var/lib/ringbook", "var/backups", "home"):
        (folder / name).mkdir(parents=True)
    made = folder / "opt" / "ringbook"
    ran(sys.executable, "-m", "venv", "--without-pip", made)
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "home", cwd=ROOT)
    pip = made / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {made}/bin/python "$@" --no-index\n')
    pip.chmod(0o755)
    (packages,) = made.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def ran(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def on(machine: Path, text: str) -> str:
    """A text of a page with the paths of this machine."""
    text = text.replace("runuser -u ringbook -- ", "").replace("install -o ringbook", "install")
    text = text.replace("install -d -o ringbook", "install -d").replace("deploy/", f"{ROOT}/deploy/")
    text = text.replace("sqlite:////", f"sqlite:///{machine}/")
    return re.sub(r"(?<![\w./])(/opt|/etc|/var)/", rf"{machine}\1/", text)


def commands(page: str) -> list[str]:
    """The commands of a page that a test can run."""
    found = []
    for kind, block in BLOCK.findall((HOW_TO / page).read_text("utf-8")):
        lines = block.replace("\\\n", " ").splitlines() if kind == "sh" else []
        found += [line.partition("  #")[0].strip() for line in lines if not line.startswith(NOT_RUN)]
    return found


def run(machine: Path, command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGBOOK_")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        ["sh", "-c", on(machine, command)], cwd=machine / "home", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def served(machine: Path, command: str) -> None:
    """Start a server as the page says, until it is ready."""
    port = free_port()
    words = [*on(machine, command).split(), "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGBOOK_")}
    log = machine / "home" / "log"
    with running(words, log, environment=environment, folder=machine / "home") as process:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/readyz"), OSError, process, log)


def test_the_page_on_the_wheel(machine):
    done = commands("install-wheel.md")
    assert done == [
        "/opt/ringbook/bin/pip install --no-deps ringbook-*.whl",
        "/opt/ringbook/bin/ringbook serve",
        "/opt/ringbook/bin/ringbook admin create you@example.com",
        "/opt/ringbook/bin/ringbook check",
    ]
    run(machine, done[0])
    served(machine, done[1])
    assert "you@example.com" in run(machine, done[2])
    run(machine, done[3])


def test_the_page_on_systemd_and_the_nightly_backup(machine):
    if not (machine / "opt/ringbook/bin/ringbook").exists():
        run(machine, commands("install-wheel.md")[0])
    text = (HOW_TO / "install-systemd.md").read_text("utf-8")
    toml = next(block for kind, block in BLOCK.findall(text) if kind == "toml")
    units = {"ringbook.service", "ringbook-worker.service", "ringbook-backup.service", "ringbook-backup.timer"}
    for command in commands("install-systemd.md"):
        if "app show" in command:
            file = machine / "etc/ringbook/ringbook.toml"
            file.chmod(0o600)
            file.write_text(on(machine, toml))
            served(machine, started_by("ringbook.service"))
        if "migrate" not in command:  # on PostgreSQL
            run(machine, command)
    for command in commands("back-up-and-restore.md")[:12]:
        if command.startswith("install "):
            run(machine, command)
    assert {file.name for file in (machine / "etc/systemd/system").iterdir()} == units
    backup = re.search(r"/bin/sh -c '(.*)'", started_by("ringbook-backup.service"))
    assert backup
    run(machine, backup[1].replace("%%", "%"))
    (made,) = (machine / "var/backups/ringbook").iterdir()
    restore = next(line for line in commands("back-up-and-restore.md") if "ringbook restore" in line)
    run(machine, restore.replace("ringbook-1.db", made.name) + " --yes")


def started_by(unit: str) -> str:
    """The command that a unit starts."""
    found = re.search(r"^ExecStart=(.*)$", (ROOT / "deploy" / unit).read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]
