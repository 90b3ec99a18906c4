"""Joined pushes over HTTP: what users decide about them. Both dialects; not in the vendors' APIs."""

from .. import errors
from ..core import preferences
from .endpoint import Answer, Call, Route
from .shapes.contact_joined import PreferencesIn, PreferencesOut, chosen_in, preferences_out
from .wire import take


def show_settings(call: Call) -> Answer:
    """Show your settings for joined pushes

    Where you have chosen nothing, the application's choice holds.
    """
    return Answer(preferences_out(preferences.get(call.db, call.caller)))


def change_settings(call: Call) -> Answer:
    """Change your settings for joined pushes

    Only the fields that are sent change; the answer has all. A refusal names every bad field, and changes nothing. The
    same fields may be sent as `user[contact_joined]` when an account is created or changed.
    """
    faults = errors.Faults()
    given = take(PreferencesIn, call.values, faults=faults)
    changed = preferences.change(call.db, call.caller, chosen_in(given), now=call.now, faults=faults)
    return Answer(preferences_out(changed))


ROUTES = [
    Route(
        method="GET",
        path="/contact_joined/settings",
        handler=show_settings,
        answer=PreferencesOut,
    ),
    Route(
        method="PUT",
        path="/contact_joined/settings",
        handler=change_settings,
        request=PreferencesIn,
        answer=PreferencesOut,
        refusals=(422,),
    ),
]
