"""Refused forms: the page to which a refused form leads shows why it was refused, and what was typed.

Refusal                          why a form was refused, and the texts that its page shows again
keep(db, login, refusal, now)    the part of the page's address by which `find` finds the refusal
find(db, login, part, now)       the refusal of an address, once

A refusal of an admin's form is a sealed row, which is deleted when the page has shown it. Nothing is kept for somebody
who is not logged in: the refusal is sealed in the address, and expires. No refusal contains a password or a secret.
"""

from msgspec import MsgspecError, Struct, field, json

from ..core import admin_answers, sealed_links
from ..core.admins import Login
from ..store.db import Database

PURPOSE, NO_APP = "refused", 0
LONGEST = 16 * 1024  # of a kept refusal; with more, the texts are left out


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a form was refused.

    form     which form of its page it is; "" on a page with one form
    wrong    the errors by field
    typed    the texts to show again, by field
    """

    form: str = ""
    wrong: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    at: int = 0


NONE = Refusal()
_refusal = json.Decoder(Refusal)


def keep(db: Database, login: Login | None, refusal: Refusal, now: int) -> str:
    """Keep a refusal for the next page. Returns the part of its address by which `find` finds it."""
    text = json.encode(refusal).decode()
    if len(text) > (LONGEST if login else sealed_links.LONGEST):
        text = json.encode(Refusal(form=refusal.form, wrong=refusal.wrong, at=refusal.at)).decode()
    return (
        admin_answers.keep(db, login, text, now, kind=PURPOSE)
        if login
        else sealed_links.sealed(db, PURPOSE, NO_APP, text)
    )


def find(db: Database, login: Login | None, part: str, now: int) -> Refusal:
    """The refusal of an address; NONE when there is none, it was shown already, or it has expired."""
    if login:
        text = admin_answers.shown(db, login, part, now, kind=PURPOSE)
    else:
        text = sealed_links.opened(db, PURPOSE, NO_APP, part)
    try:
        found = _refusal.decode(text or "")
    except MsgspecError:
        return NONE
    return found if now - found.at < admin_answers.SECRET_SECONDS else NONE
