"""Retries and sign-ins of one call, without a socket or a clock."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringbook_client import Contact, Guest, Login, calls, errors
from ringbook_client.calls import App
from ringbook_client.retries import RenewSession, RetryPolicy, Send, Sleep, attempts, drive
from ringbook_client.wire import Answer

APP = App(1, "KEY")
RETRIES = RetryPolicy(retries=2, max_wait_seconds=60)
RETRIES_AND_SIGNS_IN = RetryPolicy(retries=2, max_wait_seconds=60, can_sign_in=True)
BOOK = calls.get_address_book(None)
UPLOAD = calls.upload_address_book([Contact("Bob", "12025550101")], force=True, device=None)
SIGN_UP = calls.sign_up(APP, {"login": "one", "password": "correct-horse"})
OK = Answer(200, {}, b"[]")
EXPIRED = Answer(401, {}, b'{"errors":{"base":["Required session does not exist"]}}')
UNAUTHORIZED = Answer(401, {}, b'{"errors":["Unauthorized"]}')
INTERNAL_ERROR = Answer(500, {}, b'{"errors":["Internal error"]}')
UNAVAILABLE = Answer(503, {"retry-after": "7"}, b'{"errors":["not now"]}')
RATE_LIMITED = Answer(429, {"retry-after": "9"}, b'{"errors":["Too many requests"]}')
TIMED_OUT = errors.TimedOut("the server did not answer in time")


def refused_connection():
    error = errors.Unreachable("connection refused")
    error.sent = False
    return error


def play(call, outcomes, policy=RETRIES, token="token"):
    """Run a call whose requests have these outcomes, in order; returns the steps, and the result or exception."""
    steps, left = [], list(outcomes)

    def perform(step):
        steps.append(step)
        if isinstance(step, Sleep):
            return None
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        return steps, drive(attempts(call, token, policy), perform)
    except errors.RingbookError as error:
        return steps, error


def kinds(steps):
    return [type(step).__name__ for step in steps]


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trouble", [TIMED_OUT, INTERNAL_ERROR, UNAVAILABLE, RATE_LIMITED, refused_connection()])
def test_a_repeatable_call_is_retried(trouble):
    steps, result = play(BOOK, [trouble, OK])
    assert kinds(steps) == ["Send", "Sleep", "Send"] and result == []


@pytest.mark.parametrize(
    "trouble, again",
    [(TIMED_OUT, 0), (INTERNAL_ERROR, 0), (UNAVAILABLE, 0), (RATE_LIMITED, 1), (refused_connection(), 1)],
)
def test_a_call_that_is_not_repeatable_is_retried_only_if_the_server_has_not_carried_it_out(trouble, again):
    steps, result = play(SIGN_UP, [trouble, INTERNAL_ERROR])
    assert kinds(steps).count("Send") == 1 + again and isinstance(result, errors.RingbookError)


@pytest.mark.parametrize(
    "refusal", [EXPIRED, UNAUTHORIZED, Answer(422, {}, b'{"errors":["no"]}'), Answer(200, {}, b"<html>")]
)
def test_a_refusal_is_not_retried(refusal):
    steps, result = play(BOOK, [refusal])
    assert kinds(steps) == ["Send"] and isinstance(result, errors.RingbookError)


def test_the_wait_is_the_one_of_retry_after():
    assert play(UPLOAD, [RATE_LIMITED, INTERNAL_ERROR, OK])[0][1].seconds == 9
    assert play(UPLOAD, [UNAVAILABLE, INTERNAL_ERROR, OK])[0][1].seconds == 7


def test_a_wait_longer_than_the_maximum_raises_the_error():
    steps, result = play(BOOK, [Answer(429, {"retry-after": "3600"}, b'{"errors":["Too many requests"]}')])
    assert kinds(steps) == ["Send"]
    assert isinstance(result, errors.TooMany) and result.wait_seconds == 3600


def test_retries_are_limited():
    steps, result = play(BOOK, [TIMED_OUT] * 9)
    assert kinds(steps) == ["Send", "Sleep", "Send", "Sleep", "Send"] and result is TIMED_OUT
    assert kinds(play(BOOK, [TIMED_OUT], RetryPolicy(retries=0))[0]) == ["Send"]


def test_waits_double():
    first, second = (step.seconds for step in play(BOOK, [TIMED_OUT] * 3)[0] if isinstance(step, Sleep))
    assert 0.5 <= first <= 0.75 and 1 <= second <= 1.5


def test_calls_that_must_not_be_repeated_are_not_repeatable():
    assert not calls.create_session(APP, Guest()).repeatable
    assert calls.create_session(APP, Login("ann", "correct-horse")).repeatable
    assert not calls.send_code(APP, "+12025550101").repeatable
    assert not calls.send_password_reset("ann@example.org").repeatable
    assert not calls.update_user(1, {"password": "new-password", "old_password": "old-password"}, None).repeatable


# ── sign-ins ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_session_is_renewed_and_the_call_is_repeated():
    steps, result = play(BOOK, [EXPIRED, "fresh", OK], RETRIES_AND_SIGNS_IN, token="old")
    assert steps == [Send(BOOK.request, "old"), RenewSession("old"), Send(BOOK.request, "fresh")] and result == []


def test_without_a_session_one_is_opened_first():
    steps, _ = play(BOOK, ["fresh", OK], RETRIES_AND_SIGNS_IN, token=None)
    assert steps == [RenewSession(None), Send(BOOK.request, "fresh")]


@pytest.mark.parametrize("token, outcomes", [("old", [EXPIRED, "fresh", EXPIRED]), (None, ["fresh", EXPIRED])])
def test_the_session_is_renewed_at_most_once(token, outcomes):
    steps, result = play(BOOK, outcomes, RETRIES_AND_SIGNS_IN, token=token)
    assert kinds(steps).count("RenewSession") == 1 and isinstance(result, errors.SessionExpired)


def test_a_wrong_password_does_not_renew_the_session():
    steps, result = play(BOOK, [UNAUTHORIZED], RETRIES_AND_SIGNS_IN)
    assert kinds(steps) == ["Send"] and type(result) is errors.Unauthorized


def test_opening_a_session_sends_no_token():
    opening = calls.create_session(APP, Login("ann", "correct-horse"))
    steps, result = play(opening, [EXPIRED], RETRIES_AND_SIGNS_IN, token="old")
    assert steps == [Send(opening.request, None)] and isinstance(result, errors.SessionExpired)


OUTCOMES = st.sampled_from(
    [OK, EXPIRED, UNAUTHORIZED, INTERNAL_ERROR, UNAVAILABLE, RATE_LIMITED, TIMED_OUT, refused_connection()]
)


@given(st.lists(OUTCOMES, min_size=4, max_size=12), st.sampled_from([BOOK, SIGN_UP]), st.integers(0, 3), st.booleans())
def test_for_all_outcomes_requests_and_sign_ins_are_limited(outcomes, call, retries, renews):
    steps, left = [], list(outcomes) + [TIMED_OUT] * 9

    def perform(step):
        steps.append(step)
        if isinstance(step, RenewSession):
            return "fresh"
        outcome = None if isinstance(step, Sleep) else left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with suppress(errors.RingbookError):
        drive(attempts(call, "token", RetryPolicy(retries, 60, renews)), perform)
    assert kinds(steps).count("Send") <= 2 + retries
    assert kinds(steps).count("RenewSession") <= renews
