"""Signing in by phone number with the npm package of ConnectyCube and the Firebase Auth emulator, and without it."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import Answer, ask
from servers import DATABASES, Databases, Server, application, firebase_auth, free_port, serve
from verify.certificates import PHONE, PROJECT, Key, claims, publishing
from verify.gateway import listening

HERE = Path(__file__).parent
KEY, STRANGER = Key("key-1"), Key("key-2")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Firebase Auth emulator."""
    with firebase_auth(tmp_path_factory.mktemp("emulator"), PROJECT) as host:
        yield host


def with_firebase(server: Server) -> Server:
    """The same server, with an application that believes the tokens of the tests' project."""
    return replace(server, app=application(server.database_url, firebase_project_id=PROJECT))


def sign_in(server: Server, token: str) -> Answer:
    """What a session asked for with an ID token comes to."""
    keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
    proof = {"provider": "firebase_phone", "firebase_phone": {"project_id": PROJECT, "access_token": token}}
    return ask(server, "POST", "/session", keys | proof)


@pytest.mark.parametrize("kind", DATABASES)
def test_connectycubes_sdk_signs_in_by_phone(kind: str, emulator: str, databases: Databases, tmp_path: Path) -> None:
    with databases.fresh(kind) as url, serve(url, tmp_path, firebase_auth_emulator_host=emulator) as running:
        played("phone_sign_in.mjs", with_firebase(running), "--emulator", emulator, "--project", PROJECT)


def test_connectycubes_sdk_signs_in_by_one_time_codes(databases: Databases, tmp_path: Path) -> None:
    with databases.fresh("sqlite") as url, serve(url, tmp_path) as running:
        server = replace(running, app=application(url, sms_gateway="console", sms_regions="US"))
        played("sign_in_by_code.mjs", server, "--log", str(server.log))


def played(script: str, server: Server, *options: str) -> None:
    """Play a script of the SDK against a server, to its end."""
    node = shutil.which("node")
    assert node, "node 20 or newer is missing; make test installs it on Debian as root"
    keys = ["--app-id", str(server.app.application_id), "--auth-key", server.app.auth_key]
    command = [node, script, "--endpoint", server.url, *keys, *options]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("all seen\n"), done.stdout + done.stderr + server.printed


@pytest.mark.parametrize("level", ["info", "error"])
def test_a_server_with_the_emulator_says_so_loudly(level: str, databases: Databases, tmp_path: Path) -> None:
    settings = {"firebase_auth_emulator_host": f"127.0.0.1:{free_port()}", "log_level": level}
    with databases.fresh("sqlite") as url, serve(url, tmp_path, **settings) as server:
        (line,) = (line for line in server.printed.splitlines() if "RINGBOOK_FIREBASE_AUTH_EMULATOR_HOST" in line)
        assert "WITHOUT A SIGNATURE" in line


def test_tokens_are_believed_by_the_certificates_alone(databases: Databases, tmp_path: Path) -> None:
    now = int(time.time())
    wrong: dict[str, Any] = {
        "expired": KEY.token(claims(now, exp=now - 120)),
        "future": KEY.token(claims(now, iat=now + 600)),
        "another project": KEY.token(claims(now, aud="another-project")),
        "somebody else": KEY.token(claims(now, iss="https://example.com")),
        "about nobody": KEY.token(claims(now, sub="")),
        "no phone number": KEY.token(claims(now, phone_number=None)),
        "its key is unknown": STRANGER.token(claims(now)),
        "its signature is wrong": STRANGER.token(claims(now), kid=KEY.id),
        "too long": KEY.token(claims(now, more="x" * 9000)),
    }
    with (
        publishing(KEY) as source,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, firebase_certificates_url=source.url) as running,
    ):
        server = with_firebase(running)
        opened = sign_in(server, KEY.token(claims(now)))
        assert opened.status == 201, opened
        assert opened.json["session"]["user"]["phone"] == PHONE
        for why, token in wrong.items():
            answer = sign_in(server, token)
            assert answer.status == 422 and why in str(answer.json), (why, answer)
        assert not [line for line in server.printed.splitlines() if PHONE[1:] in line]


def test_without_certificates_there_is_no_sign_in_until_they_are_back(databases: Databases, tmp_path: Path) -> None:
    now = int(time.time())
    with (
        publishing(KEY) as source,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, firebase_certificates_url=source.url) as running,
    ):
        server = with_firebase(running)
        source.status = 500
        away = sign_in(server, KEY.token(claims(now)))
        assert (away.status, away.headers["Retry-After"] is not None) == (503, True), away
        source.status = 200
        assert sign_in(server, KEY.token(claims(now))).status == 201


def test_an_identity_provider_says_who_a_log_in_belongs_to(databases: Databases, tmp_path: Path) -> None:
    ann = json.dumps({"user": {"id": "a-7", "name": "Ann"}}).encode()
    with (
        listening() as provider,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path, allow_private_addresses="true") as running,
    ):
        mapping = '{"uid": "#{user.id}", "full_name": "#{user.name}"}'
        app = application(url, cidp_url=f"{provider.url}/here", cidp_response=mapping)
        provider.body = ann
        keys = {"application_id": app.application_id, "auth_key": app.auth_key}

        def signed_in(token: str) -> Answer:
            return ask(running, "POST", "/session", keys | {"user": {"login": token, "password": "any"}})

        first, second = signed_in("token-1"), signed_in("a-longer-token." * 100)
        assert (first.status, second.status) == (201, 201), (first, second)
        assert first.json["session"]["user"]["full_name"] == "Ann"
        assert first.json["session"]["user_id"] == second.json["session"]["user_id"]
        assert provider.paths[0] == "/here?token=token-1"
        provider.status, provider.body = 404, b'{"error": "Token invalid"}'
        refused = signed_in("token-2")
        said = 'Custom Identity Provider responded with an error = "Token invalid". Status code = 404'
        assert (refused.status, refused.json) == (422, {"errors": {"base": [said]}})
        assert "token-" not in running.printed
        asked = len(provider.paths)
        assert signed_in("x" * 8_193).json == {"errors": {"login": ["is too long (maximum is 8192 characters)"]}}
        assert len(provider.paths) == asked


def test_an_identity_provider_on_a_private_network_is_not_asked(databases: Databases, tmp_path: Path) -> None:
    with (
        listening() as provider,
        databases.fresh("sqlite") as url,
        serve(url, tmp_path) as server,
    ):
        app = application(url, cidp_url=provider.url)
        keys = {"application_id": app.application_id, "auth_key": app.auth_key}
        answer = ask(server, "POST", "/session", keys | {"user": {"login": "token-1", "password": "any"}})
        assert answer.status == 503, answer
        assert provider.paths == []
