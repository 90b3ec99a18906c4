"""`ringbook why USER NUMBER`: why is a contact not found?"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from . import common
from .common import File, Json, Of

if TYPE_CHECKING:
    from ..core.diagnosis import Answer, Step

SIGNS = {"yes": "ok  ", "no": "NO  ", "note": "?   "}


def why(
    user: str,
    number: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    app: Of = None,
    as_json: Json = False,
    file: File,
) -> int:
    """Tell step by step why a user's app does or does not show the user with a number, and what to do.

    USER is the id of the user whose app searches, or with --app a login, an e-mail or a phone. NUMBER is the contact's
    number, as the user's phone writes it. The answer holds the name from the user's book, and the audit log records
    that. The exit code is 0 when somebody is found, 1 when nobody is.
    """
    from ..core import diagnosis

    with common.database(common.settings(file)) as db:
        user_id = common.user_id(db, user, app)
        found = diagnosis.ask(db, user_id, number, common.now(), names=True, by=common.actor())
    if as_json:
        common.say_json(found)
    else:
        common.say("\n".join(_said(found)))
    return 0 if found.found else 1


def _said(found: "Answer") -> list[str]:
    width = max(len(step.what) for step in found.steps)
    lines = [f"user {found.user_id} of application {found.application_id}: {found.verdict}", ""]
    return lines + [line for step in found.steps for line in _line(step, width)]


def _line(step: "Step", width: int) -> list[str]:
    said = f"{SIGNS[step.state]} {step.what:{width}}  {step.seen}"
    return [said, f"     {'':{width}}  → {step.todo}"] if step.todo else [said]
