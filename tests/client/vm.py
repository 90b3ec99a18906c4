"""The Dart VM that `make test` has unpacked, or one on the PATH.

dart()                     how it is called
compiled(source, program)  a program of it, which starts at once
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

VM = Path(__file__).parent.parent / "e2e" / "node_modules" / ".dart" / "dart"
MISSING = "the Dart VM is missing: make test unpacks it on Debian and Ubuntu; else put dart 3.7 or newer on the PATH"
NOT_HERE = "no Dart VM: there is one to be had for Linux on x86_64 only, and none is on the PATH (see scripts/dart.sh)"
COMPILE_SECONDS = 150


def dart() -> str:
    """The Dart VM. Where there can be one it must be there; elsewhere tests that need it say why they do not run."""
    found = str(VM) if VM.exists() else shutil.which("dart")
    if found is None and not os.environ.get("CI") and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(NOT_HERE)
    assert found, MISSING
    return found


def compiled(source: Path, program: Path, *options: str) -> None:
    """Compile a source file; one with a mistake fails the test, and shows it."""
    command = [dart(), *options, f"--snapshot={program}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
