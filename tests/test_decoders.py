"""Types are prepared for decoding at import, by one thread.

msgspec 0.22.0 prepares a Struct when it is decoded for the first time. It stores the result on the type before its
fields are filled in, so that types may contain themselves. Filling in compiles patterns in Python, which lets other
threads run; a thread that decodes the same type then reads a field that is not there yet, and the process ends with
SIGSEGV. A Decoder that a module makes prepares its type while one thread holds the lock of the import.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ringbook

SOURCE = Path(ringbook.__file__).parent
PLAIN = {"dict", "list", "set", "tuple", "str", "int", "float", "bool", "bytes", "Any", "None"}
PREPARED = {
    # decoded by a Decoder of the same module
    ("api/address_book.py", "_Contact"),
    # the types of settings, read by one thread before any other starts
    ("config.py", "setting.type"),
}
RACE = """
import os, sys, threading
import msgspec
from ringbook.app_settings import AppSettings
from ringbook.core import applications

row = {
    "id": 1, "name": "", "auth_key": "", "auth_secret": "", "hash_key": b"", "vapid_public_key": "", "created_at": 0,
    "settings": msgspec.json.encode(AppSettings()).decode(),
}


def read_at_once():
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (start.wait(), applications._app(row))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


for _ in range(60):
    if not (child := os.fork()):
        read_at_once()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a process ended with signal {os.WTERMSIG(status)}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_threads_read_the_settings_of_an_application_for_the_first_time_at_once():
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_function_decodes_into_a_type_of_ours_that_no_module_prepared():
    found = {one for path in SOURCE.rglob("*.py") for one in _decoded_in_functions(path)}
    assert found == PREPARED, "make a msgspec Decoder beside the type, and use that"


def _decoded_in_functions(path: Path) -> Iterator[tuple[str, str]]:
    """The file and the type of each call, within a function, that decodes into a type which is not plain."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and (kind := _kind(call)) and not _is_plain(kind):
                yield path.relative_to(SOURCE).as_posix(), ast.unparse(kind)


def _kind(call: ast.Call) -> ast.expr | None:
    name = ast.unparse(call.func)
    if name.endswith("Decoder") and call.args:
        return call.args[0]
    by_name = next((one.value for one in call.keywords if one.arg == "type"), None)
    if name.endswith("json.decode") or name.endswith("msgpack.decode"):
        return by_name or (call.args[1] if len(call.args) > 1 else None)
    if name.endswith("msgspec.convert"):
        return by_name or call.args[1]
    return None


def _is_plain(kind: ast.expr) -> bool:
    return all(one.id in PLAIN for one in ast.walk(kind) if isinstance(one, ast.Name))
