"""Turns go round by address and user, and nobody has more than the places of the setting."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ringbook import errors, metrics
from ringbook.exchange import turns
from ringbook.exchange.turns import Asker, Askers, Places, Queue

ANN, BOB = Asker("192.0.2.1", 1), Asker("192.0.2.1", 2)
EVE = Asker("198.51.100.1", 3)


async def ask(queue: Queue, asker: Asker, done: list[Any], name: Any, work: Callable[[], Awaitable[Any]] | None = None):
    if not queue.take(asker):
        await queue.wait(asker)
    try:
        done.append(name)
        await (work() if work else asyncio.sleep(0))
    finally:
        queue.give_back(asker)


def test_a_user_with_many_requests_gets_one_turn_and_then_the_others_get_theirs():
    done: list[Any] = []

    async def play():
        queue = Queue(Places(1, 1, 1))
        requests = [ask(queue, EVE, done, f"eve {n}") for n in range(5)]
        requests += [ask(queue, one, done, name) for one, name in ((ANN, "ann"), (BOB, "bob"), (ANN, "ann again"))]
        await asyncio.gather(*requests)
        assert queue.waiting == 0

    asyncio.run(play())
    assert done == ["eve 0", "eve 1", "ann", "eve 2", "bob", "eve 3", "ann again", "eve 4"]


def test_twenty_users_of_one_address_get_the_turns_of_one_address():
    done: list[Any] = []

    async def play():
        queue = Queue(Places(1, 1, 1))
        crowd = [ask(queue, Asker("203.0.113.1", n), done, "crowd") for n in range(100, 120)]
        await asyncio.gather(*crowd, *(ask(queue, EVE, done, "eve") for _ in range(3)))

    asyncio.run(play())
    assert [at for at, who in enumerate(done) if who == "eve"] == [2, 4, 6]


@pytest.mark.parametrize(
    "places, askers, most",
    [
        (Places(8, 2, 4), [EVE], 2),
        (Places(8, 2, 4), [Asker("203.0.113.1", n) for n in range(9)], 4),
        (Places(3, 2, 2), [Asker(f"203.0.113.{n}", n) for n in range(9)], 3),
        (Places(8, 2, 4), [Asker(f"203.0.113.{n}", 7) for n in range(9)], 2),
    ],
    ids=["a user", "an address", "all", "a user at many addresses"],
)
def test_no_more_requests_are_at_work_than_there_are_places(places, askers, most):
    at_work, highest = 0, 0

    async def work():
        nonlocal at_work, highest
        at_work += 1
        highest = max(highest, at_work)
        await asyncio.sleep(0.002)
        at_work -= 1

    async def play():
        queue = Queue(places)
        await asyncio.gather(*(ask(queue, one, [], "", work) for one in askers for _ in range(6)))
        await asyncio.sleep(0)
        assert queue.waiting == 0
        assert all(queue.take(one) for one in [EVE] * 2)  # nothing is left behind

    asyncio.run(play())
    assert highest == most


def test_places_are_free_for_others_while_one_address_has_all_of_its_own():
    async def play():
        queue = Queue(Places(2, 1, 1))
        assert queue.take(ANN)
        waiting = [asyncio.ensure_future(queue.wait(BOB)) for _ in range(3)]
        await asyncio.sleep(0)
        assert queue.take(EVE)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert queue.waiting == 0

    asyncio.run(play())


def test_the_metric_counts_what_waits_and_no_longer_what_was_refused_or_given_up():
    def shown() -> float:
        return metrics.WAITING._value.get()

    async def play():
        queue, before = Queue(Places(1, 1, 1, wait_seconds=0.01)), shown()
        assert queue.take(ANN)
        waiting = [asyncio.ensure_future(queue.wait(one)) for one in (ANN, EVE, EVE)]
        await asyncio.sleep(0)
        assert shown() == before + 3
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert shown() == before

    asyncio.run(play())


def test_what_waits_too_long_is_refused_and_leaves_the_queue():
    async def play():
        queue = Queue(Places(1, 1, 1, wait_seconds=0.01, busy=lambda: errors.TooMany("another", wait_seconds=1)))
        assert queue.take(ANN)
        with pytest.raises(errors.TooMany, match="another"):
            await queue.wait(ANN)
        with pytest.raises(errors.Unavailable) as refused:
            await queue.wait(EVE)
        assert refused.value.limit == "turn_seconds"
        assert queue.waiting == 0
        queue.give_back(ANN)
        assert queue.take(EVE)

    asyncio.run(play())


def test_when_the_queue_is_full_the_one_who_filled_it_is_refused_and_not_the_newcomer(monkeypatch):
    monkeypatch.setattr(turns, "REFUSED_SECONDS", 0)

    async def play():
        queue = Queue(Places(1, 1, 1, most_waiting=3))
        assert queue.take(EVE)
        crowd = [asyncio.ensure_future(queue.wait(EVE)) for _ in range(2)]
        crowd.append(asyncio.ensure_future(queue.wait(BOB)))
        await asyncio.sleep(0)
        newcomer = asyncio.ensure_future(queue.wait(ANN))
        await asyncio.sleep(0.01)
        assert [one.done() for one in crowd] == [False, True, False]
        with pytest.raises(errors.Unavailable) as refused:
            await crowd[1]
        assert refused.value.limit == "max_waiting_requests"
        for other in (EVE, EVE, BOB, ANN):
            queue.give_back(other)
            await asyncio.sleep(0.01)
        assert newcomer.done() and not newcomer.exception()

    asyncio.run(play())


def test_a_request_that_is_given_up_frees_its_turn_also_when_it_has_just_got_it():
    async def play():
        queue = Queue(Places(1, 1, 1))
        assert queue.take(ANN)
        first, second = asyncio.ensure_future(queue.wait(ANN)), asyncio.ensure_future(queue.wait(EVE))
        await asyncio.sleep(0)
        queue.give_back(ANN)
        first.cancel()
        await asyncio.wait_for(second, 5)
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(play())


def test_a_queue_serves_several_event_loops_at_once():
    queue, done = Queue(Places(2, 1, 2)), []

    def many(user: int) -> None:
        async def play():
            await asyncio.gather(*(ask(queue, Asker("x", user), done, user) for _ in range(200)))

        asyncio.run(play())

    loops = [threading.Thread(target=many, args=(user,)) for user in range(4)]
    for one in loops:
        one.start()
    for one in loops:
        one.join()
    assert sorted(done) == sorted(list(range(4)) * 200)
    assert queue.waiting == 0 and queue.take(ANN) and queue.take(EVE)


def test_an_asker_is_the_address_until_the_token_is_known_and_then_the_user():
    askers = Askers()
    assert askers.of("192.0.2.1") == askers.of("192.0.2.1", b"token") == ("192.0.2.1", "192.0.2.1")
    askers.identified(b"token", 7)
    askers.identified(b"another", 7)
    assert askers.of("192.0.2.1", b"token") == askers.of("192.0.2.1", b"another") == ("192.0.2.1", 7)
    assert askers.of("127.0.0.1", b"x") == askers.of("127.0.0.1", b"y")
    assert askers.of("2001:db8::1", b"x") == askers.of("2001:db8::2", b"y")


def test_callers_from_a_proxy_itself_do_not_share_the_share_of_one_address():
    askers = Askers(["10.0.0.0/8"])
    for proxy in ("10.1.2.3", "::ffff:10.1.2.3", "", "testclient"):
        assert askers.of(proxy, b"one") != askers.of(proxy, b"two")
        assert askers.of(proxy) != askers.of(proxy)
        assert askers.of(proxy, b"one", 7) == askers.of(proxy, b"two", 7) == (7, 7)


def test_only_so_many_tokens_are_remembered_and_those_that_come_again_stay(monkeypatch):
    monkeypatch.setattr(turns, "MOST_USERS", 10)
    askers = Askers()
    for n in range(100):
        askers.identified(b"%d" % n, n + 1)
        askers.identified(b"often", 500)
    assert len(askers._users) + len(askers._older) <= 20
    assert askers.of("192.0.2.1", b"often").user == 500
    assert askers.of("192.0.2.1", b"1").user == "192.0.2.1"
