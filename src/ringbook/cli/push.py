"""`ringbook push …`: delivery of pushes: their history, the queue, and pushes that are parked.

push_trace, push_retry, push_status
"""

from typing import TYPE_CHECKING, Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from . import common
from .common import AppOfLogin, Failed, File, Id, Json, WrongUse

if TYPE_CHECKING:
    from ..core.push_trace import Announcement, Push, User

LATE_SECONDS = 60
OF_USER = "id of the recipient or of the contact who joined; with --app also a login, an e-mail or a phone"

push = cyclopts.App(name="push", help="Pushes: history, queue and retries.")


@push.command(name="trace")
def push_trace(
    user: Annotated[str | None, Parameter(help=OF_USER)] = None,
    /,
    *,
    app: AppOfLogin = None,
    push: Annotated[Id | None, Parameter(help="id of one push, instead of a user")] = None,
    last: Annotated[int, Parameter(help="number of pushes to show", validator=Number(gte=1, lte=10_000))] = 20,
    as_json: Json = False,
    file: File,
) -> None:
    """Show the outcome of a user's pushes or of one push, the cause, and what to do."""
    from ..core import push_trace

    if (user is None) == (push is None):
        raise WrongUse("give the id of a user, or --push with the id of a push")
    with common.database(common.settings(file)) as db:
        if push is not None:
            one = push_trace.of_push(db, push, common.now())
            _print(one, _of_push(one), as_json)
        elif user is not None:
            everything = push_trace.of_user(db, common.user_id(db, user, app), common.now(), last)
            _print(everything, _of_user(everything), as_json)


@push.command(name="retry")
def push_retry(
    *ids: Annotated[Id, Parameter(help="ids of pushes; without ids, all parked pushes")],
    app: Annotated[Id, Parameter(help="id of the application of the pushes")],
    as_json: Json = False,
    file: File,
) -> None:
    """Send parked pushes again, after the cause has been fixed."""
    from ..core import applications, delivery

    with common.database(common.settings(file)) as db:
        applications.get(db, app)
        given = sorted(set(ids))
        done = delivery.retry(db, app, given or None, common.now(), by=common.actor())
    common.answer({"application_id": app, "retried": done}, as_json)
    if done < len(given):
        missing = f"{len(given) - done} of {len(given)} are not parked in application {app}"
        raise Failed(f"{missing}; `ringbook push trace --push ID` shows the outcome of each")


@push.command(name="status")
def push_status(*, as_json: Json = False, file: File) -> None:
    """Show how many pushes wait, for how long, and why pushes are parked."""
    from ..core import push_trace

    with common.database(common.settings(file)) as db:
        state = push_trace.state(db, common.now())
    if as_json:
        common.print_json(state)
        return
    if state.waiting:
        common.table([msgspec.structs.asdict(lane) for lane in state.waiting])
        if sum(lane.waiting for lane in state.waiting) >= push_trace.MOST_OF_STATE:
            common.print_line(f"more pushes wait: the first {push_trace.MOST_OF_STATE:,} are counted")
    else:
        common.print_line("no push waits")
    if any(lane.late_seconds > LATE_SECONDS for lane in state.waiting):
        common.print_line(f"pushes are late: {push_trace.NO_WORKER}")
    if state.parked:
        common.print_lines(["", "parked:"])
        common.table([msgspec.structs.asdict(one) for one in state.parked])
        common.print_line("fix the causes, then run `ringbook push retry --app ID`")


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _print(found: "User | Push", lines: list[str], as_json: bool) -> None:
    if as_json:
        common.print_json(found)
    else:
        common.print_lines(lines)


def _of_user(found: "User") -> list[str]:
    has = ", ".join(f"{count} {kind}" for kind, count in found.subscriptions.items())
    lines = [f"user {found.user_id} of application {found.application_id}: {has or 'no'} subscriptions"]
    lines += [f"! {hint}" for hint in found.hints]
    for one in found.announced:
        lines += ["", _of_announcement(one)]
    for push in found.pushes:
        lines += ["", *_of_push(push)]
    return lines if found.pushes else [*lines, "", "no push has been recorded for this user"]


def _of_announcement(one: "Announcement") -> str:
    kind = "a verified" if one.verified else "an unverified"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in one.pushes.items())
    return f"gained {kind} number {one.created_at}: {one.result}; pushes: {counts or 'none'}"


def _of_push(one: "Push") -> list[str]:
    lines = {
        "for": f"user {one.user_id}, by {one.channel}, {one.environment}",
        "why": one.why,
        "outcome": f"{one.outcome} {one.settled_at or ''}".rstrip(),
        "reason": one.reason,
        "attempts": one.attempts,
        "next": one.next_attempt_at,
        "expires": None if one.settled_at else one.expires_at,
        "do": one.advice,
    }
    shown = [f"  {name:8}  {value}" for name, value in lines.items() if value is not None]
    return [f"push {one.id}, {one.created_at}", *shown]
