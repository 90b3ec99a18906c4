"""The code of docs/how-to/sync-contacts.md works: the JavaScript with the npm package, and the Dart."""

import base64
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from asking import PASSWORD, Person, person
from client.faults import Fault, Proxy, proxying
from client.vm import compiled, dart
from servers import Databases, application, serve
from talking import Ended, Talk, talking
from verify.certificates import PHONE, PROJECT, Key, claims, publishing

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "sync-contacts.md").read_text("utf-8")
KEY = Key("key-1")
ANN, BOB, CARA = (f"+1 202-555-{n:04}" for n in range(160, 163))


def code_in(language: str) -> str:
    """All code of the page in one language, in page order."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def with_values(code: str, values: dict[str, str]) -> str:
    """The code of the page with its example values replaced; each value must occur in the code."""
    for old, new in values.items():
        assert old in code, old
        code = code.replace(old, new)
    return code


@pytest.fixture(scope="module")
def proxy(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy in front of a server with an application that accepts Firebase tokens."""
    with (
        publishing(KEY) as source,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path_factory.mktemp("server"), firebase_certificates_url=source.url) as running,
        proxying(replace(running, app=application(url, firebase_project_id=PROJECT))) as proxy,
    ):
        yield proxy


@pytest.fixture(autouse=True)
def no_faults(proxy: Proxy) -> None:
    """Remove the faults of earlier tests."""
    proxy.clear()


def contacts(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "phone": phone} for name, phone in pairs]


def kinds(proxy: Proxy) -> list[tuple[int, int]]:
    """(force, number of entries) of each upload that the proxy received."""
    return [(one["force"], len(one["contacts"])) for one in proxy.uploads]


# ── JavaScript ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Browser:
    """A browser that runs the page's module, with its storage."""

    proxy: Proxy
    owner: Person
    folder: Path
    talk: Talk

    def call(self, call: str, *given: Any) -> Any:
        reply = self.talk.ask(call=call, given=given)
        assert "answer" in reply, reply
        return reply["answer"]

    def refused(self, call: str, *given: Any) -> Any:
        reply = self.talk.ask(call=call, given=given)
        assert "threw" in reply, reply
        return reply["threw"]

    @property
    def book(self) -> list[tuple[str, str]]:
        """(name, number) of each contact in this device's address book on the server."""
        return [(name, phone) for phone, name in self.owner.book(self.call("udid"))]


@contextmanager
def browser(proxy: Proxy, owner: Person, folder: Path, *options: str) -> Iterator[Browser]:
    """The page's module in Node.js, signed in. A second start in the same folder finds the same storage."""
    node = shutil.which("node")
    assert node, "node 20 or newer is missing; make test installs it on Debian as root"
    assert (HERE / "node_modules").exists(), "the npm packages are missing; make test installs them"
    folder.mkdir(exist_ok=True)
    app, module = owner.app, folder / "page.mjs"
    values = {
        "appId: 1,": f"appId: {app.application_id},",
        '"KEY"': f'"{app.auth_key}"',
        "https://your.host": proxy.url,
        '"dora"': f'"{owner.login}"',
        '"dora-12345"': f'"{PASSWORD}"',
    }
    code = with_values(code_in("js"), values)
    module.write_text(code + "\nexport { friends, logOut, sync, udid, withdraw, withRetries };\n")
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(HERE / "node_modules")
    command = [node, "sync_contacts.mjs", "--page", module, "--storage", folder / "storage.json", *options]
    with talking(command, HERE) as talk:
        yield Browser(proxy, owner, folder, talk)


def test_the_javascript_code_syncs_an_address_book(proxy: Proxy, tmp_path: Path) -> None:
    owner, friend = person(proxy.server), person(proxy.server, phone=ANN, external_id="81")
    first, other = contacts(("Ann", ANN), ("Bob", BOB)), BOB.replace("-", " ")
    with browser(proxy, owner, tmp_path / "phone") as phone:
        assert phone.call("sync", first)["created"] == 2
        assert phone.call("sync", first) is None
        assert kinds(proxy) == [(1, 2)]
        found = phone.call("friends")
        assert [(one["user"]["id"], one["user"]["external_id"]) for one in found] == [(friend.id, "81")]

        proxy.clear()
        phone.call("sync", contacts(("Anna", ANN), ("Cara", CARA)))
        assert kinds(proxy) == [(0, 3)] and phone.book == [("Anna", ANN), ("Cara", CARA)]

        # A rejected number is uploaded once. A number in two spellings stays until both are removed.
        proxy.clear()
        several = contacts(("Anna", ANN), ("Office", "12"), ("Bob", BOB), ("Robert", other))
        assert phone.call("sync", several)["rejected"]
        assert phone.call("sync", several) is None
        assert len(kinds(proxy)) == 1 and phone.book == [("Anna", ANN), ("Robert", other)]
        phone.call("sync", contacts(("Anna", ANN), ("Bob", BOB)))
        assert phone.book == [("Anna", ANN), ("Bob", BOB)]

        # Another program has changed the address book.
        proxy.clear()
        owner.upload([{"phone": ANN, "destroy": 1}], udid=phone.call("udid"))
        phone.call("sync", contacts(("Anna", ANN), ("Bob", BOB)))
        assert kinds(proxy) == [(1, 2)] and sorted(phone.book) == [("Anna", ANN), ("Bob", BOB)]


def test_the_javascript_code_recovers_from_a_crash_and_a_reinstall(proxy: Proxy, tmp_path: Path) -> None:
    owner, folder = person(proxy.server), tmp_path / "phone"
    with browser(proxy, owner, folder, "--dies") as phone, pytest.raises(Ended):
        phone.call("sync", contacts(("Ann", ANN), ("Bob", BOB)))
    with browser(proxy, owner, folder) as phone:
        proxy.clear()
        phone.call("sync", contacts(("Ann", ANN)))
        assert kinds(proxy) == [(1, 1)] and phone.book == [("Ann", ANN)]
        stored = json.loads((folder / "storage.json").read_text())
        (folder / "storage.json").write_text(json.dumps({"udid": stored["udid"]}))
    with browser(proxy, owner, folder) as phone:
        proxy.clear()
        phone.call("sync", contacts(("Cara", CARA)))
        assert kinds(proxy) == [(1, 1)] and phone.book == [("Cara", CARA)]


def test_the_javascript_code_handles_permissions_log_out_and_two_devices(proxy: Proxy, tmp_path: Path) -> None:
    owner = person(proxy.server)
    with (
        browser(proxy, owner, tmp_path / "phone") as phone,
        browser(proxy, owner, tmp_path / "tablet") as tablet,
    ):
        phone.call("sync", contacts(("Ann", ANN)))
        tablet.call("sync", contacts(("Bob", BOB)))
        for nothing in (None, []):
            assert "nothing is sent" in phone.refused("sync", nothing)
        assert (phone.book, tablet.book) == ([("Ann", ANN)], [("Bob", BOB)])
        subscription = {"notification_channel": "gcm", "push_token": {"environment": "production"}}
        for device in (phone, tablet):
            udid = device.call("udid")
            token = {"environment": "production", "client_identification_sequence": udid}
            body = subscription | {"push_token": token, "device": {"platform": "android", "udid": udid}}
            assert owner.ask("POST", "/subscriptions", body).status == 201
        phone.call("withdraw")
        assert (phone.book, tablet.book) == ([], [("Bob", BOB)])
        assert phone.call("sync", contacts(("Cara", CARA)))["created"] == 1
        phone.call("logOut")
        left = [one["subscription"]["device"]["udid"] for one in owner.ask("GET", "/subscriptions").json]
        assert (phone.book, left) == ([], [tablet.call("udid")])
        assert [one.status for one in proxy.requests("DELETE", "/session")] == [200]


def test_the_javascript_code_retries_what_can_be_repeated(proxy: Proxy, tmp_path: Path) -> None:
    owner = person(proxy.server)
    with browser(proxy, owner, tmp_path / "phone") as phone:
        proxy.fail(Fault(status=503), at="/address_book")
        assert phone.call("sync", contacts(("Bob", BOB)))["created"] == 1
        assert phone.call("slow") == 2
        proxy.fail(Fault(status=429, headers={"Retry-After": "1"}), at="/address_book")
        assert phone.refused("sync", contacts(("Bob", BOB)))["code"] == 429
        assert len(proxy.received) == 1
        owner.ask("DELETE", "/session/list")
        proxy.clear()
        assert phone.call("friends") == []
        assert len(proxy.requests("POST", "/session")) == 1


# ── Dart ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def flutter(proxy: Proxy, folder: Path, udid: str) -> Iterator[Talk]:
    """The page's Dart code with stand-ins for Flutter and its plugins."""
    app = proxy.server.app
    values = {
        "server: Uri.parse('https://your.host')": f"server: Uri.parse('{proxy.url}'), allowHttp: true",
        "applicationId: 1": f"applicationId: {app.application_id}",
        "'KEY'": f"'{app.auth_key}'",
        "my-project": PROJECT,
        "package:flutter_contacts/flutter_contacts.dart": "flutter_contacts.dart",
    }
    code = with_values(code_in("dart"), values)
    imports = re.findall(r"^import .*\n", code, re.MULTILINE)
    frame = (HERE / "sync_contacts.dart").read_text("utf-8")
    rest = re.sub(r"^import .*\n", "", code, flags=re.MULTILINE)
    whole = with_values(frame, {"// IMPORTS OF THE PAGE": "".join(imports), "// THE PAGE": rest})
    source, program = folder / "phone.dart", folder / "phone.dill"
    source.write_text(whole, "utf-8")
    for file in (HERE / "flutter_contacts.dart", ROOT / "client" / "dart" / "ringbook_contacts.dart"):
        shutil.copy(file, folder)
    settings = {"udid": udid, "folder": str(folder), "token": KEY.token(claims(int(time.time())))}
    given = base64.b64encode(json.dumps(settings).encode()).decode()
    compiled(source, program, f"-Dgiven={given}")
    with talking([dart(), program]) as talk:
        yield talk


def test_the_dart_code_handles_each_case(proxy: Proxy, tmp_path: Path) -> None:
    udid, friend = uuid.uuid4().hex, person(proxy.server)

    def book() -> list[tuple[str, str]]:
        return [(name, phone) for phone, name in replace(friend, token=session()).book(udid)]

    def session() -> str:
        return next(one.headers["cb-token"] for one in reversed(proxy.received) if "cb-token" in one.headers)

    with flutter(proxy, tmp_path, udid) as phone:
        first = [["Ann", ANN], ["Bob", BOB, CARA], ["Office", "12"]]
        reply = phone.ask(call="refresh", address=first)["answer"]
        assert reply["reported"] == ["Office: Length of 'phone' field should be min: 10 and max: 15."]
        assert book() == [("Ann", ANN), ("Bob", BOB), ("Bob", CARA)]
        phone.ask(call="link chat", id=81)
        reply = phone.ask(call="refresh", address=[["Me", PHONE], ["Bob", BOB]])["answer"]
        assert reply == {"friends": [["Me", "81"]], "reported": []}
        assert kinds(proxy) == [(1, 4), (0, 3)]
        assert phone.ask(call="careful")["answer"] == "nothing"
        assert phone.ask(call="error message", address=None)["answer"].startswith("To find friends, allow")
        assert phone.ask(call="error message", address=[])["answer"] == "Your address book is empty."
        assert len(book()) == 2
        assert phone.ask(call="even if empty")["answer"] == "changes"
        assert book() == []
        assert phone.ask(call="error message", address=[["Bob", BOB]])["answer"] is None
        assert phone.ask(call="revoked") == {"answer": None}
        assert book() == []
        proxy.fail(Fault(status=429, headers={"Retry-After": "600"}), at="/address_book")
        assert phone.ask(call="error message")["answer"] == "Please try again in 11 minutes."
        assert phone.ask(call="log out") == {"answer": None}
        assert len(proxy.requests("DELETE", "/session")) == 1
