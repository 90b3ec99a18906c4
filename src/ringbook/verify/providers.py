"""The providers that verify who a user is: one row each, from which `ringbook check` and the sign-in cards are made.

    PROVIDERS      the rows: Firebase, SMS gateways, the application's own identity provider
    Finding        what a check of a provider found
    check(…)       the findings of every provider that an application uses; no user is looked up, and nothing is sent

To add an SMS gateway, add a row to `GATEWAYS` in sms.py and its name to the choices of the setting `sms_gateway`. To
add another kind of provider, write a file, add a row here, and declare its settings with the row's key as their card.
"""

from collections.abc import Callable, Iterator
from urllib.parse import urljoin

from msgspec import Struct

from ..config import Config
from ..model import App
from ..outbound.requests import Outgoing, Unreachable, silence
from . import Outside, sms


class Finding(Struct, frozen=True):
    """What was checked, whether it is right, and what was found or what to do."""

    what: str
    ok: bool
    text: str


class Provider(Struct, frozen=True, kw_only=True):
    """One kind of provider.

    key          its card in the dashboard; the declarations of its settings name it
    title        the heading of the card
    about        what it is, and what it needs
    enabled_by   the setting of an application that is not empty where the provider is used
    check        its findings for the applications that use it, at least one
    """

    key: str
    title: str
    about: str
    enabled_by: str
    check: Callable[[Config, list[App]], Iterator[Finding]]


def _firebase(config: Config, _apps: list[App]) -> Iterator[Finding]:
    """Can the signatures of Firebase's tokens be verified?"""
    certificates = Outside.of(config).certificates
    if certificates is None:
        text = f"WITHOUT SIGNATURES, by the emulator {config.firebase_auth_emulator_host}"
        yield Finding("Firebase", True, text)
        return
    try:
        yield Finding("Firebase", True, f"{len(certificates.fetched())} certificates from {certificates.url}")
    except Unreachable as error:
        yield Finding("Firebase", False, f"no certificates from {certificates.url}: {error}")


def _sms(config: Config, apps: list[App]) -> Iterator[Finding]:
    """Is each application's gateway set up, and does it answer?"""
    outgoing = Outgoing.of(config)
    for app in apps:
        trouble = sms.trouble(app.settings) or silence(outgoing, sms.address(app.settings))
        found = f"by {app.settings.sms_gateway}, to {app.settings.sms_regions or 'no country'}"
        yield Finding(f"one-time codes of application {app.id}", not trouble, trouble or found)


def _identity_provider(config: Config, apps: list[App]) -> Iterator[Finding]:
    """Does each application's identity provider answer?"""
    outgoing = Outgoing.of(config)
    for app in apps:
        trouble = silence(outgoing, urljoin(app.settings.cidp_url, "/"))
        yield Finding(f"identity provider of application {app.id}", not trouble, trouble or "its server answers")


PROVIDERS = (
    Provider(
        key="firebase",
        title="Firebase",
        about="Sign-in with Firebase's ID tokens: a phone number, or a verified e-mail.",
        enabled_by="firebase_project_id",
        check=_firebase,
    ),
    Provider(
        key="codes",
        title="One-time codes by SMS",
        about="Sign-in with a code that is sent to the user's number.",
        enabled_by="sms_gateway",
        check=_sms,
    ),
    Provider(
        key="provider",
        title="Your own identity provider",
        about="Your server verifies the sign-in; see “Sign-in by phone” in the documentation.",
        enabled_by="cidp_url",
        check=_identity_provider,
    ),
)


def check(config: Config, apps: list[App]) -> Iterator[Finding]:
    """The findings of every provider that an application uses."""
    for provider in PROVIDERS:
        if using := [app for app in apps if getattr(app.settings, provider.enabled_by)]:
            yield from provider.check(config, using)
