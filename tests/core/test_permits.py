"""Permits beyond those of the account: of verified numbers and ids, of networks, and the application's ceiling."""

import datetime
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
from ringbook.store import stats as stored_stats
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
    spend(play, bob.id, 10, address="198.51.100.1")
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
    spend(play, play.person("ann").id, HEAP, address="198.51.100.1")


def test_of_an_erased_account_only_the_keyed_hash_stays_until_it_has_come_back(play):
    ann = play.verified(ANN)
    spend(play, ann, 12)
    users.erase(play.db, ann)
    stays, small = sorted(name for name in used(play) if name.startswith("permits of ") and " app " not in name)
    assert re.fullmatch(rf"permits of {play.app_id}:[0-9a-f]{{24}}", stays) and small == f"{stays} small"
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


def test_half_of_the_ceiling_is_for_accounts_that_were_verified_more_than_a_day_ago(play):
    few = {"network_permits_per_day": 0, "app_permits_per_day": 80, "small_book_permits_per_day": 0}
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


def test_a_typed_number_costs_nothing_at_sign_up_and_a_permit_when_it_is_looked_up(play):
    few = Limits(**NOTHING)

    def sign_up(n: int) -> int:
        fields = {"login": f"user{n}", "password": "password1", "phone": f"+1202555010{n}"}
        return users.sign_up(play.db, few, play.app, fields, ADDRESS, NOW).id

    found = [sign_up(n) for n in range(3)]
    privacy.charge(play.db, few, play.caller(found[0]), [12025550100], NOW)
    with pytest.raises(errors.TooMany, match="address"):
        privacy.charge(play.db, few, play.caller(found[1]), [12025550101], NOW)
    ann = play.verified(ANN)
    privacy.charge(play.db, Limits(permits=1, **NOTHING), play.caller(ann), [numbers.read(play.app, ANN)] * 2, NOW)


@pytest.mark.parametrize("users, most", [(0, 2_000_000), (100_000, 2_000_000), (1_000_000, 20_000_000)])
def test_the_automatic_ceiling(users, most):
    assert ceiling.automatic(users) == most


def counted(play: Play, after: int = 0) -> int:
    """The established users, after a pass of the job that counts them in slices of three."""
    while ceiling.count_established(play.db, NOW + after, 3):
        pass
    with play.db.read() as tx:
        return stored_stats.totals(tx, play.app_id).get("established users", 0)


def test_established_users_were_verified_a_week_ago_and_are_in_the_books_of_others(play):
    ann, bob = play.verified(ANN), play.verified(BOB)
    play.holds(ann, (ANN, "Me"), (BOB, "Bob"))
    for n in range(9):
        play.person(f"user{n}", phone=f"+1202555015{n}")
        play.holds(bob, (f"+1202555015{n}", "Typed"))
    assert counted(play, 7 * DAY - 1) == 0
    assert counted(play, 8 * DAY) == 1  # Bob; Ann's own book does not count
    play.holds(bob, (ANN, "Ann"))
    assert counted(play, 8 * DAY + HOUR) == 1  # once a day
    assert counted(play, 9 * DAY) == 2
    assert Play(play.db).app_id != play.app_id
    users.erase(play.db, ann)
    assert counted(play, 10 * DAY) == 0  # nobody else has Bob's number


def test_sign_ups_and_imports_do_not_raise_the_ceiling(play):
    stats.forget()
    lines = [Line(n, {"id": str(n), "login": f"user{n}"}) for n in range(1, 501)]
    imports.import_users(play.db, play.app, lines, now=NOW)
    for n in range(20):
        play.person(f"person{n}", phone=f"+1202555011{n % 10}")
    stats.flush(play.db, NOW)
    while app_totals.collect(play.db, NOW):
        pass
    assert counted(play) == 0
    with play.db.read() as tx:
        assert ceiling.ceiling(tx, Limits(), play.app, NOW) == ceiling.LEAST


def test_the_ceiling_follows_the_established_users_and_is_looked_up_once_in_five_minutes(play):
    with play.db.read() as tx:
        assert ceiling.ceiling(tx, Limits(), play.app, NOW) == ceiling.LEAST
    with play.db.write() as tx:
        stored_stats.add(tx, [(play.app_id, 0, "established users", 1_000_000)])
        seen = [ceiling.ceiling(tx, Limits(), play.app, NOW + after) for after in (299, 300)]
    assert seen == [ceiling.LEAST, 20_000_000]


def test_the_operator_sets_the_ceiling_of_an_application_until_a_day(play):
    def most(after: int) -> int:
        with play.db.read() as tx:
            return ceiling.ceiling(tx, Limits(app_permits_per_day=5_000), play.app, NOW + after)

    assert most(0) == 5_000
    play.set(new_numbers_per_day="50000000")
    assert most(400 * DAY) == 50_000_000
    play.set(new_numbers_until=datetime.datetime.fromtimestamp(NOW + DAY, datetime.UTC).date().isoformat())
    left = DAY - NOW % DAY
    assert (most(0), most(left + DAY - 1), most(left + DAY)) == (50_000_000, 50_000_000, 5_000)


# ── what strangers cannot use up ─────────────────────────────────────────────────────────────────────────────────────

NOTHING = {"app_permits_per_day": 4, "network_permits_per_day": 2, "address_permits_per_day": 1}


def test_the_small_book_of_a_verified_number_meets_no_limit_of_others(play):
    spend(play, play.person("stranger").id, 1, **NOTHING)
    assert refusing(play, **NOTHING) == "address_permits_per_day"
    ann = play.verified(ANN)
    spend(play, ann, 200, **NOTHING)
    spend(play, ann, 100, **NOTHING)
    with pytest.raises(errors.TooMany):
        spend(play, ann, 1, **NOTHING)
    spend(play, ann, 300, after=DAY, **NOTHING)
    assert not [name for name in used(play) if "strangers" in name and "known" in name]


def test_an_account_that_is_made_again_has_no_second_small_book_of_the_day(play):
    spend(play, play.verified(ANN), 300, **NOTHING)
    with play.db.read() as tx:
        (ann,) = [row[0] for row in tx.tuples("SELECT user_id FROM numbers")]
    users.erase(play.db, ann)
    with pytest.raises(errors.TooMany):
        spend(play, play.verified(ANN), 2, **NOTHING)


def test_an_email_is_added_to_an_account_when_strangers_have_used_up_everything(play):
    few = Limits(**NOTHING)
    ann = play.person("ann")
    spend(play, ann.id, 1, **NOTHING)
    assert refusing(play, **NOTHING)

    def change(email: str) -> str | None:
        fields = {"email": email}
        return users.update(play.db, few, play.caller(ann.id), ann.id, fields, session=b"", now=NOW).email

    assert change("ann@example.com") == "ann@example.com"
    assert change("ann@example.org") == "ann@example.org"
    with pytest.raises(errors.TooMany):  # more changes of a day are look-ups
        change("ann@example.net")


def test_strangers_of_one_network_have_a_tenth_of_the_ceiling_and_known_users_another_quarter(play):
    few = {"app_permits_per_day": 400, "small_book_permits_per_day": 0}
    ann = play.verified(ANN)
    spend(play, play.person("stranger").id, 20, after=2 * DAY, **few)
    assert refusing(play, after=2 * DAY, **few) == "network_permits_per_day"
    spend(play, play.person("elsewhere").id, 20, after=2 * DAY, address="198.51.100.1", **few)
    spend(play, ann, 50, after=2 * DAY, **few)
    with pytest.raises(errors.TooMany) as refused:
        spend(play, ann, 1, after=2 * DAY, **few)
    assert refused.value.limit == "network_permits_per_day"


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    found += rate_limits.resets_from_address(Limits(), V6.format(1))
    found += rate_limits.sessions(Limits(), V6.format(1)) + rate_limits.sign_ins(Limits(), V6.format(1))
    found += [rate_limits.codes_of_day(play.app, 0), rate_limits.codes_to_new_numbers(play.app, 0)]
    found += ceiling.shared(Limits(), play.app, 1, V6.format(1), ceiling.LEAST, is_known=False)
    assert {bucket.limit for bucket in found if bucket.alarm} | {"sign_ups_alarm_per_hour", "wrong_passwords"} == set(
        metrics.SHARED_LIMITS
    )


def test_who_signs_in_again_is_no_stranger(play):
    ann = play.verified(ANN)
    assert proofs.by_phone(play.db, LIMITS, play.app, ANN, ADDRESS, NOW + 2 * DAY) == ann
    spend(play, ann, 301, after=2 * DAY + HOUR)
    assert not [name for name in used(play) if "strangers" in name]
    assert f"permits of app {play.app_id} known@192.0.2.0/24" in used(play)


# ── rows of a large bucket ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_ceiling_is_divided_among_rows_by_the_ids_of_users(play):
    most = 4 * ceiling.ROWS * ceiling.LEAST_PER_ROW
    for of_app, rows in ((most, ceiling.ROWS), (most - 4, 1)):
        names = {
            ceiling.shared(Limits(), play.app, n, ADDRESS, of_app, is_known=False)[-1].name for n in range(100, 120)
        }
        assert len(names) == rows


def test_several_processes_together_use_no_more_than_the_limit(databases: Databases):
    """100,000 at the same time, counted exactly."""
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
    assert 100_000 - 730 < sum(got) <= 100_000
