"""The pages Users → Settings and Users → Sign-in: the settings of an application, and the test of the joined push.

Each card is a form of its own and is saved on its own. CARDS lists the cards.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from .. import errors
from .. import preferences as fields
from ..app_settings import SETTINGS
from ..core import applications, push_trace, subscriptions, test_push, user_lookup
from ..model import App
from ..verify import providers
from . import forms, languages
from .endpoint import ROOT, Call, Route, Who
from .refusals import NONE

TEST = "test"  # the form of the test push, which is no card
TEST_PUSHES = 3
JOINED = "joined"  # the card with a panel for each language
JOINED_GROUPS = [
    ("Unless the user has chosen", ("announce", "discoverable", "digest", "quiet")),
    ("For all users", ("choice", "delay_seconds", "list_days")),
    ("Devices", ("development", "fcm_notification")),
]


@dataclass(frozen=True, slots=True)
class Card:
    """A card: a form whose settings are saved together. The declaration of a setting names its card and its group."""

    place: str  # the page: settings or sign-in
    title: str
    text: str


CARDS = {
    "joined": Card("settings", "New contact joined from address book notifications", ""),
    "finding": Card(
        "settings",
        "Discovery",
        "How phone numbers are read, and which users see each other.",
    ),
    "sessions": Card(
        "settings",
        "Accounts and sessions",
        "How accounts are created, and what users may do with each other.",
    ),
    "development": Card("settings", "Development", "For development without FCM, APNs and a phone."),
    **{provider.key: Card("sign-in", provider.title, provider.about) for provider in providers.PROVIDERS},
}


def keys_of(card: str) -> list[str]:
    """The settings of a card."""
    return [key for key, declared in SETTINGS.items() if declared.card == card]


def _groups(controls: list[forms.Control]) -> list[tuple[str, list[forms.Control]]]:
    """The form fields of a card by group. Fields without a group come first."""
    groups: dict[str, list[forms.Control]] = {"": []}
    for control in controls:
        groups.setdefault(SETTINGS[control.key].group, []).append(control)
    return list(groups.items())


def address(app: App, place: str) -> str:
    """The address of a page of settings."""
    return f"{ROOT}/apps/{app.id}/users/{place}"


def show(call: Call) -> Response:
    """The page of the settings for joined pushes, discovery, accounts and development."""
    return _page(call, "settings")


def show_sign_in(call: Call) -> Response:
    """The page of the sign-in methods."""
    return _page(call, "sign-in")


def _page(call: Call, place: str) -> Response:
    """The page with its cards. The card that was refused shows what was entered, and the errors."""
    cards = {name: one for name, one in CARDS.items() if one.place == place}
    shown = {name: _controls(call, name) for name in cards}
    values: dict[str, Any] = {"app": call.app, "cards": cards, "place": place}
    values["groups"] = {name: _groups(controls) for name, controls in shown.items()}
    values["versions"] = {name: forms.version(call, keys_of(name)) for name in cards}
    if place == "settings":
        by_key = {name: {control.key: control for control in controls} for name, controls in shown.items()}
        own, template, texts = (
            str(by_key[JOINED][key].value) for key in (languages.LANGUAGE, languages.TEMPLATE, languages.TEXTS)
        )
        tested, test = call.query("test"), call.refused if call.refused.form == TEST else NONE
        values |= {
            "joined": by_key["joined"],
            "finding": by_key["finding"],
            "panels": languages.panels(own or call.app.settings.contact_joined_language, template, texts),
            "opened": _opened(call),
            "joined_groups": JOINED_GROUPS,
            "joined_language": call.refused.typed.get("language", "") if call.refused.form == JOINED else "",
            "joined_language_error": call.refused.wrong.get("language", "") if call.refused.form == JOINED else "",
            "channels": sorted(subscriptions.channels(call.db, call.app.id)),
            "settled": applications.has_settled_region(call.db, call.app.id),
            "test": test.typed.get("test", tested),
            "test_error": test.wrong.get("test", ""),
            "pushes": _tests(call, tested),
        }
    return call.page(f"{place}.html", **values)


def _controls(call: Call, card: str) -> list[forms.Control]:
    if call.refused.form != card:
        return forms.controls(call.app, keys_of(card))
    return forms.controls(call.app, keys_of(card), call.refused.typed, call.refused.wrong)


def _opened(call: Call) -> str:
    """The language whose panel is open: that of a refusal or of a new language; "" for the first."""
    reason = call.refused.wrong.get(languages.TEXTS, "") if call.refused.form == JOINED else ""
    return reason.partition(":")[0]


def save(call: Call) -> Response:
    """Save the settings of a card, all or none."""
    name = call.request.path_params["card"]
    if name not in CARDS:
        raise errors.NotFound("There is no such card.")
    card = CARDS[name]
    page, keys = f"{address(call.app, card.place)}#{name}", keys_of(name)
    written = _written(call) if name == JOINED else {}
    wrong = _unsaved(call, written) or forms.save(call, keys, written)
    if wrong:
        return call.refuse(page, wrong, form=name, typed=[*forms.shown_again(keys), "language"], instead=written)
    return call.redirect(page, f"Saved: {card.title}.")


def _written(call: Call) -> dict[str, str]:
    """The setting that the fields of all languages stand for."""
    settings = call.app.settings
    form = call.texts()
    form[languages.TEXTS] = form.get(languages.TEXTS) or settings.contact_joined_templates
    return {languages.TEXTS: languages.written(form, settings.contact_joined_language)}


def _unsaved(call: Call, written: dict[str, str]) -> dict[str, str]:
    """After a button that adds or removes a language: changes `written`, and says what is still to do.

    Nothing is saved then, so that what was typed in other fields is still there. A language that is typed is also added
    with the button that saves: its texts are still missing.
    """
    language = call.text("language").strip().replace("_", "-")
    if not written or not (call.text("remove") or call.text("add") or language):
        return {}
    if gone := call.text("remove"):
        written[languages.TEXTS] = languages.removed(written[languages.TEXTS], gone)
        return {languages.TEXTS: f"{gone} is removed when you save."}
    try:
        code = fields.locale(language, "language")
    except errors.Invalid as refused:
        return {"language": refused.reason}
    more = languages.added(written[languages.TEXTS], code)
    is_there = more == written[languages.TEXTS] or code.lower() == call.app.settings.contact_joined_language.lower()
    if is_there and not call.text("add"):
        return {}
    written[languages.TEXTS] = more
    return {languages.TEXTS: f"{code}: enter the texts, and save."}


def preview(call: Call) -> Response:
    """The preview of the texts of one language, while the admin types them."""
    found = languages.panel(call.texts(), call.query("language"))
    if not found:
        raise errors.NotFound("There is no such language.")
    return call.part("_preview.html", preview=found.preview)


def send_test(call: Call) -> Response:
    """Send a test push to all devices of one user."""
    page = address(call.app, "settings")
    try:
        user = user_lookup.one_user(call.db, call.app, call.text("test").strip())
        count = test_push.send(call.db, call.app, user.id, call.by)
    except (errors.Invalid, errors.NotFound, errors.Unreached) as refused:
        return call.refuse(f"{page}#test", {"test": refused.reason}, form=TEST, typed=("test",))
    devices = "1 device" if count == 1 else f"{count} devices"
    message = f"A test push was queued for {devices} of user {user.id}."
    return call.redirect(f"{page}?test={user.id}#test", message)


def test_result(call: Call) -> Response:
    """The outcomes of the latest test pushes, which are reloaded while they are open."""
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
    Route(method="POST", path="/apps/{app_id}/users/settings/preview", handler=preview, repeats=True),
    Route(method="POST", path="/apps/{app_id}/users/settings/test", handler=send_test, who=Who.OWNER),
    Route(method="GET", path="/apps/{app_id}/users/settings/test/result", handler=test_result, live=True),
    Route(method="POST", path="/apps/{app_id}/users/settings/{card}", handler=save, who=Who.OWNER),
]
