"""The overview page of an application: the set-up checklist, refusals, and activity over time; the server's page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from .. import __version__, config, errors
from ..core import activity, overview
from ..core.overview import Overview
from ..exchange import statuses
from . import charts
from .charts import Chart
from .endpoint import ROOT, Call, Route

OUTCOMES = ("accepted", "printed", "parked", "expired", "gone")
SERIES = [
    ("sign-ups", "Sign-ups", "accounts created by apps"),
    ("matches", "Found", "registered contacts shown to apps"),
    ("joined", "Joined", "numbers that users gained"),
]
PERIOD = 30


@dataclass(frozen=True, slots=True)
class Todo:
    """A step of the checklist; `{}` in `href` stands for the application's id."""

    title: str
    text: str
    href: str
    link: str


TODO = {
    "call": Todo(
        "First call of an app",
        "Point an SDK at this server. Its first call opens a session.",
        "/apps/{}/keys",
        "Snippets",
    ),
    "book": Todo("First address book", "The app uploads the phone's contacts.", "/apps/{}/keys", "Code for apps"),
    "provider": Todo(
        "Push provider",
        "FCM for Android, APNs for iOS, or a webhook. A push that is only printed (push_console) does not count.",
        "/apps/{}/push/providers",
        "Set up",
    ),
    "card": Todo(
        "Joined pushes switched on",
        "Users get a push when one of their contacts joins.",
        "/apps/{}/users/settings",
        "Settings",
    ),
    "push": Todo(
        "First joined push delivered to a provider",
        "Sign up with a number from somebody's address book.",
        "/apps/{}/push",
        "Pushes",
    ),
}


@dataclass(frozen=True, slots=True)
class Warned:
    """The text about a shared limit that is nearly reached."""

    what: str
    advice: str
    share: str = "80 %"


READING_OUT = (
    "If not, somebody may be testing which numbers are registered: the runbook RingbookLimitNear says how to find the "
    "network."
)
EXPECTED = "Is a campaign or an import under way? Raise the setting. " + READING_OUT
OF_NETWORK = (
    "Is a campaign or an import under way? Raise the setting, and RINGBOOK_APP_PERMITS_PER_DAY: one network gets at "
    "most a quarter of it, and a tenth for users who were not verified more than a day ago. " + READING_OUT
)
MANY_HERE = (
    "Is it a school, an office or a mobile network? Raise the setting. If not, block the network at your proxy: "
    "the runbook RingbookLimitNear says how to find it."
)
NEAR = {
    "address_permits_per_day": Warned("new numbers from one address", EXPECTED),
    "subnet_permits_per_day": Warned("new numbers from one /56 network", EXPECTED),
    "network_permits_per_day": Warned("new numbers from one /48 or /24 network", OF_NETWORK),
    "app_permits_per_day": Warned(
        "new numbers of this application",
        "Is a campaign or an import under way? Raise the application's setting new_numbers_per_day until a day "
        "(new_numbers_until). " + READING_OUT,
        "half",
    ),
    "sign_ups_alarm_per_hour": Warned(
        "sign-ups of an hour",
        "This alarm refuses nobody. It also comes when ten times as many users sign up as usual. Is a campaign under "
        "way? If not, somebody may be making accounts: the runbook RingbookLimitNear says how to find the network.",
        "all",
    ),
    "new_accounts_per_hour": Warned("new accounts from one address", MANY_HERE),
    "subnet_accounts_per_hour": Warned("new accounts from one /56 network", MANY_HERE),
    "network_accounts_per_hour": Warned("new accounts from one /48 or /24 network", MANY_HERE),
    "sms_daily_cap": Warned(
        "one-time codes of a day, or the half of them for numbers that have not signed in before,",
        "Numbers that have signed in before still get codes. Are these real new users? Raise the setting. If not, "
        "block the network that requests codes at your proxy: the runbook RingbookLimitNear says how to find it.",
    ),
    "subnet_codes_per_hour": Warned("one-time codes requested from one /56 network", MANY_HERE),
    "network_codes_per_hour": Warned("one-time codes requested from one /48 or /24 network", MANY_HERE),
    "subnet_resets_per_hour": Warned("requests for a new password from one /56 network", MANY_HERE),
    "network_resets_per_hour": Warned("requests for a new password from one /48 or /24 network", MANY_HERE),
    "subnet_sessions_per_hour": Warned("new sessions from one /56 network", MANY_HERE),
    "network_sessions_per_hour": Warned("new sessions from one /48 or /24 network", MANY_HERE),
    "wrong_passwords": Warned(
        "wrong passwords of one account from a network where it has signed in before",
        "Somebody there may be guessing the password. Nobody else is refused.",
        "half of ten times",
    ),
    "subnet_wrong_sign_ins_per_hour": Warned("refused sign-ins from one /56 network", MANY_HERE),
    "network_wrong_sign_ins_per_hour": Warned("refused sign-ins from one /48 or /24 network", MANY_HERE),
}


def show(call: Call) -> Response:
    """The page."""
    return call.page("overview.html", **values(call))


def live(call: Call) -> Response:
    """The part of the page that is reloaded while it is open."""
    return call.part("_overview.html", **values(call))


def values(call: Call) -> dict[str, Any]:
    """The values for the templates of both."""
    found = overview.of(call.db, call.app, call.now)
    steps = [(step, TODO[step.name], ROOT + TODO[step.name].href.format(call.app.id)) for step in found.steps]
    return {
        "app": call.app,
        "found": found,
        "steps": steps,
        "near": nearly(found.near),
        "most_waiting": overview.MOST_WAITING,
        "done": all(step.done for step in found.steps),
        "charts": drawn(found),
        "since": charts.day_of(found.since) if found.since is not None else "",
        "refusals": refusals(found.refusals),
        "period": period(call),
        "periods": activity.PERIODS,
        "series": SERIES,
        "activity": activity.by_day(call.db, call.app, call.now, period(call)),
        "day_of": charts.day_of,
    }


def period(call: Call) -> int:
    """The days of the large chart."""
    chosen = call.query("days")
    return int(chosen) if chosen in map(str, activity.PERIODS) else PERIOD


def figures(call: Call) -> Response:
    """The figures of the large chart by half hours, from which the script makes days of the browser's time zone."""
    found = activity.of(call.db, call.app, call.now, period(call))
    return Response(msgspec.json.encode(found), media_type="application/json")


def server(call: Call) -> Response:
    """The page of the server: what concerns no single application."""
    found = overview.server(call.db, call.now)
    limits = call.config.limits
    known = config.Limits.__struct_fields__
    return call.page(
        "server.html",
        found=found,
        near=nearly(found.near),
        refusals=refusals(found.refusals),
        version=__version__,
        limits=[(one, getattr(limits, one.name)) for one in config.settings() if one.name in known],
    )


def nearly(found: Sequence[overview.Near]) -> list[tuple[overview.Near, Warned, str]]:
    """Limits that were nearly reached, with what to do and the name of the setting."""
    return [(one, NEAR[one.limit], setting_of(one.limit)) for one in found if one.limit in NEAR]


def refusals(found: Sequence[overview.Refusal]) -> list[tuple[overview.Refusal, int]]:
    """Refusals, each with the status that the API answers."""
    return [(one, statuses.status_of(errors.by_cause(one.cause), statuses.API)) for one in found]


def setting_of(limit: str) -> str:
    """The name of a limit's setting: that of the application, or the environment variable."""
    return limit if limit == "sms_daily_cap" else f"RINGBOOK_{limit.upper()}"


def drawn(found: Overview) -> list[Chart]:
    """The small charts: totals first, then what the large chart does not show."""
    none = [0] * len(found.days)

    def series(name: str) -> list[int]:
        return found.series.get(name, none)

    here = [("Users", "users"), ("Address books", "books"), ("Contacts", "contacts")]
    happened = [("Uploads", "uploads", "of address books, whole or in part")]
    pushes = {name: series(f"pushes {name}") for name in OUTCOMES}
    return [
        *(
            charts.area(title, found.days, series(name), total=found.counts[name], text="at the end of each day")
            for title, name in here
        ),
        *(
            charts.chart(title, found.days, series(name), total=sum(series(name)), text=text)
            for title, name, text in happened
        ),
        charts.stacked("Pushes", found.days, pushes, text="by outcome"),
    ]


ROUTES = [
    Route(method="GET", path="/apps/{app_id}", handler=show),
    Route(method="GET", path="/apps/{app_id}/live", handler=live, live=True),
    Route(method="GET", path="/apps/{app_id}/activity", handler=figures, live=True),
    Route(method="GET", path="/server", handler=server),
]
