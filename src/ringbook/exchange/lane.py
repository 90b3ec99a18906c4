"""The threads that some routes share.

Lane    does work in one of its threads, for coroutines that wait for the result

The standard library's executor does the same with two futures, a queue and a semaphore for each piece of work. That
took as long as reading a user from the database (bench/small.py), so a lane hands work to an idle thread directly.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .. import errors

NO_THREADS = "The server is out of threads just now. Try again."
NO_THREADS_WHY = "no thread can be started: raise the limit of processes or tasks of this service"
# A piece of work, the future that its coroutine waits for, and the loop that the coroutine runs in.
Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Lane:
    """The threads that some routes share. They are started when they are needed, and end with the process.

    most_waiting      further requests are refused, with `full`; None: any number may wait
    limit             the setting that bounds the threads, for the metric
    refused_seconds   a 429 is delayed by this time. A refusal costs so little that a client which repeats its request
                      at once would keep the process busy
    """

    def __init__(
        self,
        threads: int,
        *,
        most_waiting: int | None = None,
        full: str = "Too many requests wait already. Try again.",
        limit: str = "",
        refused_seconds: float = 0,
    ) -> None:
        self._most_threads = threads
        self._most_waiting = most_waiting
        self._full = full
        self._limit = limit
        self.refused_seconds = refused_seconds
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[_Thread] = []  # the thread that worked last is the first to work again: its memory is warm
        self._waiting: deque[Job] = deque()

    def run(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Does the work in a thread. Raises Unavailable when too many requests wait for a thread."""
        if self._most_waiting is not None and self._count_waiting() >= self._most_waiting:
            raise errors.Unavailable(self._full, limit=self._limit)
        return self.run_anyway(work)

    def run_anyway(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Does the work in a thread, however many requests wait for one. Work that is cancelled may still begin."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        job = (work, done, loop)
        with self._lock:
            if self._idle:
                self._idle.pop().begin(job)
            elif self._started >= self._most_threads or not self._begun(job):
                self._waiting.append(job)
        return done

    def _begun(self, job: Job) -> bool:
        """Begins the work in a new thread. False when the machine has no more threads, but this lane has some.

        Raises Unavailable when the lane has none either.
        """
        try:
            _Thread(self, job)
        except RuntimeError as error:
            if not self._started:
                raise errors.Unavailable(NO_THREADS, why=NO_THREADS_WHY) from error
            return False
        self._started += 1
        return True

    def _count_waiting(self) -> int:
        """How many requests wait for a thread, without those that were given up."""
        with self._lock:
            return sum(not done.cancelled() for _, done, _ in self._waiting)

    def next(self, thread: "_Thread") -> Job | None:
        """The next piece of work for a thread that has finished one; None: the thread is idle now."""
        with self._lock:
            while self._waiting:
                job = self._waiting.popleft()
                if not job[1].cancelled():
                    return job
            self._idle.append(thread)
            return None


class _Thread:
    """A thread of a lane, which is given its first piece of work."""

    def __init__(self, lane: Lane, job: Job) -> None:
        self._lane = lane
        self._job: Job | None = job
        self._begins = threading.Lock()  # taken by the thread once for each call of `begin`, and once at the start
        threading.Thread(target=self._run, name="request", daemon=True).start()

    def begin(self, job: Job) -> None:
        """Gives an idle thread a piece of work."""
        self._job = job
        self._begins.release()

    def _run(self) -> None:
        while True:
            self._begins.acquire()
            job, self._job = self._job, None
            while job:
                job = self._do(*job)

    def _do(self, work: Callable[[], Any], done: "asyncio.Future[Any]", loop: asyncio.AbstractEventLoop) -> Job | None:
        """Does a piece of work; returns the next one, if there is one."""
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        following = self._lane.next(self)
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(_finish, done, result, error)
        return following


def _finish(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """Ends the wait for a piece of work, unless it was given up."""
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
