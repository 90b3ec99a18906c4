"""Credentials of push providers: entered as files and texts, never shown again, and checked."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from dashboard.visiting import admin
from sealed import entries_behind
from servers import SEAL, application

from ringbook.core import applications
from ringbook.store import db as store

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def app(server):
    return application(server.database_url, "Pushing")


@pytest.fixture
def visitor(server, app):
    visitor = admin(server)
    visitor.base = f"/apps/{app.application_id}/push/providers"
    visitor.get(visitor.base)
    return visitor


def settings(server, app):
    db = store.connect(server.database_url, pool=1, seal=SEAL)
    try:
        return applications.get(db, app.application_id).settings
    finally:
        db.close()


def upload(visitor, channel: str, name: str, content: bytes, **fields: str):
    """A form with a file, as a browser sends it."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in ({"csrf": visitor.csrf} | fields).items()
    ]
    file = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="key"\r\nContent-Type: text/plain\r\n\r\n'
    body = "".join(parts).encode() + file.encode() + content + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    return visitor.ask("POST", f"/dashboard{visitor.base}/{channel}", body, content_type=kind)


def test_a_service_account_is_uploaded_and_never_shown_again(server, app, visitor):
    key = pem(rsa.generate_private_key(65537, 2048))
    account = {
        "project_id": "friends-1",
        "client_email": "ringbook@friends-1.example.com",
        "private_key": key,
        "token_uri": "https://oauth2.example.com/token",
    }
    assert "not set up" in visitor.get(visitor.base).words
    done = upload(visitor, "gcm", "fcm_service_account", json.dumps(account).encode())
    page = visitor.follow(done)
    assert "FCM: saved" in page.words and "Project friends-1, ringbook@friends-1.example.com" in page.words
    assert key[40:80] not in page.html and "PRIVATE KEY" not in page.html
    assert json.loads(settings(server, app).fcm_service_account) == account
    (entry,) = entries_behind(server, app_id=app.application_id)
    assert (entry.subject, entry.detail) == ("fcm_service_account", "set")


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff\xfe", b""])
def test_a_file_that_is_none_says_why_and_changes_nothing(server, app, visitor, content):
    page = upload(visitor, "gcm", "fcm_service_account", content)
    if content:
        page = visitor.refused(page)
        assert 'id="fcm_service_account-error"' in page.html and "@FILE" not in page.words
    assert settings(server, app).fcm_service_account == ""


def test_an_apns_key_and_its_ids_are_kept_together_or_not_at_all(server, app, visitor):
    key = pem(ec.generate_private_key(ec.SECP256R1())).encode()
    ids = {"apns_key_id": "ABCDE12345", "apns_team_id": "not letters!", "apns_topic": "com.example.friends"}
    page = visitor.refused(upload(visitor, "apns", "apns_key", key, **ids))
    assert page.value("apns_key_id") == "ABCDE12345"
    assert settings(server, app).apns_key_id == settings(server, app).apns_key == ""
    visitor.follow(upload(visitor, "apns", "apns_key", key, **ids | {"apns_team_id": "TEAM123456"}))
    assert settings(server, app).apns_team_id == "TEAM123456"
    page = visitor.get(visitor.base)
    assert "PRIVATE KEY" not in page.html and page.value("apns_topic") == "com.example.friends"
    visitor.post(f"{visitor.base}/apns", **ids | {"apns_team_id": "TEAM999999"})
    assert settings(server, app).apns_team_id == "TEAM999999" and settings(server, app).apns_key


def test_what_is_half_set_up_says_what_is_missing(visitor):
    visitor.post(f"{visitor.base}/apns", apns_key_id="ABCDE12345")
    assert "Still missing: apns_key, apns_team_id." in visitor.get(visitor.base).words


def test_a_webhook_s_secret_stays_when_the_field_is_empty_and_goes_when_removed(server, app, visitor):
    given = {"webhook_url": "https://example.com/hook", "webhook_secret": SECRET}
    visitor.post(f"{visitor.base}/webhook", **given)
    page = visitor.get(visitor.base)
    assert SECRET not in page.html and "A secret is stored" in page.words
    visitor.post(f"{visitor.base}/webhook", webhook_url="https://example.com/other", webhook_secret="")
    assert settings(server, app).webhook_secret == SECRET
    assert settings(server, app).webhook_url == "https://example.com/other"
    visitor.post(f"{visitor.base}/webhook/remove")
    assert settings(server, app).webhook_secret == settings(server, app).webhook_url == ""


def test_check_now_says_what_is_wrong_and_what_is_right(visitor):
    visitor.get(visitor.base)
    assert "fcm_service_account is not set" in visitor.follow(visitor.post(f"{visitor.base}/gcm/check")).words
    assert "the application's keys go together" in visitor.follow(visitor.post(f"{visitor.base}/web/check")).words


def test_there_is_no_other_provider(visitor):
    assert visitor.post(f"{visitor.base}/fax").status == 404


def test_the_public_key_is_there_to_copy(server, app, visitor):
    db = store.connect(server.database_url, pool=1, seal=SEAL)
    key = applications.get(db, app.application_id).vapid_public_key
    db.close()
    assert visitor.get(visitor.base).value("vapid") == key
