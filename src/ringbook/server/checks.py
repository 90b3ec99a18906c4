"""Is everything there that serving needs? Each answer names what it looked at and, when it is wrong, what to do.

readiness(config, …)    every Check, for `ringbook check`
missing(config)         why there is no database to speak of; "" when there is one
"""

import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urljoin

from .. import errors, phone
from ..config import Config
from ..core import applications, erasures, subscriptions
from ..model import App
from ..outbound.requests import Outgoing, Unreachable, silence
from ..push import credentials, providers
from ..push.providers import Provider
from ..store import db as databases
from ..store import migrations
from ..verify import Outside, sms
from . import machine
from .machine import Check


def readiness(config: Config, secrets: Iterable[Path] = ()) -> Iterator[Check]:
    """Look at everything, one after the other; a database that is not there ends the questions about it.

    secrets   files that settings were read from
    """
    yield Check("Python", sys.version_info >= (3, 11), f"{platform.python_version()} (3.11 or newer)")
    yield Check("phone numbers", True, phone.library())
    yield from machine.files(config, secrets)
    yield machine.proxies(config)
    yield from _database(config)


def missing(config: Config) -> str:
    """Why there is no database to speak of; "" when there is one."""
    if gone := databases.lost(config.database, config.erasures_folder):
        return gone
    if not databases.is_sqlite(config.database) or databases.sqlite_file(config.database).exists():
        return ""
    file = databases.sqlite_file(config.database).absolute()
    return (
        f"there is no database {file}: `ringbook serve` and `ringbook migrate` make one (RINGBOOK_DATABASE says where)"
    )


def _database(config: Config) -> Iterator[Check]:
    if absent := missing(config):
        yield Check("database", False, absent)
        return
    db = databases.connect(config.database, pool=1, erasures=config.erasures_folder)
    try:
        product, trouble = db.version()
        yield Check("database", not trouble, trouble or product)
        state = migrations.state(db)
        yield Check("schema", state.current, state.trouble or f"revision {state.revision}")
        if state.current:
            yield from machine.database(config, db)
            yield _journal(db)
            yield from _traces(db)
            apps = applications.all_(db)
            yield from _firebase(config, apps)
            yield from _gateways(config, apps)
            yield from _providers(config, apps)
            yield from _pushes(db, config, apps)
    except errors.Unavailable as refused:
        yield Check("database", False, refused.explained())
    finally:
        db.close()


def _journal(db: databases.Database) -> Check:
    """Will a restored backup bring back who was erased since?"""
    trouble = erasures.trouble(db)
    if not db.erasures:
        unset = "none is kept, so a restored backup brings back who was erased since: set RINGBOOK_ERASURES_FOLDER"
        return Check("journal of erasures", True, unset)
    return Check("journal of erasures", not trouble, trouble or str(db.erasures))


def _traces(db: databases.Database) -> Iterator[Check]:
    """A large file is not rewritten by itself."""
    if erased := erasures.traces(db):
        yield Check(
            "erased users", True, f"{erased} since the file was last rewritten: `ringbook vacuum`, when few are there"
        )


def _firebase(config: Config, apps: list[App]) -> Iterator[Check]:
    """Can Firebase's tokens be verified? Asked only where an application believes them."""
    if not any(app.settings.firebase_project_id for app in apps):
        return
    certificates = Outside.of(config).certificates
    if certificates is None:
        yield Check("Firebase", True, f"WITHOUT SIGNATURES, by the emulator {config.firebase_auth_emulator_host}")
        return
    try:
        yield Check("Firebase", True, f"{len(certificates.fetched())} certificates from {certificates.url}")
    except Unreachable as trouble:
        yield Check("Firebase", False, f"no certificates from {certificates.url}: {trouble}")


def _gateways(config: Config, apps: list[App]) -> Iterator[Check]:
    """Who sends each application's one-time codes; nothing is sent to find out."""
    outgoing = Outgoing.of(config)
    for app in apps:
        if app.settings.sms_gateway:
            trouble = sms.trouble(app.settings) or silence(outgoing, sms.address(app.settings))
            seen = f"by {app.settings.sms_gateway}, to {app.settings.sms_regions or 'no country'}"
            yield Check(f"one-time codes of application {app.id}", not trouble, trouble or seen)


def _providers(config: Config, apps: list[App]) -> Iterator[Check]:
    """Does each application's identity provider answer? Nobody's log-in is sent to find out."""
    outgoing = Outgoing.of(config)
    for app in apps:
        if app.settings.cidp_url:
            trouble = silence(outgoing, urljoin(app.settings.cidp_url, "/"))
            yield Check(f"identity provider of application {app.id}", not trouble, trouble or "its server answers")


# ── pushes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

NO_PROVIDER = (
    "contact_joined_enabled is on, but there is nothing to tell people through: for Android set fcm_service_account"
    " (ringbook app set {id} fcm_service_account @FILE.json), for iOS apns_key, apns_key_id and apns_team_id;"
    " for browsers nothing is to be set"
)


def _pushes(db: databases.Database, config: Config, apps: list[App]) -> Iterator[Check]:
    """What providers say to each application's credentials, for the channels set up or subscribed to."""
    if config.ca_file and machine.authorities_trouble(config.ca_file):  # which was told already
        return
    for app in apps:
        what = f"pushes of application {app.id}"
        used = _used_providers(db, app)
        if app.settings.push_console and (used or app.settings.contact_joined_enabled):
            yield Check(what, True, "printed, not sent: push_console is on")
        elif used:
            key = applications.vapid_private_key(db, app.id)
            found = credentials.check(config, app, key, used)
            for provider in used:
                trouble = found[provider.key]
                yield Check(f"{provider.key} {what}", not trouble, trouble or provider.correct)
        elif app.settings.contact_joined_enabled:
            yield Check(what, False, NO_PROVIDER.format(id=app.id))


def _used_providers(db: databases.Database, app: App) -> list[Provider]:
    """The providers that are set up, wholly or in part, or whose channels have subscriptions."""
    subscribed = subscriptions.channels(db, app.id)
    return [
        provider
        for provider in providers.PROVIDERS
        if subscribed & provider.channels.keys() or len(provider.missing(app.settings)) < len(provider.needed)
    ]
