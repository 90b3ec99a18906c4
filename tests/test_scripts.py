"""The scripts with which `make` installs dependencies and builds the guide."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"
# Answers like Python, but making a virtual environment takes for ever.
SLOW = """#!/bin/sh
[ "$1" = -m ] || exec "{python}" "$@"
exec "{python}" -c 'import pathlib, time; pathlib.Path("begun").touch(); time.sleep(600)'
"""


def test_an_install_that_is_interrupted_ends_at_once_without_a_traceback_and_leaves_the_turn_to_the_next(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    (tmp_path / "client").mkdir()
    for name in ("requirements.lock", "pyproject.toml", "client/pyproject.toml"):
        (tmp_path / name).touch()
    slow = tmp_path / "slow"
    slow.write_text(SLOW.format(python=sys.executable))
    slow.chmod(0o755)
    install = subprocess.Popen(
        ["sh", "scripts/venv.sh", "requirements.lock"],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": str(slow)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own, as a terminal interrupts it, where nobody has had Ctrl+C ignored.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(install.pid, signal.SIGINT)
    _, said = install.communicate(timeout=60)
    assert (install.returncode, said) == (130, "Interrupted: the next make continues.\n")
    assert not (tmp_path / ".venv.lock").is_symlink()


def test_where_nothing_can_build_the_guide_the_server_starts_without_it():
    python = sys._base_executable  # has no Zensical beside it
    done = subprocess.run([python, SCRIPTS / "guide.py", "--if-stale"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_table_of_permits_is_what_make_docs_writes(tmp_path):
    document = SCRIPTS.parent / "docs" / "privacy.md"
    written = tmp_path / "privacy.md"
    written.write_text(document.read_text("utf-8"), "utf-8")
    line = [sys.executable, "bench/attack/permits.py", str(written)]
    done = subprocess.run(line, cwd=SCRIPTS.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert written.read_text("utf-8") == document.read_text("utf-8")
