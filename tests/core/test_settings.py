"""The settings of an application: what they accept, and their refusals."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ringbook import errors
from ringbook.core.settings import read


def pem(key, encryption=None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


P256 = pem(ec.generate_private_key(ec.SECP256R1()))
RSA = rsa.generate_private_key(65537, 2048)
ACCOUNT = {
    "type": "service_account",
    "project_id": "demo-ringbook",
    "client_email": "push@demo-ringbook.example.com",
    "private_key": pem(RSA),
    "token_uri": "https://oauth.example.com/token",
}


@pytest.mark.parametrize(
    "template",
    ["%s", "Your friend %s joined.", "100%% %s", "%s: 5%% off", "%%s %s", "Somebody joined", "Ünï \U0001f389 %s"],
)
def test_a_template_with_a_place_for_a_name_or_none_is_taken(template):
    assert read("contact_joined_template", template) == template


@pytest.mark.parametrize(
    "template, why",
    [
        ("%s and %s", "once"),
        ("%s and %%%s", "once"),
        ("100% of %s", "per cent"),
        ("%d joined", "per cent"),
        ("%S joined", "per cent"),
        ("%%%", "per cent"),
        ("%", "per cent"),
        ("", "1 to 255"),
        ("  ", "1 to 255"),
        ("x" * 256, "1 to 255"),
        ("two\nlines %s", "one line"),
        ("nul \x00 %s", "one line"),
        ("two\u2028lines %s", "one line"),
        ("two\u2029paragraphs %s", "one line"),
    ],
)
def test_any_other_template_is_refused_with_the_reason(template, why):
    with pytest.raises(errors.Invalid, match=why) as refused:
        read("contact_joined_template", template)
    assert refused.value.field == "contact_joined_template"


def test_a_service_account_is_taken_as_its_key_file_has_it():
    text = json.dumps(ACCOUNT, indent=2)
    assert read("fcm_service_account", f"{text}\n") == text
    assert read("fcm_service_account", "") == ""


def test_the_file_of_the_app_is_told_from_the_key_of_a_service_account():
    with pytest.raises(errors.Invalid, match="google-services.json: FCM needs the key of a service account"):
        read("fcm_service_account", '{"project_info": {"project_id": "p"}, "client": []}')


@pytest.mark.parametrize("missing", ["project_id", "client_email", "private_key", "token_uri"])
def test_a_service_account_that_lacks_something_is_refused_without_being_quoted(missing):
    lacking = {name: value for name, value in ACCOUNT.items() if name != missing}
    with pytest.raises(errors.Invalid, match=f"no {missing}") as refused:
        read("fcm_service_account", json.dumps(lacking))
    assert "PRIVATE KEY" not in refused.value.reason


@pytest.mark.parametrize("text", ["not json", "[]", "null", '{"project_id": 5}', "/home/me/key.json"])
def test_what_is_no_key_file_is_refused(text):
    with pytest.raises(errors.Invalid, match="key file"):
        read("fcm_service_account", text)


def test_a_service_account_whose_key_is_broken_is_refused():
    with pytest.raises(errors.Invalid, match="no private key in PEM"):
        read("fcm_service_account", json.dumps(ACCOUNT | {"private_key": "-----BEGIN PRIVATE KEY-----\nx\n"}))


def test_an_apns_key_is_taken_whatever_blanks_surround_it():
    assert read("apns_key", f"\n  {P256}\n\n") == P256
    assert read("apns_key", "") == ""


@pytest.mark.parametrize(
    "key, why",
    [
        (pem(RSA), "P-256"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "P-256"),
        (pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"secret")), "no private key in PEM"),
        ("AuthKey_ABC123DEFG.p8", "no private key in PEM"),
    ],
)
def test_any_other_key_is_no_apns_key(key, why):
    with pytest.raises(errors.Invalid, match=why):
        read("apns_key", key)


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("contact_joined_enabled", "On", True),
        ("contact_joined_enabled", "0", False),
        ("events", "off", "off"),
        ("apns_key_id", " ABC123DEFG ", "ABC123DEFG"),
        ("web_push_contact", "mailto:push@example.com", "mailto:push@example.com"),
        ("webhook_url", "https://example.com/hook", "https://example.com/hook"),
        ("webhook_url", "", ""),
        ("sms_gateway_headers", '{"X-Api-Key": "k", "Accept": ""}', '{"X-Api-Key": "k", "Accept": ""}'),
        ("sms_gateway_url", "https://sms.example/?to=#{to}&text=#{text}", "https://sms.example/?to=#{to}&text=#{text}"),
    ],
)
def test_a_setting_is_read_from_its_text(key, text, value):
    assert read(key, text) == value


# A newline that came with a key from a file, another header after it, and what would break every request.
HEADERS = (
    {"Authorization": "Bearer x\n"},
    {"Authorization": "x\r\nX-More: y"},
    {"Authorization": "Bearer schlüssel"},
    {"Authorization": " x"},
    {"X Y": "z"},
    {"X:": "z"},
    {"": "z"},
    {"Content-Length": "5"},
    {"HOST": "example.com"},
    {"X": 5},
)


@pytest.mark.parametrize(
    "key, text",
    [
        ("contact_joined_enabled", "maybe"),
        ("events", "sometimes"),
        ("apns_key_id", "ABC/123"),
        ("web_push_contact", "push@example.com"),
        ("webhook_url", "ftp://example.com"),
        ("webhook_secret", "whsec_not base64!"),
        ("contact_joined_template", "\udcff %s"),
        ("webhook_secret", "\udcff"),
        *[("sms_gateway_headers", json.dumps(headers)) for headers in HEADERS],
        ("cidp_request", '{"a": "\udcff"}'),
        *[
            (key, address)
            for key in ("webhook_url", "cidp_url", "sms_gateway_url")
            for address in (
                "https://example.com/a b",
                " https://example.com/",
                "https://example.com/ ",
                "https://example.com/\n",
                "https://exam\tple.com/",
                "https://example.com/\x00",
                "https://example.com/\u00a0",
                "https://example.com/\x7f",
                "https://",
                "https:///path",
                "https://:443/",
                "https://user:secret@example.com/",
                "https://example.com:0/",
                "https://example.com:99999/",
                "https://[::1/",
            )
        ],
    ],
)
def test_what_a_setting_does_not_accept_is_refused_by_its_name(key, text):
    with pytest.raises(errors.Invalid) as refused:
        read(key, text)
    assert refused.value.field == key
