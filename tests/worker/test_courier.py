"""The courier sends pushes from the queue to the providers and records the outcomes."""

import asyncio
import base64
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

import pytest
from core.joining import ANN, BOB, Play
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from push.providers import Providers, apns_token, fcm_token
from servers import SEAL, eventually
from verify.gateway import listening

from ringbook import errors
from ringbook.config import Config, Limits
from ringbook.core import announcing, applications, delivery, events
from ringbook.core.delivery import Room
from ringbook.store import db as store
from ringbook.worker import courier

PATIENCE_SECONDS = 30
NO_LIMITS = Limits(
    events_per_minute=0,
    events_per_address_per_minute=0,
    pushes_per_sender_per_day=0,
    max_waiting_per_sender=0,
    max_waiting_per_subscription=0,
)
_KEY = ec.derive_private_key(271, ec.SECP256R1()).public_key()
POINT = base64.urlsafe_b64encode(_KEY.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).decode().rstrip("=")


@pytest.fixture
def play(db, providers):
    """An application with both providers set up, at the current time."""
    play = Play(db, now=int(time.time()))
    play.set(**providers.settings)
    return play


@contextmanager
def delivering(play: Play, providers: Providers, **config: object) -> Iterator[None]:
    """A running courier."""
    stop = threading.Event()
    thread = threading.Thread(target=courier.run, args=(play.db, Config(**providers.config | config), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def until(play: Play, done: Callable[[], bool]) -> None:
    """Wait until the queue has the expected content."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, play.rows("SELECT id, channel, attempts, outcome, reason FROM pushes")
        time.sleep(0.05)


def outcomes(play: Play) -> Counter[str | None]:
    return Counter(row["outcome"] for row in play.rows("SELECT outcome FROM pushes"))


def befriended(play: Play, login: str, **device: str) -> int:
    """A user who holds Ann's number, with a device."""
    user = play.person(login)
    play.holds(user.id, (ANN, f"Ann of {login}"))
    play.device(user.id, **device)
    return user.id


def test_a_sign_up_reaches_every_holder_once_with_the_name_in_their_book(play, providers):
    befriended(play, "bob", token=fcm_token())
    befriended(play, "cleo", token=apns_token(), channel="apns", platform="ios")
    with delivering(play, providers):
        ann = play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 2})
    asked = {one["provider"]: json.loads(one["body"]) for one in providers.asked()["asked"]}
    assert len(providers.asked()["asked"]) == 2
    assert asked["fcm"]["message"]["data"] == {
        "message": "Your friend Ann of bob joined.",
        "user_id": str(ann.id),
        "type": "contact_joined",
    }
    assert asked["apns"] == {
        "aps": {"alert": {"body": "Your friend Ann of cleo joined."}},
        "user_id": ann.id,
        "type": "contact_joined",
    }
    assert play.rows("SELECT DISTINCT message, number FROM pushes") == [{"message": None, "number": None}]


def test_what_fails_for_a_while_is_tried_again_and_what_is_refused_is_parked(play, providers, monkeypatch):
    monkeypatch.setattr(delivery, "FIRST_WAIT_SECONDS", 1)
    befriended(play, "bob", token=fcm_token("once-down"))
    befriended(play, "cleo", token=apns_token("once-broken"), channel="apns", platform="ios")
    befriended(play, "dora", token=apns_token("answer-403-InvalidProviderToken"), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 2, "parked": 1})
    tries = play.rows("SELECT attempts, outcome FROM pushes ORDER BY user_id")
    assert [(row["attempts"] > 1, row["outcome"]) for row in tries] == [
        (True, "accepted"),
        (True, "accepted"),
        (False, "parked"),
    ]


def test_an_application_whose_secrets_do_not_open_parks_its_pushes_and_others_are_sent(play, providers):
    other = Play(play.db, now=play.now)
    other.set(**providers.settings)
    for one in (play, other):
        user = one.person("bob").id
        one.device(user, fcm_token())
        events.send(
            one.db,
            NO_LIMITS,
            one.caller(user),
            events.Event(payload={"message": "hi"}, to=events.Recipients(ids=[user])),
            one.now,
        )
    with play.db.write() as tx:
        tx.run("UPDATE applications SET auth_secret = :broken WHERE id = :id", broken=bytes(32), id=play.app_id)
    applications._cache.clear()
    with delivering(play, providers):
        until(play, lambda: outcomes(play) == {"accepted": 1, "parked": 1})
    parked = play.rows("SELECT app_id, cause FROM pushes WHERE outcome = 'parked'")
    assert parked == [{"app_id": play.app_id, "cause": "unreadable"}]


def test_holders_whose_devices_keep_changing_are_told_in_smaller_batches(play, providers, monkeypatch):
    """A change during a batch undoes it, and a large batch takes so long that there is always one."""
    expand = announcing.expand

    def overtaken(db, now, batch):
        if batch > 50:
            raise announcing.Overtaken
        return expand(db, now, batch)

    monkeypatch.setattr(announcing, "expand", overtaken)
    befriended(play, "bob", token=fcm_token())
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 1})


def test_a_dead_token_ends_its_subscription(play, providers):
    befriended(play, "bob", token=fcm_token("gone"))
    befriended(play, "cleo", token=apns_token("gone"), channel="apns", platform="ios")
    with play.db.write() as tx:
        tx.run("UPDATE subscriptions SET updated_at = updated_at - 86400 * 365 * 10")  # long before the fake's date
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"gone": 2})
    assert play.rows("SELECT * FROM subscriptions") == []


def test_without_credentials_a_push_waits_parked_until_they_are_there_and_it_is_retried(play, providers, monkeypatch):
    monkeypatch.setattr(applications, "CACHE_SECONDS", 0.2)
    play.set(fcm_service_account="")
    befriended(play, "bob", token=fcm_token())
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"parked": 1})
        assert "fcm_service_account" in play.rows("SELECT reason FROM pushes")[0]["reason"]
        play.set(fcm_service_account=providers.service_account)
        time.sleep(applications.CACHE_SECONDS)
        delivery.retry(play.db, play.app_id, None, int(time.time()))
        until(play, lambda: outcomes(play) == {"accepted": 1})


def test_a_provider_that_hangs_does_not_hold_up_the_others(play, providers, monkeypatch):
    monkeypatch.setattr(courier, "PLACES", 20)
    monkeypatch.setattr(courier, "FEWEST_PLACES", 2)
    monkeypatch.setattr(courier, "FEWEST_CLAIMED", 2)
    monkeypatch.setattr(courier, "LAST_SECONDS", 0.1)
    for n in range(30):
        befriended(play, f"slow{n}", token=fcm_token("never", n))
    befriended(play, "cleo", token=apns_token(), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play)["accepted"] == 1)
        assert outcomes(play) == {None: 30, "accepted": 1}
        assert sum(one["provider"] == "fcm" for one in providers.asked()["asked"]) <= 10
        providers.forget()


def lanes_of(taken: Mapping[str, int], senders: int = 1) -> dict[str, Counter[int]]:
    """The requests in flight in each lane, by sender."""
    return {lane: Counter(n % senders for n in range(count)) for lane, count in taken.items()}


@given(st.dictionaries(st.integers(), st.integers(0, 3000), max_size=12))
def test_every_lane_has_room_whatever_the_others_take(taken):
    lanes = {f"{lane}:gcm": count for lane, count in taken.items()}
    most, rooms = courier.room(lanes_of(lanes))
    assert most >= courier.FEWEST_PLACES
    assert set(rooms) == {lane for lane, count in lanes.items() if count}
    for lane, one in rooms.items():
        rest = sum(lanes.values()) - lanes[lane]
        assert one.places == 0 or one.places >= courier.FEWEST_CLAIMED
        assert one.places == 0 or lanes[lane] + one.places <= max(courier.FEWEST_PLACES, (courier.PLACES - rest) // 2)


def test_lanes_that_hang_one_after_the_other_leave_each_other_less_and_less():
    lanes: Counter[str] = Counter()
    for n in range(12):
        lane = f"{n}:gcm"
        while (found := courier.room(lanes_of(lanes)))[1].get(lane, Room(found[0])).places:
            lanes[lane] += min(found[0], found[1].get(lane, Room(found[0])).places)
    assert lanes["0:gcm"] > lanes["1:gcm"] > lanes["2:gcm"]
    assert lanes.total() <= courier.PLACES + 12 * courier.FEWEST_PLACES


@given(st.integers(1, 3000), st.integers(1, 400))
def test_where_strangers_name_the_hosts_a_quarter_is_kept_for_senders_with_few_in_flight(taken, senders):
    (one,) = courier.room(lanes_of({"1:web?": taken}, senders))[1].values()
    places = max(courier.FEWEST_PLACES, courier.PLACES // 2)
    if one.of_each:
        assert one.places == max(0, places - taken)
        assert set(one.crowding) == {sender for sender in range(senders) if taken // senders >= courier.FEW} or (
            taken // senders == courier.FEW - 1
        )
    else:
        assert taken + one.places <= places - places // 4
    assert taken + one.places <= max(taken, places)


@pytest.fixture
def hanging() -> Iterator[list[str]]:
    """Ten hosts that accept connections and never answer; a browser's endpoint at each."""
    with ExitStack() as stack:
        found = []
        for _ in range(10):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_000))
            found.append(f"http://127.0.0.1:{listener.getsockname()[1]}/push")
        yield found


def browser(play: Play, login: str, *endpoints: str) -> int:
    """A user with a browser at each of these endpoints."""
    user = play.person(login)
    for n, endpoint in enumerate(endpoints):
        keys = {"web_auth": "A" * 22, "web_p256dh": POINT, "channel": "web", "platform": "web"}
        play.device(user.id, f"{endpoint}/{user.id}/{n}", **keys)
    return user.id


def tell(play: Play, sender: int, *to: int) -> None:
    event = events.Event(payload={"message": "hi"}, to=events.Recipients(ids=to))
    events.send(play.db, NO_LIMITS, play.caller(sender), event, play.now)


def test_a_flood_to_hosts_that_hang_does_not_hold_up_another_sender_of_the_same_channel(
    play, providers, hanging, monkeypatch
):
    """Neither its requests in flight nor its waiting pushes delay the other sender."""
    monkeypatch.setattr(courier, "PLACES", 80)
    monkeypatch.setattr(courier, "LAST_SECONDS", 0.1)
    victims = [browser(play, f"victim{n}", *hanging) for n in range(10)]
    senders = [play.person(f"sender{n}").id for n in range(4)]
    with listening() as service:
        service.status = 201
        bob = browser(play, "bob", service.url)
        for sender in senders:
            for _ in range(3):
                tell(play, sender, *victims)
        with delivering(play, providers):
            until(play, lambda: in_flight(play) >= 30)
            tell(play, bob, bob)
            until(play, lambda: outcomes(play)["accepted"] == 1)
            assert play.rows("SELECT id FROM pushes WHERE attempts = 0 LIMIT 1")
            assert not play.rows("SELECT id FROM pushes WHERE outcome IS NULL AND reason IS NOT NULL LIMIT 1")
    fair = Counter(row["about_user_id"] for row in play.rows("SELECT * FROM pushes WHERE attempts > 0"))
    assert max(fair[sender] for sender in senders) - min(fair[sender] for sender in senders) <= 1


def in_flight(play: Play) -> int:
    return len(play.rows("SELECT id FROM pushes WHERE attempts > 0"))


def test_a_push_that_is_in_our_hands_is_not_sent_again_when_its_lease_is_over(play, providers, monkeypatch):
    monkeypatch.setattr(delivery, "LEASE_SECONDS", 1)
    befriended(play, "bob", token=apns_token("slow-3500"), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 1})
    assert len(providers.asked()["asked"]) == 1
    assert play.rows("SELECT attempts FROM pushes")[0]["attempts"] > 1


def test_while_nothing_can_be_recorded_nothing_more_is_sent_and_nothing_is_lost(play, providers, monkeypatch):
    away, record = threading.Event(), delivery.record
    away.set()

    def failing(*values):
        if away.is_set():
            raise errors.Unavailable("away")
        record(*values)

    monkeypatch.setattr(delivery, "record", failing)
    monkeypatch.setattr(courier, "TROUBLE_SECONDS", 0.2)
    befriended(play, "bob", token=apns_token(serial=1), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: len(providers.asked()["asked"]) == 1)
        befriended(play, "cleo", token=apns_token(serial=2), channel="apns", platform="ios")
        time.sleep(0.5)
        user = play.rows("SELECT id FROM users WHERE login = 'cleo'")[0]["id"]
        play.holds(user, (BOB, "Bob"))
        play.person("bob2", BOB)
        time.sleep(1.5)
        assert len(providers.asked()["asked"]) == 1
        away.clear()
        until(play, lambda: outcomes(play) == {"accepted": 2})
    assert len(providers.asked()["asked"]) == 2


def test_a_receipt_is_recorded_whatever_else_is_still_on_its_way(play, providers, monkeypatch):
    """It is recorded within a fraction of a second, and does not wait for the rest of its batch."""
    monkeypatch.setattr(courier, "LAST_SECONDS", 0.1)
    befriended(play, "bob", token=fcm_token())
    befriended(play, "cleo", token=fcm_token("never"))
    befriended(play, "dora", token=apns_token(), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 2, None: 1})
        assert {row["attempts"] for row in play.rows("SELECT attempts FROM pushes WHERE outcome IS NULL")} == {1}


def test_while_the_database_is_away_nothing_is_lost_and_nothing_sent_twice(stoppable, providers):
    """The database goes away while responses are pending, and comes back."""
    providers.forget()
    with closing(store.connect(stoppable.url, seal=SEAL)) as db:
        play = Play(db, now=int(time.time()))
        play.set(**providers.settings)
        for n in range(20):
            befriended(play, f"holder{n}", token=apns_token("slow-1500", n), channel="apns", platform="ios")
        with delivering(play, providers):
            play.person("ann", ANN)
            eventually(lambda: len(providers.asked()["asked"]) == 20, "they were not all sent")
            stoppable.stop()
            eventually(lambda: [one["status"] for one in providers.asked()["asked"]] == [200] * 20, "no answers")
            stoppable.start()
            eventually(lambda: counted(play) == {"accepted": 20}, "they were not all recorded")
    assert len(providers.asked()["asked"]) == 20


def counted(play: Play) -> Counter[str | None]:
    """The outcomes; an empty counter while the database is away."""
    try:
        return outcomes(play)
    except errors.Unavailable:
        return Counter()


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(play, providers, monkeypatch):
    monkeypatch.setattr(courier, "ATTEMPT_SECONDS", 1)
    befriended(play, "bob", token=fcm_token("never"))
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: play.rows("SELECT reason FROM pushes")[:1] == [{"reason": "it took too long"}])
    assert play.rows("SELECT outcome, attempts, cause FROM pushes") == [
        {"outcome": None, "attempts": 1, "cause": "no answer"}
    ]


def test_several_couriers_send_each_push_once(play, providers):
    for n in range(60):
        befriended(play, f"holder{n}", token=apns_token(serial=n), channel="apns", platform="ios")
    with delivering(play, providers), delivering(play, providers), delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 60})
    counted = Counter(one["token"] for one in providers.asked()["asked"])
    assert set(counted.values()) == {1} and len(counted) == 60


def test_what_is_in_flight_at_the_end_is_waited_for_and_recorded(play, providers):
    befriended(play, "bob", token=apns_token("slow-1500"), channel="apns", platform="ios")
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: len(providers.asked()["asked"]) == 1)
    assert outcomes(play) == {"accepted": 1}


def test_the_console_prints_instead_of_sending(play, providers, capfd):
    play.set(push_console="on")
    befriended(play, "bob", token=fcm_token())
    with delivering(play, providers):
        play.person("ann", ANN)
        until(play, lambda: outcomes(play) == {"accepted": 1})
    assert "Your friend Ann of bob joined." in capfd.readouterr().out
    assert providers.asked()["asked"] == []


def test_behind_pgbouncer_it_is_the_same(databases, providers):
    providers.forget()
    with databases.fresh("pgbouncer") as url, closing(store.connect(url, seal=SEAL)) as db:
        play = Play(db, now=int(time.time()))
        play.set(**providers.settings)
        for n in range(20):
            befriended(play, f"holder{n}", token=apns_token(serial=n), channel="apns", platform="ios")
        with delivering(play, providers), delivering(play, providers):
            play.person("ann", ANN)
            until(play, lambda: outcomes(play) == {"accepted": 20})
    assert len(providers.asked()["asked"]) == 20


@pytest.mark.parametrize("is_online", [False, True])
def test_an_endpoint_is_ended_only_while_another_host_answers(play, providers, is_online):
    """Otherwise a day without network would end the subscriptions of all silent browsers."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}/push"
    quiet = browser(play, "quiet", closed)
    with play.db.write() as tx:
        tx.run("UPDATE subscriptions SET silent_since = :since", since=play.now - 86_401)
    with listening() as service, delivering(play, providers):
        service.status = 201
        if is_online:
            bob = browser(play, "bob", service.url)
            tell(play, bob, bob)
            until(play, lambda: outcomes(play)["accepted"] == 1)
        tell(play, quiet, quiet)
        tried = "SELECT reason FROM pushes WHERE outcome IS DISTINCT FROM 'accepted' AND reason IS NOT NULL"
        until(play, lambda: bool(play.rows(tried)))
    (push,) = play.rows(tried)
    assert (push["reason"] == delivery.NEVER_ANSWERED) is is_online
    assert bool(play.rows("SELECT id FROM subscriptions WHERE user_id = :user", user=quiet)) is not is_online


def test_while_no_other_host_answers_no_silence_is_noted(play, providers):
    with socket.create_server(("127.0.0.1", 0)) as bound:
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}/push"
    quiet = browser(play, "quiet", closed)
    with delivering(play, providers):
        tell(play, quiet, quiet)
        until(play, lambda: bool(play.rows("SELECT id FROM pushes WHERE reason IS NOT NULL")))
    assert play.rows("SELECT silent_since FROM subscriptions") == [{"silent_since": None}]


# ── a clock that is moved by hand ────────────────────────────────────────────────────────────────────────────────────


def test_drain_does_what_is_due_at_the_clocks_time_and_nothing_else(play, providers):
    befriended(play, "bob", token=fcm_token())
    befriended(play, "cleo", token=apns_token("once-broken"), channel="apns", platform="ios")
    play.person("ann", ANN)
    seen = asyncio.run(drained(play, providers, 0, 0, 60, 120))
    assert seen == [{"accepted": 1, None: 1}, {"accepted": 1, None: 1}, {"accepted": 2}, {"accepted": 2}]


async def drained(play: Play, providers: Providers, *seconds: int) -> list[Counter[str | None]]:
    """The outcomes after each time, in seconds after now."""
    clock, seen = [play.now], []
    config = Config(**providers.config)
    async with courier.Courier(play.db, config, threading.Event(), lambda: clock[0]) as one:
        for moment in seconds:
            clock[0] = play.now + moment
            await one.drain()
            seen.append(outcomes(play))
    return seen
