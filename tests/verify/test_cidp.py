"""An application's own identity provider: what it is asked, and what its answers come to."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import free_port
from verify.gateway import Gateway, listening

from ringbook import errors
from ringbook.app_settings import AppSettings
from ringbook.outbound.requests import Answer, Outgoing
from ringbook.verify import cidp
from ringbook.verify.cidp import Identity

LOCAL = Outgoing(allow_private=True, timeout_seconds=2)
ANN = {"user": {"id": 7, "name": "Ann", "mail": "ann@example.com", "phones": ["+12025550142"]}, "login": "ann"}
EVERYTHING = {
    "uid": "#{user.id}",
    "login": "#{login}",
    "full_name": "#{user.name}",
    "email": "#{user.mail}",
    "phone": "#{user.phones.0}",
}


@pytest.fixture
def provider() -> Iterator[Gateway]:
    """A provider that knows Ann, whatever it is asked."""
    with listening() as running:
        running.url, running.body = f"{running.url}/here", json.dumps(ANN).encode()
        yield running


def settings(provider: Gateway, **others: str) -> AppSettings:
    """An application's, with this provider."""
    return AppSettings(**({"cidp_url": provider.url, "cidp_response": json.dumps(EVERYTHING)} | others))


def asked(app: AppSettings, login: str = "token-1", password: str = "x") -> Identity:
    return cidp.identify(app, LOCAL, login, password)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_in_goes_to_the_provider_and_its_answer_says_who_it_is(provider: Gateway):
    assert asked(settings(provider)) == Identity("7", "ann", "Ann", "ann@example.com", "+12025550142")
    assert provider.paths == ["/here?token=token-1"]


def test_by_default_only_the_uid_is_taken(provider: Gateway):
    assert asked(AppSettings(cidp_url=provider.url)) == Identity("7", "", "", "", "")


def test_parameters_are_filled_in_and_escaped(provider: Gateway):
    request = {"u": "#{login}", "p": "#{password}", "both": "#{login}:#{ password }", "key": "k&1", "none": "#{other}"}
    asked(settings(provider, cidp_request=json.dumps(request)), "a&b=ü #{password}", "p+%41\n")
    (path,) = provider.paths
    assert dict(parse_qsl(urlsplit(path).query, keep_blank_values=True)) == {
        "u": "a&b=ü #{password}",
        "p": "p+%41\n",
        "both": "a&b=ü #{password}:p+%41\n",
        "key": "k&1",
        "none": "",
    }


def test_a_query_that_the_address_has_is_kept_and_a_fragment_is_not_sent(provider: Gateway):
    asked(settings(provider, cidp_url=f"{provider.url}?tenant=5#top"))
    assert provider.paths == ["/here?tenant=5&token=token-1"]


@given(st.text(), st.text())
def test_what_was_typed_stays_in_its_parameter(login: str, password: str):
    app = AppSettings(cidp_url="https://id.example/verify", cidp_request='{"a": "#{login}", "b": "#{password}"}')
    url = cidp.request_url(app, login, password)
    assert url.isascii() and url.isprintable() and " " not in url
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [("a", login), ("b", password)]


def test_a_log_in_that_is_too_long_is_not_sent(provider: Gateway):
    with pytest.raises(errors.Invalid, match="too long"):
        asked(settings(provider), "x" * 8192)
    assert provider.paths == []


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(values: Any, **mapping: str) -> Identity:
    return cidp.read_answer(Answer(200, json.dumps(values).encode()), {"uid": "#{id}"} | mapping)


@pytest.mark.parametrize("given, uid", [(7, "7"), ("7", "7"), ("a-b", "a-b"), (-1, "-1"), (0, "0"), ("Ann B", "Ann B")])
def test_a_uid_is_a_text_or_an_integer(given: Any, uid: str):
    assert read({"id": given}).uid == uid


@pytest.mark.parametrize("values", [{"id": value} for value in (None, "", " ", "\u200b", True, 1.5, [], {}, ["a"])])
def test_anything_else_is_no_uid(values: Any):
    with pytest.raises(errors.Invalid) as refused:
        read(values)
    said = 'Custom Identity Provider responded with an error = "the answer holds no uid". Status code = 200'
    assert refused.value.reason == said


@pytest.mark.parametrize("values", [{}, [], None, "id", 5, {"user": {"id": 1}}, {"ID": 1}])
def test_an_answer_without_the_uid_is_refused(values: Any):
    with pytest.raises(errors.Invalid, match="the answer holds no uid"):
        read(values)


def test_a_uid_of_several_parts_needs_them_all():
    assert read({"org": 3, "id": 7}, uid="#{org}/#{id}").uid == "3/7"
    for part in ({"org": 3}, {"id": 7}):
        with pytest.raises(errors.Invalid, match="no uid"):
            read(part, uid="#{org}/#{id}")


def test_a_uid_that_would_be_everybodys_is_refused():
    with pytest.raises(errors.Invalid, match="no uid"):
        read({"id": 7}, uid="user")


@pytest.mark.parametrize("given", [" bob", "bob\n", "bob\u200b", "b\u202eob", "b  ob", "bob\u00a0", "b\x00ob"])
def test_a_uid_is_taken_as_it_is_or_not_at_all(given: str):
    """Two that differ only in what cannot be seen are two people's."""
    with pytest.raises(errors.Invalid, match="cannot be seen"):
        read({"id": given})


def test_a_uid_has_at_most_255_characters():
    assert len(read({"id": "x" * 255}).uid) == 255
    with pytest.raises(errors.Invalid, match="the uid is too long"):
        read({"id": "x" * 256})


def test_paths_lead_through_objects_and_lists():
    values = {"id": 1, "a": [{"b.c": "no", "b": ["x", {"c": "found"}]}]}
    assert read(values, full_name="#{a.0.b.1.c}").full_name == "found"
    for path in ("a.1.b", "a.-1.b", "a.b", "a.0", "a.0.b.1.c.d", "", ".", "a..b", "a.99999999999999999999"):
        assert read(values, full_name=f"#{{{path}}}").full_name == ""


def test_a_field_may_be_put_together_and_is_cleaned():
    values = {"id": 1, "first": " Ann\x00\n", "last": "Example\u202e", "mail": None, "phone": 12025550142}
    found = read(values, full_name="#{first} #{ last }", email="#{mail}", phone="+#{phone}")
    assert (found.full_name, found.email, found.phone) == ("Ann Example", "", "+12025550142")


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

REFUSALS: list[tuple[int, bytes, str]] = [
    (404, b'{"error": "Token invalid"}', "Token invalid"),
    (401, b'{"message": "Token expired"}', "Token expired"),
    (403, b'"not you"', "not you"),
    (404, b"Token invalid\n", "Token invalid"),
    (404, b'{"error": {"code": 5}}', "Not Found"),
    (404, b"", "Not Found"),
    (500, b"<html><h1>Oops</h1></html>", "Internal Server Error"),
    (400, b'{"error": ', "Bad Request"),
    (400, b'{"error": "' + b"x" * 500 + b'"}', "x" * 200),
    (400, b'{"error": "two\\nlines\\u0000\\u202e"}', "two lines"),
    (400, b"caf\xff", "caf"),
    (400, b"[" * 5000, "Bad Request"),
    (599, b"", "no reason given"),
    (201, json.dumps(ANN).encode(), "Created"),
    (204, b"", "No Content"),
    (200, b"ann", "the answer is not JSON"),
    (200, b"", "the answer is not JSON"),
    (200, b"[" * 5000, "the answer is not JSON"),
    (200, b'{"user": {"id": "\xff"}}', "the answer is not JSON"),
]


@pytest.mark.parametrize("status, body, error", REFUSALS)
def test_a_no_has_the_documented_words(status: int, body: bytes, error: str, provider: Gateway):
    provider.status, provider.body = status, body
    with pytest.raises(errors.Invalid) as refused:
        asked(settings(provider))
    said = f'Custom Identity Provider responded with an error = "{error}". Status code = {status}'
    assert (refused.value.reason, refused.value.field) == (said, "")


def test_a_redirect_is_not_followed(provider: Gateway):
    with listening() as elsewhere:
        provider.status, provider.headers = 302, {"Location": elsewhere.url}
        with pytest.raises(errors.Invalid, match="Status code = 302"):
            asked(settings(provider))
        assert elsewhere.paths == []


@pytest.mark.parametrize(
    "url, why",
    [
        ("http://127.0.0.1:{port}/", "must begin with https"),
        ("https://127.0.0.1:{port}/", "is on a private network"),
        ("https://localhost:{port}/", "is on a private network"),
    ],
)
def test_a_private_address_is_not_asked_unless_it_is_allowed(
    url: str, why: str, provider: Gateway, capfd: pytest.CaptureFixture[str]
):
    port = urlsplit(provider.url).port
    address = url.format(port=port)
    with pytest.raises(errors.Unavailable):
        cidp.identify(settings(provider, cidp_url=address), Outgoing(ports=[port]), "token-1", "x")
    assert provider.paths == []
    assert why in "".join(capfd.readouterr())


def test_a_provider_that_is_away_or_too_long_winded_is_unavailable(provider: Gateway):
    provider.body = b'{"user": {"id": 7}, "more": "' + b"x" * 1_100_000 + b'"}'
    with pytest.raises(errors.Unavailable):
        asked(settings(provider))
    with pytest.raises(errors.Unavailable):
        asked(settings(provider, cidp_url=f"http://127.0.0.1:{free_port()}/"))


def test_nothing_that_was_typed_or_answered_is_logged(provider: Gateway, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(errors.Unavailable):
        asked(
            settings(provider, cidp_url=f"http://127.0.0.1:{free_port()}/secret-path"),
            "secret-login",
            "secret-password",
        )
    printed = "".join(capfd.readouterr())
    assert "identity provider not reached" in printed
    assert "secret" not in printed
