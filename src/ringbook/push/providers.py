"""The push providers: one row each, and everything else that names them is made from the rows.

    PROVIDERS                  the rows
    get(key)                   a row by its key; NotFound
    of_channel(channel)        the row that serves a channel, or None
    channel(name)              what is special about a channel
    channels()                 the names of all channels
    ringing()                  the names of those whose pushes must ring
    own_formats()              the names of those to which an event can be sent alone
    device_channels()          the channels that devices subscribe to, with the check of their push tokens
    sender(channel, app, …)    what sends the messages of an application through a channel; NotSetUp
    table()                    the table of docs/how-to/push.md, which `make docs` writes

To add a provider, write a file with `sender(app, context)`, add a row here, and declare its settings. The API, its
description, `ringbook check`, the dashboard's page of providers and the documentation follow from the row. A sender's
file is imported when it is first needed: each imports its provider's libraries, and most servers need one or two.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

import msgspec
from msgspec import Struct

from .. import errors
from ..app_settings import AppSettings
from ..model import App
from . import tokens
from .transport import NotSetUp, Sender, SenderContext

CONSOLE = ".console"


class Channel(Struct, frozen=True, kw_only=True):
    """What is special about one channel of a provider.

    check                the check of push tokens; None: no device subscribes to it
    rings_instead_of     each of its pushes must ring, so it gets only events that ring, and then this other channel of
                         the same user gets none; "" for an ordinary channel
    names_own_host       the push token is a URL, so a subscriber decides which host gets the requests
    own_notification     the provider can show a notification by itself while the app is closed
    own_format           users may send an event to this channel only, also in its own format (docs/wire.md §6.1)
    """

    check: tokens.Check | None = None
    rings_instead_of: str = ""
    names_own_host: bool = False
    own_notification: bool = False
    own_format: bool = False


UNKNOWN = Channel()  # of a subscription that another version of Ringbook has stored


class Provider(Struct, frozen=True, kw_only=True):
    """One provider of pushes.

    key           its name in addresses of the dashboard and in `ringbook check`
    name, title   its name in sentences, and the heading of its card
    about         what it is, and where its credentials come from
    module        the module with `sender(app, context)`, relative to this package
    channels      the channels that it serves, by name
    needed        the settings without which nothing can be sent
    settings      all of its settings, in the order of its card; their declarations say how each is shown
    check_help    what "Check now" does
    correct       what a check says when nothing is wrong
    removal       what follows from removing the settings
    own_keys      it works without settings, with keys that Ringbook made for the application
    public_keys   attributes of `App` that its card shows for copying: id, label, attribute
    summary       what its card says about an application that is set up, for example which account is used
    """

    key: str
    name: str
    title: str
    about: str
    module: str
    channels: dict[str, Channel]
    needed: tuple[str, ...]
    settings: tuple[str, ...]
    check_help: str
    correct: str
    removal: str = "Pushes through it are parked from then on."
    own_keys: bool = False
    public_keys: tuple[tuple[str, str, str], ...] = ()
    summary: Callable[[AppSettings], str] = lambda _settings: ""

    def missing(self, settings: AppSettings) -> list[str]:
        """The needed settings that are empty."""
        return [key for key in self.needed if not getattr(settings, key)]


def _service_account(settings: AppSettings) -> str:
    """The project and the address of a service account, which are not secret."""
    try:
        account = msgspec.json.decode(settings.fcm_service_account, type=dict[str, Any])
    except msgspec.DecodeError:
        return ""
    return f"Project {account.get('project_id')}, {account.get('client_email')}."


def _web_keys(settings: AppSettings) -> str:
    made = "The keys were made with the application."
    return (
        made if settings.web_push_contact else f"{made} Apple's push service refuses pushes without a contact address."
    )


FCM = Provider(
    key="gcm",
    name="FCM",
    title="FCM: Android",
    about="Firebase Cloud Messaging. In the Firebase console: Project settings, Service accounts,"
    " Generate new private key.",
    module=".fcm",
    channels={"gcm": Channel(check=tokens.matching(r"[\x21-\x7e]{10,4096}"), own_notification=True, own_format=True)},
    needed=("fcm_service_account",),
    settings=("fcm_service_account",),
    check_help="Sends FCM a dry run; no device receives anything.",
    correct="FCM takes fcm_service_account",
    summary=_service_account,
)
# APNs device tokens are hex of variable length, never to be assumed 32 bytes (Apple, "Registering your app with APNs").
APNS_TOKEN = tokens.matching(r"[0-9A-Fa-f]{32,400}")
APNS = Provider(
    key="apns",
    name="APNs",
    title="APNs: iOS",
    about="Apple Push Notification service, also for VoIP. In the Apple developer account: Certificates, Identifiers &"
    " Profiles, Keys.",
    module=".apns",
    channels={
        "apns": Channel(check=APNS_TOKEN, own_format=True),
        # Apple, "Responding to VoIP Notifications from PushKit": each must ring.
        "apns_voip": Channel(check=APNS_TOKEN, rings_instead_of="apns", own_format=True),
    },
    needed=("apns_key", "apns_key_id", "apns_team_id"),
    settings=("apns_key", "apns_key_id", "apns_team_id", "apns_topic"),
    check_help="Signs with the key. Apple itself checks the key only when the first push is sent.",
    correct="apns_key can sign; Apple checks it with the first push",
)
WEB = Provider(
    key="web",
    name="Web Push",
    title="Web Push: browsers",
    about="The public key goes into your web app, as `applicationServerKey`.",
    module=".webpush",
    channels={"web": Channel(check=tokens.browser, names_own_host=True)},
    needed=("web_push_contact",),
    settings=("web_push_contact",),
    check_help="Checks that the private key belongs to the public key; nothing is sent.",
    correct="the application's keys go together",
    own_keys=True,
    public_keys=(("vapid", "VAPID public key", "vapid_public_key"),),
    summary=_web_keys,
)
WEBHOOK = Provider(
    key="webhook",
    name="The webhook",
    title="Webhook: your backend",
    about="One signed request for each person who joins and whom somebody knows. Its body holds no name and no number.",
    module=".webhook",
    channels={"webhook": Channel()},
    needed=("webhook_url", "webhook_secret"),
    settings=("webhook_url", "webhook_secret"),
    check_help="Connects to the server of the address; no event is sent.",
    correct="its server answers, and the key is set; nothing is sent",
    removal="Your backend is no longer told who joins.",
)
PROVIDERS = (FCM, APNS, WEB, WEBHOOK)
WEBHOOK_CHANNEL = next(iter(WEBHOOK.channels))  # whose requests go to the application's own backend


def get(key: str) -> Provider:
    """The provider with this key; NotFound."""
    for provider in PROVIDERS:
        if provider.key == key:
            return provider
    raise errors.NotFound("There is no such page.")


def of_channel(name: str) -> Provider | None:
    """The provider that serves a channel; None when there is none."""
    return next((provider for provider in PROVIDERS if name in provider.channels), None)


@lru_cache(maxsize=100)
def channel(name: str) -> Channel:
    """What is special about the channel with this name; `UNKNOWN` for a name that no provider has."""
    provider = of_channel(name)
    return provider.channels[name] if provider else UNKNOWN


def channels() -> list[str]:
    """The names of all channels."""
    return sorted(name for provider in PROVIDERS for name in provider.channels)


def ringing() -> list[str]:
    """The names of the channels whose pushes must ring."""
    return [name for name in channels() if channel(name).rings_instead_of]


def own_formats() -> list[str]:
    """The names of the channels to which an event can be sent alone."""
    return sorted(name for name in channels() if channel(name).own_format)


def device_channels() -> dict[str, tokens.Check]:
    """The channels that devices subscribe to, by name, with the check of their push tokens."""
    checks = {name: channel(name).check for name in channels()}
    return {name: check for name, check in checks.items() if check}


def sender(channel: str, app: App, context: SenderContext) -> Sender:
    """What sends the messages of an application through a channel; NotSetUp says which setting is missing."""
    provider = of_channel(channel)
    if not provider:
        raise NotSetUp(f"this version of Ringbook has no channel {channel}")
    module = CONSOLE if app.settings.push_console else provider.module
    return cast(Sender, import_module(module, __package__).sender(app, context))


def table() -> list[str]:
    """The rows of the documentation's table of providers, in Markdown."""
    return [_row(provider) for provider in PROVIDERS]


def _row(provider: Provider) -> str:
    names = ", ".join(f"`{channel}`" for channel in provider.channels)
    keys = ", ".join(f"`{key}`" for key in provider.settings)
    return f"| {provider.title} | {names} | {keys} | {provider.check_help} |"
