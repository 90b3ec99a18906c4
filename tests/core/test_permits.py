"""Permits beyond those of the account: of verified numbers and ids, of networks, and the application's ceiling."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

import pytest
from core.joining import ADDRESS, ANN, BOB, LIMITS, NOW, Play
from sealed import buckets
from servers import SEAL, Databases

from ringbook import errors, metrics
from ringbook.config import Limits
from ringbook.core import (
    app_totals,
    blocks,
    ceiling,
    charging,
    codes,
    imports,
    numbers,
    overview,
    privacy,
    proofs,
    rate_limits,
    stats,
    users,
)
from ringbook.core.import_lines import Line
from ringbook.model import Caller
from ringbook.outbound.requests import Outgoing
from ringbook.store import db as databases_
from ringbook.times import DAY, HOUR
from ringbook.verify.cidp import Identity
from ringbook.verify.firebase import Proof

HEAP = 50_000
V6 = "2001:db8:0:{:x}::1"


@pytest.fixture
def play(db) -> Play:
    return Play(db)


def spend(play: Play, user_id: int, cost: int, *, address: str = ADDRESS, after: int = 0, **given: int) -> None:
    """Charge a user for new numbers."""
    caller = Caller(app=play.app, user_id=user_id, is_guest=False, address=address)
    with play.db.write() as tx:
        privacy.pay(tx, Limits(**given), caller, cost, NOW + after)


def used(play: Play) -> dict[str, int]:
    with play.db.read() as tx:
        return {name: round(used) for name, used in buckets(tx).items()}


# ── permits outlive accounts ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_number_that_is_verified_again_after_a_deletion_has_no_new_permits(play):
    ann = play.verified(ANN)
    spend(play, ann, HEAP)
    for _ in range(3):
        assert users.erase(play.db, ann)
        ann = play.verified(ANN)
        with pytest.raises(errors.TooMany) as refused:
            spend(play, ann, 1)
        assert refused.value.limit == "permits"
    spend(play, ann, 6, after=HOUR)
    with pytest.raises(errors.TooMany):
        spend(play, ann, 1, after=HOUR)


@pytest.mark.parametrize("kind", ["firebase", "provider"])
def test_nor_has_an_id_of_a_provider(play, kind):
    def entered() -> int:
        if kind == "firebase":
            proof = Proof(subject="s1", phone="", email="ann@example.com")
            return proofs.by_email(play.db, LIMITS, play.app, proof, ADDRESS, NOW)
        return proofs.by_provider(play.db, LIMITS, play.app, Identity("u1", "ann", "", "", ""), ADDRESS, NOW)

    ann = entered()
    spend(play, ann, HEAP)
    users.erase(play.db, ann)
    with pytest.raises(errors.TooMany):
        spend(play, entered(), 1)


def test_what_an_account_has_used_counts_for_the_number_that_it_proves(play):
    ann = play.person("ann")
    spend(play, ann.id, HEAP)
    users.update(play.db, LIMITS, play.caller(ann.id), ann.id, {}, session=b"", now=NOW, verified_phone=ANN)
    users.erase(play.db, ann.id)
    with pytest.raises(errors.TooMany):
        spend(play, play.verified(ANN), 1)


@pytest.mark.parametrize("first", ["upload", "proof"])
def test_nothing_that_is_used_while_a_number_is_verified_escapes_it(play, first):
    """Whichever of the two comes first, and commits last."""
    ann = play.person("ann")
    caller = play.caller(ann.id)

    def pay(tx):
        privacy.pay(tx, LIMITS, caller, HEAP, NOW)

    def verify(tx):
        number = numbers.read(play.app, ANN)
        numbers.take_over(tx, play.app, ann.id, number, numbers.lock(tx, play.app, number, ann.id), NOW)

    early, late = (pay, verify) if first == "upload" else (verify, pay)

    def follow():
        with play.db.write() as tx:
            late(tx)

    with ThreadPoolExecutor(1) as threads:
        with play.db.write() as tx:
            early(tx)
            following = threads.submit(follow)
            wait([following], timeout=0.5)  # it must not get through: it waits for us
        following.result()
    users.erase(play.db, ann.id)
    with pytest.raises(errors.TooMany):
        spend(play, play.verified(ANN), 1)


def test_a_fuller_number_does_not_become_emptier_by_a_new_account(play):
    spend(play, play.verified(ANN), HEAP)
    bob = play.person("bob")
    spend(play, bob.id, 10)
    users.update(play.db, LIMITS, play.caller(bob.id), bob.id, {}, session=b"", now=NOW, verified_phone=ANN)
    with pytest.raises(errors.TooMany):
        spend(play, bob.id, 1)


def test_an_account_that_changes_its_number_leaves_both_used(play):
    ann = play.verified(ANN)
    spend(play, ann, HEAP)
    users.update(play.db, LIMITS, play.caller(ann), ann, {}, session=b"", now=NOW, verified_phone=BOB)
    for number in (ANN, BOB):
        with pytest.raises(errors.TooMany):
            spend(play, play.verified(number), 1)
    users.erase(play.db, ann)
    for number in (ANN, BOB):
        with pytest.raises(errors.TooMany):
            spend(play, play.verified(number), 1)


def test_an_account_without_anything_verified_begins_anew(play):
    ann = play.person("ann")
    spend(play, ann.id, HEAP)
    users.erase(play.db, ann.id)
    spend(play, play.person("ann").id, HEAP)


def test_of_an_erased_account_only_the_keyed_hash_stays_until_it_has_come_back(play):
    ann = play.verified(ANN)
    spend(play, ann, 12)
    users.erase(play.db, ann)
    (stays,) = [name for name in used(play) if name.startswith("permits of ") and " app " not in name]
    assert re.fullmatch(rf"permits of {play.app_id}:[0-9a-f]{{24}}", stays)
    assert f"permits:{ann}" not in used(play)
    rate_limits.sweep(play.db, NOW + 2 * HOUR)
    assert stays in used(play)
    rate_limits.sweep(play.db, NOW + 2 * HOUR + 1)
    assert stays not in used(play)


def test_two_applications_do_not_know_of_each_other(play):
    spend(play, play.verified(ANN), HEAP)
    other = Play(play.db)
    spend(other, other.verified(ANN), HEAP)


# ── the user is there, and stays ─────────────────────────────────────────────────────────────────────────────────────


def test_who_is_gone_is_charged_nothing(play):
    ann = play.person("ann").id
    users.erase(play.db, ann)
    with pytest.raises(errors.SessionGone):
        privacy.charge(play.db, LIMITS, play.caller(ann), [12025550109], NOW)
    assert used(play) == {}


def test_no_bucket_is_left_behind_by_a_look_up_that_races_with_the_deletion(play):
    people = [play.person(f"user{n}").id for n in range(30)]

    def ask(user_id: int) -> None:
        with suppress(errors.SessionGone):
            for n in range(5):
                privacy.charge(play.db, LIMITS, play.caller(user_id), [12025550100 + n], NOW)

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, one) for one in people]
        assert all(threads.map(lambda one: users.erase(play.db, one), people))
        for one in asked:
            one.result()
    assert not [name for name in used(play) if name.startswith("permits:")]


def test_the_wait_for_the_next_code_goes_on_when_the_account_is_deleted(play, monkeypatch):
    monkeypatch.setattr(codes.sms, "send", lambda *_: None)
    play.set(sms_gateway="console", sms_regions="US")

    def ask(after: int) -> None:
        codes.send(play.db, LIMITS, play.app, Outgoing(), ANN, ADDRESS, NOW + after)

    ann = play.verified(ANN)
    ask(0)
    users.erase(play.db, ann)
    assert play.rows("SELECT number FROM codes") == []
    with pytest.raises(errors.TooMany, match="just been sent") as refused:
        ask(10)
    assert refused.value.wait_seconds == 20
    ask(30)


# ── networks and the ceiling ─────────────────────────────────────────────────────────────────────────────────────────


def refusing(play: Play, address: str = ADDRESS, after: int = 0, cost: int = 1, **given: int) -> str:
    """The limit that refuses a new account from this address."""
    with pytest.raises(errors.TooMany) as refused:
        spend(play, play.person(f"at {address} {after}").id, cost, address=address, after=after, **given)
    return refused.value.limit


def test_the_networks_of_a_56_and_a_48_share_permits_by_application(play):
    few = {"subnet_permits_per_day": 20, "network_permits_per_day": 40}
    for n in range(2):
        spend(play, play.person(f"user{n}").id, 5, address=V6.format(n), **few)
    assert refusing(play, V6.format(2), **few) == "subnet_permits_per_day"
    for n in (256, 257):
        spend(play, play.person(f"user{n}").id, 5, address=V6.format(n), **few)
    assert refusing(play, V6.format(512), **few) == "network_permits_per_day"
    spend(play, play.person("elsewhere").id, 5, address="2001:db8:1::1", **few)
    other = Play(play.db)
    spend(other, other.person("other").id, 5, address=V6.format(0), **few)


def test_a_24_of_ipv4_has_the_limit_of_a_48(play):
    few = {"network_permits_per_day": 20}
    for n in range(2):
        spend(play, play.person(f"user{n}").id, 5, address=f"192.0.2.{n}", **few)
    assert refusing(play, "192.0.2.9", **few) == "network_permits_per_day"
    spend(play, play.person("elsewhere").id, 5, address="198.51.100.1", **few)


def test_a_refusal_says_when_and_no_24_hours_see_more_than_the_limit(play):
    few = {"network_permits_per_day": 48}
    spend(play, play.person("ann").id, 24, **few)
    with pytest.raises(errors.TooMany) as refused:
        spend(play, play.person("bob").id, 1, **few)
    assert refused.value.wait_seconds == HOUR
    for hour in range(1, 25):
        spend(play, play.person(f"user{hour}").id, 1, after=hour * HOUR, **few)
    assert refusing(play, after=24 * HOUR, **few) == "network_permits_per_day"


def test_a_network_has_at_most_a_quarter_of_the_ceiling(play):
    spend(play, play.person("ann").id, 5, app_permits_per_day=40)
    assert refusing(play, app_permits_per_day=40) == "network_permits_per_day"


def test_half_of_the_ceiling_is_for_accounts_that_were_verified_more_than_a_day_ago(play):
    few = {"network_permits_per_day": 0, "app_permits_per_day": 80}
    old, young = play.verified(ANN), play.person("young").id
    spend(play, young, 20, after=DAY, **few)
    with pytest.raises(errors.TooMany) as refused:
        spend(play, young, 1, after=DAY, **few)
    assert refused.value.limit == "app_permits_per_day"
    play.now += DAY
    with pytest.raises(errors.TooMany):
        spend(play, play.verified(BOB), 1, after=DAY, **few)
    spend(play, old, 20, after=DAY, **few)
    with pytest.raises(errors.TooMany):
        spend(play, old, 1, after=DAY, **few)


def test_a_typed_number_at_sign_up_counts_for_the_network_and_the_application(play):
    few = Limits(network_permits_per_day=4, new_accounts_per_hour=0)

    def sign_up(n: int) -> None:
        fields = {"login": f"user{n}", "password": "password1", "phone": f"+1202555010{n}"}
        users.sign_up(play.db, few, play.app, fields, f"192.0.2.{n}", NOW)

    sign_up(1)
    sign_up(2)
    with pytest.raises(errors.TooMany, match="network"):
        sign_up(3)


@pytest.mark.parametrize(
    "total, new, most",
    [
        (0, 0, 2_000_000),
        (100_000, 0, 2_000_000),
        (100_001, 0, 2_000_020),
        (1_000_000, 0, 20_000_000),
        (100_000, 100_000, 100_000_000),
        (1_000_000, 1_000, 999_000 * 20 + 1_000_000),
        (10, 10_000, 2_000_000),  # those who joined and have left again count no more
    ],
)
def test_the_automatic_ceiling(total, new, most):
    assert ceiling.automatic(total, new) == most


def test_the_ceiling_follows_the_users_and_those_who_are_new_or_imported(play):
    def most(after: int = 0) -> int:
        stats.flush(play.db, NOW)
        while app_totals.collect(play.db, NOW + after):
            pass
        play.db.memory.clear()
        with play.db.read() as tx:
            return ceiling.ceiling(tx, Limits(), play.app_id, NOW + after)

    stats.forget()
    assert most() == ceiling.LEAST
    lines = [Line(n, {"id": str(n), "login": f"user{n}"}) for n in range(1, 2_501)]
    imports.import_users(play.db, play.app, lines, now=NOW)
    play.person("ann")
    assert most(60) == 2_501_000
    assert most(31 * DAY) == ceiling.LEAST


def test_the_ceiling_is_looked_up_once_in_five_minutes(play):
    with play.db.read() as tx:
        assert ceiling.ceiling(tx, Limits(), play.app_id, NOW) == ceiling.LEAST
    with play.db.write() as tx:
        tx.run("INSERT INTO app_totals VALUES (:app_id, 1000000, 0, 0, 0, 0, 0)", app_id=play.app_id)
        seen = [ceiling.ceiling(tx, Limits(), play.app_id, NOW + after) for after in (299, 300)]
    assert seen == [ceiling.LEAST, 20_000_000]


@pytest.mark.parametrize(
    "first, second, limit, few",
    [
        ("192.0.2.1", "192.0.2.2", "network_accounts_per_hour", {"network_accounts_per_hour": 2}),
        (V6.format(1), V6.format(2), "subnet_accounts_per_hour", {"subnet_accounts_per_hour": 2}),
        (V6.format(1), V6.format(256), "network_accounts_per_hour", {"network_accounts_per_hour": 2}),
    ],
)
def test_new_accounts_draw_on_the_networks_of_their_address(play, first, second, limit, few):
    for address in (first, second):
        users.guest(play.db, Limits(**few), play.app, "Guest", address, NOW)
    with pytest.raises(errors.TooMany) as refused:
        users.guest(play.db, Limits(**few), play.app, "Guest", second, NOW)
    assert (refused.value.limit, refused.value.wait_seconds) == (limit, HOUR // 2)
    with pytest.raises(errors.TooMany):
        proofs.by_phone(play.db, Limits(**few), play.app, ANN, first, NOW)


# ── the alarm ────────────────────────────────────────────────────────────────────────────────────────────────────────


def near(limit: str) -> float:
    return metrics.NEAR.labels(limit)._value.get()


def test_at_80_per_cent_of_a_shared_limit_the_operator_hears_of_it(play, monkeypatch):
    stats.forget()
    told: list[dict[str, object]] = []
    monkeypatch.setattr(charging.log, "warning", lambda _, **fields: told.append(fields))
    charging._logged_at.clear()
    few = {"network_permits_per_day": 20, "address_permits_per_day": 0}
    before = near("network_permits_per_day")
    spend(play, play.person("ann").id, 7, **few)
    assert (near("network_permits_per_day"), told) == (before, [])
    spend(play, play.person("bob").id, 1, **few)
    assert near("network_permits_per_day") == before + 1
    refusing(play, cost=3, **few)
    assert near("network_permits_per_day") == before + 2
    assert told == [{"limit": "network_permits_per_day", "app": play.app_id, "percent": 80}]
    refusing(play, cost=9, after=charging.NEAR_SECONDS, **few)
    assert len(told) == 2
    stats.flush(play.db, NOW)
    assert overview.of(play.db, play.app, NOW).near == [overview.Near("network_permits_per_day", 3)]
    assert overview.of(play.db, play.app, NOW + 2 * DAY).near == []


def test_every_shared_limit_begins_at_0_in_the_metrics(play):
    """Prometheus sees no increase in a series whose first value is 1."""
    found = [rate_limits.address_permits(Limits(), ADDRESS), *rate_limits.accounts(Limits(), V6.format(1))]
    found += rate_limits.codes_for_subnets(Limits(), V6.format(1))
    found += rate_limits.sessions(Limits(), V6.format(1)) + rate_limits.sign_ins(Limits(), V6.format(1))
    found += [rate_limits.codes_of_day(play.app, 0), rate_limits.codes_to_new_numbers(play.app, 0)]
    found += ceiling._shared(Limits(), play.app, V6.format(1), ceiling.LEAST, established=False)
    assert {bucket.limit for bucket in found if bucket.alarm} == set(metrics.SHARED_LIMITS)


def test_who_signs_in_again_is_no_stranger(play):
    ann = play.verified(ANN)
    assert proofs.by_phone(play.db, LIMITS, play.app, ANN, ADDRESS, NOW + 2 * DAY) == ann
    spend(play, ann, 10, after=2 * DAY + HOUR)
    assert f"permits of app {play.app_id} strangers" not in used(play)


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def network(play: Play) -> int:
    """The fill level of the network's bucket in the database."""
    return used(play)[f"permits of app {play.app_id}@192.0.2.0/24"]


def test_a_process_draws_a_block_and_then_touches_the_shared_rows_no_more(play):
    block = ceiling.SMALLEST_BLOCK * 5 // 2
    spend(play, play.person("ann").id, 100)
    assert network(play) == 100 + block
    for n in range(25):
        spend(play, play.person(f"user{n}").id, 100)
    assert network(play) == 100 + block
    spend(play, play.person("bob").id, 100)
    assert network(play) == 200 + 2 * block


def test_who_is_refused_uses_nothing_of_a_block(play):
    ann = play.person("ann").id
    spend(play, ann, 100, permits=100)
    for _ in range(40):
        with pytest.raises(errors.TooMany):
            spend(play, ann, 100, permits=100)
    before = network(play)
    spend(play, play.person("bob").id, 2_500)
    assert network(play) == before


def test_a_transaction_that_is_undone_draws_no_block(play):
    ann = play.person("ann").id
    with pytest.raises(ZeroDivisionError), play.db.write() as tx:
        privacy.pay(tx, Limits(), play.caller(ann), 100, NOW)
        raise ZeroDivisionError
    assert used(play) == {}
    assert blocks.of(play.db.memory).idle(NOW, all_=True) == []


def test_what_is_left_of_a_block_is_returned_at_the_end_and_when_nobody_draws_on_it(play):
    spend(play, play.person("ann").id, 100)
    assert ceiling.return_blocks(play.db, NOW + blocks.IDLE_SECONDS - 1) == 0
    assert ceiling.return_blocks(play.db, NOW, all_=True) == 3
    assert network(play) == 100
    spend(play, play.person("bob").id, 100, after=60)
    assert ceiling.return_blocks(play.db, NOW + 60 + blocks.IDLE_SECONDS) > 0
    assert network(play) >= 200 - 60 * 3


def test_several_processes_together_use_no_more_than_the_limit(databases: Databases):
    """100,000 at the same time: each thread charges blocks of 1,000, and the last permits are counted exactly."""
    few = {"network_permits_per_day": 200_000, "app_permits_per_day": 10**9, "address_permits_per_day": 0, "permits": 0}
    with databases.fresh("postgresql") as url:
        first = Play(databases_.connect(url, seal=SEAL))
        people = [first.person(f"user{n}").id for n in range(4)]
        others = [databases_.connect(url, seal=SEAL) for _ in people]
        got = [0] * len(people)

        def run(n: int) -> None:
            mine = Play.__new__(Play)
            mine.db, mine.app_id, mine.now = others[n], first.app_id, NOW
            with suppress(errors.TooMany):
                while True:
                    spend(mine, people[n], 730, **few)
                    got[n] += 730

        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for db in (first.db, *others):
            db.close()
    assert 100_000 - 4 * 1_730 <= sum(got) <= 100_000


def test_blocks_of_any_number_of_networks_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(blocks, "MOST", 10)
    held = blocks.Blocks()
    for n in range(50):
        held.add(str(n), 1.0, 100, NOW)
    assert [held.take(str(n), 1, NOW) for n in (0, 39, 40, 49)] == [0, 0, 1, 1]


def test_a_clock_that_went_back_gives_no_block_away_twice():
    held = blocks.Blocks()
    held.add("one", 1.0, 100, NOW)
    assert held.take("one", 5, NOW - 1) == 0
    assert held.idle(NOW - 1) == [("one", 100)]
    assert held.take("one", 5, NOW) == 0
