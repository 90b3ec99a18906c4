"""The buckets of rate limits and the removed numbers, in both databases. `core/charging.py` has the rules."""

import pytest
import sealed
from servers import SEAL

from ringbook.store import buckets
from ringbook.store.db import Database
from ringbook.store.numbers import keyed_all

NOW = 1_800_000_000
NUMBERS = [1, 12025550101, 447700900123, 3 * 10**15 + 712345678]


def keyed(*numbers: int) -> list[int]:
    return [SEAL.number(1, number) for number in numbers]


@pytest.fixture
def tx(db: Database):
    with db.write() as open_:
        yield open_


def test_a_bucket_is_made_when_it_is_first_asked_for(tx):
    assert buckets.lock(tx, "b", NOW) == {"used": 0, "at": NOW}
    buckets.set_used(tx, "b", 2.5, NOW + 1, NOW + 9)
    assert buckets.lock(tx, "b", NOW + 5) == {"used": 2.5, "at": NOW + 1}
    buckets.forget(tx, "b")
    assert buckets.lock(tx, "b", NOW + 6) == {"used": 0, "at": NOW + 6}


def test_what_was_removed_is_remembered_by_owner_and_time(tx):
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, NUMBERS), NOW)
    buckets.remember_removed(tx, 1, 2, keyed_all(tx, 1, [7]), NOW)
    assert buckets.removed_among(tx, 1, keyed(*NUMBERS, 7), NOW) == set(keyed(*NUMBERS))
    assert buckets.removed_among(tx, 1, keyed(*NUMBERS), NOW + 1) == set()
    assert buckets.removed_among(tx, 1, [], NOW) == set()
    assert (buckets.has_removed(tx, 2), buckets.has_removed(tx, 3)) == (True, False)


def test_removing_again_counts_from_then(tx):
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, [7, 8]), NOW)
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, [8]), NOW + 5)
    assert buckets.removed_among(tx, 1, keyed(7, 8), NOW + 1) == set(keyed(8))


def test_what_an_owner_removed_is_forgotten_with_the_owner(tx):
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, [7]), NOW)
    buckets.remember_removed(tx, 1, 2, keyed_all(tx, 1, [7]), NOW)
    buckets.forget_owner(tx, 1)
    assert (buckets.has_removed(tx, 1), buckets.has_removed(tx, 2)) == (False, True)


def test_a_sweep_forgets_what_limits_nobody_in_batches(tx):
    for n in range(3):
        buckets.lock(tx, f"b{n}", NOW)
    buckets.set_used(tx, "b2", 1, NOW, NOW + 1)
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, [1, 2, 3]), NOW)
    buckets.remember_removed(tx, 1, 1, keyed_all(tx, 1, [4]), NOW + 1)
    assert [buckets.sweep(tx, NOW + 1, NOW + 1, 2) for _ in range(3)] == [4, 1, 0]
    assert sealed.buckets(tx) == {"b2": 1}
    assert buckets.removed_among(tx, 1, keyed(1, 2, 3, 4), 0) == set(keyed(4))
