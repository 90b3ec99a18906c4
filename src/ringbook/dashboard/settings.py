"""Users → Settings: who is told that a contact joined, and what else an application's owner decides.

Each card is a form of its own, and saved on its own: CARDS says what is in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from .. import config, errors
from ..core import applications, push_trace, subscriptions, test_push, user_lookup
from ..model import App
from . import forms
from .endpoint import ROOT, Call, Route

JOINED = ("contact_joined_enabled", "contact_joined_template")
JOINED_MORE = ("contact_joined_development", "contact_joined_fcm_notification")
TEST_PUSHES = 3


@dataclass(frozen=True, slots=True)
class Card:
    """Settings that are saved together, in groups; `place` is the page on which the card stands."""

    place: str
    title: str
    text: str
    groups: dict[str, tuple[str, ...]]

    @property
    def keys(self) -> tuple[str, ...]:
        """All of its settings."""
        return tuple(key for keys in self.groups.values() for key in keys)


CARDS = {
    "joined": Card("settings", "New contact joined from address book notifications", "", {"": JOINED + JOINED_MORE}),
    "finding": Card(
        "settings",
        "Finding each other",
        "How numbers are read, and who is shown to whom.",
        {"": ("default_region", "require_verified_number", "profiles")},
    ),
    "sessions": Card(
        "settings",
        "Accounts and sessions",
        "How accounts are made, and what users may do with each other.",
        {"": ("session_creates_user", "users_v1_list", "events", "reassigned_after_days")},
    ),
    "development": Card(
        "settings",
        "Development",
        "For trying without FCM, APNs and a phone.",
        {"": ("push_console",)},
    ),
    "firebase": Card(
        "sign-in",
        "Firebase",
        "Sign-in with Firebase's ID tokens: a phone number, or a verified e-mail.",
        {"": ("firebase_project_id",)},
    ),
    "codes": Card(
        "sign-in",
        "One-time codes by SMS",
        "Sign-in with a code that is sent to the number.",
        {
            "": ("sms_gateway", "sms_regions", "sms_daily_cap", "sms_text"),
            "HTTP gateway": ("sms_gateway_url", "sms_gateway_method", "sms_gateway_headers", "sms_gateway_body"),
            "Twilio": ("sms_twilio_account_sid", "sms_twilio_auth_token", "sms_twilio_from"),
        },
    ),
    "provider": Card(
        "sign-in",
        "Your own identity provider",
        "Your server says who somebody is; see “Sign-in by phone” in the documentation.",
        {"": ("cidp_url", "cidp_request", "cidp_response")},
    ),
}


def address(app: App, place: str) -> str:
    """Where a page of settings is."""
    return f"{ROOT}/apps/{app.id}/users/{place}"


def show(call: Call) -> Response:
    """The page with the seed's card."""
    return _page(call, "settings")


def show_sign_in(call: Call) -> Response:
    """The page of the ways to sign in."""
    return _page(call, "sign-in")


def _page(
    call: Call,
    place: str,
    status: int = 200,
    *,
    card: str = "",
    wrong: Mapping[str, str] | None = None,
    test: str = "",
    test_error: str = "",
) -> Response:
    """The cards of a place; of the one that was not taken over, what was given and what is wrong."""
    here = {name: one for name, one in CARDS.items() if one.place == place}
    shown = {}
    for name, one in here.items():
        given, refused = (call.texts(), wrong) if name == card else (None, None)
        shown[name] = {control.key: control for control in forms.controls(call.app, one.keys, given, refused)}
    groups = {
        name: [(title, [shown[name][key] for key in keys]) for title, keys in one.groups.items()]
        for name, one in here.items()
    }
    values: dict[str, Any] = {"app": call.app, "cards": CARDS, "groups": groups, "place": place}
    values["versions"] = {name: forms.version(call, one.keys) for name, one in here.items()}
    if place == "settings":
        template = str(shown["joined"]["contact_joined_template"].value)
        tested = call.query("test")
        values |= {
            "joined": shown["joined"],
            "finding": shown["finding"],
            "preview": _preview(template),
            "channels": sorted(subscriptions.channels(call.db, call.app.id)),
            "settled": applications.has_settled_region(call.db, call.app.id),
            "limits": _limits(call.config.limits),
            "test": test or tested,
            "test_error": test_error,
            "pushes": _tests(call, tested),
        }
    return call.page(f"{place}.html", status, **values)


def _preview(template: str) -> tuple[str, str]:
    """The text with a sample name, and "" or why there is none."""
    try:
        return test_push.preview(template), ""
    except errors.Invalid as refused:
        return "", refused.reason


def _limits(limits: config.Limits) -> list[tuple[config.Setting, int]]:
    known = config.Limits.__struct_fields__
    return [(one, getattr(limits, one.name)) for one in config.settings() if one.name in known]


def save(call: Call) -> Response:
    """Take a card over."""
    name = call.request.path_params["card"]
    if name not in CARDS:
        raise errors.NotFound("There is no such card.")
    card = CARDS[name]
    if wrong := forms.save(call, card.keys):
        return _page(call, card.place, 422, card=name, wrong=wrong)
    return call.redirect(f"{address(call.app, card.place)}#{name}", f"Saved: {card.title}.")


def preview(call: Call) -> Response:
    """What the template under the admin's fingers will say."""
    return call.part("_preview.html", preview=_preview(call.text("contact_joined_template")))


def send_test(call: Call) -> Response:
    """Send the joined push, with a sample name, to one user's devices."""
    text = call.text("test").strip()
    try:
        user = user_lookup.one_user(call.db, call.app, text)
        count = test_push.send(call.db, call.app, user.id, call.by)
    except (errors.Invalid, errors.NotFound, errors.Unreached) as refused:
        return _page(call, "settings", 422, test=text, test_error=refused.reason)
    devices = "1 device" if count == 1 else f"{count} devices"
    said = f"A test is on its way to {devices} of user {user.id}."
    return call.redirect(f"{address(call.app, 'settings')}?test={user.id}#test", said)


def test_result(call: Call) -> Response:
    """What has become of the latest test."""
    return call.part("_test.html", app=call.app, pushes=_tests(call, call.query("test")))


def _tests(call: Call, user_id: str) -> list[push_trace.Push]:
    if not (user_id.isascii() and user_id.isdigit() and len(user_id) < 11):
        return []
    try:
        user = push_trace.of_user(call.db, int(user_id), call.now, TEST_PUSHES * 3)
    except errors.NotFound:
        return []
    mine = user.application_id == call.app.id
    return [one for one in user.pushes if mine and one.kind == "test"][:TEST_PUSHES]


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/users/settings", handler=show),
    Route(method="GET", path="/apps/{app_id}/users/sign-in", handler=show_sign_in),
    Route(method="POST", path="/apps/{app_id}/users/settings/preview", handler=preview),
    Route(method="POST", path="/apps/{app_id}/users/settings/test", handler=send_test),
    Route(method="GET", path="/apps/{app_id}/users/settings/test", handler=test_result, live=True),
    Route(method="POST", path="/apps/{app_id}/users/settings/{card}", handler=save),
]
