"""The wheel that `make wheel` builds is complete, and runs without a clone of the repository.

It is installed in a new virtual environment, which uses the libraries of the tests' environment: downloading them would
take a minute and need the network.
"""

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from servers import environment, free_port, get, running, wait_until

from ringbook.store import migrations

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
# Loads every module, as if only the packages that are named were installed.
LOADS = """
import importlib, importlib.metadata, pkgutil, re, sys
packages = importlib.metadata.packages_distributions()

class Refuses:
    def find_spec(self, name, path=None, target=None):
        owners = {re.sub("[-_.]+", "-", owner).lower() for owner in packages.get(name, ())}
        if owners and not owners & set(sys.argv):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuses())
import ringbook
for module in pkgutil.walk_packages(ringbook.__path__, "ringbook."):
    if "versions" not in module.name and not module.name.endswith(".env"):
        importlib.import_module(module.name)
print(ringbook.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "scripts/guide.py", cwd=ROOT)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment where the wheel is installed."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", venv / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_source_is_in_the_wheel_templates_and_pictures_too(wheel: Path):
    there = {
        file.relative_to(SOURCE).as_posix(): file.read_bytes()
        for file in (SOURCE / "ringbook").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        built = {name: opened.read(name) for name in opened.namelist() if ".dist-info/" not in name}
        about = {name.partition(".dist-info/")[2] for name in opened.namelist()}
    assert {"ringbook/api/templates/reference.html", "ringbook/server/site/docs/tutorial/index.html"} <= set(there)
    assert sorted(built) == sorted(there)
    assert built == there
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= about


def test_installed_in_an_empty_folder_it_makes_its_database_and_serves(bin_: Path, tmp_path: Path):
    port, folder = free_port(), tmp_path / "empty"
    folder.mkdir()
    settings = environment("sqlite:///ringbook.db")
    command = [bin_ / "ringbook", "serve", "--port", port]
    with running(command, tmp_path / "log", environment=settings, folder=folder) as process:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/readyz"), OSError, process, tmp_path / "log")
        assert b"<title>" in get(f"http://127.0.0.1:{port}/docs")
        assert b"How it works" in get(f"http://127.0.0.1:{port}/guide/")
        assert b"/address_book" in get(f"http://127.0.0.1:{port}/openapi.json")
    assert {file.suffix for file in folder.iterdir()} <= {".db", ".db-wal", ".db-shm", ".db-erasures"}
    assert "schema: revision" in run(bin_ / "ringbook", "check", cwd=folder, env=settings)


def test_installed_it_brings_postgresql_to_the_schema(bin_: Path, databases, tmp_path: Path):
    with databases.postgresql.database() as url:
        for said in (f"schema {migrations.HEAD}\n", f"schema {migrations.HEAD} (it was there already)\n"):
            assert run(bin_ / "ringbook", "migrate", cwd=tmp_path, env=environment(url)) == said


def test_what_the_lock_names_is_all_it_needs(bin_: Path, tmp_path: Path):
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert len(locked) > 20
    place = run(bin_ / "python", "-c", LOADS, "ringbook", *map(plain, locked), cwd=tmp_path)
    assert str(bin_.parent) in place
    with pytest.raises(AssertionError, match="No module named 'msgspec'|ModuleNotFoundError: msgspec"):
        run(bin_ / "python", "-c", LOADS, "ringbook", *set(map(plain, locked)) - {"msgspec"}, cwd=tmp_path)


def plain(name: str) -> str:
    """The normalised name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()
