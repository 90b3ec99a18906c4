"""The page of push providers: each one's credentials, which are never shown again, and a check of them.

The cards are made from the rows of `push/providers.py`.
"""

from dataclasses import dataclass

from starlette.responses import Response

from .. import errors
from ..app_settings import SETTINGS, Setting
from ..core import applications
from ..model import App
from ..push import credentials, providers
from ..push.providers import Provider
from . import forms
from .endpoint import ROOT, Call, Route, Who


@dataclass(frozen=True, slots=True)
class State:
    """The state of a provider: a word, its colour, and a sentence about what is missing or known."""

    word: str
    kind: str
    text: str


def show(call: Call) -> Response:
    """Every provider, with its form. After a refusal the form shows what was entered, except secrets."""
    app = applications.get(call.db, call.app.id)
    cards = {provider.key: fields(provider) for provider in providers.PROVIDERS}
    stored = {one.key: getattr(app.settings, one.key) for card in cards.values() for one in card}
    shown = {key: "" if SETTINGS[key].secret else value for key, value in stored.items()}
    return call.page(
        "providers.html",
        app=app,
        providers=providers.PROVIDERS,
        fields=cards,
        sentence=forms.sentence,
        values=shown | call.refused.typed,
        states={provider.key: state(provider, app) for provider in providers.PROVIDERS},
        has={key: bool(value) for key, value in stored.items()},
        errors=call.refused.wrong,
    )


def save(call: Call) -> Response:
    """Store the settings in the form of one provider, all or none."""
    provider = provider_of(call)
    try:
        values = {one.key: text for one in fields(provider) if (text := entered(call, one)) is not None}
        applications.change_all(call.db, call.app.id, values, by=call.by)
    except errors.Invalid as refused:
        typed = forms.shown_again(list(provider.settings))
        return call.refuse(f"{address(call)}#{provider.key}", {refused.field: refused.reason}, typed=typed)
    return call.redirect(address(call), f"{provider.name}: saved. Running processes know within 5 seconds.")


def remove(call: Call) -> Response:
    """Empty the settings of one provider."""
    provider = provider_of(call)
    applications.change_all(call.db, call.app.id, dict.fromkeys(provider.settings, ""), by=call.by)
    return call.redirect(address(call), f"{provider.name}: removed.")


def check(call: Call) -> Response:
    """Check the credentials with the provider; no push is sent."""
    provider = provider_of(call)
    app = applications.get(call.db, call.app.id)
    if app.settings.push_console:
        return call.redirect(address(call), "Pushes are printed, not sent: push_console is on.", kind="bad")
    key = applications.vapid_private_key(call.db, app.id)
    trouble = credentials.check(call.config, app, key, [provider])[provider.key]
    if trouble:
        return call.redirect(address(call), f"{provider.name}: {trouble}", kind="bad")
    return call.redirect(address(call), f"{provider.name}: {provider.correct}.")


def fields(provider: Provider) -> list[Setting]:
    """The declarations of a provider's settings, in the order of its form."""
    return [SETTINGS[key] for key in provider.settings]


def entered(call: Call, field: Setting) -> str | None:
    """The value of a setting in the form; None when the setting is not to change."""
    if field.file:
        content = call.file(field.key)
        if content is None:
            return None
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise errors.Invalid("is not a text file", field=field.key) from None
    text = call.text(field.key).strip()
    return None if field.secret and not text else text


def state(provider: Provider, app: App) -> State:
    """The state of a provider, by the application's settings alone."""
    missing = provider.missing(app.settings)
    if provider.own_keys:
        return State("ready", "ok", provider.summary(app.settings))
    if not missing:
        return State("set up", "ok", provider.summary(app.settings))
    if len(missing) == len(provider.needed):
        return State("not set up", "", "")
    return State("incomplete", "warn", f"Still missing: {', '.join(missing)}.")


def provider_of(call: Call) -> Provider:
    """The provider in the path; NotFound."""
    return providers.get(str(call.request.path_params["provider"]))


def address(call: Call) -> str:
    """The address of the page."""
    return f"{ROOT}/apps/{call.app.id}/push/providers"


ROUTES = [
    Route(method="GET", path="/apps/{app_id}/push/providers", handler=show),
    Route(method="POST", path="/apps/{app_id}/push/providers/{provider}", handler=save, who=Who.OWNER),
    Route(method="POST", path="/apps/{app_id}/push/providers/{provider}/remove", handler=remove, who=Who.OWNER),
    Route(
        method="POST", path="/apps/{app_id}/push/providers/{provider}/check", handler=check, who=Who.OWNER, slow=True
    ),
]
