"""Workers are killed at any moment. No push is lost, and no push that was accepted and recorded is sent again.

A push that the provider had accepted and no worker had recorded can be sent twice. These pushes are counted here.
"""

import json
import random
import time
import uuid
from collections import Counter

from core.joining import Play
from push.providers import Providers, apns_token
from servers import environment, program, running

from ringbook.core import delivery
from ringbook.push import apns

HOLDERS = 25
DEATHS = 8
JOINERS = [f"+1202555{100 + n:04}" for n in range(DEATHS + 1)]
# Some take their time, some fail at first: a death finds pushes in every state.
ORDERS = ("", "slow-30", "once-down", "slow-200", "", "once-broken")
BEGINNINGS = ("told", "sent")
BEGIN_SECONDS, LAST_SECONDS = 20, 90


def lease_over(play: Play) -> None:
    """End all leases of the killed workers, and all pauses."""
    with play.db.write() as tx:
        tx.run("UPDATE pushes SET due_at = 0 WHERE outcome IS NULL")


def recorded(play: Play) -> set[int]:
    """The pushes that the database has recorded as accepted."""
    return {row["id"] for row in play.rows("SELECT id FROM pushes WHERE outcome = 'accepted'")}


def acknowledged(play: Play, providers: Providers) -> Counter[int]:
    """How often the provider has accepted each push."""
    key = play.app.vapid_public_key
    named = {str(uuid.uuid5(apns.NAMES, f"{key} {row['id']}")): row["id"] for row in play.rows("SELECT id FROM pushes")}
    return Counter(named[one["id"]] for one in providers.asked()["asked"] if one["status"] == 200)


def befriended(play: Play) -> None:
    """Create HOLDERS users with a device each, who hold the numbers of all users who will join."""
    for n in range(HOLDERS):
        user = play.person(f"holder{n}")
        play.holds(user.id, *((phone, "Ann") for phone in JOINERS))
        play.device(user.id, apns_token(ORDERS[n % len(ORDERS)], n), channel="apns", platform="ios")


def test_kill_9_at_any_moment_loses_nothing_and_repeats_nothing_that_was_recorded(
    db, database_url, providers, tmp_path
):
    play = Play(db, now=int(time.time()))
    play.set(contact_joined_digest="1000", **providers.settings)
    befriended(play)
    settings = environment(database_url, **{name: str(value) for name, value in providers.config.items()})
    recorded_at_deaths, kept = [], Counter[int]()
    for death, phone in enumerate(JOINERS):
        play.person(f"joiner{death}", phone)
        lease_over(play)
        with running([program(), "worker"], tmp_path / f"worker{death}.log", environment=settings) as worker:
            if death < DEATHS:
                # Later ones come later: also on a busy machine some find much recorded.
                wait_for_work(play, providers, random.choice(BEGINNINGS), random.uniform(0, 0.25 * (death + 1)))
                worker.kill()
                worker.wait()
            else:
                wait_for_the_end(play)
        now = acknowledged(play, providers)
        assert {push: now[push] for push in kept} == kept, "a push that was recorded was sent again"
        kept = Counter({push: now[push] for push in recorded(play)})
        recorded_at_deaths.append(len(kept))
    assert len(kept) == HOLDERS * len(JOINERS), "a push was lost"
    assert len(set(recorded_at_deaths)) > 3, "the deaths came too early or too late to say anything"
    print(f"recorded at each death: {recorded_at_deaths}; acknowledged, not recorded: {kept.total() - len(kept)}")


def told(play: Play, providers: Providers) -> dict[str, dict[str, frozenset[int]]]:
    """By device and push: the users whom the provider was told of. All attempts of a push tell of the same."""
    found: dict[str, dict[str, frozenset[int]]] = {}
    for one in providers.asked()["asked"]:
        if one["status"] == 200:
            body = json.loads(one["body"])
            about = frozenset(body.get("user_ids") or [body["user_id"]])
            assert found.setdefault(one["token"], {}).setdefault(one["id"], about) == about
    return found


def test_kill_9_at_any_moment_tells_of_everybody_in_one_digest(db, database_url, providers, tmp_path):
    """Digests leave at once here, while further users join: each user is in one of them, and in no other push."""
    play = Play(db, now=int(time.time()))
    play.set(contact_joined_digest="0", **providers.settings)
    befriended(play)
    settings = environment(database_url, **{name: str(value) for name, value in providers.config.items()})
    for death, phone in enumerate(JOINERS):
        play.person(f"joiner{death}", phone)
        lease_over(play)
        with running([program(), "worker"], tmp_path / f"worker{death}.log", environment=settings) as worker:
            if death < DEATHS:
                wait_for_work(play, providers, random.choice(BEGINNINGS), random.uniform(0, 0.1 * (death + 1)))
                lease_over(play)
                time.sleep(random.uniform(0, 0.2))
                worker.kill()
                worker.wait()
            else:
                wait_for_the_end(play, hurry=True)
    joiners = sorted(row["id"] for row in play.rows("SELECT id FROM users WHERE login LIKE 'joiner%'"))
    pushes = told(play, providers)
    assert len(pushes) == HOLDERS
    for of_device in pushes.values():
        assert sorted(user for about in of_device.values() for user in about) == joiners


def wait_for_the_end(play: Play, *, hurry: bool = False) -> None:
    """Wait until no fact is left to announce, and then until no push is left to send. `hurry`: whenever it is due."""
    deadline = time.monotonic() + LAST_SECONDS
    while play.facts() or delivery.waiting(play.db)[0]:
        assert time.monotonic() < deadline, play.rows("SELECT id, attempts, outcome, reason FROM pushes LIMIT 5")
        if hurry and not play.facts():
            lease_over(play)
        time.sleep(0.2)


def wait_for_work(play: Play, providers: Providers, beginning: str, seconds: float) -> None:
    """Wait until the worker has begun to announce or to send, and so many seconds more."""
    asked, deadline = len(providers.asked()["asked"]), time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        if not play.facts() if beginning == "told" else len(providers.asked()["asked"]) > asked:
            break
        time.sleep(0.01)
    time.sleep(seconds)
