"""What an application's settings accept.

    read(key, value)      a setting's value from its text; Invalid says what the setting accepts
    told(key, old, new)   a change of one in words, for the audit log

Each rule stands in `CHECKS` beside the setting's name; what has none there is read by its type.
"""

import re
import typing
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .. import errors, phone
from ..model import AppSettings

LONGEST_TEMPLATE = 255
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OURS = ("host", "content-length", "transfer-encoding", "connection")
SERVICE_ACCOUNT = ("project_id", "client_email", "private_key", "token_uri")
# Texts that are no secret, no address and nobody's name.
TOLD = {"default_region", "sms_regions", "sms_text", "contact_joined_template", "firebase_project_id", "apns_topic"}
BOOLEANS = {"on": True, "true": True, "1": True, "yes": True, "off": False, "false": False, "0": False, "no": False}


def read(key: str, value: str) -> Any:
    """A setting's value from its text, checked by the rule that goes with its name or its type."""
    if not _is_text(value):
        raise errors.Invalid("must be text in UTF-8", field=key)
    kind = msgspec.structs.fields(AppSettings)[AppSettings.__struct_fields__.index(key)].type
    plain = typing.get_args(kind)[0]
    if key in CHECKS:
        value = CHECKS[key](value, key)
    if plain is bool:
        if value.lower() not in BOOLEANS:
            raise errors.Invalid("must be true or false", field=key)
        return BOOLEANS[value.lower()]
    if plain is int:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise errors.Invalid("must be a whole number, 0 or more", field=key)
        return int(value)
    choices = typing.get_args(plain)
    if choices and value not in choices:
        raise errors.Invalid(f"must be {' or '.join(choice or '(empty)' for choice in choices)}", field=key)
    return value


def told(key: str, old: Any, new: Any) -> str:
    """A change of a setting in words. Of what may hold a secret or an address, only whether it is set."""
    field = msgspec.structs.fields(AppSettings)[AppSettings.__struct_fields__.index(key)]
    if typing.get_args(field.type)[0] is str and key not in TOLD:
        if new == field.default:
            return "as it is by default" if field.default else "no longer set"
        return "replaced" if old != field.default else "set"
    return f"{_said(old)} → {_said(new)}"


def _said(value: Any) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else (f"“{value}”" if value else "empty")
        if isinstance(value, str)
        else str(value)
    )


def _is_text(value: str) -> bool:
    """Half of a character is none; Python makes one of each byte of a command line that is not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _region(value: str, key: str) -> str:
    code = value.strip().upper()
    if code and not phone.is_region(code):
        raise errors.Invalid("must be a two-letter country code such as GB, or empty", field=key)
    return code


def _regions(value: str, key: str) -> str:
    return ",".join(_region(code, key) for code in value.split(",") if code.strip())


def _address(value: str, key: str) -> str:
    if value and not value.startswith(("https://", "http://")):
        raise errors.Invalid("must be an address with https:// (or http:// for development)", field=key)
    if any(sign.isspace() or unicodedata.category(sign) == "Cc" for sign in value):
        raise errors.Invalid("must not hold blanks or control characters", field=key)
    if value and not _has_host(value):
        raise errors.Invalid("must name a host after https://, and no user or password", field=key)
    return value


def _has_host(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


def _object_of_texts(value: str, key: str) -> str:
    try:
        msgspec.json.decode(value, type=dict[str, str])
    except msgspec.DecodeError:
        raise errors.Invalid("must be a JSON object whose values are texts", field=key) from None
    return value


def _headers(value: str, key: str) -> str:
    """What would make every request fail is refused here, where somebody sees it (RFC 9110 §5.1, §5.5)."""
    for name, text in msgspec.json.decode(_object_of_texts(value, key), type=dict[str, str]).items():
        if not HEADER.fullmatch(name):
            raise errors.Invalid("names a header with signs that none may have", field=key)
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise errors.Invalid(f"{name} must be printable ASCII, without blanks or newlines at its ends", field=key)
        if name.lower() in OURS:
            raise errors.Invalid(f"{name} is written by Ringbook", field=key)
    return value


def _with_uid(value: str, key: str) -> str:
    if "uid" not in msgspec.json.decode(_object_of_texts(value, key)):
        raise errors.Invalid("must say where uid is", field=key)
    return value


def _with_code(value: str, key: str) -> str:
    if value.count("%s") != 1:
        raise errors.Invalid("must hold %s once: there the code is put", field=key)
    return value


def _joined_template(value: str, key: str) -> str:
    """At most one %s and no other sign of its kind: what stands for a name must not depend on reading it twice."""
    rest = value.replace("%%", "")
    if rest.count("%s") > 1:
        raise errors.Invalid("may hold %s once: there the name is put", field=key)
    if "%" in rest.replace("%s", ""):
        raise errors.Invalid("holds a per cent sign that stands alone: write %% for one, %s for the name", field=key)
    if not value.strip() or len(value) > LONGEST_TEMPLATE:
        raise errors.Invalid(f"must have 1 to {LONGEST_TEMPLATE} characters", field=key)
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise errors.Invalid("must be one line, without control characters", field=key)
    return value


def _service_account(value: str, key: str) -> str:
    """The JSON of a key file (Google Cloud, "Create and delete service account keys")."""
    if not value.strip():
        return ""
    try:
        account = msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.DecodeError:
        account = {}
    if "project_info" in account:
        reason = "is the app's google-services.json: FCM wants the key of a service account (docs/how-to/push.md)"
        raise errors.Invalid(reason, field=key)
    missing = [name for name in SERVICE_ACCOUNT if not isinstance(account.get(name), str) or not account[name]]
    if missing:
        reason = f"must be the JSON of a service account's key file (no {missing[0]} in it): give it as @FILE"
        raise errors.Invalid(reason, field=key)
    _private_key(account["private_key"], key)
    return value.strip()


def _apns_key(value: str, key: str) -> str:
    """A P-256 key (Apple, "Establishing a token-based connection to APNs")."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if not value.strip():
        return ""
    found = _private_key(value, key)
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
        raise errors.Invalid(
            "must be the .p8 file of an APNs key, which holds a P-256 key: give it as @FILE", field=key
        )
    return value.strip() + "\n"


def _private_key(value: str, key: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(value.strip().encode(), password=None)
    except (ValueError, TypeError):
        raise errors.Invalid("holds no open private key in PEM: give the file as @FILE", field=key) from None


def _code(value: str, key: str) -> str:
    code = value.strip()
    if code and not (code.isascii() and code.isalnum()):
        raise errors.Invalid("must be letters and digits, as Apple writes it", field=key)
    return code


def _contact(value: str, key: str) -> str:
    if value and not value.startswith(("mailto:", "https://")):
        raise errors.Invalid("must begin with mailto: or https://", field=key)
    if " " in value:  # Apple's service refuses it
        raise errors.Invalid("must not hold blanks", field=key)
    return value


def _webhook_secret(value: str, key: str) -> str:
    from ..push.webhook import PREFIX, signing_key

    try:
        if value:
            signing_key(value)
    except ValueError:
        raise errors.Invalid(f"must be base64 after {PREFIX}, or a key without {PREFIX}", field=key) from None
    return value


CHECKS: dict[str, Callable[[str, str], str]] = {
    "default_region": _region,
    "sms_regions": _regions,
    "cidp_url": _address,
    "sms_gateway_url": _address,
    "cidp_request": _object_of_texts,
    "cidp_response": _with_uid,
    "sms_gateway_headers": _headers,
    "sms_text": _with_code,
    "contact_joined_template": _joined_template,
    "fcm_service_account": _service_account,
    "apns_key": _apns_key,
    "apns_key_id": _code,
    "apns_team_id": _code,
    "web_push_contact": _contact,
    "webhook_url": _address,
    "webhook_secret": _webhook_secret,
}
