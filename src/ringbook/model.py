"""The nouns, as frozen values.

    AppSettings, App            an application, and what its owner has decided (`setting` describes one)
    Session, Caller             proof of who asks, and who that is for one request
    User, NewUser               a person's account
    Entry, Contact, Report      a line of an upload, a line of a book, what an upload did
    Registered                  a contact who is a user
    Subscription                where a push reaches a device

Times are UTC seconds since 1970; a `number` is the 64-bit integer of `phone.read`.
"""

from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

GLOBAL_BOOK = 0
SEQ_GAP = 2**20  # between two neighbours in a book, so that one can be moved without moving the others
GUEST_SECONDS = 24 * 3600


def setting(description: str, *, secret: bool = False) -> Meta:
    """What a setting means; a secret one is never shown again."""
    return Meta(description=description, extra={"secret": secret})


class AppSettings(Struct, frozen=True, kw_only=True):
    """What an application's owner decides; `ringbook app set` changes one, and every process knows within 5 seconds."""

    session_creates_user: Annotated[
        bool, setting("an unknown login with a password makes a new user when it opens a session")
    ] = True
    users_v1_list: Annotated[
        bool, setting("users may list all users, and look them up by full name and by tags, the V1 way")
    ] = False
    default_region: Annotated[
        str,
        setting("two-letter country code by which national numbers are read; empty = digits match digits"),
    ] = ""
    profiles: Annotated[
        Literal["known", "open"],
        setting("who sees a user's phone and e-mail: those who hold the number in a book, or everybody"),
    ] = "known"
    require_verified_number: Annotated[
        Literal["auto", "on", "off"],
        setting("only numbers that were proven are found; auto = on from the application's first proven number"),
    ] = "auto"
    reassigned_after_days: Annotated[
        int, setting("a number proven again after so many days without a request opens a new account; 0 = never")
    ] = 180
    firebase_project_id: Annotated[
        str, setting("the Firebase project whose ID tokens are believed; empty = Firebase cannot be used")
    ] = ""
    cidp_url: Annotated[
        str, setting("address that your identity provider verifies log-ins at; empty = there is none")
    ] = ""
    cidp_request: Annotated[
        str, setting("parameters of that request, as JSON; #{login} stands for the login that was given")
    ] = '{"token": "#{login}"}'
    cidp_response: Annotated[
        str, setting("where its answer holds uid, login, full_name, email and phone, as JSON; uid is needed")
    ] = '{"uid": "#{user.id}"}'
    sms_gateway: Annotated[
        Literal["", "console", "http", "twilio"],
        setting("who sends one-time codes: console (prints them, for development), http, twilio; empty = nobody"),
    ] = ""
    sms_regions: Annotated[
        str, setting("country codes that codes are sent to, with commas, such as GB,IE; empty = none")
    ] = ""
    sms_daily_cap: Annotated[
        int, setting("codes sent in a day at most, half of them to numbers that are new here; 0 = no limit")
    ] = 1_000
    sms_text: Annotated[str, setting("text of the message; %s stands for the code")] = "%s is your code."
    sms_gateway_url: Annotated[str, setting("http: the gateway's address; twilio: only to replace Twilio's")] = ""
    sms_gateway_method: Annotated[Literal["POST", "PUT", "GET"], setting("http: the method")] = "POST"
    sms_gateway_headers: Annotated[str, setting("http: headers, as a JSON object", secret=True)] = (
        '{"Content-Type": "application/json"}'
    )
    sms_gateway_body: Annotated[
        str, setting("http: the body; #{to} stands for the number with its +, #{text} for the text, both escaped")
    ] = '{"to": "#{to}", "text": "#{text}"}'
    sms_twilio_account_sid: Annotated[str, setting("twilio: the account SID")] = ""
    sms_twilio_auth_token: Annotated[str, setting("twilio: the auth token", secret=True)] = ""
    sms_twilio_from: Annotated[str, setting("twilio: the number or messaging service that sends")] = ""
    contact_joined_enabled: Annotated[
        bool, setting("tell the holders of a number when its owner joins; announces nobody who is there already")
    ] = False
    contact_joined_template: Annotated[
        str, setting("text of that push; %s stands for the name in the holder's own book, %% for a per cent sign")
    ] = "Your friend %s joined."
    contact_joined_development: Annotated[
        bool, setting("send it also to subscriptions whose environment is development")
    ] = False
    contact_joined_fcm_notification: Annotated[
        bool, setting("on Android, have the system show it, also while the app is closed; off = the app shows it")
    ] = False
    events: Annotated[Literal["on", "off"], setting("users may send pushes to each other (POST /events)")] = "on"
    push_console: Annotated[
        bool, setting("print pushes on standard output instead of sending them, for development")
    ] = False
    fcm_service_account: Annotated[
        str, setting("Firebase service account for FCM: the JSON of its key file, @FILE", secret=True)
    ] = ""
    apns_key: Annotated[str, setting("APNs authentication key: the .p8 file, @FILE", secret=True)] = ""
    apns_key_id: Annotated[str, setting("the 10 characters that Apple names the key by")] = ""
    apns_team_id: Annotated[str, setting("the 10 characters of your Apple developer team")] = ""
    apns_topic: Annotated[str, setting("bundle id of the iOS app; empty = the one that each subscription names")] = ""
    web_push_contact: Annotated[
        str, setting("mailto: or https: address where push services reach you; Apple's refuses without one")
    ] = ""
    webhook_url: Annotated[
        str, setting("address of your backend that is told when somebody joins whom others know; empty = none")
    ] = ""
    webhook_secret: Annotated[str, setting("key that those requests are signed with", secret=True)] = ""


class App(Struct, frozen=True, kw_only=True):
    """An application: the keys its SDK carries and its settings."""

    id: int
    name: str
    auth_key: str
    auth_secret: str
    hash_key: bytes
    vapid_public_key: str
    settings: AppSettings
    created_at: int
    verified_since: int | None = None

    @property
    def verified_only(self) -> bool:
        """Do only proven numbers count?"""
        wanted = self.settings.require_verified_number
        return wanted == "on" or (wanted == "auto" and self.verified_since is not None)


class Session(Struct, frozen=True, kw_only=True):
    """An opened session; `user_id` is None for the application's own. The token itself is nowhere stored."""

    id: int
    app_id: int
    user_id: int | None
    nonce: int
    ts: int
    created_at: int
    last_used_at: int
    expires_at: int
    guest_until: int | None = None


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, for one request: a user of an application, from an address."""

    app: App
    user_id: int
    is_guest: bool
    address: str


class User(Struct, frozen=True, kw_only=True):
    """An account, with everything its owner may see of it."""

    id: int
    app_id: int
    login: str | None
    email: str | None
    full_name: str | None
    phone: str | None
    external_id: str | None
    external_user_id: int | None
    facebook_id: str | None
    twitter_id: str | None
    website: str | None
    avatar: str | None
    custom_data: str | None
    timezone: int | None
    user_tags: str | None
    is_guest: bool
    created_at: int
    updated_at: int
    last_request_at: int | None


class Reason(Enum):
    """Why an entry of an upload was not taken."""

    FIELDS = "a field is missing, of the wrong kind, or holds what cannot be stored"
    PHONE_LENGTH = "the number has fewer than 10 or more than 15 digits"
    NAME_LENGTH = "the name has no character or more than 255"


class Entry(Struct, frozen=True, gc=False):
    """A line of an upload as the phone wrote it; `name` may be None only to destroy."""

    phone: str
    name: str | None = None
    destroy: bool | None = False


class Contact(Struct, frozen=True, gc=False):
    """A line of a book. `typed` is the spelling where it differs from the digits; `seq` is the place in the book."""

    number: int
    name: str
    typed: str | None
    seq: int


class Report(Struct, frozen=True):
    """What an upload did; `rejected` maps the position of an entry in the upload to the reasons."""

    created: int
    updated: int
    deleted: int
    rejected: dict[int, list[Reason]]


class Registered(Struct, frozen=True):
    """A contact who is a user, with the name from the caller's own book."""

    user: User
    contact_name: str


class Subscription(Struct, frozen=True, kw_only=True):
    """Where a push reaches a device. `token` is the push token, or the endpoint of a Web Push subscription.

    answered_at    when a Web Push endpoint answered for the first time, or again; None = never
    silent_since   when it first gave no answer after that; None = it answers, or was not asked
    """

    id: int
    user_id: int
    device: str
    platform: str
    channel: str
    environment: str
    bundle: str | None
    token: str
    web_auth: str | None = None
    web_p256dh: str | None = None
    answered_at: int | None = None
    silent_since: int | None = None
