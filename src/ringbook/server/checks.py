"""The checks of `ringbook check`. Each result names what was checked and, if it is wrong, what to do.

readiness(config, …)    every Check, for `ringbook check`
missing(config)         why there is no database; "" when there is one
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import errors, phone
from ..config import Config
from ..core import applications, erasures, subscriptions
from ..model import App
from ..outbound import mail_check
from ..push import credentials, providers
from ..push.providers import Provider
from ..store import cluster, keys, migrations, row_macs
from ..store import db as databases
from ..verify import providers as verifying
from . import machine, opening
from .machine import Check


def readiness(config: Config, secrets: Iterable[Path] = ()) -> Iterator[Check]:
    """Run every check in turn. Without a database, the checks of its content are skipped.

    secrets   files that settings were read from
    """
    yield Check("Python", sys.version_info >= (3, 11), machine.python(sys.version_info[:3]))
    yield Check("phone numbers", True, phone.library())
    yield from machine.files(config, secrets)
    yield machine.proxies(config)
    yield from _mail(config)
    yield from _database(config)


def _mail(config: Config) -> Iterator[Check]:
    """Does the SMTP server accept the log-in and the sender? No mail is sent."""
    if not config.smtp_host or (config.ca_file and machine.authorities_trouble(config.ca_file)):
        return
    trouble = mail_check.trouble(config)
    user = f"the log-in of {config.smtp_user} and " if config.smtp_user else ""
    where = f"{config.smtp_host}:{config.smtp_port}"
    yield Check("mail", not trouble, trouble or f"{where} accepts {user}the sender {config.smtp_from}")


def missing(config: Config) -> str:
    """Why there is no database; "" when there is one."""
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
    db = databases.connect(config.database, pool=1, erasures=config.erasures_folder, seconds=config.database_seconds)
    try:
        product, trouble = db.version()
        yield Check("database", not trouble, trouble or product)
        state = migrations.state(db)
        yield Check("schema", state.current, state.trouble or f"revision {state.revision}")
        if state.current:
            yield from _cluster(db)
            yield from machine.database(config, db)
            yield (key := _key(config, db))
            if not key.ok:  # nothing that is sealed can be checked
                return
            yield from _key_apart(config)
            yield _rows(db)
            yield _journal(db)
            yield from _traces(db)
            apps = applications.all_(db)
            for found in verifying.check(config, apps):
                yield Check(found.what, found.ok, found.text)
            yield from _pushes(db, config, apps)
    except errors.Unavailable as refused:
        yield Check("database", False, refused.explained())
    finally:
        db.close()


def _cluster(db: databases.Database) -> Iterator[Check]:
    """Does every node answer, and does every table of a cluster lie in its place?"""
    if nodes := db.nodes():
        trouble = nodes.trouble or cluster.trouble(db)
        yield Check(
            "cluster", not trouble, trouble or f"{len(nodes.names)} nodes answer, every table lies in its place"
        )


KEY_APART = "keep a copy apart from the database and its backups"
KEY_BESIDE = (
    "{file} lies in one folder with {other}: whoever gets a copy of the folder can read everything, so keep the key in"
    " another place"
)


WRITTEN_BY_OTHERS = (
    "somebody else has write access to the database: change its password, and look for what else was changed"
)


def _key(config: Config, db: databases.Database) -> Check:
    """Does the key fit the database? If so, the database can seal and open with it."""
    try:
        key = keys.read(db, config.database, config.key_file)
        opening.unlock(db, key)
    except errors.Unavailable as refused:
        return Check("key", False, refused.explained())
    return Check("key", True, f"{key.fingerprint}, which the database is sealed with, is in {key.file}: {KEY_APART}")


def _key_apart(config: Config) -> Iterator[Check]:
    """Report a key file in the folder of a PostgreSQL server's data or of a dump, with which it would be stolen."""
    file = keys.file_of(config.database, config.key_file)
    if file and not databases.is_sqlite(config.database):
        yield from machine.private("key file", file)
        if other := machine.database_in(file.resolve().parent):
            yield Check("key apart", False, KEY_BESIDE.format(file=file, other=other))


def _rows(db: databases.Database) -> Check:
    """Was every row that opens something written with the key?"""
    with db.read() as tx:
        wrong = row_macs.wrong(tx)
    what = "rows that open something"
    if not wrong:
        return Check(what, True, "each password, session, admin, invitation and link was written with the key")
    counts = ", ".join(f"{table}: {count}" for table, count in wrong.items())
    return Check(what, False, f"written without the key, so that they are refused ({counts}): {WRITTEN_BY_OTHERS}")


def _journal(db: databases.Database) -> Check:
    """Does the journal keep a restored backup from bringing erased users back?"""
    trouble = erasures.trouble(db)
    if not db.erasures:
        unset = "none is kept, so a restored backup brings back who was erased since: set RINGBOOK_ERASURES_FOLDER"
        return Check("journal of erasures", True, unset)
    return Check("journal of erasures", not trouble, trouble or str(db.erasures))


def _traces(db: databases.Database) -> Iterator[Check]:
    """Large files are not rewritten automatically: report erased users whose data may still be in the file."""
    if erased := erasures.traces(db):
        yield Check(
            "erased users", True, f"{erased} since the file was last rewritten: `ringbook vacuum`, when few are there"
        )


# ── pushes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

NO_PROVIDER = (
    "contact_joined_enabled is on, but there is nothing to tell people through: for Android set fcm_service_account"
    " (ringbook app set {id} fcm_service_account @FILE.json), for iOS apns_key, apns_key_id and apns_team_id;"
    " for browsers nothing is to be set"
)


def _pushes(db: databases.Database, config: Config, apps: list[App]) -> Iterator[Check]:
    """Do the push providers accept each application's credentials? Checked for the channels in use or set up."""
    if config.ca_file and machine.authorities_trouble(config.ca_file):  # reported already
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
