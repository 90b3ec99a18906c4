"""The texts of joined pushes: what is accepted, which one a recipient gets, and how it is filled in."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook import errors, plurals, push_texts
from ringbook.core import settings
from ringbook.push_texts import BUILT_IN, Own

KEY = "contact_joined_templates"
GERMAN = {"joined": "%s ist da.", "digest": {"one": "%s und %d Person", "other": "%s und %d Personen"}}
POLISH = {"one": "%s i %d osoba", "few": "%s i %d osoby", "many": "%s i %d osób"}
ENGLISH = Own("en", "Your friend %s joined.", "{}")


def checked(**languages: object) -> str:
    return settings.read(KEY, json.dumps(languages))


def test_texts_of_languages_are_accepted():
    text = json.dumps({"de": GERMAN, "pl": {"digest": POLISH}, "pt-BR": {"joined": "100%% %s"}})
    assert settings.read(KEY, text) == text
    assert settings.read(KEY, "{}") == "{}"


@pytest.mark.parametrize(
    "languages, reason",
    [
        ({"pl": {"digest": {"one": "%s", "many": "%s"}}}, "pl: the digest has no form few"),
        ({"de": {"digest": {"other": "%s"}}}, "de: the digest has no form one"),
        ({"ar": {"digest": dict.fromkeys(("one", "two", "few", "other"), "%s")}}, "ar: the digest has no form many"),
        ({"ja": {"digest": {"one": "%s"}}}, "ja: the digest has no form other"),
        ({"de": {"digest": GERMAN["digest"] | {"lots": "x"}}}, "de: lots is not a plural form; write one, other"),
        ({"de": {"joined": "%s %s"}}, "de: the text may contain %s only once; it is replaced by the name"),
        ({"de": {"joined": "%d da"}}, "de: the text contains a single per cent sign: write %% instead, or %s for the"),
        ({"de": {"digest": {"one": "%d %d", "other": "%d"}}}, "de: the form one of the digest may contain %d only"),
        ({"de": {"digest": {"one": "%d", "other": "50%"}}}, "de: the form other of the digest contains a single per"),
        ({"de": {"joined": "a\nb"}}, "de: the text must be one line, without control characters"),
        ({"de": {"joined": "x" * 256}}, "de: the text must have 1 to 255 characters"),
        ({"de": {"joined": " "}}, "de: the text must have 1 to 255 characters"),
        ({"de": {}}, "de: there is no text"),
        ({"de": GERMAN, "DE": GERMAN}, "has a language twice"),
        ({"not a language": GERMAN}, "not a language must be a language such as en or pt-BR"),
        ({f"x{chr(97 + n // 26)}{chr(97 + n % 26)}": GERMAN for n in range(51)}, "may have at most 50 languages"),
        ({"de": {"joined": 1}}, "must be a JSON object of texts by language"),
        ({"de": {"joint": "%s"}}, "must be a JSON object of texts by language"),
    ],
)
def test_texts_that_are_refused(languages, reason):
    with pytest.raises(errors.Invalid) as refused:
        checked(**languages)
    assert refused.value.reason.startswith(reason) and refused.value.field == KEY


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"de": null}'])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(errors.Invalid):
        settings.read(KEY, text)


@pytest.mark.parametrize(
    "language, forms",
    [
        ("en", ("one", "other")),
        ("de-AT", ("one", "other")),
        ("fr", ("one", "other")),  # CLDR has `many` for a million, which no digest reaches
        ("pl", ("one", "few", "many")),
        ("ar", ("one", "two", "few", "many", "other")),
        ("ja", ("other",)),
        ("zh-Hant-TW", ("other",)),
        ("de-XX", ("one", "other")),
        ("tlh", ("other",)),
    ],
)
def test_plural_forms_that_a_language_needs(language, forms):
    assert plurals.forms(language) == forms


@pytest.mark.parametrize(
    "locale, joined, digest",
    [
        ("de", "%s ist da.", "A, B und 3 Personen"),
        ("de-AT", "%s ist da.", "A, B und 3 Personen"),
        ("DE_at", "%s ist da.", "A, B und 3 Personen"),
        ("pl", "Your friend %s joined.", "A, B i 3 osoby"),
        ("fr", "Your friend %s joined.", "A, B and 3 others joined."),
        ("de-AT-x", "%s ist da.", "A, B und 3 Personen"),
        ("", "Your friend %s joined.", "A, B and 3 others joined."),
        (None, "Your friend %s joined.", "A, B and 3 others joined."),
        ("%s/…\0", "Your friend %s joined.", "A, B and 3 others joined."),
    ],
)
def test_a_text_is_looked_for_in_the_recipients_language_then_in_the_applications(locale, joined, digest):
    own = ENGLISH._replace(templates=json.dumps({"de": GERMAN, "pl": {"digest": POLISH}}))
    assert push_texts.joined(own, locale) == joined
    assert push_texts.digest(own, locale, ["A", "B"], 3) == digest


def test_the_applications_language_is_not_english():
    own = Own("de-AT", "Servus %s", json.dumps({"de": {"digest": GERMAN["digest"]}, "fr": {"joined": "Bonjour %s"}}))
    assert push_texts.joined(own, "it") == "Servus %s" and push_texts.joined(own, "fr-CA") == "Bonjour %s"
    assert push_texts.digest(own, "fr", ["A"], 1) == "A und 1 Person"


@pytest.mark.parametrize(
    "stored", ["", "null", "[1]", '{"de": {"digest": {"few": ""}}}', '{"de": {"digest": {"a": ""}}}']
)
def test_texts_that_were_stored_badly_never_raise(stored):
    own = ENGLISH._replace(templates=stored)
    assert push_texts.joined(own, "de") == "Your friend %s joined."
    assert isinstance(push_texts.digest(own, "de", ["A"], 2), str)


@given(st.text(), st.lists(st.text(), max_size=2), st.integers(0, 2**40))
def test_texts_never_raise_and_names_stay_as_they_are(locale, names, others):
    own = ENGLISH._replace(templates=json.dumps({"de": GERMAN, "ja": {"digest": {"other": "%s %d%%"}}}))
    text = push_texts.digest(own, locale, names, others)
    assert all(push_texts.shortened(name) in text for name in names)


def test_the_built_in_digest_has_the_forms_of_its_language():
    assert tuple(BUILT_IN) == plurals.forms(push_texts.BUILT_IN_LANGUAGE)


def test_the_library_of_languages_is_not_loaded_before_it_is_needed():
    code = "import sys, ringbook.worker.courier, ringbook.server.process; sys.exit('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
