"""`ringbook check` of external services: Firebase, push providers and gateways. It sends no message to a gateway."""

import json
from pathlib import Path

import pytest
from core.joining import Play
from servers import SEAL, Databases, application, free_port, key_file
from verify.certificates import Key, publishing
from verify.gateway import listening

from ringbook.config import Config
from ringbook.core import applications
from ringbook.server import checks
from ringbook.store import db as databases

KEY = Key("key-1")


def seen(what: str, database: str, **settings: str) -> list[tuple[bool, str]]:
    config = Config(key_file=str(key_file()), database=database, **settings)
    return [(check.ok, check.seen) for check in checks.readiness(config) if check.what == what]


@pytest.fixture
def database(databases: Databases, tmp_path: Path):
    with databases.fresh("sqlite") as url:
        yield url


def test_firebase_is_looked_at_only_where_an_application_believes_its_tokens(database: str):
    application(database)
    with publishing(KEY) as source:
        assert seen("Firebase", database, firebase_certificates_url=source.url) == []
        application(database, firebase_project_id="demo-ringbook")
        fetched = (True, f"1 certificates from {source.url}")
        assert seen("Firebase", database, firebase_certificates_url=source.url) == [fetched]
        assert len(source.asked) == 1


def test_certificates_that_cannot_be_fetched_are_told_with_the_reason(database: str):
    application(database, firebase_project_id="demo-ringbook")
    with publishing(KEY) as source:
        source.status = 404
        ((ok, words),) = seen("Firebase", database, firebase_certificates_url=source.url)
        assert not ok and source.url in words and "status 404" in words
    away = f"http://127.0.0.1:{free_port()}/"
    ((ok, words),) = seen("Firebase", database, firebase_certificates_url=away)
    assert not ok and "127.0.0.1 does not answer (Connection refused)" in words


def test_the_emulator_is_told_of(database: str):
    application(database, firebase_project_id="demo-ringbook")
    ((ok, words),) = seen("Firebase", database, firebase_auth_emulator_host="127.0.0.1:9099")
    assert ok and "WITHOUT SIGNATURES" in words and "127.0.0.1:9099" in words


def test_a_file_of_authorities_must_hold_some(database: str, tmp_path: Path):
    good, empty = tmp_path / "good.pem", tmp_path / "empty.pem"
    good.write_text(KEY.certificate)
    empty.write_text("")
    assert seen("certificate authorities", database) == []
    assert seen("certificate authorities", database, ca_file=str(good)) == [(True, str(good))]
    for file in (empty, tmp_path / "none.pem"):
        ((ok, words),) = seen("certificate authorities", database, ca_file=str(file))
        assert not ok and "RINGBOOK_CA_FILE" in words


def gateways(
    url: str, *, what: str = "one-time codes", private: bool = True, **settings: str
) -> list[tuple[bool, str]]:
    """The result of the check of a new application's gateway, and its details."""
    db = databases.connect(url, seal=SEAL)
    try:
        app = applications.create(db, "Friends", 0)
        for key, value in settings.items():
            applications.change(db, app.id, key, value)
    finally:
        db.close()
    found = checks.readiness(Config(key_file=str(key_file()), database=url, allow_private_addresses=private))
    return [(check.ok, check.seen) for check in found if check.what == f"{what} of application {app.id}"]


def test_an_application_without_a_gateway_is_not_asked_about(database_url: str):
    assert gateways(database_url) == []


@pytest.mark.parametrize("status", [200, 401, 404, 405, 500])
def test_any_answer_is_an_answer_and_nothing_is_sent(database_url: str, status: int):
    with listening() as gateway:
        gateway.status = status
        where = f"{gateway.url}/send?to=#{{to}}&key=k"
        seen = gateways(database_url, sms_gateway="http", sms_gateway_url=where, sms_regions="GB,US")
        assert seen == [(True, "by http, to GB,US")]
        assert [(asked.method, asked.path, asked.body) for asked in gateway.asked] == [("HEAD", "/", b"")]
        assert "authorization" not in gateway.asked[0].headers


def test_twilio_is_looked_for_without_its_keys(database_url: str):
    with listening() as gateway:
        keys = {"sms_twilio_account_sid": "AC00", "sms_twilio_auth_token": "x", "sms_twilio_from": "MG00"}
        seen = gateways(database_url, sms_gateway="twilio", sms_gateway_url=gateway.url, sms_regions="GB", **keys)
        assert seen == [(True, "by twilio, to GB")]
        assert (gateway.asked[0].method, "authorization" in gateway.asked[0].headers) == ("HEAD", False)


def test_a_gateway_that_does_not_answer_is_told(database_url: str):
    where = f"http://127.0.0.1:{free_port()}/"
    [(ok, seen)] = gateways(database_url, sms_gateway="http", sms_gateway_url=where, sms_regions="GB")
    assert not ok and "127.0.0.1 does not answer" in seen
    [(ok, seen)] = gateways(database_url, private=False, sms_gateway="http", sms_gateway_url=where, sms_regions="GB")
    assert not ok and "RINGBOOK_ALLOW_PRIVATE_ADDRESSES" in seen


def test_an_identity_provider_is_looked_for_without_a_log_in(database_url: str):
    what = "identity provider"
    assert gateways(database_url, what=what) == []
    with listening() as provider:
        provider.status = 404
        where = f"{provider.url}/verify?key=k"
        assert gateways(database_url, what=what, cidp_url=where) == [(True, "its server answers")]
        assert [(asked.method, asked.path) for asked in provider.asked] == [("HEAD", "/")]
        [(ok, seen)] = gateways(database_url, what=what, private=False, cidp_url=where)
        assert not ok and "RINGBOOK_ALLOW_PRIVATE_ADDRESSES" in seen
    [(ok, seen)] = gateways(database_url, what=what, cidp_url=where)
    assert not ok and "does not answer" in seen


def test_what_is_missing_is_named(database_url: str):
    assert gateways(database_url, sms_gateway="http", sms_regions="GB") == [(False, "sms_gateway_url is empty")]
    [(ok, seen)] = gateways(database_url, sms_gateway="console")
    assert not ok and seen.startswith("sms_regions is empty")
    assert gateways(database_url, sms_gateway="console", sms_regions="GB") == [(True, "by console, to GB")]


# ── pushes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def play(db, database_url) -> Play:
    play = Play(db)
    play.url = database_url
    return play


def pushes(play: Play, **config: object) -> dict[str, tuple[bool, str]]:
    """The result of each channel's check; "" stands for all channels."""
    what = f"pushes of application {play.app_id}"
    found = checks.readiness(Config(key_file=str(key_file()), database=play.url, **config))
    return {one.what.removesuffix(what).strip(): (one.ok, one.seen) for one in found if one.what.endswith(what)}


def test_an_application_that_tells_nobody_and_has_no_subscription_is_not_looked_at(play):
    play.set(contact_joined_enabled="false")
    assert pushes(play) == {}


def test_a_joined_push_without_a_provider_is_told_with_what_to_set(play):
    ((ok, words),) = pushes(play).values()
    assert not ok and f"ringbook app set {play.app_id} fcm_service_account @FILE.json" in words and "apns_key" in words


def test_providers_are_asked_whether_they_take_the_credentials(play, providers):
    providers.forget()
    with listening() as backend:
        play.set(**providers.settings, webhook_url=f"{backend.url}/hook", webhook_secret="secret")
        found = pushes(play, **providers.config)
    assert [(one.method, one.path) for one in backend.asked] == [("HEAD", "/")]
    assert {name: ok for name, (ok, _) in found.items()} == {"gcm": True, "apns": True, "webhook": True}
    (asked,) = providers.asked()["asked"]
    assert asked["provider"] == "fcm" and json.loads(asked["body"])["validate_only"] is True


@pytest.mark.parametrize(
    "url, why",
    [
        ("http://127.0.0.1:1/hook", "must begin with https://"),
        ("https://127.0.0.1:1/hook", "the port is not allowed: 1 is neither"),
        ("https://127.0.0.1/hook", "private network"),
    ],
)
def test_an_address_that_events_would_not_be_sent_to_is_told(play, url, why):
    play.set(webhook_url=url, webhook_secret="secret")
    ok, words = pushes(play)["webhook"]
    assert not ok and why in words


def test_what_a_provider_refuses_is_told(play, providers):
    play.set(**providers.settings)
    providers.order(oauth="refused")
    try:
        ok, words = pushes(play, **providers.config)["gcm"]
    finally:
        providers.forget()
    assert not ok and words


def test_a_provider_that_is_away_is_told(play, providers):
    play.set(**providers.settings)
    away = providers.config | {"fcm_endpoint": f"http://127.0.0.1:{free_port()}"}
    ok, words = pushes(play, **away)["gcm"]
    assert not ok and "does not answer" in words


@pytest.mark.parametrize(
    "channel, device, missing",
    [
        ("gcm", {"token": "fcm-token-0001"}, "fcm_service_account is not set"),
        ("apns", {"token": "0f" * 32, "channel": "apns", "platform": "ios"}, "apns_key is not set"),
        ("apns", {"token": "0f" * 32, "channel": "apns_voip", "platform": "ios"}, "apns_key is not set"),
    ],
)
def test_a_channel_that_people_subscribe_to_must_be_set_up(play, channel, device, missing):
    play.device(play.person("bob").id, **device)
    ((name, (ok, words)),) = pushes(play).items()
    assert name == channel and not ok and missing in words


def test_half_an_apns_key_is_told_with_what_is_missing(play, providers):
    play.set(apns_key=providers.settings["apns_key"])
    assert pushes(play)["apns"] == (False, f"apns_key_id is not set: ringbook app set {play.app_id} apns_key_id …")


def test_on_the_console_nobody_is_asked(play, providers):
    play.set(**providers.settings, push_console="true")
    assert pushes(play) == {"": (True, "printed, not sent: push_console is on")}


def test_without_its_authorities_no_provider_is_asked(play, providers, tmp_path):
    play.set(**providers.settings)
    assert pushes(play, **providers.config | {"ca_file": str(tmp_path / "none.pem")}) == {}
