"""The programs under bench/ start: nobody runs all of them often, so a broken import would stay unseen."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"
PROGRAMS = [BENCH / "attack", *sorted(BENCH.glob("*.py"))]
WITH_HELP = [one for one in PROGRAMS if one.is_dir() or "argparse" in one.read_text("utf-8")]
IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("program", WITH_HELP, ids=lambda program: program.stem)
def test_a_program_with_options_starts_and_prints_its_help(program: Path):
    started = run(program, "--help")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.startswith("usage: ")


@pytest.mark.parametrize("folder", [BENCH, BENCH / "attack"], ids=["bench", "attack"])
def test_every_file_can_be_imported(folder: Path):
    names = [file.stem for file in sorted(folder.glob("*.py")) if file.stem != "__main__"]
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(BENCH)!r}]"
    imported = run("-c", path + IMPORT_EACH, *names)
    assert len(names) > 8 and (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")
