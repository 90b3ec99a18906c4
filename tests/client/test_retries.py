"""What is sent again, what is not, and when somebody signs in anew: without a socket or a clock."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringbook_client import Contact, Guest, Login, calls, errors
from ringbook_client.calls import App
from ringbook_client.retries import RenewSession, RetryPolicy, Send, Sleep, attempts, drive
from ringbook_client.wire import Answer

APP = App(1, "KEY")
PATIENT = RetryPolicy(retries=2, max_wait_seconds=60)
RENEWS = RetryPolicy(retries=2, max_wait_seconds=60, can_sign_in=True)
BOOK = calls.get_address_book(None)
UPLOAD = calls.upload_address_book([Contact("Bob", "12025550101")], force=True, device=None)
SIGN_UP = calls.sign_up(APP, {"login": "one", "password": "correct-horse"})
OK = Answer(200, {}, b"[]")
GONE = Answer(401, {}, b'{"errors":{"base":["Required session does not exist"]}}')
WRONG = Answer(401, {}, b'{"errors":["Unauthorized"]}')
BROKEN = Answer(500, {}, b'{"errors":["Internal error"]}')
BUSY = Answer(503, {"retry-after": "7"}, b'{"errors":["not now"]}')
OFTEN = Answer(429, {"retry-after": "9"}, b'{"errors":["Too many requests"]}')
LATE = errors.TimedOut("the server did not answer in time")


def refused_connection():
    error = errors.Unreachable("nobody there")
    error.sent = False
    return error


def play(call, outcomes, policy=PATIENT, token="token"):
    """Carry out a call where one request after the other has these outcomes: the steps, and how it ended."""
    steps, left = [], list(outcomes)

    def take(step):
        steps.append(step)
        if isinstance(step, Sleep):
            return None
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        return steps, drive(attempts(call, token, policy), take)
    except errors.RingbookError as error:
        return steps, error


def kinds(steps):
    return [type(step).__name__ for step in steps]


# ── sending again ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trouble", [LATE, BROKEN, BUSY, OFTEN, refused_connection()])
def test_what_does_no_harm_twice_is_sent_again(trouble):
    steps, result = play(BOOK, [trouble, OK])
    assert kinds(steps) == ["Send", "Sleep", "Send"] and result == []


@pytest.mark.parametrize("trouble, again", [(LATE, 0), (BROKEN, 0), (BUSY, 0), (OFTEN, 1), (refused_connection(), 1)])
def test_what_might_be_done_twice_is_sent_again_only_if_it_was_not_done(trouble, again):
    steps, result = play(SIGN_UP, [trouble, BROKEN])
    assert kinds(steps).count("Send") == 1 + again and isinstance(result, errors.RingbookError)


@pytest.mark.parametrize("refusal", [GONE, WRONG, Answer(422, {}, b'{"errors":["no"]}'), Answer(200, {}, b"<html>")])
def test_a_no_is_not_asked_again(refusal):
    steps, result = play(BOOK, [refusal])
    assert kinds(steps) == ["Send"] and isinstance(result, errors.RingbookError)


def test_as_long_as_the_server_says():
    assert play(UPLOAD, [OFTEN, BROKEN, OK])[0][1].seconds == 9
    assert play(UPLOAD, [BUSY, BROKEN, OK])[0][1].seconds == 7


def test_a_wait_beyond_patience_is_the_callers_to_decide():
    steps, result = play(BOOK, [Answer(429, {"retry-after": "3600"}, b'{"errors":["Too many requests"]}')])
    assert kinds(steps) == ["Send"]
    assert isinstance(result, errors.TooMany) and result.wait_seconds == 3600


def test_it_ends():
    steps, result = play(BOOK, [LATE] * 9)
    assert kinds(steps) == ["Send", "Sleep", "Send", "Sleep", "Send"] and result is LATE
    assert kinds(play(BOOK, [LATE], RetryPolicy(retries=0))[0]) == ["Send"]


def test_waits_grow():
    first, second = (step.seconds for step in play(BOOK, [LATE] * 3)[0] if isinstance(step, Sleep))
    assert 0.5 <= first <= 0.75 and 1 <= second <= 1.5


def test_a_second_guest_would_be_somebody_else():
    assert not calls.create_session(APP, Guest()).repeatable
    assert calls.create_session(APP, Login("ann", "correct-horse")).repeatable
    assert not calls.send_code(APP, "+12025550101").repeatable
    assert not calls.update_user(1, {"password": "new-password", "old_password": "old-password"}, None).repeatable


# ── signing in anew ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_session_is_renewed_and_the_call_goes_on():
    steps, result = play(BOOK, [GONE, "fresh", OK], RENEWS, token="old")
    assert steps == [Send(BOOK.request, "old"), RenewSession("old"), Send(BOOK.request, "fresh")] and result == []


def test_without_a_session_one_is_opened_first():
    steps, _ = play(BOOK, ["fresh", OK], RENEWS, token=None)
    assert steps == [RenewSession(None), Send(BOOK.request, "fresh")]


@pytest.mark.parametrize("token, outcomes", [("old", [GONE, "fresh", GONE]), (None, ["fresh", GONE])])
def test_it_is_renewed_once(token, outcomes):
    steps, result = play(BOOK, outcomes, RENEWS, token=token)
    assert kinds(steps).count("RenewSession") == 1 and isinstance(result, errors.SessionExpired)


def test_a_wrong_password_is_no_expired_session():
    steps, result = play(BOOK, [WRONG], RENEWS)
    assert kinds(steps) == ["Send"] and type(result) is errors.Unauthorized


def test_opening_a_session_needs_none():
    opening = calls.create_session(APP, Login("ann", "correct-horse"))
    steps, result = play(opening, [GONE], RENEWS, token="old")
    assert steps == [Send(opening.request, None)] and isinstance(result, errors.SessionExpired)


OUTCOMES = st.sampled_from([OK, GONE, WRONG, BROKEN, BUSY, OFTEN, LATE, refused_connection()])


@given(st.lists(OUTCOMES, min_size=4, max_size=12), st.sampled_from([BOOK, SIGN_UP]), st.integers(0, 3), st.booleans())
def test_whatever_comes_requests_and_sign_ins_are_few(outcomes, call, retries, renews):
    steps, left = [], list(outcomes) + [LATE] * 9

    def take(step):
        steps.append(step)
        if isinstance(step, RenewSession):
            return "fresh"
        outcome = None if isinstance(step, Sleep) else left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with suppress(errors.RingbookError):
        drive(attempts(call, "token", RetryPolicy(retries, 60, renews)), take)
    assert kinds(steps).count("Send") <= 2 + retries
    assert kinds(steps).count("RenewSession") <= renews
