"""The texts of joined pushes, composed when a push is claimed, so that nothing readable waits in the queue.

    words(template, name)               the text of a push
    own(app)                            the application's texts
    payload(app, channel, text, about)  the payload for a channel; also of a test push
    is_joined(row)                      is a push a joined push, or a digest of them?
    application(db, tx, app_id)         the application of a push
    compose(db, tx, rows, locales)      the payloads of claimed or waiting pushes

The names are those that the recipient's own address book has at this moment, and the templates are those of today, in
the recipient's language. A digest tells of all who joined in its 24 hours, in the order of the recipient's list; those
whose contact is gone, who have lost the number, or who do not want the recipient to be told by now, are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import errors, push_texts
from ..model import App
from ..push import providers
from ..store import joined as store
from ..store import proofs
from ..store.db import Database, Row, Tx
from . import applications, withholding

TYPE, TYPE_OF_DIGEST = "contact_joined", "contact_joined_digest"
MOST_USER_IDS = 50  # in a digest, which must fit into 4 KiB
Items = dict[tuple[int, int], list[tuple[int, int]]]  # by recipient and digest: keyed number and user who has joined


def words(template: str, name: str) -> str:
    """The template with the name in place of `%s`, and a per cent sign in place of `%%`.

    The pieces between `%%` are replaced one by one, so that a name that contains such signs stays as it is.
    """
    return "%".join(piece.replace("%s", name) for piece in template.split("%%"))


def own(app: App) -> push_texts.Own:
    """The application's texts."""
    settings = app.settings
    return push_texts.Own(
        settings.contact_joined_language, settings.contact_joined_template, settings.contact_joined_templates
    )


def payload(app: App, channel: str, text: str, about: int, **more: Any) -> dict[str, Any]:
    """The payload of a joined push.

    about   the user who has joined
    more    keys that are added
    """
    return _for(app, channel, {"message": text, "user_id": about, "type": TYPE, **more})


def _for(app: App, channel: str, payload: dict[str, Any]) -> dict[str, Any]:
    if app.settings.contact_joined_fcm_notification and providers.channel(channel).own_notification:
        payload["android_fcm_notification"] = {"body": payload["message"]}
    return payload


def is_joined(row: Row) -> bool:
    """Is this a joined push, or a digest of them? Its text is composed, and the recipient's preferences hold for it."""
    return row["number"] is not None or row["digest"] is not None


def compose(db: Database, tx: Tx, rows: Sequence[Row], locales: Mapping[int, str]) -> dict[int, dict[str, Any] | None]:
    """The payloads of those of these pushes that are joined pushes, by the push's id.

    locales   the languages of recipients, by the push's id

    A push that has nothing to tell any more is left out: the recipient no longer has the contact. None stands for a
    contact or an application that cannot be read.
    """
    joined = [row for row in rows if is_joined(row)]
    if not joined:
        return {}
    apps = {app_id: application(db, tx, app_id) for app_id in {row["app_id"] for row in joined}}
    digests = [row for row in joined if row["digest"] is not None]
    items = _items(tx, apps, digests) if digests else {}
    names = _names(tx, joined, items)
    templates = _Templates()
    found: dict[int, dict[str, Any] | None] = {}
    for row in joined:
        app, locale = apps[row["app_id"]], locales.get(row["id"])
        if row["digest"] is not None:
            known = _known(row, items, names)
            if known:
                found[row["id"]] = _about_several(app, row, known, locale, templates) if app else None
        elif (holder := (row["user_id"], row["number"])) in names:
            name = names[holder]
            found[row["id"]] = (
                None
                if name is None or app is None
                else _about_one(app, row, row["about_user_id"], name, templates.of(app, locale))
            )
    return found


def application(db: Database, tx: Tx, app_id: int) -> App | None:
    """The application of a push; None where its secrets do not open."""
    try:
        return applications.cached_within(db, tx, app_id)
    except errors.Unreadable:
        return None


def _items(tx: Tx, apps: Mapping[int, App | None], digests: Sequence[Row]) -> Items:
    """What belongs to these digests, in the order of the lists."""
    rows = store.digests(tx, sorted({(row["user_id"], row["digest"]) for row in digests}))
    still = set(proofs.still(tx, sorted({(app_id, number, joined) for _, _, app_id, number, joined, _ in rows})))
    told = _told(tx, apps, {(app_id, joined, owner_id) for owner_id, _, app_id, _, joined, _ in rows})
    items: Items = {}
    for owner_id, digest, app_id, number, joined, _ in rows:
        if (app_id, number, joined) in still and (app_id, joined, owner_id) in told:
            items.setdefault((owner_id, digest), []).append((number, joined))
    return items


def _told(tx: Tx, apps: Mapping[int, App | None], pairs: set[tuple[int, int, int]]) -> set[tuple[int, int, int]]:
    """Those of app_id, joined user and recipient in which the joined user wants the recipient to be told."""
    found = set[tuple[int, int, int]]()
    for app_id in {app_id for app_id, _, _ in pairs}:
        theirs = {(joined, owner_id) for of, joined, owner_id in pairs if of == app_id}
        told = withholding.telling(tx, app, theirs) if (app := apps.get(app_id)) else theirs
        found |= {(app_id, *pair) for pair in told}
    return found


def _names(tx: Tx, joined: Sequence[Row], items: Items) -> dict[tuple[int, int], str | None]:
    wanted = {(row["user_id"], row["app_id"], row["number"]) for row in joined if row["number"] is not None}
    apps = {(row["user_id"], row["digest"]): row["app_id"] for row in joined if row["digest"] is not None}
    wanted |= {(key[0], apps[key], number) for key, numbers in items.items() for number, _ in numbers}
    return store.names(tx, sorted(wanted)) if wanted else {}


def _known(row: Row, items: Items, names: Mapping[tuple[int, int], str | None]) -> list[tuple[int, str | None]]:
    """Those of whom a digest tells and whom the recipient still has as a contact: user id, and the contact's name."""
    user_id = row["user_id"]
    about = items.get((user_id, row["digest"]), [])
    return [(joined, names[user_id, number]) for number, joined in about if (user_id, number) in names]


class _Templates(dict[tuple[int, str | None], str]):
    """The texts of pushes about one user, by application and language: most pushes of a claim share one."""

    def of(self, app: App, locale: str | None) -> str:
        if (app.id, locale) not in self:
            self[app.id, locale] = push_texts.joined(own(app), locale)
        return self[app.id, locale]


def _about_one(app: App, row: Row, about: int, name: str, template: str) -> dict[str, Any]:
    return payload(app, row["channel"], words(template, name), about)


def _about_several(
    app: App, row: Row, known: Sequence[tuple[int, str | None]], locale: str | None, templates: _Templates
) -> dict[str, Any] | None:
    """The payload of a digest; None where no name can be read. A digest of one user is a push like any other."""
    joined = [(user_id, name) for user_id, name in known if name is not None]
    if len(joined) == 1:
        return _about_one(app, row, *joined[0], templates.of(app, locale))
    named = joined[:2] if len(joined) > 2 else joined[:1]
    text = push_texts.digest(own(app), locale, [name for _, name in named], len(joined) - len(named))
    ids = [user_id for user_id, _ in joined[:MOST_USER_IDS]]
    values = {"message": text, "user_ids": ids, "count": len(joined), "type": TYPE_OF_DIGEST}
    return _for(app, row["channel"], values) if joined else None
