"""Users → Settings: the card of the joined push, and the other settings of an application."""

import re

import msgspec
import pytest
from asking import person
from dashboard.visiting import admin
from sealed import application_behind, entries_behind
from servers import application

from ringbook.app_settings import SETTINGS
from ringbook.config import Limits
from ringbook.dashboard import settings
from ringbook.push.providers import PROVIDERS

PAGES = ("/users/settings", "/users/sign-in", "/push/providers")


@pytest.fixture
def app(server):
    return application(server.database_url)


@pytest.fixture
def visitor(server):
    return admin(server)


def at(app, rest=""):
    return f"/apps/{app.application_id}/users/settings{rest}"


def stored(server, app):
    return msgspec.structs.asdict(application_behind(server, app.application_id).settings)


def test_the_card_is_as_the_seed_describes_it(visitor, app):
    page = visitor.get(at(app))
    assert "New contact joined from address book notifications" in page.words
    assert "In the template, %s is replaced by the contact's name" in page.words
    assert re.search(r'<input type="checkbox" id="contact_joined_enabled"', page.html)
    assert page.value("contact_joined_template") == "Your friend %s joined."
    assert "Your friend Annie joined." in page.words
    assert "Push notification template" in page.words and ">Save<" in re.sub(r"\s", "", page.html)


def test_the_card_is_saved_and_kept(visitor, server, app):
    saved = visitor.post(at(app, "/joined"), contact_joined_enabled="on", contact_joined_template="%s ist da! 100%%")
    page = visitor.follow(saved)
    assert "Saved: New contact joined" in page.words
    assert re.search(r'id="contact_joined_enabled" name="contact_joined_enabled" value="on" checked', page.html)
    assert page.value("contact_joined_template") == "%s ist da! 100%%" and "Annie ist da! 100%" in page.words
    assert stored(server, app)["contact_joined_enabled"] is True
    assert 'type="hidden" name="contact_joined_enabled" value="off"' in page.html
    visitor.post(at(app, "/joined"), contact_joined_enabled="off", contact_joined_template="%s")  # no tick
    assert stored(server, app)["contact_joined_enabled"] is False


def test_a_box_that_the_page_does_not_show_is_not_switched_off(visitor, server, app):
    visitor.post(at(app, "/joined"), contact_joined_enabled="on", contact_joined_template="%s")
    visitor.post(at(app, "/joined"), contact_joined_template="%s!")
    assert stored(server, app)["contact_joined_enabled"] is True
    assert stored(server, app)["contact_joined_template"] == "%s!"


@pytest.mark.parametrize(
    "template, reason",
    [
        ("%s and %s", "may contain %s only once"),
        ("100% of %s", "contains a single per cent sign"),
        ("", "must have 1 to 255 characters"),
        ("x" * 256, "must have 1 to 255 characters"),
        ("one\ntwo %s", "must be one line"),
    ],
)
def test_a_template_that_is_refused_says_why_and_is_still_there_to_be_mended(visitor, server, app, template, reason):
    before = stored(server, app)
    sent = visitor.post(at(app, "/joined"), contact_joined_enabled="on", contact_joined_template=template)
    assert sent.goes_to.endswith("#joined")
    page = visitor.refused(sent)
    assert reason in page.words
    assert page.value("contact_joined_template") == template
    assert 'aria-invalid="true"' in page.html
    assert stored(server, app) == before


def test_the_preview_follows_what_is_typed(visitor, app):
    assert "Hello Annie" in visitor.post(at(app, "/preview"), contact_joined_template="Hello %s").words
    assert "may contain %s only once" in visitor.post(at(app, "/preview"), contact_joined_template="%s%s").words
    part = visitor.post(at(app, "/preview"), contact_joined_template="<script>%s</script>")
    assert "<script>" not in part.html and "&lt;script&gt;Annie" in part.html


# ── languages ────────────────────────────────────────────────────────────────────────────────────────────────────────

GERMAN = {"joined.de": "%s ist da.", "digest.de.one": "%s und %d Person", "digest.de.other": "%s und %d Personen"}
STORED = {"joined": "%s ist da.", "digest": {"one": "%s und %d Person", "other": "%s und %d Personen"}}


def fields(page, **more):
    """What the form of the card sends: the texts of all languages, and more."""
    found = {name: page.value(name) for name in re.findall(r'name="((?:joined|digest)\.[^"]+)"', page.html)}
    names = ("contact_joined_template", "contact_joined_language", "contact_joined_templates", "contact_joined_digest")
    return found | {name: page.value(name) for name in (*names, "contact_joined_quiet", "seen")} | more


def templates(server, app):
    return msgspec.json.decode(stored(server, app)["contact_joined_templates"])


def with_german(visitor, app):
    """The page after German was added and saved."""
    page = visitor.get(at(app))
    added = visitor.refused(visitor.post(at(app, "/joined"), **fields(page, add="on", language="de")))
    return visitor.follow(visitor.post(at(app, "/joined"), **fields(added) | GERMAN))


def test_a_language_is_added_without_losing_other_edits(visitor, server, app):
    page = visitor.get(at(app))
    typed = fields(page, add="on", language="pl") | {"contact_joined_template": "Hi %s", "contact_joined_digest": "7"}
    added = visitor.refused(visitor.post(at(app, "/joined"), **typed))
    assert "pl: enter the texts, and save." in added.words and "polski (pl)" in added.words
    assert added.value("contact_joined_template") == "Hi %s" and added.value("contact_joined_digest") == "7"
    assert [name for name in fields(added) if name.startswith("digest.pl.")] == [
        "digest.pl.one",
        "digest.pl.few",
        "digest.pl.many",
    ]
    assert templates(server, app) == {} and stored(server, app)["contact_joined_template"] == "Your friend %s joined."


def test_a_language_that_is_typed_is_not_lost_when_the_card_is_saved_without_adding_it(visitor, server, app):
    added = visitor.refused(visitor.post(at(app, "/joined"), **fields(visitor.get(at(app)), language="pl")))
    assert "pl: enter the texts, and save." in added.words and templates(server, app) == {}
    visitor.post(at(app, "/joined"), **fields(added, language="pl") | {"joined.pl": "%s jest tu."})
    assert templates(server, app) == {"pl": {"joined": "%s jest tu."}}
    visitor.post(at(app, "/joined"), **fields(visitor.get(at(app)), language="en") | {"contact_joined_digest": "7"})
    assert stored(server, app)["contact_joined_digest"] == 7


def test_texts_of_languages_are_saved_each_beside_the_others(visitor, server, app):
    page = with_german(visitor, app)
    assert templates(server, app) == {"de": STORED}
    assert "Deutsch (de)" in page.words and "Annie, Bob und 2 Personen" in page.words and "Annie ist da." in page.words
    english = {"digest.en.one": "%s and %d more", "digest.en.other": "%s and %d more"}
    visitor.post(at(app, "/joined"), **fields(page) | english)
    assert templates(server, app) == {
        "de": STORED,
        "en": {"digest": {"one": "%s and %d more", "other": "%s and %d more"}},
    }


def test_a_missing_plural_is_refused_with_its_name_and_nothing_is_lost(visitor, server, app):
    page = with_german(visitor, app)
    typed = fields(page) | {"joined.de": "%s kam", "digest.de.one": ""}
    refused = visitor.refused(visitor.post(at(app, "/joined"), **typed))
    assert "de: the digest has no form one" in refused.words and "data-open" in refused.html
    assert refused.value("joined.de") == "%s kam" and templates(server, app) == {"de": STORED}


def test_a_language_is_removed_when_the_card_is_saved(visitor, server, app):
    page = with_german(visitor, app)
    without = visitor.refused(visitor.post(at(app, "/joined"), **fields(page, remove="de")))
    assert "de is removed when you save." in without.words and "Deutsch" not in without.words
    assert templates(server, app) == {"de": STORED}
    visitor.post(at(app, "/joined"), **fields(without))
    assert templates(server, app) == {}


@pytest.mark.parametrize("language", ["", "not a language", "x" * 40, "<script>"])
def test_what_is_no_language_is_not_added(visitor, server, app, language):
    page = visitor.get(at(app))
    refused = visitor.refused(visitor.post(at(app, "/joined"), **fields(page, add="on", language=language)))
    assert "must be a language such as en or pt-BR" in refused.words and templates(server, app) == {}


def test_the_preview_of_a_language_shows_each_plural(visitor, app):
    page = with_german(visitor, app)
    part = visitor.post(at(app, "/preview?language=de"), **fields(page) | {"digest.de.other": "%s + %d"})
    assert "Annie, Bob + 2" in part.words and "Annie, Bob und 1 Person" in part.words
    wrong = visitor.post(at(app, "/preview?language=de"), **fields(page) | {"digest.de.other": "50%"})
    assert "contains a single per cent sign" in wrong.words


def test_every_setting_of_an_application_stands_in_one_form_of_the_dashboard(visitor, app):
    cards = {declared.card for declared in SETTINGS.values()}
    assert cards == {*settings.CARDS, *(provider.key for provider in PROVIDERS)}
    for provider in PROVIDERS:
        assert [key for key, one in SETTINGS.items() if one.card == provider.key] == list(provider.settings)
    unticked = r'<input type="hidden" name="\w+" value="off">'
    pages = [re.sub(unticked, "", visitor.get(f"/apps/{app.application_id}{path}").html) for path in PAGES]
    for key in SETTINGS:
        assert [page.count(f'name="{key}"') for page in pages].count(1) == 1, key


def test_settings_are_taken_over_all_or_none(visitor, server, app):
    path = at(app, "/finding")
    wrong = visitor.refused(
        visitor.post(path, default_region="Atlantis", require_verified_number="on", profiles="open")
    )
    assert "two-letter country code" in wrong.words and wrong.value("default_region") == "Atlantis"
    assert stored(server, app)["profiles"] == "known"
    visitor.post(path, default_region="gb", require_verified_number="on", profiles="open")
    now = stored(server, app)
    assert (now["default_region"], now["require_verified_number"], now["profiles"]) == ("GB", "on", "open")
    assert visitor.post(path, default_region="gb", require_verified_number="perhaps").is_refused


def test_a_region_that_cannot_change_any_more_is_told_and_not_asked_for(visitor, server, app):
    assert 'id="default_region"' in visitor.get(at(app)).html
    person(server, app, phone="+1 202 555 0142")
    page = visitor.get(at(app))
    assert "It cannot be changed any more" in page.words and 'id="default_region"' not in page.html
    assert visitor.post(at(app, "/finding"), require_verified_number="off", profiles="known").is_done
    assert visitor.post(at(app, "/finding"), default_region="US").is_refused


def test_a_secret_is_never_shown_and_stays_until_it_is_replaced_or_removed(visitor, server, app):
    path, key = at(app, "/codes"), "sms_twilio_auth_token"
    assert visitor.post(path, sms_twilio_auth_token="very-secret-token").is_done
    page = visitor.get(f"/apps/{app.application_id}/users/sign-in")
    assert "very-secret-token" not in page.html and "Stays as it is" in page.html
    visitor.post(path, sms_twilio_auth_token="", sms_daily_cap="5")
    assert (stored(server, app)[key], stored(server, app)["sms_daily_cap"]) == ("very-secret-token", 5)
    refused = visitor.refused(visitor.post(path, sms_twilio_auth_token="another-secret", sms_daily_cap="many"))
    assert refused.value("sms_daily_cap") == "many" and "another-secret" not in refused.html
    visitor.post(path, sms_twilio_auth_token_remove="on")
    assert stored(server, app)[key] == ""


def test_limits_of_the_process_are_shown_with_the_variables_that_set_them(visitor, app):
    page = visitor.get("/server")
    for name in Limits.__struct_fields__:
        assert f"RINGBOOK_{name.upper()}" in page.words


def test_each_change_is_in_the_audit_log(visitor, server, app):
    visitor.post(at(app, "/sessions"), session_creates_user="off", users_v1_list="on", reassigned_after_days="90")
    found = {entry.subject: entry.detail for entry in entries_behind(server, app_id=app.application_id)}
    assert found == {
        "session_creates_user": "true → false",
        "users_v1_list": "false → true",
        "reassigned_after_days": "180 → 90",
    }


def test_there_is_no_card_of_that_name(visitor, app):
    assert visitor.post(at(app, "/nothing")).status == 404


def test_a_test_is_sent_to_a_user_who_has_a_device(visitor, server, app):
    assert "No device has a push subscription yet" in visitor.get(at(app)).words
    bob = person(server, app)
    token = {"environment": "production", "client_identification_sequence": "fcm-token-of-bob"}
    wished = {"notification_channels": "gcm", "push_token": token, "device": {"udid": "u1", "platform": "android"}}
    assert bob.ask("POST", "/subscriptions", wished).status == 201
    visitor.get(at(app))
    for typed in ("nobody", ""):
        refused = visitor.refused(visitor.post(at(app, "/test"), test=typed))
        assert "nobody has this id" in refused.words and refused.value("test-user") == typed
    page = visitor.follow(visitor.post(at(app, "/test"), test=bob.login))
    assert f"A test push was queued for 1 device of user {bob.id}." in page.words
    part = visitor.get(at(app, f"/test/result?test={bob.id}"))
    assert "gcm, production" in part.words and "<html" not in part.html
    assert "gcm" not in visitor.get(at(server.app, f"/test/result?test={bob.id}")).words  # of another application


def test_whoever_saves_late_is_told_what_somebody_else_has_changed(visitor, server, app):
    other = admin(server)
    late = seen(visitor.get(at(app)), "joined")
    mine = {"contact_joined_enabled": "on", "contact_joined_template": "Mine: %s"}
    theirs = {"contact_joined_template": "Theirs: %s", "seen": seen(other.get(at(app)), "joined")}
    assert other.post(at(app, "/joined"), **theirs).is_done
    page = visitor.refused(visitor.post(at(app, "/joined"), seen=late, **mine))
    assert page.words.count("Somebody has changed these settings") == 2
    assert "it is Theirs: %s now" in page.words and "it is off now" in page.words
    assert page.value("contact_joined_template") == "Mine: %s"
    assert stored(server, app)["contact_joined_template"] == "Theirs: %s"
    assert visitor.post(at(app, "/joined"), seen=seen(page, "joined"), **mine).is_done
    assert stored(server, app)["contact_joined_template"] == "Mine: %s"


def test_a_card_is_not_late_because_another_one_was_saved(visitor, app):
    page = visitor.get(at(app))
    assert visitor.post(at(app, "/sessions"), reassigned_after_days="7").is_done
    done = visitor.post(at(app, "/joined"), contact_joined_template="%s", seen=seen(page, "joined"))
    assert done.status == 303


def seen(page, card):
    """The version of the settings in a card's form."""
    (form,) = re.findall(rf'<form method="post" action="[^"]*/{card}#{card}"[^>]*>(.*?)</form>', page.html, re.DOTALL)
    (found,) = re.findall(r'name="seen" value="([0-9a-f]{64})"', form)
    return found
