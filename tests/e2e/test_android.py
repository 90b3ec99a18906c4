"""The vendors' Android SDKs on a Java VM, driven against a running server (android/README.md says how to get them)."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from e2e.verdicts import agree, verdict
from servers import Databases, Server, application, serve

HERE = Path(__file__).parent / "android"
SDKS = os.environ.get("TEST_ANDROID_SDKS", "")
RUN_SECONDS = 240
LIBRARIES = [Path("/usr/share/java/gson.jar"), Path("/usr/share/java/com.android.json.jar")]

# The second archive of each vendor, beside `core`.
PUSH = {"connectycube": "pushnotifications", "quickblox": "messages"}

# QuickBlox's SDK is the same code with other names. These change drivers/ConnectyCube.java into a driver for it.
QUICKBLOX_NAMES = {
    r"com\.connectycube\.pushnotifications": "com.quickblox.messages",
    r"com\.connectycube": "com.quickblox",
    r"\bConnectycube(?=[A-Z])": "QB",
    r"\b(?=(ResponseException|PagedRequestBuilder)\b)": "QB",
}

# A run of the checks opens this many sessions by itself, and the SDK one more after each of two sign-outs. An SDK that
# does not find the end of its session opens one before each of its hundred requests.
MOST_SESSIONS = 14


def found() -> list[tuple[str, str]]:
    """The vendors and versions in the folder that TEST_ANDROID_SDKS names, the newest of each vendor last."""
    names = sorted(Path(SDKS).glob("*-android-sdk-core-*.aar")) if SDKS else []
    return [(name.stem.split("-")[0], name.stem.rsplit("-", 1)[1]) for name in names]


@pytest.mark.skipif(not SDKS, reason="TEST_ANDROID_SDKS names no folder with the vendors' Android SDKs")
def test_the_folder_holds_sdks() -> None:
    assert found(), f"{SDKS} has no *-android-sdk-core-VERSION.aar; tests/e2e/android/README.md names the files"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("vendor, version", found())
def test_an_android_sdk_finds_what_it_expects_and_keeps_its_session(
    vendor: str, version: str, kind: str, databases: Databases, tmp_path: Path
) -> None:
    path = compiled(vendor, version, tmp_path)
    with databases.fresh(kind) as url, serve(url, tmp_path) as server:
        app = application(url, users_v1_list="true")
        given = [server.url, str(app.application_id), app.auth_key, app.auth_secret]
        command = [tool("java"), "-cp", path, "Checks", *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        agree(verdict(done.stdout + done.stderr), {}, checks=93)
        assert len(session_openings(server)) <= MOST_SESSIONS


def compiled(vendor: str, version: str, folder: Path) -> str:
    """The class path of the drivers, compiled against one version of an SDK."""
    archives = [Path(SDKS, f"{vendor}-android-sdk-{part}-{version}.aar") for part in ("core", PUSH[vendor])]
    path = [*(classes(archive, folder) for archive in archives), *libraries()]
    sources = folder / "sources"
    shutil.copytree(HERE, sources)
    if vendor == "quickblox":
        driver = sources / "drivers" / "ConnectyCube.java"
        driver.write_text(renamed(driver.read_text("utf-8")), "utf-8")
    out = folder / "classes"
    files = [str(file) for file in sources.rglob("*.java")]
    command = [tool("javac"), "-nowarn", "-Xlint:none", "-d", str(out), "-cp", joined(path), *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return joined([out, *path])


def classes(archive: Path, folder: Path) -> Path:
    """The classes in an Android archive, as a file that Java reads."""
    with zipfile.ZipFile(archive) as opened:
        jar = folder / f"{archive.stem}.jar"
        jar.write_bytes(opened.read("classes.jar"))
    return jar


def renamed(source: str) -> str:
    for pattern, name in QUICKBLOX_NAMES.items():
        source = re.sub(pattern, name, source)
    return source


def libraries() -> list[Path]:
    """gson and Android's org.json, which the SDKs use: of Debian, or in the folder of the SDKs."""
    beside = sorted(Path(SDKS).glob("*.jar"))
    missing = [str(library) for library in LIBRARIES if not library.exists()]
    assert beside or not missing, f"{missing} missing: apt install libgoogle-gson-java libandroid-json-java"
    return beside or LIBRARIES


def tool(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: apt install default-jdk-headless"
    return path


def joined(path: list[Path]) -> str:
    return os.pathsep.join(map(str, path))


def session_openings(server: Server) -> list[dict[str, object]]:
    """The lines of the server's log of requests that opened a session."""
    lines = [json.loads(line) for line in server.printed.splitlines() if line.startswith("{")]
    return [line for line in lines if (line.get("method"), line.get("route")) == ("POST", "/session")]
