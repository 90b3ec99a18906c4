"""`ringbook distribute`: spread the tables over the nodes of a Citus cluster."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from .. import terminal
from . import common
from .common import File, WrongUse

if TYPE_CHECKING:
    from ..store.cluster import Plan

Shards = Annotated[
    int,
    Parameter(
        validator=Number(gte=0, lte=1_024),
        help="parts into which a distributed table is cut, the first time; 0 = 32, or as many as it has",
    ),
]
DryRun = Annotated[bool, Parameter(negative="", help="say what would be done, and do nothing")]
Undo = Annotated[bool, Parameter(negative="", help="say how to go back to one PostgreSQL server, and do nothing")]
THERE = "every table lies in its place on {nodes} nodes, in {shards} shards"
UNDO = """\
Nothing is changed. A cluster goes back to one PostgreSQL server by a dump of the coordinator's database:
1. Stop every `ringbook serve` and `ringbook worker`.
2. pg_dump --format=custom --exclude-extension='*' --exclude-schema='citus*' --exclude-schema='columnar*' \\
       --file=ringbook.dump COORDINATOR
3. CREATE DATABASE ringbook ENCODING 'UTF8' TEMPLATE template0 on the server, without the extension citus.
4. pg_restore --no-owner --exit-on-error --dbname=SERVER ringbook.dump
5. Set RINGBOOK_DATABASE to the server, run `ringbook check`, and start `ringbook serve`."""


def distribute(*, shards: Shards = 0, dry_run: DryRun = False, undo: Undo = False, file: File) -> None:
    """Spread the tables over the nodes of a Citus cluster. Run it again after each `ringbook migrate`."""
    from ..store import cluster
    from ..store import db as databases

    settings = common.settings(file)
    if databases.is_sqlite(settings.database):
        raise WrongUse("SQLite is one file: a cluster needs PostgreSQL with Citus in RINGBOOK_DATABASE")
    if undo:
        common.print_lines(UNDO.split("\n"))
        return
    common.note_database(settings.database)
    plan = cluster.plan(settings.database, shards)
    common.print_line(_summary(plan))
    if dry_run:
        _show(plan)
    elif plan.steps:
        with terminal.progress("moving", "committing") as progress:
            done = cluster.distribute(settings.database, shards, progress)
        common.print_line(THERE.format(nodes=done.nodes, shards=done.shards))


def _summary(plan: "Plan") -> str:
    if not plan.steps:
        return THERE.format(nodes=plan.nodes, shards=plan.shards) + " (they lay there already)"
    size = f"{plan.size / 1024**2:,.0f} MiB"
    return f"{len(plan.steps)} tables with {size} are to be distributed over {plan.nodes} nodes: {_time(plan.seconds)}"


def _time(seconds: float) -> str:
    return f"about {seconds / 60:,.0f} minutes" if seconds > 120 else f"about {max(5, seconds):.0f} seconds"


def _show(plan: "Plan") -> None:
    width = max((len(step.table) for step in plan.steps), default=0)
    for step in plan.steps:
        common.print_line(f"{step.table:{width}}  {step.place}")
    if plan.trouble:
        common.print_line(f"not now: {plan.trouble}")
