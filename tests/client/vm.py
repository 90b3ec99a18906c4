"""The Dart VM that `make test` unpacked, or one on the PATH.

dart()                     the path of the VM
compiled(source, program)  compiles a source file to a program that starts quickly
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

VM = Path(__file__).parent.parent / "e2e" / "node_modules" / ".dart" / "dart"
MISSING = "the Dart VM is missing: make test unpacks it on Debian and Ubuntu; else put dart 3.7 or newer on the PATH"
NOT_HERE = "no Dart VM: make test unpacks one on Linux x86_64 only, and none is on the PATH (see scripts/dart.sh)"
COMPILE_SECONDS = 150


def dart() -> str:
    """The path of the Dart VM. Where `make test` can install it, it must exist; elsewhere the test is skipped."""
    found = str(VM) if VM.exists() else shutil.which("dart")
    if found is None and not os.environ.get("CI") and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(NOT_HERE)
    assert found, MISSING
    return found


def compiled(source: Path, program: Path, *options: str) -> None:
    """Compile a source file. A compile error fails the test and is shown."""
    command = [dart(), *options, f"--snapshot={program}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
