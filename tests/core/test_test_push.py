"""The test push: the preview that an admin sees, and sends to a device."""

import pytest
from core.joining import ANN, BOB, NOW, Play
from sealed import entries

from ringbook import errors
from ringbook.core import push_trace, test_push
from ringbook.core.audit import Actor

BY = Actor("op@example.com", "192.0.2.9", NOW)


@pytest.fixture
def play(db):
    return Play(db)


def test_a_sample_shows_the_template_with_a_name():
    assert test_push.preview("%s is here: 100%% fun") == "Annie is here: 100% fun"
    with pytest.raises(errors.Invalid, match="may contain %s only once"):
        test_push.preview("%s and %s")


def test_a_test_goes_to_the_devices_that_would_get_the_real_one_and_says_what_it_is(play):
    bob = play.person("bob", BOB).id
    play.device(bob, "production-token")
    play.device(bob, "development-token", environment="development")
    play.device(bob, "ab" * 32, channel="apns_voip", platform="ios")
    assert test_push.send(play.db, play.app, bob, BY) == 1
    ((_, _, payload),) = play.payloads()
    assert payload == {
        "message": "Your friend Annie joined.",
        "user_id": bob,
        "type": "contact_joined",
        "test": True,
    }
    assert push_trace.of_user(play.db, bob, NOW, 5).pushes[0].why == "a test, sent from the dashboard"
    play.set(contact_joined_development="on", contact_joined_fcm_notification="on")
    assert test_push.send(play.db, play.app, bob, BY) == 2
    assert play.payloads()[-1][2]["android_fcm_notification"] == {"body": "Your friend Annie joined."}


def test_a_test_for_nobody_is_refused_and_leaves_no_trace(play):
    ann = play.person("ann", ANN).id
    other = Play(play.db)
    stranger = other.person("stranger").id
    other.device(stranger, "strangers-token")
    with pytest.raises(errors.Unreached, match="has no subscription"):
        test_push.send(play.db, play.app, ann, BY)
    for nobody in (stranger, 999_999):
        with pytest.raises(errors.NotFound):
            test_push.send(play.db, play.app, nobody, BY)
    assert play.rows("SELECT * FROM pushes") == [] == entries(play.db, action="test push sent")


def test_a_test_is_in_the_audit_log(play):
    bob = play.person("bob", BOB).id
    play.device(bob, "production-token")
    test_push.send(play.db, play.app, bob, BY)
    (entry,) = entries(play.db, action="test push sent")
    assert (entry.admin, entry.address, entry.subject) == ("op@example.com", "192.0.2.9", f"user {bob}")
