"""Firebase ID tokens: which are believed, and how long the keys behind them are."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from servers import free_port
from verify.certificates import PHONE, PROJECT, Key, Source, claims, publishing

from ringbook import errors
from ringbook.config import Config
from ringbook.outbound.requests import Answer, Outgoing, Unreachable
from ringbook.verify import Outside, firebase
from ringbook.verify.firebase import Certificates, Proof, fresh_seconds, read_keys

NOW = 1_800_000_000
LOCAL = Outgoing(allow_private=True, timeout_seconds=2)
OLD, NEW, STRANGER = Key("old"), Key("new"), Key("stranger")
RIGHT = Proof("subject-1", PHONE, "")


@pytest.fixture
def source() -> Iterator[Source]:
    with publishing(OLD) as published:
        yield published


@pytest.fixture
def certificates(source: Source) -> Certificates:
    return Certificates(LOCAL, source.url)


@pytest.fixture(scope="module")
def kept() -> Iterator[Certificates]:
    """The same for many examples."""
    with publishing(OLD) as published:
        yield Certificates(LOCAL, published.url)


def unsigned(said: Any, **header: Any) -> str:
    """A token as the emulator makes them: alg none, and no signature."""
    return f"{part({'alg': 'none', 'typ': 'JWT'} | header)}.{part(said)}."


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Held(Outgoing):
    """Makes its request when a test lets it."""

    begun, release = threading.Event(), threading.Event()

    def request(self, *asked: Any, **how: Any) -> Answer:
        self.begun.set()
        assert self.release.wait(60)
        return LOCAL.request(*asked, **how)


def nobody_listens() -> str:
    return f"http://127.0.0.1:{free_port()}/"


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["certificates", "jwk_set"])
def test_a_right_token_proves_the_number(form: str, source: Source, certificates: Certificates):
    getattr(source, form)(OLD, NEW)
    for key in (OLD, NEW):
        assert firebase.verify(key.token(claims(NOW)), PROJECT, certificates, NOW) == RIGHT
    assert len(source.asked) == 1


STRANGE = ("+1202555014\uff12", "+" + "1" * 16, "tel:+12025550142", "abc")  # Firebase writes E.164


def test_a_right_token_without_a_number_proves_none(certificates: Certificates):
    for phone in (None, 12025550142, ["+12025550142"], "2025550142", "+1 202 555 0142", "+12025550142\n", *STRANGE):
        token = OLD.token(claims(NOW, phone_number=phone))
        assert firebase.verify(token, PROJECT, certificates, NOW) == Proof("subject-1", "", "")


@pytest.mark.parametrize(
    "email, verified, expected",
    [("ann@example.com", True, "ann@example.com"), ("ann@example.com", False, ""), ("ann@example.com", None, "")]
    + [("ann@example.com", "true", ""), (None, True, ""), (["ann@example.com"], True, "")],
)
def test_an_e_mail_counts_when_firebase_has_verified_it(
    email: Any, verified: Any, expected: str, certificates: Certificates
):
    token = OLD.token(claims(NOW, phone_number=None, email=email, email_verified=verified))
    assert firebase.verify(token, PROJECT, certificates, NOW) == Proof("subject-1", "", expected)


@pytest.mark.parametrize(
    "wrong, why",
    [
        ({"exp": NOW - 61}, "it has expired"),
        ({"exp": NOW - 60}, "it has expired"),
        ({"iat": NOW + 61}, "it comes from the future"),
        ({"aud": "another-project"}, "it was made for another project"),
        ({"aud": [PROJECT, "another-project"]}, "it was made for another project"),
        ({"iss": "https://securetoken.google.com/another-project"}, "somebody else has issued it"),
        ({"iss": f"https://session.firebase.google.com/{PROJECT}"}, "somebody else has issued it"),
        ({"sub": ""}, "it is about nobody"),
        ({"sub": "x" * 129}, "it is about nobody"),
        ({"sub": "a\x00b"}, "it is about nobody"),
        ({"sub": 5}, "it cannot be read"),
        *(({name: None}, "a claim is missing") for name in ("exp", "iat", "sub", "aud", "iss")),
        ({"exp": "soon"}, "a time in it is none"),
        ({"exp": True}, "a time in it is none"),
        ({"exp": float("nan")}, "a time in it is none"),
        ({"iat": float("-inf")}, "a time in it is none"),
        ({"exp": 10**400}, "a time in it is none"),
        ({"iat": -(10**400)}, "a time in it is none"),
        ({"auth_time": NOW + 61}, "it comes from the future"),
        ({"auth_time": "now"}, "a time in it is none"),
        ({"nbf": NOW + 61}, "it comes from the future"),
    ],
)
def test_a_wrong_claim_is_refused(wrong: dict[str, Any], why: str, certificates: Certificates):
    with pytest.raises(errors.Invalid) as refused:
        firebase.verify(OLD.token(claims(NOW, **wrong)), PROJECT, certificates, NOW)
    assert refused.value.reason == f"the Firebase token is not valid: {why}"
    assert refused.value.field == "token"


def test_clocks_may_differ_by_less_than_a_minute(certificates: Certificates):
    for near in ({"exp": NOW - 59}, {"iat": NOW + 60}, {"auth_time": NOW + 60}, {"nbf": NOW + 60}):
        assert firebase.verify(OLD.token(claims(NOW, **near)), PROJECT, certificates, NOW) == RIGHT


def with_public_key_as_secret(said: dict[str, Any]) -> str:
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': OLD.id})}.{part(said)}"
    mac = hmac.digest(OLD.public_pem.encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


UNFETCHED: dict[str, Any] = {
    "unsigned": (lambda: unsigned(claims(NOW), kid=OLD.id), "it is not signed with RS256"),
    "signed with the public key as a secret": (
        lambda: with_public_key_as_secret(claims(NOW)),
        "it is not signed with RS256",
    ),
    "another algorithm": (
        lambda: jwt.encode(claims(NOW), OLD.private, "RS512", headers={"kid": OLD.id}),
        "it is not signed with RS256",
    ),
    "an elliptic key": (
        lambda: jwt.encode(claims(NOW), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": OLD.id}),
        "it is not signed with RS256",
    ),
    "no algorithm": (lambda: f"{part({'kid': 'old'})}.{part(claims(NOW))}.eA", "it is not signed with RS256"),
    "no key id": (lambda: OLD.token(claims(NOW), kid=None), "it names no key"),
    "an empty key id": (lambda: OLD.token(claims(NOW), kid=""), "it names no key"),
    "a key id that is no text": (
        lambda: f"{part({'alg': 'RS256', 'kid': 7})}.{part(claims(NOW))}.x",
        "it cannot be read",
    ),
    "too long": (lambda: OLD.token(claims(NOW, more="x" * 8192)), "it is too long"),
    "empty": (lambda: "", "it cannot be read"),
    "cut in its first part": (lambda: OLD.token(claims(NOW))[:20], "it cannot be read"),
    "cut in its second part": (lambda: OLD.token(claims(NOW)).rpartition(".")[0], "it cannot be read"),
    "a part too many": (lambda: OLD.token(claims(NOW)) + ".x", "it cannot be read"),
    "not ASCII": (lambda: "schlüssel.schlüssel.schlüssel", "it cannot be read"),
    "half a character": (lambda: "\ud800.a.b", "it cannot be read"),
    "deeply nested": (
        lambda: f"{base64.urlsafe_b64encode(b'[' * 5000).decode().rstrip('=')}.e30.x",
        "it cannot be read",
    ),
    "a header that is a list": (lambda: f"{part([])}.{part(claims(NOW))}.x", "it cannot be read"),
}


@pytest.mark.parametrize("token, why", UNFETCHED.values(), ids=UNFETCHED.keys())
def test_what_no_certificate_could_make_right_is_refused_before_any_is_fetched(
    token: Any, why: str, source: Source, certificates: Certificates
):
    with pytest.raises(errors.Invalid) as refused:
        firebase.verify(token(), PROJECT, certificates, NOW)
    assert refused.value.reason == f"the Firebase token is not valid: {why}"
    assert len(source.asked) == 0


FORGED: dict[str, Any] = {
    "an unknown key": (lambda: STRANGER.token(claims(NOW)), "its key is unknown"),
    "another key under a known id": (lambda: STRANGER.token(claims(NOW), kid=OLD.id), "its signature is wrong"),
    "cut in its signature": (lambda: OLD.token(claims(NOW))[:-2], "its signature is wrong"),
    "no signature": (lambda: OLD.token(claims(NOW)).rpartition(".")[0] + ".", "its signature is wrong"),
    "another payload": (
        lambda: ".".join([OLD.token({}).split(".")[0], part(claims(NOW)), OLD.token({}).split(".")[2]]),
        "its signature is wrong",
    ),
    "a payload that is a list": (
        lambda: jwt.api_jws.encode(b"[]", OLD.private, "RS256", headers={"kid": OLD.id}),
        "it cannot be read",
    ),
}


@pytest.mark.parametrize("token, why", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_refused(token: Any, why: str, certificates: Certificates):
    with pytest.raises(errors.Invalid) as refused:
        firebase.verify(token(), PROJECT, certificates, NOW)
    assert refused.value.reason == f"the Firebase token is not valid: {why}"


TOKEN = OLD.token(claims(NOW))


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_token_with_one_character_changed_is_refused_or_says_the_same(kept: Certificates, place: int, character: str):
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    try:
        assert firebase.verify(changed, PROJECT, kept, NOW) == RIGHT
    except errors.Invalid as refused:
        assert refused.field == "token"


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode() + ".e30.x"))
def test_anything_else_is_refused_in_words(text: str):
    for certificates in (Certificates(LOCAL, nobody_listens()), None):
        with pytest.raises(errors.Invalid):
            firebase.verify(text, PROJECT, certificates, NOW)


# ── the emulator ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_emulators_tokens_need_no_signature_but_right_claims():
    assert firebase.verify(unsigned(claims(NOW)), PROJECT, None, NOW) == RIGHT
    for wrong in ({"aud": "x"}, {"iss": "x"}, {"exp": NOW - 61}, {"iat": NOW + 61}, {"sub": ""}, {"sub": None}):
        with pytest.raises(errors.Invalid):
            firebase.verify(unsigned(claims(NOW, **wrong)), PROJECT, None, NOW)


def test_with_the_emulator_no_other_token_is_believed():
    for other in (OLD.token(claims(NOW)), with_public_key_as_secret(claims(NOW))):
        with pytest.raises(errors.Invalid, match="not one of the Firebase Auth emulator"):
            firebase.verify(other, PROJECT, None, NOW)


def test_only_a_configured_emulator_stands_in_for_the_certificates():
    assert Outside.of(Config(firebase_auth_emulator_host="127.0.0.1:9099")).certificates is None
    usual = Outside.of(Config()).certificates
    assert usual and usual.url == firebase.CERTIFICATES_URL


def test_the_operators_own_certificate_address_may_be_private(source: Source):
    outside = Outside.of(Config(firebase_certificates_url=source.url))
    assert outside.certificates and outside.certificates.key(OLD.id, NOW)
    assert not outside.outgoing.allow_private


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_certificates_are_kept_as_long_as_their_headers_say(source: Source, certificates: Certificates):
    for now, asked in [(NOW, 1), (NOW + 3599, 1), (NOW + 3600, 2), (NOW + 3601, 2), (NOW + 7200, 3)]:
        assert certificates.key(OLD.id, now)
        assert len(source.asked) == asked


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"cache-control": "public, max-age=21600, must-revalidate, no-transform"}, 21600),
        ({"cache-control": 'Max-Age="90"'}, 90),
        ({"cache-control": "max-age=21600", "age": "600"}, 21000),
        ({"cache-control": "max-age=600", "age": "601"}, 1),
        ({"cache-control": "max-age=0"}, 1),
        ({"cache-control": "no-store"}, 1),
        ({"cache-control": "no-cache, max-age=600"}, 1),
        ({"cache-control": "max-age=" + "9" * 5000}, 86400),
        ({"cache-control": "max-age=-5", "expires": formatdate(NOW + 600)}, 600),
        ({"expires": formatdate(NOW + 600, usegmt=True)}, 600),
        ({"expires": formatdate(NOW - 600)}, 1),
        ({"expires": "0"}, 1),
        ({"cache-control": "max-age=60", "expires": formatdate(NOW + 600)}, 60),
        ({}, 300),
        ({"cache-control": "public"}, 300),
    ],
)
def test_what_headers_say_of_keeping(headers: dict[str, str], seconds: int):
    assert fresh_seconds(headers, NOW) == seconds


def test_an_unknown_key_fetches_at_once_and_then_at_most_every_30_seconds(source: Source, certificates: Certificates):
    assert certificates.key(OLD.id, NOW)
    source.certificates(OLD, NEW)
    assert certificates.key(NEW.id, NOW + 1)
    for _ in range(3):
        assert certificates.key(STRANGER.id, NOW + 30) is None
    assert len(source.asked) == 2
    assert certificates.key(STRANGER.id, NOW + 31) is None
    assert len(source.asked) == 3


def test_a_key_that_the_source_no_longer_has_is_not_believed(source: Source, certificates: Certificates):
    assert certificates.key(OLD.id, NOW)
    source.certificates(NEW)
    assert certificates.key(OLD.id, NOW + 3600) is None


TROUBLES: dict[str, dict[str, Any]] = {
    "an error": {"status": 503},
    "a redirect": {"status": 302},
    "no JSON": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "deeply nested": {"body": b"[" * 5000},
    "half a character": {"body": b'{"old": "\xff"}'},
    "no keys": {"body": b"{}"},
    "an empty set": {"body": b'{"keys": []}'},
    "no certificate": {"body": b'{"old": "-----BEGIN"}'},
    "a number": {"body": b'{"old": 5}'},
    "a secret as a key": {"body": json.dumps({"keys": [{"kty": "oct", "kid": "old", "k": "c2VjcmV0"}]}).encode()},
    "keys that are none": {"body": b'{"keys": [5]}'},
    "too much": {"body": b'{"old": "' + b"x" * 1_100_000 + b'"}'},
    "slow": {"during": lambda: time.sleep(1.5)},
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_old_keys_stay_while_the_source_has_none(trouble: dict[str, Any], source: Source):
    certificates = Certificates(Outgoing(allow_private=True, timeout_seconds=1), source.url)
    assert certificates.key(OLD.id, NOW)
    for name, value in trouble.items():
        setattr(source, name, value)
    assert certificates.key(OLD.id, NOW + 3600)
    assert certificates.key(OLD.id, NOW + 3659)
    assert len(source.asked) == 2
    assert certificates.key(OLD.id, NOW + 3660)
    assert len(source.asked) == 3


def test_a_key_that_nobody_can_be_asked_for_is_unavailable_not_invalid(source: Source, certificates: Certificates):
    source.status = 500
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            firebase.verify(OLD.token(claims(NOW)), PROJECT, certificates, NOW)
    source.status = 200
    assert firebase.verify(OLD.token(claims(NOW)), PROJECT, certificates, NOW) == RIGHT


def test_while_the_source_is_away_a_key_id_that_is_not_known_is_refused_and_the_known_ones_are_believed(
    source: Source, certificates: Certificates
):
    assert certificates.key(OLD.id, NOW)
    source.status = 500
    for now in (NOW + 60, NOW + 3600, NOW + 7200):
        with pytest.raises(errors.Invalid, match="its key is unknown"):
            firebase.verify(NEW.token(claims(now)), PROJECT, certificates, now)
        assert firebase.verify(OLD.token(claims(now)), PROJECT, certificates, now) == RIGHT
    source.status = 200
    source.certificates(OLD, NEW)
    assert firebase.verify(NEW.token(claims(NOW + 7300)), PROJECT, certificates, NOW + 7300) == RIGHT


def test_a_source_where_nobody_listens_is_unavailable():
    with pytest.raises(errors.Unavailable):
        Certificates(LOCAL, nobody_listens()).key(OLD.id, NOW)


def test_a_source_that_takes_long_to_fail_is_left_alone_for_a_while(source: Source):
    certificates = Certificates(Outgoing(allow_private=True, timeout_seconds=1), source.url)
    source.during = lambda: time.sleep(1.5)
    for now, asked in [(NOW, 1), (NOW, 1), (NOW + 60, 2)]:
        with pytest.raises(errors.Unavailable):
            certificates.key(OLD.id, now)
        assert len(source.asked) == asked


def test_many_at_once_fetch_once(source: Source, certificates: Certificates):
    source.during = lambda: time.sleep(0.2)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: certificates.key(OLD.id, NOW), range(8)))
    assert len(source.asked) == 1


def test_many_at_once_with_a_key_just_published_fetch_once_and_all_find_it(source: Source, certificates: Certificates):
    assert certificates.key(OLD.id, NOW)
    source.certificates(NEW)
    source.during = lambda: time.sleep(0.2)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: certificates.key(NEW.id, NOW + 1), range(8)))
    assert len(source.asked) == 2


def test_while_one_fetches_the_others_use_old_keys(source: Source):
    outgoing = Held(allow_private=True, timeout_seconds=60)
    certificates = Certificates(outgoing, source.url)
    outgoing.release.set()
    assert certificates.key(OLD.id, NOW)
    outgoing.begun.clear()
    outgoing.release.clear()
    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(certificates.key, OLD.id, NOW + 3600)
        try:
            assert outgoing.begun.wait(10)
            assert pool.submit(certificates.key, OLD.id, NOW + 3600).result(10)
            assert not fetching.done()
        finally:
            outgoing.release.set()
        assert fetching.result(10)
    assert len(source.asked) == 2


def test_read_keys_takes_rsa_keys_for_signatures_only():
    elliptic = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}
    others = [elliptic | {"kid": "ec"}, secret, NEW.jwk | {"use": "enc"}, {**STRANGER.jwk, "kid": ""}]
    assert list(read_keys(json.dumps({"keys": [*others, OLD.jwk]}).encode())) == [OLD.id]
    with pytest.raises(Unreachable, match="no RSA key"):
        read_keys(json.dumps({"keys": others}).encode())


def test_fetched_says_why_there_is_nothing(source: Source, certificates: Certificates):
    assert list(certificates.fetched()) == [OLD.id]
    source.status = 404
    with pytest.raises(Unreachable, match="status 404"):
        certificates.fetched()
