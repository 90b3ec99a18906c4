"""A friend joins: from the npm package of ConnectyCube on one phone to the devices of another, each once.

The providers are servers on the loopback: FCM and APNs as documented, and a push service of npm's that decrypts.
"""

import base64
import hashlib
import hmac
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from asking import rows
from push.listener import Browser, PushService, push_service
from push.providers import Providers, apns_token, fcm_token
from servers import (
    Databases,
    Server,
    application,
    environment,
    program,
    ringbook,
    running,
    serve,
)
from talking import Talk, talking
from verify.certificates import PHONE, PROJECT, Key, claims, publishing
from verify.gateway import Gateway, listening

HERE = Path(__file__).parent
PATIENCE_SECONDS = 40
PASSWORD = "correct-horse"
SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
ANN, BEA, CARA = "+12025550142", "+12025550143", "+12025550144"
PRODUCTION, DEVELOPMENT = "production", "development"
KEY = Key("key-1")


# ── the phones ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Phones:
    """Everybody's SDK, in one node process."""

    talk: Talk

    def call(self, who: str, call: str, *given: Any) -> Any:
        """What a call of somebody's SDK answers; one that is refused fails the test."""
        said = self.talk.ask(who=who, call=call, given=given)
        assert "answer" in said, (who, call, said)
        return said["answer"]

    def sign_up(self, who: str, phone: str = "") -> int:
        """A new account, signed in; its id."""
        self.call(who, "createSession")
        profile = {"login": who, "password": PASSWORD} | ({"phone": phone} if phone else {})
        user: int = self.call(who, "users.signup", profile)["user"]["id"]
        self.call(who, "createSession", {"login": who, "password": PASSWORD})
        return user

    def subscribe(self, who: str, channel: str, environment: str = PRODUCTION, **token: str) -> None:
        """One of somebody's devices can be reached from now on."""
        platform = {"gcm": "android", "apns": "ios", "web": "web"}[channel]
        asked = {
            "notification_channel": channel,
            "device": {"platform": platform, "udid": f"{who}-{channel}-{environment}"},
            "push_token": {"environment": environment, **token},
        }
        self.call(who, "pushnotifications.subscriptions.create", asked)

    def know(self, who: str, **contacts: str) -> None:
        """Contacts, by name, come into somebody's book."""
        lines = [{"name": name, "phone": phone} for name, phone in contacts.items()]
        self.call(who, "addressbook.uploadAddressBook", lines)

    def send(self, who: str, to: int, environment: str, **payload: Any) -> list[str]:
        """Somebody sends an event; the channels that the answer names, whatever the recipient has."""
        message = self.call(who, "pushnotifications.base64Encode", json.dumps(payload))
        asked = {
            "notification_type": "push",
            "environment": environment,
            "user": {"ids": [to]},
            "message": message,
        }
        events = self.call(who, "pushnotifications.events.create", asked)
        return sorted(one["event"]["notification_channel"]["name"] for one in events)


@contextmanager
def phones_of(server: Server) -> Iterator[Phones]:
    """Phones whose app is built for this server."""
    node = shutil.which("node")
    assert node, "node 20 or newer is missing; make test installs it on Debian as root"
    assert (HERE / "node_modules").exists(), "the npm packages are missing; make test installs them"
    keys = ["--app-id", str(server.app.application_id), "--auth-key", server.app.auth_key]
    command = [node, "joined_push.mjs", "--endpoint", server.url, *keys]
    with talking(command, HERE) as talk:
        yield Phones(talk)


# ── the providers ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Outside:
    """Everybody that pushes go to."""

    providers: Providers
    browsers: PushService
    backend: Gateway

    def arrived(self, browser: Browser) -> dict[str, list[Any]]:
        """What each kind of device was sent, in order, the universal payload as its app sees it."""
        asked = self.providers.asked()["asked"]
        apns = [one for one in asked if one["provider"] == "apns"]
        return {
            "gcm": [json.loads(one["body"])["message"]["data"] for one in asked if one["provider"] == "fcm"],
            "apns": [shown(one["body"]) for one in apns if not one["path"].startswith("/sandbox")],
            "sandbox": [shown(one["body"]) for one in apns if one["path"].startswith("/sandbox")],
            "web": [one["data"] for one in self.browsers.received(browser)],
        }


def shown(body: str) -> dict[str, Any]:
    """What an iPhone gets, with the text that it shows as `message`."""
    others = json.loads(body)
    return {"message": others.pop("aps")["alert"]["body"], **others}


@pytest.fixture(scope="module")
def outside(push_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """They run for all tests of this file."""
    with push_service(tmp_path_factory.mktemp("browsers")) as browsers, listening() as backend:
        yield Outside(push_providers, browsers, backend)


@contextmanager
def set_up(
    outside: Outside, database_url: str, folder: Path, *options: str, workers: int = 0, **settings: str
) -> Iterator[Server]:
    """`ringbook serve`, with workers beside it, and an application whose card is on and that has all credentials."""
    outside.providers.forget()
    outside.backend.asked.clear()
    settings = {name: str(value) for name, value in outside.providers.config.items()} | settings
    with ExitStack() as stack:
        server = stack.enter_context(serve(database_url, folder, *options, **settings))
        app = application(
            database_url,
            contact_joined_enabled="true",
            firebase_project_id=PROJECT,
            web_push_contact="mailto:push@example.org",
            webhook_url=f"{outside.backend.url}/hook",
            webhook_secret=SECRET,
            **outside.providers.settings,
        )
        for n in range(workers):
            command, its = [program(), "worker"], environment(database_url, **settings)
            stack.enter_context(running(command, folder / f"worker{n}.log", environment=its))
        yield replace(server, app=app)


def vapid_public_key(server: Server) -> str:
    """What an operator builds into the web app."""
    shown = ringbook("app", "show", str(server.app.application_id), "--json", database_url=server.database_url)
    key: str = json.loads(shown.stdout)["vapid_public_key"]
    return key


def with_devices(phones: Phones, outside: Outside, server: Server, who: str) -> Browser:
    """Three devices in production and one in development; the web one is a browser that decrypts."""
    browser = outside.browsers.subscribe(vapid_public_key(server))
    keys = {"web_auth": browser.auth, "web_p256dh": browser.p256dh}
    phones.subscribe(who, "gcm", client_identification_sequence=fcm_token())
    phones.subscribe(who, "apns", client_identification_sequence=apns_token())
    phones.subscribe(who, "apns", DEVELOPMENT, client_identification_sequence=apns_token(serial=1))
    phones.subscribe(who, "web", web_endpoint=browser.endpoint, **keys)
    return browser


def until_told(server: Server, facts: int) -> None:
    """Wait until so many facts in all are told, and every push has come to its end."""

    def told() -> bool:
        done = rows(server, "SELECT COUNT(*) AS n FROM joined WHERE result = 'told'")[0]["n"]
        return bool(done == facts and not rows(server, "SELECT id FROM pushes WHERE outcome IS NULL"))

    until(told, lambda: rows(server, "SELECT channel, attempts, outcome, reason FROM pushes"))


def until(done: Callable[[], bool], seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.05)


def joined(user: int, name: str) -> dict[str, list[Any]]:
    """What arrives where, once this user has joined."""
    push = {"message": f"Your friend {name} joined.", "user_id": user, "type": "contact_joined"}
    return {"gcm": [push | {"user_id": str(user)}], "apns": [push], "sandbox": [], "web": [push]}


# ── the story ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind, options, workers",
    [
        ("sqlite", (), 0),
        ("pgbouncer", (), 0),
        ("postgresql", ("--workers", "2"), 1),
        ("postgresql", ("--no-worker",), 1),
    ],
)
def test_a_friend_signs_up_and_each_device_hears_of_it_once(
    kind: str, options: tuple[str, ...], workers: int, outside: Outside, databases: Databases, tmp_path: Path
) -> None:
    with (
        databases.fresh(kind) as url,
        set_up(outside, url, tmp_path, *options, workers=workers) as server,
        phones_of(server) as phones,
    ):
        bob = phones.sign_up("bob")
        browser = with_devices(phones, outside, server, "bob")
        phones.know("bob", Annie=ANN)
        ann = phones.sign_up("ann", ANN)
        until_told(server, facts=1)
        first = joined(ann, "Annie")
        assert outside.arrived(browser) == first
        its_backend_was_told_once(outside.backend, server, ann)

        phones.call("ann", "users.delete")
        again = phones.sign_up("ann", ANN)
        assert again != ann
        until_told(server, facts=1)
        assert outside.arrived(browser) == first
        assert len(outside.backend.asked) == 1

        hello = {"message": "Hello Bob", "colour": "blue"}
        assert phones.send("ann", bob, PRODUCTION, **hello) == ["apns", "gcm"]
        assert phones.send("ann", bob, DEVELOPMENT, message="Only a test") == ["apns", "gcm"]
        until_told(server, facts=1)
        both = {channel: [*first[channel], hello] for channel in ("gcm", "apns", "web")}
        assert outside.arrived(browser) == both | {"sandbox": [{"message": "Only a test"}]}
        assert len(outside.backend.asked) == 1


def its_backend_was_told_once(backend: Gateway, server: Server, user: int) -> None:
    """One request, signed as Standard Webhooks says."""
    [asked] = backend.asked
    said = json.loads(asked.body)
    named, at = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
    signed = hmac.new(b"twenty-four bytes of key", f"{named}.{at}.".encode() + asked.body, hashlib.sha256)
    assert asked.headers["webhook-signature"] == "v1," + base64.b64encode(signed.digest()).decode()
    assert abs(time.time() - int(at)) < 60
    told = (asked.method, asked.path, said["id"], said["type"], said["user_id"], said["application_id"])
    assert told == ("POST", "/hook", named, "contact_joined", user, server.app.application_id)


@pytest.mark.parametrize("options, workers", [(("--workers", "2"), 2), (("--no-worker",), 3)])
def test_many_friends_hear_of_many_once_whoever_delivers(
    options: tuple[str, ...], workers: int, outside: Outside, databases: Databases, tmp_path: Path
) -> None:
    friends = {f"friend{n}": apns_token(serial=n) for n in range(8)}
    with (
        databases.fresh("postgresql") as url,
        set_up(outside, url, tmp_path, *options, workers=workers) as server,
        phones_of(server) as phones,
    ):
        for who, token in friends.items():
            phones.sign_up(who)
            phones.subscribe(who, "apns", client_identification_sequence=token)
            phones.know(who, **{f"A of {who}": ANN, f"B of {who}": BEA, f"C of {who}": CARA})
        for n, phone in enumerate((ANN, BEA, CARA)):
            phones.sign_up(f"joiner{n}", phone)
        until_told(server, facts=3)
        asked = outside.providers.asked()["asked"]
        heard = Counter((one["token"], shown(one["body"])["message"]) for one in asked)
        wanted = [(token, f"Your friend {x} of {who} joined.") for who, token in friends.items() for x in "ABC"]
        assert heard == Counter(wanted)
        assert len(outside.backend.asked) == 3


def test_a_friend_who_signs_in_by_phone_is_announced_as_well(
    outside: Outside, databases: Databases, tmp_path: Path
) -> None:
    with (
        publishing(KEY) as source,
        databases.fresh("sqlite") as url,
        set_up(outside, url, tmp_path, firebase_certificates_url=source.url) as server,
        phones_of(server) as phones,
    ):
        phones.sign_up("bob")
        browser = with_devices(phones, outside, server, "bob")
        phones.know("bob", Annie=PHONE)
        phones.sign_up("mallory", PHONE)
        until_told(server, facts=1)
        outside.providers.forget()
        # Somebody had typed the number before: the user who verifies it is announced, once more and never again.
        token = KEY.token(claims(int(time.time())))
        proof = {"provider": "firebase_phone", "firebase_phone": {"project_id": PROJECT, "access_token": token}}
        ann = [phones.call(who, "createSession", proof)["user_id"] for who in ("ann", "ann's tablet")]
        until_told(server, facts=2)
        now = joined(ann[0], "Annie")
        assert ann[0] == ann[1]
        arrived = outside.arrived(browser)
        assert arrived | {"web": arrived["web"][1:]} == now
