"""Buckets: charges, refunds, and how buckets drain. On both databases."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed import buckets

from ringbook import errors
from ringbook.core import charging, rate_limits
from ringbook.core.charging import Bucket
from ringbook.store.db import Database
from ringbook.times import DAY, HOUR

NOW = 1_800_000_000
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
TEN = Bucket("ten", 10, 0.5, "too many")


def charge(db: Database, bucket: Bucket, cost: int, now: int = NOW) -> None:
    with db.write() as tx:
        charging.charge(tx, bucket, cost, now)


def rows(db: Database, table: str) -> list[dict[str, Any]]:
    with db.read() as tx:
        return tx.all(f"SELECT * FROM {table}")


def test_a_bucket_holds_what_it_holds_and_says_how_long_to_wait(db):
    charge(db, TEN, 10)
    with pytest.raises(errors.TooMany, match="too many") as refused:
        charge(db, TEN, 3)
    assert refused.value.wait_seconds == 6


def test_a_refused_charge_leaves_the_bucket_as_it_was(db):
    charge(db, TEN, 8)
    before = rows(db, "buckets")
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 3, NOW + 1)
    assert rows(db, "buckets") == before
    charge(db, TEN, 2)


def test_a_try_counts_unless_it_was_right(db):
    two = [Bucket("one", 2, 0, "too many"), Bucket("two", 5, 0, "too many")]

    def used() -> list[float]:
        return [row["used"] for row in rows(db, "buckets")]

    for wrong in (1, 2):
        with pytest.raises(errors.Invalid), charging.charge_guess(db, two, NOW):
            assert used() == [wrong, wrong]
            raise errors.Invalid("is wrong")
    with pytest.raises(errors.TooMany), charging.charge_guess(db, two, NOW):
        pytest.fail("what is tried too often is not looked at")
    assert used() == [2, 2]
    with charging.charge_guess(db, two, NOW, charged=True):
        assert used() == [2, 2]
    assert used() == [1, 1]
    with charging.charge_guess(db, two, NOW):
        assert used() == [2, 2]
    assert used() == [1, 1]


def test_what_is_refused_is_charged_and_what_cannot_be_done_just_now_is_not(db):
    two = Bucket("refusals", 2, 0, "too many")
    for refusal in (errors.Unavailable("later"), errors.Invalid("is wrong"), errors.TooMany("wait", wait_seconds=1)):
        with pytest.raises(type(refusal)), charging.charge_refusals(db, two, NOW):
            raise refusal
    with pytest.raises(errors.TooMany, match="too many"), charging.charge_refusals(db, two, NOW):
        pytest.fail("nothing more is tried")
    with charging.charge_refusals(db, Bucket("none", 0, 0, ""), NOW):
        pass
    assert [row["used"] for row in rows(db, "buckets")] == [2]


def test_after_the_wait_the_same_charge_is_taken(db):
    charge(db, TEN, 10)
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 3, NOW + 5)
    charge(db, TEN, 3, NOW + 6)
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 1, NOW + 6)


def test_a_clock_that_went_back_gives_nothing_back(db):
    charge(db, TEN, 10)
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 1, NOW - 1000)


def test_more_than_a_bucket_holds_is_never_taken(db):
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 11)
    assert rows(db, "buckets") == []


def test_no_limit_and_no_cost_write_nothing(db):
    charge(db, Bucket("none", 0, 0, ""), 10**6)
    charge(db, TEN, 0)
    assert rows(db, "buckets") == []


def test_a_bucket_without_refill_never_comes_back(db):
    once = Bucket("once", 1, 0, "too many")
    charge(db, once, 1)
    with pytest.raises(errors.TooMany) as refused:
        charge(db, once, 1, NOW + 1000 * DAY)
    assert refused.value.wait_seconds == 30 * DAY
    assert rate_limits.sweep(db, NOW + 1000 * DAY) == 0


def test_a_bucket_that_ends_holds_until_then_and_is_forgotten_after(db):
    today = Bucket("today", 2, 0, "too many", ends_at=NOW + 100)
    charge(db, today, 2, NOW)
    with pytest.raises(errors.TooMany) as refused:
        charge(db, today, 1, NOW + 99)
    assert refused.value.wait_seconds == 1
    assert rate_limits.sweep(db, NOW + 100) == 0
    assert rate_limits.sweep(db, NOW + 101) == 1


rates = st.sampled_from([0.5, 1.0, 2000 / HOUR, 100_000 / DAY, 1 / 3, 7e-5])
charges = st.lists(st.tuples(st.integers(1, 12), st.integers(-2, 40)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rates, charges, st.booleans())
def test_one_statement_charges_what_two_statements_do(db, per_second, charges, alarm):
    """`charge` takes one, and `charge_all` locks a bucket and then writes it."""
    one, two = (Bucket(name, 10, per_second, "too many", alarm=alarm) for name in ("one", "two"))
    with db.write() as tx:
        tx.run("DELETE FROM buckets")
    now, refusals = NOW, []
    for cost, seconds in charges:
        now += seconds
        for bucket in (one, two):
            try:
                with db.write() as tx:
                    if bucket is one:
                        charging.charge(tx, bucket, cost, now)
                    else:
                        charging.charge_all(tx, [charging.Charge(bucket, cost)], now)
                refusals.append(None)
            except errors.TooMany as refused:
                refusals.append((refused.reason, refused.wait_seconds))
        found = [(row["used"], row["at"], row["expires_at"]) for row in rows(db, "buckets")]
        assert found[:1] == found[1:]
    assert refusals[::2] == refusals[1::2]


def test_what_is_given_back_can_be_used_again(db):
    charge(db, TEN, 10)
    with db.write() as tx:
        charging.refund(tx, TEN, 4, NOW)
    charge(db, TEN, 4)
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 1)


def test_more_cannot_be_given_back_than_was_used(db):
    with db.write() as tx:
        charging.refund(tx, TEN, 5, NOW)
    with pytest.raises(errors.TooMany):
        charge(db, TEN, 11)


def test_a_sweep_forgets_buckets_that_are_empty_again_and_no_other(db):
    charge(db, TEN, 10)
    charge(db, Bucket("other", 10, 0.25, ""), 10)
    assert rate_limits.sweep(db, NOW + 20) == 0
    assert rate_limits.sweep(db, NOW + 21) == 1
    with db.read() as tx:
        assert list(buckets(tx)) == ["other"]


def test_a_sweep_takes_a_batch_at_a_time(db):
    for n in range(5):
        charge(db, Bucket(f"b{n}", 10, 1, ""), 1)
    assert [rate_limits.sweep(db, NOW + 60, batch=2) for _ in range(4)] == [2, 2, 1, 0]


def test_many_at_once_take_no_more_than_there_is(db):
    def try_one(_: int) -> bool:
        try:
            charge(db, TEN, 1)
        except errors.TooMany:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(try_one, range(40))) == 10


@given(
    st.floats(0, 1e6), st.integers(-(10**6), 10**6), st.sampled_from([0, 0.5, 6 / HOUR]), st.integers(-(10**6), 10**6)
)
def test_draining_never_adds_and_never_goes_below_nothing(used, at, per_second, now):
    left = charging.drained(used, at, per_second, now)
    assert 0 <= left <= used


@given(st.floats(0.01, 1e5), st.sampled_from([0.5, 6 / HOUR, 10 / 900, 500_000 / DAY]))
def test_the_wait_is_long_enough(amount, per_second):
    seconds = charging.wait(amount, per_second)
    assert 1 <= seconds <= 30 * DAY
    assert seconds == 30 * DAY or seconds * per_second >= amount * 0.999999
