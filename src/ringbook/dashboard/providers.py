"""What pushes are sent with: each provider's credentials, which are never shown again, and whether they are taken."""

from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from .. import errors
from ..core import applications
from ..model import App
from ..push import credentials
from .endpoint import ROOT, Call, Route

KEPT = ("webhook_secret",)  # an empty field leaves it as it is
FILES = {"gcm": "fcm_service_account", "apns": "apns_key"}
# By channel, the settings that its form holds; a file's is changed only by a file.
FIELDS = {
    "gcm": ("fcm_service_account",),
    "apns": ("apns_key", "apns_key_id", "apns_team_id", "apns_topic"),
    "web": ("web_push_contact",),
    "webhook": ("webhook_url", "webhook_secret"),
}
NAMES = {"gcm": "FCM", "apns": "APNs", "web": "Web Push", "webhook": "The webhook"}


@dataclass(frozen=True, slots=True)
class State:
    """How a provider stands: a word, its colour, and what is missing or known, in a sentence."""

    word: str
    kind: str
    text: str


def show(call: Call) -> Response:
    """Every provider, with its form."""
    return page(call)


def save(call: Call) -> Response:
    """Keep what the form of one provider holds: all of it, or nothing."""
    channel = channel_of(call)
    try:
        values = {name: text for name in FIELDS[channel] if (text := given(call, channel, name)) is not None}
        applications.change_all(call.db, call.app.id, values, by=call.by)
    except errors.Invalid as refused:
        return page(call, 422, wrong={refused.field: refused.reason.replace(": give it as @FILE", "")})
    return call.redirect(address(call), f"{NAMES[channel]}: saved. Running processes know within 5 seconds.")


def remove(call: Call) -> Response:
    """Forget what a provider was set up with."""
    channel = channel_of(call)
    applications.change_all(call.db, call.app.id, dict.fromkeys(FIELDS[channel], ""), by=call.by)
    return call.redirect(address(call), f"{NAMES[channel]}: removed.")


def check(call: Call) -> Response:
    """Ask the provider whether it takes the credentials; nothing is sent to anybody."""
    channel = channel_of(call)
    app = applications.get(call.db, call.app.id)
    key = applications.vapid_private_key(call.db, app.id)
    trouble = credentials.ask(call.config, app, key, [channel])[channel]
    if app.settings.push_console:
        return call.redirect(address(call), "Pushes are printed, not sent: push_console is on.", kind="bad")
    if trouble:
        return call.redirect(address(call), f"{NAMES[channel]}: {trouble}", kind="bad")
    return call.redirect(address(call), f"{NAMES[channel]}: {credentials.SEEN[channel]}.")


def page(call: Call, status: int = 200, *, wrong: dict[str, str] | None = None) -> Response:
    """The page; after a refusal with what was typed, but for secrets."""
    app = applications.get(call.db, call.app.id)
    kept = {name: getattr(app.settings, name) for names in FIELDS.values() for name in names}
    shown = {name: "" if name in KEPT or name in FILES.values() else value for name, value in kept.items()}
    typed = {name: value for name, value in call.texts().items() if name in shown and name not in KEPT}
    return call.page(
        "providers.html",
        status,
        app=app,
        values=shown | (typed if wrong else {}),
        states={channel: state(channel, app) for channel in FIELDS},
        has={name: bool(value) for name, value in kept.items()},
        errors=wrong or {},
    )


def given(call: Call, channel: str, name: str) -> str | None:
    """What the form says of a setting; None when it leaves it as it is."""
    if name == FILES.get(channel):
        content = call.file(name)
        if content is None:
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise errors.Invalid("is not a text file", field=name) from None
    text = call.text(name).strip()
    return None if name in KEPT and not text else text


def state(channel: str, app: App) -> State:
    """How a provider stands, as far as that is known without asking it."""
    missing = [name for name in credentials.NEEDED[channel] if not getattr(app.settings, name)]
    if channel == "web":
        return State("ready", "ok", "The keys were made with the application." + (CONTACT if missing else ""))
    if not missing:
        return State("set up", "ok", account(app) if channel == "gcm" else "")
    if len(missing) == len(credentials.NEEDED[channel]):
        return State("not set up", "", "")
    return State("incomplete", "warn", f"Still missing: {', '.join(missing)}.")


CONTACT = " Apple's push service refuses pushes without a contact address."


def account(app: App) -> str:
    """Whose service account is kept: the project and its address, which are no secrets."""
    try:
        kept = msgspec.json.decode(app.settings.fcm_service_account, type=dict[str, object])
    except msgspec.DecodeError:
        return ""
    return f"Project {kept.get('project_id')}, {kept.get('client_email')}."


def channel_of(call: Call) -> str:
    """The channel in the path; NotFound."""
    channel = str(call.request.path_params["channel"])
    if channel not in FIELDS:
        raise errors.NotFound("There is no such page.")
    return channel


def address(call: Call) -> str:
    """The page's address."""
    return f"{ROOT}/apps/{call.app.id}/push/providers"


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/push/providers", handler=show),
    Route(method="POST", path="/apps/{app_id}/push/providers/{channel}", handler=save),
    Route(method="POST", path="/apps/{app_id}/push/providers/{channel}/remove", handler=remove),
    Route(method="POST", path="/apps/{app_id}/push/providers/{channel}/check", handler=check, slow=True),
]
