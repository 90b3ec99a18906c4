"""One-time codes: who gets one, how it is verified, and what is charged. On both databases."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import structlog
from sealed import add_number, buckets
from servers import eventually, free_port
from verify.gateway import Gateway

from ringbook import errors, metrics, phone
from ringbook.config import Config, Limits
from ringbook.core import applications, charging, codes
from ringbook.core.codes import LIFE_SECONDS, MOST_ATTEMPTS, REPEAT_SECONDS, Sent
from ringbook.model import App
from ringbook.outbound.requests import Outgoing
from ringbook.store import users
from ringbook.store.db import Database
from ringbook.times import DAY, HOUR
from ringbook.worker import jobs

NOW = 1_800_000_000
LOCAL = Outgoing(allow_private=True, timeout_seconds=10)
HASTY = Outgoing(allow_private=True, timeout_seconds=1)
ANN, BOB = "+44 7700 900123", "+1 202-555-0142"
NO_LIMITS = {
    "codes_per_number_per_hour": 0,
    "codes_per_address_per_hour": 0,
    "subnet_codes_per_hour": 0,
    "network_codes_per_hour": 0,
}
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def app(db: Database, gateway: Gateway) -> App:
    return with_settings(applications.create(db, "tests", NOW), sms_gateway_url=f"{gateway.url}/send")


def with_settings(app: App, **settings: Any) -> App:
    usual = {"sms_gateway": "http", "sms_regions": "GB,US"}
    return msgspec.structs.replace(app, settings=msgspec.structs.replace(app.settings, **usual | settings))


def ask(
    db: Database,
    app: App,
    typed: str = ANN,
    now: int = NOW,
    *,
    address: str = HERE,
    limits: Limits | None = None,
    outgoing: Outgoing = LOCAL,
) -> Sent:
    return codes.send(db, limits or Limits(), app, outgoing, typed, address, now)


def known(db: Database, app: App, typed: str = ANN) -> None:
    """A user has signed in with this number before."""
    with db.write() as tx:
        user_id = users.insert(tx, app.id, {"phone": typed}, NOW)
        assert user_id
        add_number(tx, app.id, user_id, phone.read(typed), verified_at=1)


def code(gateway: Gateway) -> str:
    """The code in the last message."""
    return str(json.loads(gateway.asked[-1].body)["text"].split()[0])


def wrong(gateway: Gateway, step: int = 1) -> str:
    return f"{(int(code(gateway)) + step) % 10**6:06}"


def rows(db: Database, table: str) -> list[dict[str, Any]]:
    with db.read() as tx:
        return sorted(tx.all(f"SELECT * FROM {table}"), key=str)


def used_of_all(db: Database) -> dict[str, float]:
    """What is used of every bucket, by its name."""
    with db.read() as tx:
        return buckets(tx)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_code_of_six_digits_is_sent_to_the_number_and_opens_it(db, app, gateway):
    asked = ask(db, app, "0044 (0)7700 / 900-123")
    assert (asked.expires_at, asked.resend_at) == (NOW + 600, NOW + 30)
    message = json.loads(gateway.asked[0].body)
    assert message["to"] == "+447700900123"
    assert message["text"] == f"{code(gateway)} is your code." and len(code(gateway)) == 6 and code(gateway).isdigit()
    assert codes.verify(db, app, asked.request_id, code(gateway), NOW + 1) == "0044 (0)7700 / 900-123"


def test_codes_that_begin_with_zeros_keep_them(db, app, gateway, monkeypatch):
    monkeypatch.setattr(codes, "_code", lambda *_: "000042")
    asked = ask(db, app)
    assert code(gateway) == "000042"
    with pytest.raises(errors.Invalid):
        codes.verify(db, app, asked.request_id, "42", NOW)
    assert codes.verify(db, app, asked.request_id, " 000 042\n", NOW) == ANN


def test_codes_and_request_ids_come_from_all_there_are(db, app, gateway):
    free = Limits(codes_per_number_per_hour=0, codes_per_address_per_hour=0)
    ids = {ask(db, app, ANN, NOW + n * LIFE_SECONDS, limits=free).request_id for n in range(20)}
    sent = [int(json.loads(asked.body)["text"].split()[0]) for asked in gateway.asked]
    assert len(ids) == 20 and len(set(sent)) > 15
    assert min(sent) < 500_000 < max(sent)  # false for one run in half a million


def test_the_code_is_stored_as_a_keyed_hash_only(db, app, gateway):
    asked = ask(db, app)
    stored = rows(db, "codes")[0]
    assert code(gateway) not in repr(stored)
    plain = [code(gateway), asked.request_id + code(gateway), f"{asked.request_id} {code(gateway)}"]
    assert bytes(stored["code_hash"]) not in [hashlib.sha256(text.encode()).digest() for text in plain]
    assert len(bytes(stored["code_hash"])) == 32


def test_no_transaction_is_open_while_the_gateway_is_asked(db, app, gateway):
    gateway.during = lambda: applications.create(db, "meanwhile", NOW)
    gateway.status = 500
    with pytest.raises(errors.Unavailable, match="answered 500"):
        ask(db, app)
    assert {row["name"] for row in rows(db, "applications")} == {"tests", "meanwhile"}


def test_who_has_an_account_is_answered_like_everybody_else(db, app, gateway):
    with db.write() as tx:
        user_id = users.insert(tx, app.id, {"phone": ANN}, NOW)
        assert user_id
        add_number(tx, app.id, user_id, 447700900123)
    known, unknown = ask(db, app, ANN), ask(db, app, BOB)
    assert (known.expires_at, known.resend_at) == (unknown.expires_at, unknown.resend_at)
    assert [json.loads(asked.body)["text"][6:] for asked in gateway.asked] == [" is your code."] * 2
    for typed in (ANN, BOB):
        with pytest.raises(errors.TooMany, match="just been sent") as refused:
            ask(db, app, typed, NOW + 10)
        assert (refused.value.wait_seconds, refused.value.limit) == (20, "code_resend_seconds")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "call me",
        "7700 900123",
        "07700 900123",
        "447700900123",
        "2025550142",
        "+44 7700 9001",
        "+999 1234567890",
        "+1 202 555 01425",
        "+44 7700 900123" + " " * 60,
        "+44\x007700900123",
        "+\ud83d447700900123",
    ],
)
def test_a_number_that_is_not_whole_or_not_possible_is_refused(db, app, gateway, typed):
    with pytest.raises(errors.Invalid) as refused:
        ask(db, app, typed)
    assert refused.value.field == "number"
    assert (gateway.asked, rows(db, "codes"), rows(db, "buckets")) == ([], [], [])


def test_national_numbers_are_sent_to_where_the_application_says_they_are_read(db, app, gateway):
    at_home = with_settings(app, default_region="GB", sms_gateway_url=app.settings.sms_gateway_url)
    asked = ask(db, at_home, "07700 900123")
    assert json.loads(gateway.asked[0].body)["to"] == "+447700900123"
    assert codes.verify(db, at_home, asked.request_id, code(gateway), NOW) == "07700 900123"


def test_digits_that_are_no_number_at_home_are_not_read_as_one_of_another_country(db, app, gateway):
    everywhere = {"sms_regions": "US,EG", "sms_gateway_url": app.settings.sms_gateway_url}
    ask(db, with_settings(app, **everywhere), "+20 000 000 000")
    with pytest.raises(errors.Invalid, match="whole phone number"):
        ask(db, with_settings(app, default_region="US", **everywhere), "20 000 000 000")


@pytest.mark.parametrize(
    "typed",
    [
        "+33 6 39 98 12 34",  # France
        "+1 242 555 0142",  # the Bahamas, with the calling code of the United States
        "+1 876 555 0142",  # Jamaica, likewise
        "+882 99 999 999 99",  # a network of no country
        "+800 1234 5678",
    ],
)
def test_a_country_that_is_not_named_is_sent_nothing(db, app, gateway, typed):
    with pytest.raises(errors.Invalid, match="sms_regions") as refused:
        ask(db, app, typed)
    assert refused.value.field == "number"
    assert gateway.asked == []


@pytest.mark.parametrize("typed", ["+1 900 555 0100", "+44 7012 345678", "+44 9091 234567", "+44 808 157 0123"])
def test_premium_rate_and_other_numbers_of_no_phone_are_sent_nothing(db, app, gateway, typed):
    with pytest.raises(errors.Invalid, match="premium rate") as refused:
        ask(db, app, typed)
    assert refused.value.field == "number"
    assert (gateway.asked, rows(db, "codes"), rows(db, "buckets")) == ([], [], [])


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"sms_regions": ""}, "sms_regions"),
        ({"sms_gateway": ""}, "sms_gateway"),
        ({"sms_gateway": "twilio"}, "sms_twilio_account_sid"),
        ({"sms_gateway_url": ""}, "sms_gateway_url"),
    ],
)
def test_what_is_not_set_up_is_named(db, app, gateway, settings, named):
    with pytest.raises(errors.Invalid, match=named) as refused:
        ask(db, with_settings(app, **settings))
    assert refused.value.field == "provider"
    assert (gateway.asked, rows(db, "codes"), rows(db, "buckets")) == ([], [], [])


# ── asking again ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_code_can_be_asked_for_after_30_seconds(db, app, gateway):
    ask(db, app)
    for seconds in (0, 1, 29):
        with pytest.raises(errors.TooMany) as refused:
            ask(db, app, "0044 7700 900123", NOW + seconds)
        assert refused.value.wait_seconds == 30 - seconds
    assert len(gateway.asked) == 1
    assert ask(db, app, ANN, NOW + 30).resend_at == NOW + 60


def test_asking_again_sends_the_same_code_so_that_every_message_opens_the_number(db, app, gateway):
    first = ask(db, app)
    old = code(gateway)
    second = ask(db, app, ANN, NOW + 30, address="198.51.100.1")
    assert (second.request_id, second.expires_at, code(gateway)) == (first.request_id, first.expires_at, old)
    assert codes.verify(db, app, second.request_id, code(gateway), NOW + 31) == ANN
    third = ask(db, app, ANN, NOW + 60)
    assert third.request_id != first.request_id  # a code that was used is not sent again
    assert len(rows(db, "codes")) == 1


def test_a_code_that_ends_soon_is_replaced_when_it_is_requested_again(db, app, gateway):
    first = ask(db, app)
    left = codes.LEAST_LEFT_SECONDS
    assert ask(db, app, ANN, NOW + LIFE_SECONDS - left - 1).request_id == first.request_id
    last = ask(db, app, ANN, NOW + LIFE_SECONDS - left + 30)
    assert last.request_id != first.request_id
    assert codes.verify(db, app, last.request_id, code(gateway), NOW + LIFE_SECONDS) == ANN


def test_asking_again_gives_attempts_anew(db, app, gateway):
    first = ask(db, app)
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(errors.Invalid):
            codes.verify(db, app, first.request_id, wrong(gateway), NOW, address=HERE)
    second = ask(db, app, ANN, NOW + 30)
    assert codes.verify(db, app, second.request_id, code(gateway), NOW + 30, address=HERE) == ANN


def test_many_who_ask_at_once_for_one_number_cost_one_message(db, app, gateway):
    gate = threading.Barrier(6)

    def try_one(_: int) -> bool:
        gate.wait()
        try:
            ask(db, app)
        except errors.TooMany:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(try_one, range(6))) == 1
    assert len(gateway.asked) == 1


def test_two_applications_do_not_share_a_number(db, app, gateway):
    other = with_settings(applications.create(db, "other", NOW), sms_gateway_url=f"{gateway.url}/")
    first, mine = ask(db, app), code(gateway)
    ask(db, other)
    with pytest.raises(errors.Invalid, match="no longer valid"):
        codes.verify(db, other, first.request_id, mine, NOW)
    assert codes.verify(db, app, first.request_id, mine, NOW) == ANN


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_codes_to_one_number_are_limited_and_the_wait_is_told(db, app, gateway):
    few = Limits(codes_per_number_per_hour=2)
    for n in range(2):
        ask(db, app, ANN, NOW + 30 * n, address=f"192.0.{n}.1", limits=few)
    later = NOW + LIFE_SECONDS
    with pytest.raises(errors.TooMany, match="this number") as refused:
        ask(db, app, ANN, later, limits=few)
    wait = refused.value.wait_seconds
    assert wait - (HOUR / 2 - LIFE_SECONDS) in (0, 1)  # rounded up
    ask(db, app, BOB, later, limits=few)
    with pytest.raises(errors.TooMany):
        ask(db, app, ANN, later + wait - 2, limits=few)
    ask(db, app, ANN, later + wait, limits=few)
    assert len(gateway.asked) == 4


def test_one_network_uses_up_half_of_the_codes_of_a_number(db, app, gateway):
    for n in range(3):
        ask(db, app, ANN, NOW + 30 * n, address=f"198.51.100.{n}")
    later = NOW + LIFE_SECONDS
    with pytest.raises(errors.TooMany, match="this number"):
        ask(db, app, ANN, later, address="198.51.100.9")
    asked = ask(db, app, ANN, later)
    assert codes.verify(db, app, asked.request_id, code(gateway), later) == ANN


def test_who_may_get_no_more_messages_can_use_the_code_that_a_stranger_has_asked_for(db, app, gateway):
    for n in range(5):
        ask(db, app, ANN, NOW + 30 * n, address=f"198.51.{n}.1")
    asked = ask(db, app, ANN, NOW + 200)
    assert len(gateway.asked) == 5
    assert codes.verify(db, app, asked.request_id, code(gateway), NOW + 201) == ANN


def test_a_network_where_the_number_has_signed_in_has_its_own_codes_and_attempts(db, app, gateway):
    asked = ask(db, app)
    codes.verify(db, app, asked.request_id, code(gateway), NOW, address=HERE)
    later = NOW + DAY
    for n in range(10):
        with suppress(errors.TooMany):
            ask(db, app, ANN, later + 30 * n, address=f"198.51.{n}.1")
    later, before = later + HOUR // 20, len(gateway.asked)
    mine = ask(db, app, ANN, later, address=ELSEWHERE)
    assert len(gateway.asked) == before + 1  # a message, though strangers have used up the number's
    for n in range(codes.MOST_IN_ALL + 5):
        with suppress(errors.TooMany, errors.Invalid):
            codes.verify(db, app, mine.request_id, wrong(gateway), later, address=f"203.0.{n}.1")
    with pytest.raises(errors.TooMany):
        codes.verify(db, app, mine.request_id, code(gateway), later, address="198.51.100.1")
    assert codes.verify(db, app, mine.request_id, code(gateway), later, address=HERE) == ANN


def test_codes_from_one_address_are_limited_and_the_wait_is_told(db, app, gateway):
    few = Limits(codes_per_address_per_hour=3)
    for n in range(3):
        ask(db, app, f"+44 7700 90010{n}", address="2001:db8::1", limits=few)
    with pytest.raises(errors.TooMany, match="this address") as refused:
        ask(db, app, address="2001:db8::2", limits=few)
    assert refused.value.wait_seconds == HOUR / 3
    ask(db, app, address="2001:db8:0:1::1", limits=few)
    assert len(gateway.asked) == 4


def test_codes_of_one_application_are_limited_to_the_day_and_the_wait_is_told(db, app, gateway):
    capped = with_settings(app, sms_daily_cap=3, sms_gateway_url=app.settings.sms_gateway_url)
    midnight = (NOW // DAY + 1) * DAY
    for n in range(3):
        known(db, app, f"+44 7700 90010{n}")
        ask(db, capped, f"+44 7700 90010{n}", midnight - 100)
    for now in (midnight - 100, midnight - 1):
        with pytest.raises(errors.TooMany, match="application today") as refused:
            ask(db, capped, ANN, now)
        assert refused.value.wait_seconds == midnight - now
    ask(db, capped, ANN, midnight)
    assert len(gateway.asked) == 4


def test_what_is_refused_by_one_limit_costs_nothing_of_the_others_and_keeps_the_code_before(db, app, gateway):
    first = ask(db, app)
    before = rows(db, "buckets")
    capped = with_settings(app, sms_daily_cap=1, sms_gateway_url=app.settings.sms_gateway_url)
    with pytest.raises(errors.TooMany, match="application today"):
        ask(db, capped, ANN, NOW + 60)
    assert rows(db, "buckets") == before
    assert codes.verify(db, app, first.request_id, code(gateway), NOW + 61) == ANN


def test_no_limit_is_no_limit(db, app, gateway):
    free = with_settings(app, sms_daily_cap=0, sms_gateway_url=app.settings.sms_gateway_url)
    for n in range(8):
        ask(db, free, ANN, NOW + 30 * n, limits=Limits(**NO_LIMITS))
    (wait,) = used_of_all(db)  # the time between two messages
    assert len(gateway.asked) == 8 and " wait@" in wait


def test_names_of_buckets_hold_no_number(db, app):
    ask(db, app)
    names = list(used_of_all(db))
    assert len(names) == 7 and not any("7700900123" in name for name in names)


# ── the half of the day that is reserved for known numbers ───────────────────────────────────────────────────────────

NEW = "+44 7700 900{:03}"


@pytest.fixture
def scarce(db: Database, app: App, gateway: Gateway) -> App:
    """An application with 4 codes a day, whose half for new numbers is used up."""
    capped = with_settings(app, sms_daily_cap=4, sms_gateway_url=app.settings.sms_gateway_url)
    for n in (100, 101):
        ask(db, capped, NEW.format(n))
    assert len(gateway.asked) == 2
    known(db, app, ANN)
    return capped


def receivers(gateway: Gateway) -> list[str]:
    return [json.loads(asked.body)["to"] for asked in gateway.asked]


def test_when_the_half_for_new_numbers_is_used_up_only_known_ones_are_sent_to(db, scarce, gateway):
    withheld = metrics.LIMITS.labels("sms_daily_cap")._value.get()
    with structlog.testing.capture_logs() as lines:
        unsent, sent = ask(db, scarce, BOB), ask(db, scarce, ANN)
        eventually(lambda: len(lines) == 2 and len(gateway.asked) == 3, "a line for each")
    assert receivers(gateway)[2:] == ["+447700900123"]
    assert codes.verify(db, scarce, sent.request_id, code(gateway), NOW) == ANN
    assert {line["event"] for line in lines} == {"code withheld", "code sent"}
    assert metrics.LIMITS.labels("sms_daily_cap")._value.get() == withheld + 1
    assert (unsent.expires_at, unsent.resend_at) == (sent.expires_at, sent.resend_at)


def test_a_code_that_was_not_sent_is_answered_like_one_that_was(db, scarce, gateway, monkeypatch):
    monkeypatch.setattr(codes.secrets, "randbelow", lambda below: 123_456 if below == 10**6 else 0)
    unsent, sent = ask(db, scarce, BOB), ask(db, scarce, ANN)
    eventually(lambda: len(gateway.asked) == 3, "the known number's message")
    for given in [f"{n:06}" for n in range(MOST_ATTEMPTS)] + ["123456"]:
        assert try_to_answer(db, scarce, unsent, given) == try_to_answer(db, scarce, sent, given)

    def asks_again(typed: str, now: int) -> tuple[str, int]:
        with pytest.raises(errors.TooMany) as refused:
            ask(db, scarce, typed, now)
        return refused.value.reason, refused.value.wait_seconds

    assert asks_again(BOB, NOW + 10) == asks_again(ANN, NOW + 10)
    keyed = [db.seal.number(scarce.id, phone.read(typed)) for typed in (ANN, BOB)]
    names = [[row for row in rows(db, "codes") if row["number"] == one] for one in keyed]
    assert [len(one) for one in names] == [1, 1]


def test_known_and_new_numbers_cost_number_and_address_the_same(db, scarce, gateway):
    def charged(typed: str, address: str) -> list[float]:
        before = used_of_all(db)
        ask(db, scarce, typed, address=address)
        after = used_of_all(db)
        costs = [after[name] - before.get(name, 0) for name in after if ":day " not in name and " wait@" not in name]
        return [cost for cost in costs if cost]

    # The address, its network, the number, and the part of the number's codes that this network may request.
    assert charged(BOB, "198.51.100.1") == charged(ANN, "203.0.113.1") == [1, 1, 1, 1]
    eventually(lambda: len(gateway.asked) == 3, "the known number's message")


def test_nobody_waits_for_the_gateway_then_so_that_its_time_tells_nothing(db, scarce, gateway):
    done = threading.Event()
    gateway.during = lambda: done.wait(60)
    sent = ask(db, scarce, ANN)  # answered, though the gateway has not
    ask(db, scarce, BOB)
    done.set()
    eventually(lambda: len(gateway.asked) == 3, "the known number's message")
    assert codes.verify(db, scarce, sent.request_id, code(gateway), NOW) == ANN


@pytest.mark.parametrize("status, cost", [(400, 2), (500, 3)])
def test_a_gateway_that_fails_then_shows_in_no_answer(db, scarce, gateway, status, cost):
    gateway.status = status
    with structlog.testing.capture_logs() as lines:
        unsent, sent = ask(db, scarce, BOB), ask(db, scarce, ANN)
        eventually(lambda: "code not sent" in [line["event"] for line in lines], "the gateway's refusal")
        eventually(lambda: used(db)["day"] == cost, "what a refused message costs")
    assert try_to_answer(db, scarce, unsent, "x") == try_to_answer(db, scarce, sent, "x") == "Invalid is wrong"
    for typed in (ANN, BOB):
        with pytest.raises(errors.TooMany, match="just been sent"):
            ask(db, scarce, typed, NOW + 1)


def test_known_numbers_have_what_is_left_of_the_day_and_then_everybody_waits_for_midnight(db, scarce, gateway):
    known(db, scarce, BOB)
    for n, typed in enumerate((ANN, BOB), 3):
        ask(db, scarce, typed)
        eventually(lambda n=n: len(gateway.asked) == n, "a message")
    for typed in (ANN, NEW.format(105)):
        with pytest.raises(errors.TooMany, match="application today"):
            ask(db, scarce, typed, NOW + 60)
    assert ask(db, scarce, NEW.format(105), (NOW // DAY + 1) * DAY)
    assert len(gateway.asked) == 5


def test_known_numbers_use_nothing_of_the_half_for_new_ones(db, app, gateway):
    capped = with_settings(app, sms_daily_cap=4, sms_gateway_url=app.settings.sms_gateway_url)
    for n in range(2):
        known(db, app, NEW.format(n))
        ask(db, capped, NEW.format(n))
    for n in range(2):
        ask(db, capped, NEW.format(100 + n))
    assert len(gateway.asked) == 4


def test_a_number_that_was_only_typed_is_a_new_one(db, scarce, gateway):
    with db.write() as tx:
        tx.run("UPDATE numbers SET verified_at = NULL")
    ask(db, scarce, ANN)
    known(db, scarce, BOB)
    ask(db, scarce, BOB)
    eventually(lambda: len(gateway.asked) == 3, "the known number's message")
    assert receivers(gateway)[2:] == ["+12025550142"]


def test_the_alarm_is_raised_before_the_half_is_used_up(db, app, gateway, monkeypatch):
    told = []
    monkeypatch.setattr(charging.log, "warning", lambda event, **fields: told.append((event, fields["limit"])))
    capped = with_settings(app, sms_daily_cap=10, sms_gateway_url=app.settings.sms_gateway_url)
    monkeypatch.setattr(charging, "_logged_at", {})
    near = metrics.NEAR.labels("sms_daily_cap")
    before = near._value.get()
    for n in range(3):
        ask(db, capped, NEW.format(n))
    assert (near._value.get(), told) == (before, [])
    ask(db, capped, NEW.format(3))
    assert near._value.get() == before + 1
    assert told == [("a shared limit is nearly reached", "sms_daily_cap")]


def test_codes_from_one_network_are_limited_whatever_the_address(db, app, gateway):
    few = Limits(network_codes_per_hour=3)
    for n in range(3):
        ask(db, app, NEW.format(n), address=f"2001:db8:0:{n}00::1", limits=few)
    with pytest.raises(errors.TooMany, match="this network") as refused:
        ask(db, app, NEW.format(3), address="2001:db8:0:300::1", limits=few)
    assert refused.value.limit == "network_codes_per_hour"
    ask(db, app, NEW.format(3), address="2001:db8:1::1", limits=few)


# ── a gateway that fails ─────────────────────────────────────────────────────────────────────────────────────────────


def used(db: Database) -> dict[str, float]:
    """The fill levels of buckets, by a word in their names. The network's bucket is charged like the address's."""
    kinds = {"codes@": "address", ":day ": "day", ":new numbers ": "new"}
    named = {name: used for name, used in used_of_all(db).items() if " wait@" not in name}
    return {next((kinds[word] for word in kinds if word in name), "number"): used for name, used in named.items()}


@pytest.mark.parametrize("status", [400, 401, 422, 429])
def test_a_gateway_that_refuses_costs_nothing_and_can_be_asked_again_at_once(db, app, gateway, status):
    once = Limits(codes_per_number_per_hour=1, codes_per_address_per_hour=1)
    capped = with_settings(app, sms_daily_cap=1, sms_gateway_url=app.settings.sms_gateway_url)
    gateway.status = status
    for _ in range(3):
        with pytest.raises(errors.Unavailable, match=f"answered {status}. Try again"):
            ask(db, capped, limits=once)
    assert rows(db, "codes") == []
    assert used(db) == {"number": 0, "address": 0, "day": 0, "new": 0}
    gateway.status = 200
    asked = ask(db, capped, limits=once)
    assert codes.verify(db, capped, asked.request_id, code(gateway), NOW) == ANN


def test_a_gateway_that_is_away_is_the_same(db, app, gateway):
    away = with_settings(app, sms_gateway_url=f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        ask(db, away)
    assert rows(db, "codes") == []
    assert used(db) == {"number": 0, "address": 0, "day": 0, "new": 0}
    assert ask(db, app).resend_at == NOW + 30


@pytest.mark.parametrize("status", [301, 500, 503])
def test_a_gateway_that_fails_can_be_asked_again_at_once_but_not_for_more_than_the_day(db, app, gateway, status):
    once = Limits(codes_per_number_per_hour=1, codes_per_address_per_hour=1)
    capped = with_settings(app, sms_daily_cap=3, sms_gateway_url=app.settings.sms_gateway_url)
    known(db, app)
    gateway.status = status
    for n in range(3):
        with pytest.raises(errors.Unavailable, match=f"answered {status}. Try again"):
            ask(db, capped, limits=once)
        assert used(db) == {"number": 0, "address": 0, "day": n + 1, "new": 0}
    assert rows(db, "codes") == []
    with pytest.raises(errors.TooMany, match="application today"):
        ask(db, capped, limits=once)
    assert len(gateway.asked) == 3


def test_a_gateway_that_is_asked_and_silent_may_have_sent_the_code(db, app, gateway):
    capped = with_settings(app, sms_daily_cap=2, sms_gateway_url=app.settings.sms_gateway_url)
    known(db, app)
    done = threading.Event()
    gateway.during = lambda: done.wait(60)
    with pytest.raises(errors.Unavailable, match="did not say whether"):
        ask(db, capped, outgoing=HASTY)
    with pytest.raises(errors.Unavailable):  # again at once, as after any other failure
        ask(db, capped, outgoing=HASTY)
    done.set()
    assert used(db) == {"number": 2, "address": 2, "day": 2, "new": 0}
    assert rows(db, "codes") == []
    with pytest.raises(errors.TooMany, match="application today"):
        ask(db, capped, ANN, NOW + 30)
    assert len(gateway.asked) == 2


def test_an_answer_that_breaks_off_is_none(db, app, gateway):
    gateway.raw = lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsho")
    with pytest.raises(errors.Unavailable, match="did not say whether"):
        ask(db, app)
    assert used(db) == {"number": 1, "address": 1, "day": 1, "new": 1}
    assert rows(db, "codes") == []


def test_logs_show_masked_numbers_and_never_a_code(db, app, gateway):
    with structlog.testing.capture_logs() as lines:
        asked = ask(db, app)
        right = code(gateway)
        for given in (wrong(gateway), right):
            try_to_answer(db, app, asked, given)
        gateway.status, gateway.body = 400, b"+447700900123"
        with pytest.raises(errors.Unavailable):
            ask(db, app, ANN, NOW + 60)
    assert [(line["event"], line["number"]) for line in lines] == [("code sent", "…23"), ("code not sent", "…23")]
    assert "answered 400" in lines[1]["why"]
    assert not any(secret in repr(lines) for secret in ("7700900123", right, code(gateway), asked.request_id))


# ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────────


def try_to_answer(db: Database, app: App, asked: Sent, given: str, now: int = NOW) -> str:
    """The result: the number, or the name and the text of the refusal."""
    try:
        return codes.verify(db, app, asked.request_id, given, now)
    except errors.Refused as refused:
        return f"{type(refused).__name__} {refused.reason}"


def test_a_wrong_code_is_refused_and_the_right_one_is_still_taken(db, app, gateway):
    asked = ask(db, app)
    for given in (wrong(gateway), "", "x" * 10_000, "\x00", "\ud83d", code(gateway)[:5]):
        with pytest.raises((errors.Invalid, errors.TooMany)) as refused:
            codes.verify(db, app, asked.request_id, given, NOW, address=HERE)
    assert isinstance(refused.value, errors.TooMany)
    again = ask(db, app, ANN, NOW + 30)
    with pytest.raises(errors.Invalid, match="is wrong") as invalid:
        codes.verify(db, app, again.request_id, wrong(gateway), NOW + 30, address=HERE)
    assert invalid.value.field == "code"
    assert codes.verify(db, app, again.request_id, code(gateway), NOW + 30, address=HERE) == ANN


def test_a_code_may_be_typed_with_blanks_and_in_the_digits_of_any_keyboard(db, app, gateway):
    asked = ask(db, app)
    sent = code(gateway)
    for zero in ("0", "\u0660", "\u06f0", "\uff10"):
        typed = "".join(chr(ord(zero) + int(digit)) for digit in sent)
        assert codes.verify(db, app, asked.request_id, f" {typed[:3]}\u00a0{typed[3:]} ", NOW) == ANN


def test_five_attempts_the_last_may_be_right(db, app, gateway):
    asked = ask(db, app)
    for n in range(1, MOST_ATTEMPTS):
        assert try_to_answer(db, app, asked, wrong(gateway, n)) == "Invalid is wrong"
    assert codes.verify(db, app, asked.request_id, code(gateway), NOW) == ANN


def test_after_five_wrong_codes_the_right_one_comes_too_late(db, app, gateway):
    asked = ask(db, app)
    for n in range(1, MOST_ATTEMPTS + 1):
        assert try_to_answer(db, app, asked, wrong(gateway, n)) == "Invalid is wrong"
    for now, wait in ((NOW, 30), (NOW + 10, 20), (NOW + 500, 1)):
        with pytest.raises(errors.TooMany, match="ask for a new one") as refused:
            codes.verify(db, app, asked.request_id, code(gateway), now)
        assert refused.value.wait_seconds == wait


def test_many_who_guess_at_once_have_five_attempts_between_them(db, app, gateway):
    asked = ask(db, app)
    guesses = [wrong(gateway, n) for n in range(1, 33)]
    with ThreadPoolExecutor(8) as threads:
        came = list(threads.map(lambda given: try_to_answer(db, app, asked, given), guesses))
    assert sorted(set(came)) == ["Invalid is wrong", "TooMany Too many wrong codes: ask for a new one"]
    assert came.count("Invalid is wrong") == MOST_ATTEMPTS


def test_a_code_lives_ten_minutes(db, app, gateway):
    asked = ask(db, app)
    assert try_to_answer(db, app, asked, code(gateway), NOW + LIFE_SECONDS).startswith("Invalid is no longer valid")
    assert codes.verify(db, app, asked.request_id, code(gateway), NOW + LIFE_SECONDS - 1) == ANN


def test_a_code_is_good_once_but_the_same_answer_counts_for_a_minute(db, app, gateway):
    asked = ask(db, app)
    first = NOW + 100
    for now in (first, first, first + 59, first + REPEAT_SECONDS):
        assert codes.verify(db, app, asked.request_id, code(gateway), now) == ANN
    for now in (first + REPEAT_SECONDS + 1, first + 300):
        with pytest.raises(errors.Invalid, match="no longer valid") as refused:
            codes.verify(db, app, asked.request_id, code(gateway), now)
        assert refused.value.field == "code"
    assert len(gateway.asked) == 1


def test_a_lost_answer_is_made_up_for_also_when_the_code_has_expired_since(db, app, gateway):
    asked = ask(db, app)
    last = NOW + LIFE_SECONDS - 1
    for now in (last, last + REPEAT_SECONDS):
        assert codes.verify(db, app, asked.request_id, code(gateway), now) == ANN
    codes.sweep(db, last + REPEAT_SECONDS)
    assert codes.verify(db, app, asked.request_id, code(gateway), last + REPEAT_SECONDS) == ANN


def test_right_answers_use_up_no_attempts_and_wrong_ones_after_them_do(db, app, gateway):
    asked = ask(db, app)
    for n in range(1, MOST_ATTEMPTS):
        try_to_answer(db, app, asked, wrong(gateway, n))
    with ThreadPoolExecutor(4) as threads:
        came = threads.map(lambda _: try_to_answer(db, app, asked, code(gateway)), range(12))
    assert set(came) == {ANN}
    assert try_to_answer(db, app, asked, wrong(gateway)) == "Invalid is wrong"
    assert try_to_answer(db, app, asked, code(gateway)).startswith("TooMany")


@pytest.mark.parametrize("request_id", ["", "0" * 32, "x", "\x00", "\ud83d", "0" * 100_000, "٠" * 32])
def test_a_request_that_nobody_made_is_refused(db, app, gateway, request_id):
    ask(db, app)
    with pytest.raises(errors.Invalid, match="no longer valid") as refused:
        codes.verify(db, app, request_id, code(gateway), NOW)
    assert refused.value.field == "code"


# ── what is left behind ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_forgets_codes_whose_time_is_over_a_batch_at_a_time(db, app):
    for n in range(5):
        ask(db, app, f"+44 7700 90010{n}")
    ask(db, app, ANN, NOW + 100)
    over = NOW + LIFE_SECONDS + REPEAT_SECONDS
    assert codes.sweep(db, over) == 0
    assert [codes.sweep(db, over + 1, batch=2) for _ in range(4)] == [2, 2, 1, 0]
    assert [row["number"] for row in rows(db, "codes")] == [db.seal.number(app.id, 447700900123)]


def test_the_worker_sweeps_codes_and_the_buckets_of_a_day_that_is_over(db, app):
    ask(db, app)
    tomorrow = (NOW // DAY + 1) * DAY
    jobs.turn(db, jobs.parts(Config()), tomorrow + 2 * HOUR, threading.Event())
    assert (rows(db, "codes"), rows(db, "buckets")) == ([], [])
