"""The settings of an application: each is declared once, as a field of `AppSettings`.

    AppSettings        the values; the type, default and declaration (`setting`) of each stand beside its name
    setting(…)         label, help, card, secrecy and check of one setting
    declared(struct)   the declarations of a struct, by key
    SETTINGS           the declarations of `AppSettings`
    webhook_key(…)     the bytes of webhook_secret

The dashboard's forms, `ringbook app set`, the table in docs/configuration.md and the audit log are made from these
declarations. A check takes the text that an admin entered and the key, and returns the text to store; Invalid says
what the setting accepts. `core/settings.py` reads values with them.
"""

import base64
import datetime
import re
import typing
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from . import errors, phone, preferences, push_texts

Check = Callable[[str, str], str]

MAX_LANGUAGES, MAX_MAIL_CHARACTERS = 50, 4_000
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
RESERVED_HEADERS = ("host", "content-length", "transfer-encoding", "connection")
SERVICE_ACCOUNT_FIELDS = ("project_id", "client_email", "private_key", "token_uri")
WEBHOOK_PREFIX = "whsec_"


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def region(text: str, key: str) -> str:
    """A two-letter country code, or empty."""
    code = text.strip().upper()
    if code and not phone.is_region(code):
        raise errors.Invalid("must be a two-letter country code such as GB, or empty", field=key)
    return code


def day(text: str, key: str) -> str:
    """A day such as 2027-01-31, or empty."""
    try:
        return datetime.date.fromisoformat(text.strip()).isoformat() if text.strip() else ""
    except ValueError:
        raise errors.Invalid("must be a day such as 2027-01-31, or empty", field=key) from None


def regions(text: str, key: str) -> str:
    """Country codes, separated by commas."""
    return ",".join(region(code, key) for code in text.split(",") if code.strip())


def address(text: str, key: str) -> str:
    """An http or https URL without a user and password, or empty."""
    if text and not text.startswith(("https://", "http://")):
        raise errors.Invalid("must be an address with https:// (or http:// for development)", field=key)
    if any(sign.isspace() or unicodedata.category(sign) == "Cc" for sign in text):
        raise errors.Invalid("must not contain spaces or control characters", field=key)
    if text and not _has_host(text):
        raise errors.Invalid("must have a host after https://, and no user or password", field=key)
    return text


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


def object_of_texts(text: str, key: str) -> str:
    """A JSON object whose values are texts."""
    _texts(text, key)
    return text


def _texts(text: str, key: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        raise errors.Invalid("must be a JSON object whose values are strings", field=key) from None


def headers(text: str, key: str) -> str:
    """HTTP headers as a JSON object (RFC 9110 §5.1, §5.5). A bad header would make every request fail."""
    for name, value in _texts(text, key).items():
        if not HEADER_NAME.fullmatch(name):
            raise errors.Invalid("contains a header name with characters that are not allowed", field=key)
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise errors.Invalid(f"{name} must be printable ASCII, without spaces or newlines at its ends", field=key)
        if name.lower() in RESERVED_HEADERS:
            raise errors.Invalid(f"{name} is set by Ringbook itself", field=key)
    return text


def object_with_uid(text: str, key: str) -> str:
    """A JSON object of texts that has `uid`."""
    if "uid" not in _texts(text, key):
        raise errors.Invalid("must have the field uid", field=key)
    return text


def text_with_code(text: str, key: str) -> str:
    """A text with one %s, the place of the code."""
    if text.count("%s") != 1:
        raise errors.Invalid("must contain %s once; it is replaced by the code", field=key)
    return text


def mail_texts(text: str, key: str) -> str:
    """A JSON object of mails by language: the first line is the subject, and the rest contains %s once, the link."""
    texts = _texts(text, key)
    if not 0 < len(texts) <= MAX_LANGUAGES:
        raise errors.Invalid(f"must have 1 to {MAX_LANGUAGES} languages", field=key)
    for language, mail in texts.items():
        subject, _, body = mail.partition("\n")
        if not preferences.LANGUAGE.fullmatch(language):
            raise errors.Invalid(f"{language[:40]} must be a language such as en or pt-BR", field=key)
        if not subject.strip() or body.count("%s") != 1 or "%s" in subject:
            raise errors.Invalid(f"{language} must have a subject line, then a text with %s once, the link", field=key)
        if len(mail) > MAX_MAIL_CHARACTERS or any(unicodedata.category(sign) == "Cc" for sign in subject):
            raise errors.Invalid(f"{language} must have at most {MAX_MAIL_CHARACTERS} characters", field=key)
    return text


def push_template(text: str, key: str) -> str:
    """One line with at most one %s, the place of the name; %% is a per cent sign."""
    return push_texts.template(text, key)


def quiet(text: str, key: str) -> str:
    """Two times of day such as 22:00-08:00, or empty."""
    found = preferences.quiet(text, key)
    return f"{preferences.clock(found.start)}-{preferences.clock(found.end)}" if found else ""


def before_digest(text: str, key: str) -> str:
    """How many pushes are sent before a digest."""
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise errors.Invalid(f"must be a whole number from 0 to {preferences.MOST_BEFORE_DIGEST}", field=key)
    preferences.digest(int(text), key)
    return text


def service_account(text: str, key: str) -> str:
    """The JSON of a service account's key file (Google Cloud, "Create and delete service account keys"), or empty."""
    if not text.strip():
        return ""
    try:
        account = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        account = {}
    if "project_info" in account:
        reason = (
            "is the app's google-services.json: FCM needs the key of a service account (Push, in the guide at /guide)"
        )
        raise errors.Invalid(reason, field=key)
    missing = [name for name in SERVICE_ACCOUNT_FIELDS if not isinstance(account.get(name), str) or not account[name]]
    if missing:
        reason = f"must be the JSON of a service account's key file (it has no {missing[0]})"
        raise errors.Invalid(reason, field=key)
    _private_key(account["private_key"], key)
    return text.strip()


def p256_key(text: str, key: str) -> str:
    """A P-256 private key in PEM (Apple, "Establishing a token-based connection to APNs"), or empty."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if not text.strip():
        return ""
    found = _private_key(text, key)
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
        raise errors.Invalid("must be the .p8 file of an APNs key, which holds a P-256 key", field=key)
    return text.strip() + "\n"


def _private_key(text: str, key: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(text.strip().encode(), password=None)
    except (ValueError, TypeError):
        raise errors.Invalid("holds no private key in PEM, or an encrypted one", field=key) from None


def letters_and_digits(text: str, key: str) -> str:
    """ASCII letters and digits, without blanks around them, or empty."""
    code = text.strip()
    if code and not (code.isascii() and code.isalnum()):
        raise errors.Invalid("must be letters and digits, as Apple writes it", field=key)
    return code


def contact_address(text: str, key: str) -> str:
    """A mailto: or https: address, or empty."""
    if text and not text.startswith(("mailto:", "https://")):
        raise errors.Invalid("must begin with mailto: or https://", field=key)
    if " " in text:  # Apple's push service refuses it
        raise errors.Invalid("must not contain spaces", field=key)
    return text


def signing_secret(text: str, key: str) -> str:
    """A key for signatures, or empty."""
    try:
        if text:
            webhook_key(text)
    except ValueError:
        reason = f"must be base64 after {WEBHOOK_PREFIX}, or a key without {WEBHOOK_PREFIX}"
        raise errors.Invalid(reason, field=key) from None
    return text


def webhook_key(secret: str) -> bytes:
    """The key in a webhook secret: base64 after `whsec_`, or the secret itself. ValueError says what is wrong."""
    if not secret.startswith(WEBHOOK_PREFIX):
        if not secret:
            raise ValueError("webhook_secret is empty")
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(WEBHOOK_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError(f"webhook_secret is not base64 after {WEBHOOK_PREFIX}")
    return key


AUDIENCES = {
    "everyone": "everyone who has the number",
    "mutual": "those who have the number and whose number the user has, too",
    "nobody": "nobody",
}


# ── declarations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def setting(
    help: str,
    *,
    label: str,
    card: str,
    group: str = "",
    check: Check | None = None,
    secret: bool = False,
    quoted: bool = False,
    file: str = "",
    multiline: bool = False,
    placeholder: str = "",
    choices: Mapping[str, str] | None = None,
) -> Meta:
    """Declare one setting.

    help         what it does: a phrase for the form, the command line and the documentation
    label        its name in the form
    card, group  the card of the dashboard, and the part of the card, where it stands
    check        checks its text, after which the text is stored; the type alone is checked without one
    secret       it is never shown again
    quoted       the audit log shows the text; of other texts it says only that they changed
    file         it is entered as a file: the file types that the form accepts
    multiline    its form field has several lines
    placeholder  an example in the empty form field
    choices      what the form calls each value
    """
    extra = {
        "label": label,
        "card": card,
        "group": group,
        "check": check,
        "secret": secret,
        "quoted": quoted,
        "file": file,
        "multiline": multiline,
        "placeholder": placeholder,
        "choices": choices or {},
    }
    return Meta(description=help, extra=extra)


class AppSettings(Struct, frozen=True, kw_only=True):
    """What an application's owner decides. Every process uses a changed value within 5 seconds."""

    session_creates_user: Annotated[
        bool,
        setting(
            "a sign-in with an unknown login and a password creates a user",
            label="Create a user for an unknown login",
            card="sessions",
        ),
    ] = True
    users_v1_list: Annotated[
        bool,
        setting(
            "users may list all users, and search users by full name and by tags (version 1 of the API)",
            label="Users may list all users (API version 1)",
            card="sessions",
        ),
    ] = False
    online_users: Annotated[
        bool,
        setting(
            "users see which of their contacts have sent a request in the last five minutes (GET /users/online)",
            label="Users see which contacts are online",
            card="finding",
        ),
    ] = False
    default_region: Annotated[
        str,
        setting(
            "two-letter code of the country whose rules apply to numbers without a country code;"
            " empty = numbers are compared digit by digit",
            label="Default region",
            card="finding",
            check=region,
            quoted=True,
        ),
    ] = ""
    profiles: Annotated[
        Literal["known", "open"],
        setting(
            "who sees a user's phone and e-mail: users who have the number in an address book (known),"
            " or all users (open)",
            label="Who sees a user's phone and e-mail",
            card="finding",
            choices={"known": "users who have the number in an address book", "open": "all users"},
        ),
    ] = "known"
    require_verified_number: Annotated[
        Literal["auto", "on", "off"],
        setting(
            "discovery finds only users with a verified number; auto = as soon as the application has one such number",
            label="Find verified numbers only",
            card="finding",
            choices={"auto": "auto: as soon as the application has one verified number"},
        ),
    ] = "auto"
    new_numbers_per_day: Annotated[
        int,
        setting(
            "the ceiling of the application: the most new numbers of all its users in 24 hours; half of them for users"
            " who were verified more than a day ago, half for all others; 0 = RINGBOOK_APP_PERMITS_PER_DAY",
            label="Most new numbers of all users in 24 hours",
            card="finding",
        ),
    ] = 0
    new_numbers_until: Annotated[
        str,
        setting(
            "the last day on which new_numbers_per_day counts, such as 2027-01-31, in UTC: to raise the ceiling for an"
            " import or a campaign; empty = without end",
            label="Until the end of the day",
            card="finding",
            check=day,
            quoted=True,
            placeholder="2027-01-31",
        ),
    ] = ""
    unreadable_phones: Annotated[
        Literal["accept", "refuse"],
        setting(
            "what happens to a user's phone that cannot be a number: accept = it is stored, and the response has a"
            " hint, because no contact is matched with it; refuse = sign-up and update get 422",
            label="Phones that cannot be a number",
            card="finding",
            choices={"accept": "accept, with a hint in the response", "refuse": "refuse"},
        ),
    ] = "accept"
    reassigned_after_days: Annotated[
        int,
        setting(
            "when a number is verified again and its user has sent no request for so many days, the number gets a new"
            " account; 0 = never",
            label="Days of inactivity until a number may be reassigned",
            card="sessions",
        ),
    ] = 180
    firebase_project_id: Annotated[
        str,
        setting(
            "the Firebase project whose ID tokens are accepted; empty = no sign-in with Firebase",
            label="Firebase project ID",
            card="firebase",
            quoted=True,
        ),
    ] = ""
    cidp_url: Annotated[
        str,
        setting(
            "URL at which your identity provider verifies sign-ins; empty = no identity provider",
            label="URL of your identity provider",
            card="provider",
            check=address,
        ),
    ] = ""
    cidp_request: Annotated[
        str,
        setting(
            "parameters of the request to your identity provider, as JSON;"
            " #{login} and #{password} are replaced by what the app sent",
            label="Parameters of the request",
            card="provider",
            check=object_of_texts,
            multiline=True,
        ),
    ] = '{"token": "#{login}"}'
    cidp_response: Annotated[
        str,
        setting(
            "where to find uid, login, full_name, email and phone in the response of your identity provider, as JSON;"
            " uid is required",
            label="Fields of the response",
            card="provider",
            check=object_with_uid,
            multiline=True,
        ),
    ] = '{"uid": "#{user.id}"}'
    sms_gateway: Annotated[
        Literal["", "console", "http", "twilio"],
        setting(
            "the gateway that sends one-time codes: console (prints them, for development), http or twilio;"
            " empty = codes are not sent",
            label="Gateway",
            card="codes",
            choices={
                "": "none",
                "console": "console (for development)",
                "http": "HTTP gateway",
                "twilio": "Twilio",
            },
        ),
    ] = ""
    sms_regions: Annotated[
        str,
        setting(
            "countries to which one-time codes are sent, as two-letter codes separated by commas, such as GB,IE;"
            " empty = none",
            label="Countries that receive codes",
            card="codes",
            check=regions,
            quoted=True,
        ),
    ] = ""
    sms_daily_cap: Annotated[
        int,
        setting(
            "the most one-time codes sent in a day, of these at most half to numbers that no user has verified;"
            " 0 = no limit",
            label="Codes per day",
            card="codes",
        ),
    ] = 1_000
    sms_text: Annotated[
        str,
        setting(
            "text of the message; %s is replaced by the code",
            label="Text of the message",
            card="codes",
            check=text_with_code,
            quoted=True,
        ),
    ] = "%s is your code."
    sms_gateway_url: Annotated[
        str,
        setting(
            "URL of the HTTP gateway; with twilio it replaces Twilio's own URL",
            label="Gateway URL",
            card="codes",
            group="HTTP gateway",
            check=address,
        ),
    ] = ""
    sms_gateway_method: Annotated[
        Literal["POST", "PUT", "GET"],
        setting("HTTP method of the request to the HTTP gateway", label="Method", card="codes", group="HTTP gateway"),
    ] = "POST"
    sms_gateway_headers: Annotated[
        str,
        setting(
            "headers of the request to the HTTP gateway, as a JSON object",
            label="Headers",
            card="codes",
            group="HTTP gateway",
            check=headers,
            secret=True,
        ),
    ] = '{"Content-Type": "application/json"}'
    sms_gateway_body: Annotated[
        str,
        setting(
            "body of the request to the HTTP gateway; #{to} is replaced by the number with its +, #{text} by the text,"
            " both escaped",
            label="Body",
            card="codes",
            group="HTTP gateway",
            multiline=True,
        ),
    ] = '{"to": "#{to}", "text": "#{text}"}'
    sms_twilio_account_sid: Annotated[
        str, setting("Twilio account SID", label="Twilio account SID", card="codes", group="Twilio")
    ] = ""
    sms_twilio_auth_token: Annotated[
        str, setting("Twilio auth token", label="Twilio auth token", card="codes", group="Twilio", secret=True)
    ] = ""
    sms_twilio_from: Annotated[
        str,
        setting(
            "Twilio phone number or messaging service that sends the message",
            label="Twilio sender",
            card="codes",
            group="Twilio",
        ),
    ] = ""
    contact_joined_enabled: Annotated[
        bool,
        setting(
            "when a user joins, all users who have that user's number in an address book get a push;"
            " no push is sent for users who joined before the setting was switched on",
            label="Tell users when one of their contacts joins",
            card="joined",
        ),
    ] = False
    contact_joined_template: Annotated[
        str,
        setting(
            "text of the push; %s is replaced by the contact's name in the recipient's address book, %% by a per cent"
            " sign",
            label="Push notification template",
            card="joined",
            check=push_template,
            quoted=True,
            multiline=True,
        ),
    ] = "Your friend %s joined."
    contact_joined_language: Annotated[
        str,
        setting(
            "language of the push template; users and devices with another language get the text in theirs, if there"
            " is one",
            label="Language",
            card="joined",
            check=preferences.locale,
            quoted=True,
        ),
    ] = "en"
    contact_joined_templates: Annotated[
        str,
        setting(
            "texts of the push in other languages, as JSON; and the text of a digest, %s is replaced by names and %d by"
            " the number of the others",
            label="Texts by language",
            card="joined",
            check=push_texts.checked,
            multiline=True,
        ),
    ] = "{}"
    contact_joined_delay_seconds: Annotated[
        int,
        setting(
            "seconds after the sign-up until the first push, in which your app can ask who may be told",
            label="Delay in seconds",
            card="joined",
        ),
    ] = 0
    contact_joined_announce: Annotated[
        preferences.Audience,
        setting(
            "who is told that a user has joined, unless the user has chosen: everyone who has the number, of them those"
            " whose number the user has too (mutual), or nobody",
            label="Who is told",
            card="joined",
            group="Unless the user has chosen",
            choices=AUDIENCES,
        ),
    ] = "everyone"
    contact_joined_discoverable: Annotated[
        preferences.Audience,
        setting(
            "who finds a user by the number, unless the user has chosen: everyone, mutual or nobody",
            label="Who finds a user by the number",
            card="joined",
            group="Unless the user has chosen",
            choices=AUDIENCES,
        ),
    ] = "everyone"
    contact_joined_choice: Annotated[
        bool,
        setting(
            "users may choose who is told that they have joined, and who finds them",
            label="Users may choose who is told and who finds them",
            card="joined",
        ),
    ] = True
    contact_joined_digest: Annotated[
        int,
        setting(
            "after so many pushes to a user within 24 hours, at most 1000, the next ones come together in one push;"
            " 0 = always together",
            label="Pushes in 24 hours before a digest",
            card="joined",
            group="Unless the user has chosen",
            check=before_digest,
        ),
    ] = 5
    contact_joined_quiet: Annotated[
        str,
        setting(
            "hours in which pushes wait, such as 22:00-08:00, for users whose time zone is known; empty = none",
            label="Quiet hours",
            card="joined",
            group="Unless the user has chosen",
            check=quiet,
            quoted=True,
            placeholder="22:00-08:00",
        ),
    ] = ""
    contact_joined_list_days: Annotated[
        int,
        setting(
            "days for which apps can list who has joined (GET /contact_joined); 0 = no list",
            label="Days in the list of who joined",
            card="joined",
        ),
    ] = 90
    contact_joined_development: Annotated[
        bool,
        setting(
            "the push is also sent to subscriptions of the development environment",
            label="Also to development subscriptions",
            card="joined",
        ),
    ] = False
    contact_joined_fcm_notification: Annotated[
        bool,
        setting(
            "Android shows the push itself, also while the app is closed; off = the app shows it",
            label="System notification on Android",
            card="joined",
        ),
    ] = False
    events: Annotated[
        Literal["on", "off"],
        setting(
            "users may send pushes to each other (POST /events)",
            label="Users send pushes to each other",
            card="sessions",
        ),
    ] = "on"
    password_reset_mails: Annotated[
        str,
        setting(
            "mail for a new password by language, as JSON: the first line of each is the subject, and %s is replaced by"
            " the link; the app's Accept-Language chooses, else the first one is sent",
            label="Mail for a new password",
            card="sessions",
            check=mail_texts,
            multiline=True,
        ),
    ] = (
        '{"en": "Choose a new password\\n\\nSomebody asked for a new password for your account. If it was you, choose'
        ' one within an hour:\\n\\n%s\\n\\nIf it was not you, ignore this mail. Your password stays as it is."}'
    )
    push_console: Annotated[
        bool,
        setting(
            "pushes are printed on standard output and not sent; for development",
            label="Print pushes instead of sending them",
            card="development",
        ),
    ] = False
    fcm_service_account: Annotated[
        str,
        setting(
            "the JSON key file of a Firebase service account, for FCM",
            label="Service account",
            card="gcm",
            check=service_account,
            secret=True,
            file=".json,application/json",
        ),
    ] = ""
    apns_key: Annotated[
        str,
        setting(
            "the .p8 file of an APNs authentication key; Apple lets you download it only once",
            label="Authentication key",
            card="apns",
            check=p256_key,
            secret=True,
            file=".p8",
        ),
    ] = ""
    apns_key_id: Annotated[
        str,
        setting(
            "ID of the APNs key: 10 characters, which Apple shows beside the key",
            label="Key ID",
            card="apns",
            check=letters_and_digits,
        ),
    ] = ""
    apns_team_id: Annotated[
        str,
        setting(
            "ID of your Apple developer team: 10 characters, shown under Membership",
            label="Team ID",
            card="apns",
            check=letters_and_digits,
        ),
    ] = ""
    apns_topic: Annotated[
        str,
        setting(
            "bundle ID of the iOS app; empty = the bundle ID that each subscription names",
            label="Topic",
            card="apns",
            quoted=True,
        ),
    ] = ""
    web_push_contact: Annotated[
        str,
        setting(
            "mailto: or https: address where push services can reach you; Apple's push service requires one",
            label="Contact address",
            card="web",
            check=contact_address,
            placeholder="mailto:you@example.com",
        ),
    ] = ""
    webhook_url: Annotated[
        str,
        setting(
            "URL of your backend; it gets a request when a user joins whose number is in an address book;"
            " empty = no requests",
            label="URL",
            card="webhook",
            check=address,
            placeholder="https://example.com/ringbook",
        ),
    ] = ""
    webhook_secret: Annotated[
        str,
        setting(
            "key that signs the requests to your backend (Standard Webhooks)",
            label="Secret",
            card="webhook",
            check=signing_secret,
            secret=True,
        ),
    ] = ""


class Setting(Struct, frozen=True, kw_only=True):
    """The declaration of one setting; `setting` explains the fields that it shares with it.

    values   the values that it can have, where they are a fixed list
    """

    key: str
    type: Any
    default: Any
    help: str
    label: str
    card: str
    group: str
    check: Check | None
    secret: bool
    quoted: bool
    file: str
    multiline: bool
    placeholder: str
    choices: Mapping[str, str]
    values: tuple[str, ...]

    @property
    def accepts(self) -> str:
        """The values that it accepts, in words."""
        if self.values:
            return " or ".join(value or "(empty)" for value in self.values)
        return {bool: "true or false", int: "a whole number, 0 or more"}.get(self.type, "text")


def declared(struct: type[Struct]) -> dict[str, Setting]:
    """The declarations of a struct's fields, by key."""
    found = {}
    for field in msgspec.structs.fields(struct):
        plain, meta = typing.get_args(field.type)
        found[field.name] = Setting(
            key=field.name,
            type=plain,
            default=field.default,
            help=meta.description,
            values=typing.get_args(plain),
            **meta.extra,
        )
    return found


SETTINGS = declared(AppSettings)
