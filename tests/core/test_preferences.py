"""What users decide about joined pushes: what is accepted, what is stored, what holds."""

import pytest
from core.joining import ANN, BOB, Play

from ringbook import errors
from ringbook.core import preferences, user_record, users
from ringbook.core.profile import columns
from ringbook.preferences import Preferences, Quiet
from ringbook.store.db import Database

DEFAULTS = Preferences(
    announce="everyone",
    discoverable="everyone",
    notify=True,
    quiet=None,
    time_zone=None,
    digest=5,
    locale=None,
)
ALL = {
    "announce": "mutual",
    "discoverable": "nobody",
    "notify": False,
    "quiet": ("22:00", "8:00"),
    "time_zone": "Europe/Berlin",
    "digest": 0,
    "locale": "de_DE",
}
CHOSEN = Preferences(
    announce="mutual",
    discoverable="nobody",
    notify=False,
    quiet=Quiet(22 * 60, 8 * 60),
    time_zone="Europe/Berlin",
    digest=0,
    locale="de-DE",
)


@pytest.fixture
def play(db: Database) -> Play:
    return Play(db)


def change(play: Play, user_id: int, **given) -> Preferences:
    return preferences.change(play.db, play.caller(user_id), given, now=play.now)


def refused(play: Play, user_id: int, **given) -> dict[str, str]:
    with pytest.raises(errors.Invalid) as caught:
        change(play, user_id, **given)
    return {one.field: one.reason for one in (caught.value, *caught.value.others)}


def test_who_has_chosen_nothing_has_the_applications_choice_also_when_it_changes(play):
    ann = play.person("ann", ANN).id
    assert preferences.get(play.db, play.caller(ann)) == DEFAULTS
    play.set(contact_joined_announce="nobody", contact_joined_discoverable="mutual", contact_joined_digest="9")
    found = preferences.get(play.db, play.caller(ann))
    assert (found.announce, found.discoverable, found.digest) == ("nobody", "mutual", 9)


def test_what_is_chosen_holds_and_what_is_not_given_stays(play):
    ann, bob = play.person("ann", ANN).id, play.person("bob", BOB).id
    assert change(play, ann, **ALL) == CHOSEN
    assert change(play, ann) == CHOSEN
    assert change(play, ann, announce="everyone").announce == "everyone"
    assert preferences.get(play.db, play.caller(ann)).locale == "de-DE"
    assert preferences.get(play.db, play.caller(bob)) == DEFAULTS
    with play.db.read() as tx:
        both = preferences.of_many(tx, play.app, [ann, bob])
    assert both == {ann: preferences.get(play.db, play.caller(ann)), bob: DEFAULTS}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"announce": "all"}, {"announce"}),
        ({"announce": None}, {"announce"}),
        ({"discoverable": ""}, {"discoverable"}),
        ({"notify": None}, {"notify"}),
        ({"quiet": ("22:00", "22:00"), "time_zone": "UTC"}, {"quiet"}),
        ({"quiet": ("24:00", "08:00"), "time_zone": "UTC"}, {"quiet"}),
        ({"quiet": ("", "08:00"), "time_zone": "UTC"}, {"quiet"}),
        ({"quiet": ("22:00", "08:00")}, {"quiet"}),
        ({"time_zone": "Europe/Bonn"}, {"time_zone"}),
        ({"time_zone": "../../etc/passwd"}, {"time_zone"}),
        ({"digest": -1}, {"digest"}),
        ({"digest": 1_001}, {"digest"}),
        ({"locale": "a language"}, {"locale"}),
        ({"announce": "x", "time_zone": "y", "notify": True}, {"announce", "time_zone"}),
    ],
)
def test_a_bad_value_is_named_and_nothing_changes(play, given, fields):
    ann = play.person("ann", ANN).id
    assert refused(play, ann, **given).keys() == fields
    assert preferences.get(play.db, play.caller(ann)) == DEFAULTS
    assert play.rows("SELECT * FROM preferences") == []


def test_quiet_hours_need_a_time_zone_also_when_it_is_taken_away(play):
    ann = play.person("ann", ANN).id
    change(play, ann, time_zone="Europe/London")
    assert change(play, ann, quiet=("23:00", "07:00")).quiet == Quiet(23 * 60, 7 * 60)
    assert refused(play, ann, time_zone=None) == {"quiet": preferences.NEEDS_ZONE}
    assert change(play, ann, time_zone=None, quiet=None).quiet is None


def test_quiet_hours_of_the_application_hold_for_users_with_a_time_zone_until_they_choose(play):
    ann = play.person("ann", ANN).id
    play.set(contact_joined_quiet="22:00-08:00")
    assert preferences.get(play.db, play.caller(ann)).quiet is None
    assert change(play, ann, time_zone="Asia/Tokyo").quiet == Quiet(22 * 60, 8 * 60)
    assert change(play, ann, quiet=None).quiet is None


def test_where_the_application_decides_users_do_not(play):
    ann = play.person("ann", ANN).id
    change(play, ann, announce="mutual", discoverable="mutual")
    play.set(contact_joined_choice="off", contact_joined_announce="nobody")
    found = preferences.get(play.db, play.caller(ann))
    assert (found.announce, found.discoverable) == ("nobody", "everyone")
    assert refused(play, ann, announce="everyone", discoverable="nobody").keys() == {"announce", "discoverable"}
    assert change(play, ann, announce="nobody", notify=False).notify is False  # all of an answer may be sent back
    play.set(contact_joined_choice="on")
    assert preferences.get(play.db, play.caller(ann)).announce == "mutual"


def test_they_may_come_with_the_account(play):
    with play.db.write() as tx:
        chosen = preferences.checked(play.app, ALL)
        ann = users.add(tx, play.app, columns({"login": "ann", "phone": ANN}), play.now, chosen=chosen).id
    assert preferences.get(play.db, play.caller(ann)) == CHOSEN
    assert play.rows("SELECT discoverable FROM numbers") == [{"discoverable": 3}]
    play.changes(ann, full_name="Ann", preferences={"discoverable": "everyone"})
    assert play.rows("SELECT discoverable FROM numbers") == [{"discoverable": 1}]
    with pytest.raises(errors.Invalid):
        play.changes(ann, full_name="Annie", preferences={"digest": 5, "locale": "?"})
    assert preferences.get(play.db, play.caller(ann)).digest == 0
    with play.db.read() as tx:
        assert users.store.by_id(tx, play.app_id, ann).full_name == "Ann"


def test_they_are_exported_and_erased(play):
    ann = play.person("ann", ANN).id
    assert user_record.everything(play.db, ann)["preferences"] is None
    change(play, ann, **ALL)
    told = user_record.everything(play.db, ann)["preferences"]
    assert told == {**ALL, "quiet": "22:00-08:00", "locale": "de-DE"}
    users.erase(play.db, ann)
    assert play.rows("SELECT * FROM preferences") == []
    with pytest.raises(errors.SessionGone):
        change(play, ann, notify=False)
