import asyncio
import threading
import time

import pytest

from ringbook import errors
from ringbook.exchange.threads import Threads


def test_work_is_done_in_a_thread_and_its_result_or_error_comes_back():
    async def both(threads):
        thread = await threads.run(threading.get_ident)
        with pytest.raises(errors.NotFound):
            await threads.run(refuse)
        return thread

    def refuse():
        raise errors.NotFound("Not found")

    assert asyncio.run(both(Threads(2))) != threading.get_ident()


def test_no_more_threads_work_than_allowed_and_everything_is_done():
    running, most, counting = set(), [0], threading.Lock()

    def work(number):
        with counting:
            running.add(number)
            most[0] = max(most[0], len(running))
        time.sleep(0.001)
        with counting:
            running.discard(number)
        return number

    async def all_of_them(threads):
        return await asyncio.gather(*(threads.run(lambda number=number: work(number)) for number in range(200)))

    assert asyncio.run(all_of_them(Threads(3))) == list(range(200))
    assert most[0] == 3


def test_a_thread_that_is_idle_is_used_again():
    async def one_after_the_other(threads):
        return {await threads.run(threading.get_ident) for _ in range(100)}

    # The next piece of work may come while a thread that has answered is not idle yet.
    assert len(asyncio.run(one_after_the_other(Threads(40)))) <= 2


def test_the_threads_serve_several_event_loops_at_once():
    threads = Threads(2)
    sums = []

    async def many():
        return sum(await asyncio.gather(*(threads.run(lambda number=number: number) for number in range(500))))

    loops = [threading.Thread(target=lambda: sums.append(asyncio.run(many()))) for _ in range(4)]
    for one in loops:
        one.start()
    for one in loops:
        one.join()
    assert sums == [sum(range(500))] * 4


def test_work_that_waits_is_dropped_when_its_request_is_given_up():
    gate, done = threading.Event(), []

    async def play(threads):
        first = threads.run(gate.wait)
        second = threads.run(lambda: done.append("second"))
        third = threads.run(lambda: done.append("third"))
        second.cancel()
        gate.set()
        await asyncio.gather(first, third)

    asyncio.run(play(Threads(1)))
    assert done == ["third"]


def test_work_that_raises_stop_iteration_ends_with_an_error_and_not_never():
    async def play(threads):
        with pytest.raises(RuntimeError) as error:
            await asyncio.wait_for(threads.run(lambda: next(iter(()))), 10)
        return error.value.__cause__

    assert isinstance(asyncio.run(play(Threads(1))), StopIteration)


def test_a_request_that_is_given_up_while_its_work_runs_does_no_harm_to_the_next():
    gate = threading.Event()

    async def play(threads):
        first = threads.run(gate.wait)
        await asyncio.sleep(0.01)
        first.cancel()
        second = threads.run(lambda: "second")
        gate.set()
        return await second

    assert asyncio.run(play(Threads(1))) == "second"


def test_a_loop_that_ends_before_its_work_leaves_the_thread_to_others():
    gate, threads = threading.Event(), Threads(1)

    async def give_up():
        threads.run(gate.wait)

    async def another():
        return await threads.run(lambda: "another")

    asyncio.run(give_up())
    gate.set()
    assert asyncio.run(another()) == "another"


def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch):
    """A machine may be out of threads for a moment."""
    gate = threading.Event()

    def failing(_thread):
        raise RuntimeError("can't start new thread")

    async def play(threads):
        with monkeypatch.context() as out_of_threads:
            out_of_threads.setattr(threading.Thread, "start", failing)
            for _ in range(3):
                with pytest.raises(errors.Unavailable):
                    threads.run(gate.wait)
        first = threads.run(gate.wait)
        with monkeypatch.context() as out_of_threads:
            out_of_threads.setattr(threading.Thread, "start", failing)
            second = threads.run(lambda: "second")  # waits for the thread that is there
        gate.set()
        return await asyncio.wait_for(asyncio.gather(first, second), 10)

    assert asyncio.run(play(Threads(2))) == [True, "second"]


def test_threads_keep_nothing_of_the_work_they_have_done():
    class Large:
        freed = threading.Event()

        def __del__(self):
            self.freed.set()

    async def play(threads):
        large = Large()
        await threads.run(lambda: id(large))

    asyncio.run(play(Threads(1)))
    assert Large.freed.wait(5)
