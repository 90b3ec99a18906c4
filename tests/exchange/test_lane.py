import asyncio
import threading
import time

import pytest

from ringbook import errors
from ringbook.exchange.lane import Lane


def test_work_is_done_in_a_thread_and_its_result_or_error_comes_back():
    async def both(lane):
        thread = await lane.run(threading.get_ident)
        with pytest.raises(errors.NotFound):
            await lane.run(refuse)
        return thread

    def refuse():
        raise errors.NotFound("Not found")

    assert asyncio.run(both(Lane(2))) != threading.get_ident()


def test_no_more_threads_work_than_the_lane_has_and_everything_is_done():
    running, most, counting = set(), [0], threading.Lock()

    def work(number):
        with counting:
            running.add(number)
            most[0] = max(most[0], len(running))
        time.sleep(0.001)
        with counting:
            running.discard(number)
        return number

    async def all_of_them(lane):
        return await asyncio.gather(*(lane.run(lambda number=number: work(number)) for number in range(200)))

    assert asyncio.run(all_of_them(Lane(3))) == list(range(200))
    assert most[0] == 3


def test_a_thread_that_is_idle_is_used_again():
    async def one_after_the_other(lane):
        return {await lane.run(threading.get_ident) for _ in range(100)}

    # The next piece of work may come while a thread that has answered is not idle yet.
    assert len(asyncio.run(one_after_the_other(Lane(40)))) <= 2


def test_one_lane_serves_several_event_loops_at_once():
    lane = Lane(2)
    sums = []

    async def many():
        return sum(await asyncio.gather(*(lane.run(lambda number=number: number) for number in range(500))))

    loops = [threading.Thread(target=lambda: sums.append(asyncio.run(many()))) for _ in range(4)]
    for one in loops:
        one.start()
    for one in loops:
        one.join()
    assert sums == [sum(range(500))] * 4


def test_work_that_waits_is_dropped_when_its_request_is_given_up_and_frees_its_place():
    gate, done = threading.Event(), []

    async def play(lane):
        first = lane.run(gate.wait)
        second = lane.run(lambda: done.append("second"))
        with pytest.raises(errors.Unavailable, match="full") as refused:
            lane.run(lambda: done.append("third"))
        assert refused.value.limit == "search_threads"
        second.cancel()
        fourth = lane.run(lambda: done.append("fourth"))
        gate.set()
        await asyncio.gather(first, fourth)

    asyncio.run(play(Lane(1, most_waiting=1, full="full", limit="search_threads")))
    assert done == ["fourth"]


def test_a_request_that_is_given_up_while_its_work_runs_does_no_harm_to_the_next():
    gate = threading.Event()

    async def play(lane):
        first = lane.run(gate.wait)
        await asyncio.sleep(0.01)
        first.cancel()
        second = lane.run(lambda: "second")
        gate.set()
        return await second

    assert asyncio.run(play(Lane(1))) == "second"


def test_a_loop_that_ends_before_its_work_leaves_the_thread_to_others():
    gate, lane = threading.Event(), Lane(1)

    async def give_up():
        lane.run(gate.wait)

    async def another():
        return await lane.run(lambda: "another")

    asyncio.run(give_up())
    gate.set()
    assert asyncio.run(another()) == "another"


def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch):
    """A machine may be out of threads for a moment."""
    gate = threading.Event()

    def failing(_thread):
        raise RuntimeError("can't start new thread")

    async def play(lane):
        with monkeypatch.context() as out_of_threads:
            out_of_threads.setattr(threading.Thread, "start", failing)
            for _ in range(3):
                with pytest.raises(errors.Unavailable):
                    lane.run(gate.wait)
        first = lane.run(gate.wait)
        with monkeypatch.context() as out_of_threads:
            out_of_threads.setattr(threading.Thread, "start", failing)
            second = lane.run(lambda: "second")  # waits for the thread that is there
        gate.set()
        return await asyncio.wait_for(asyncio.gather(first, second), 10)

    assert asyncio.run(play(Lane(2))) == [True, "second"]


def test_a_lane_keeps_nothing_of_the_work_it_has_done():
    class Large:
        freed = threading.Event()

        def __del__(self):
            self.freed.set()

    async def play(lane):
        large = Large()
        await lane.run(lambda: id(large))

    asyncio.run(play(Lane(1)))
    assert Large.freed.wait(5)
