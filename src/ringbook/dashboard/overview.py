"""The first page of an application: what is still to do, what was refused, and what happens, over time."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from ..core import overview
from ..core.overview import Overview
from . import charts
from .charts import Chart
from .endpoint import ROOT, Call, Route

OUTCOMES = ("accepted", "parked", "expired", "gone")


@dataclass(frozen=True, slots=True)
class Todo:
    """A step of the checklist: what to do, why, and where; `{}` in the address is the application's id."""

    title: str
    text: str
    href: str
    link: str


TODO = {
    "call": Todo(
        "An app has called", "Point an SDK at this server: a session is the first call.", "/apps/{}/keys", "Snippets"
    ),
    "book": Todo(
        "An address book is here", "The app uploads the phone's contacts.", "/apps/{}/keys", "How an app does it"
    ),
    "provider": Todo(
        "A push provider is set up", "FCM for Android, APNs for iOS, or a webhook.", "/apps/{}/push/providers", "Set up"
    ),
    "card": Todo(
        "People are told who joins",
        "The card is off until you switch it on.",
        "/apps/{}/users/settings",
        "Settings",
    ),
    "push": Todo(
        "A first joined push went out",
        "Sign up with a number from somebody's book.",
        "/apps/{}/push",
        "Pushes",
    ),
}


@dataclass(frozen=True, slots=True)
class Warned:
    """What the page says of a shared limit that is nearly reached: which, and what to do."""

    what: str
    advice: str


READING_OUT = (
    "If not, somebody may be reading out who is registered: the runbook RingbookLimitNear tells how to find out from "
    "where."
)
EXPECTED = "Is a campaign or an import under way? Raise the setting. " + READING_OUT
OF_NETWORK = (
    "Is a campaign or an import under way? Raise the setting, and RINGBOOK_APP_PERMITS_PER_DAY, of which one network "
    "gets at most a quarter. " + READING_OUT
)
MANY_HERE = (
    "Is it a school, an office or a mobile network? Raise the setting. If not, block the network at your proxy: "
    "the runbook RingbookLimitNear tells how to find it."
)
NEAR = {
    "address_permits_per_day": Warned("new numbers from one address", EXPECTED),
    "subnet_permits_per_day": Warned("new numbers from one /56 network", EXPECTED),
    "network_permits_per_day": Warned("new numbers from one /48 or /24 network", OF_NETWORK),
    "app_permits_per_day": Warned("new numbers of this application", EXPECTED),
    "new_accounts_per_hour": Warned("new accounts from one address", MANY_HERE),
    "subnet_accounts_per_hour": Warned("new accounts from one /56 network", MANY_HERE),
    "network_accounts_per_hour": Warned("new accounts from one /48 or /24 network", MANY_HERE),
    "sms_daily_cap": Warned(
        "one-time codes of a day, or the half of them for numbers that are new here,",
        "Numbers that have signed in before still get codes. Are these honest new users? Raise the setting. If not, "
        "block the network that asks for codes at your proxy: the runbook RingbookLimitNear tells how to find it.",
    ),
    "subnet_codes_per_hour": Warned("one-time codes asked for from one /56 network", MANY_HERE),
    "network_codes_per_hour": Warned("one-time codes asked for from one /48 or /24 network", MANY_HERE),
}


def show(call: Call) -> Response:
    """The whole page."""
    return call.page("overview.html", **values(call))


def live(call: Call) -> Response:
    """What changes of it, for a page that is looked at."""
    return call.part("_overview.html", **values(call))


def values(call: Call) -> dict[str, Any]:
    """What both show."""
    found = overview.of(call.db, call.app, call.now)
    steps = [(step, TODO[step.name], ROOT + TODO[step.name].href.format(call.app.id)) for step in found.steps]
    return {
        "app": call.app,
        "found": found,
        "steps": steps,
        "near": [(one, NEAR[one.limit], setting_of(one.limit)) for one in found.near if one.limit in NEAR],
        "done": all(step.done for step in found.steps),
        "charts": drawn(found),
        "since": charts.day_of(found.since) if found.since is not None else "",
        "strangers": overview.strangers(call.db),
    }


def setting_of(limit: str) -> str:
    """The name by which an operator changes a limit: as an application's setting has it, or in the environment."""
    return limit if limit == "sms_daily_cap" else f"RINGBOOK_{limit.upper()}"


def drawn(found: Overview) -> list[Chart]:
    """The charts: how many there are, then what happens."""
    none = [0] * len(found.days)

    def series(name: str) -> list[int]:
        return found.series.get(name, none)

    here = [("Users", "users"), ("Address books", "books"), ("Contacts", "contacts")]
    happened = [
        ("Sign-ups", "sign-ups", "accounts made by apps"),
        ("Uploads", "uploads", "address books sent, whole or in part"),
        ("Matches", "matches", "registered contacts that apps were shown"),
        ("Joined", "joined", "numbers that became a user's"),
    ]
    pushes = {name: series(f"pushes {name}") for name in OUTCOMES}
    return [
        *(
            charts.chart(title, found.days, series(name), total=found.counts[name], text="at the end of each day")
            for title, name in here
        ),
        *(
            charts.chart(title, found.days, series(name), total=sum(series(name)), text=text)
            for title, name, text in happened
        ),
        charts.stacked("Pushes", found.days, pushes, text="by what became of them"),
    ]


ROUTES = [
    Route(method="GET", path="/apps/{app_id}", handler=show),
    Route(method="GET", path="/apps/{app_id}/live", handler=live, live=True),
]
