"""`ringbook why USER NUMBER`: why does a user's app not show a contact as registered?"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from . import common
from .common import AppOfLogin, File, Json, User

if TYPE_CHECKING:
    from ..core.diagnosis import Answer
    from ..core.findings import Step

SIGNS = {"yes": "ok  ", "no": "NO  ", "note": "?   "}


def why(
    user: User,
    number: Annotated[str, Parameter(allow_leading_hyphen=True, help="phone number, as the user's phone writes it")],
    /,
    *,
    app: AppOfLogin = None,
    as_json: Json = False,
    file: File,
) -> int:
    """Explain step by step why a user's app shows or does not show the owner of a number, and what to do.

    USER is the user whose app shows the contact. The answer contains the contact's name from the user's address book;
    the audit log records that. The exit code is 0 when the contact is found and 1 when not.
    """
    from ..core import diagnosis

    with common.database(common.settings(file)) as db:
        user_id = common.user_id(db, user, app)
        found = diagnosis.diagnose(db, user_id, number, common.now(), names=True, by=common.actor())
    if as_json:
        common.print_json(found)
    else:
        common.print_lines(_said(found))
    return 0 if found.found else 1


def _said(found: "Answer") -> list[str]:
    width = max(len(step.what) for step in found.steps)
    lines = [f"user {found.user_id} of application {found.application_id}: {found.verdict}", ""]
    return lines + [line for step in found.steps for line in _line(step, width)]


def _line(step: "Step", width: int) -> list[str]:
    said = f"{SIGNS[step.state]} {step.what:{width}}  {step.seen}"
    return [said, f"     {'':{width}}  → {step.todo}"] if step.todo else [said]
