"""The threads in which handlers run, and the database calls of the courier.

Threads    do work for coroutines that wait for the result

The standard library's executor does the same with two futures, a queue and a semaphore for each piece of work. That
took as long as reading a user from the database (bench/small.py), so work is handed to an idle thread directly.
`turns.py` decides whose work is done; here it waits only while the machine has no more threads.
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


class Threads:
    """So many threads at most. They are started when they are needed, and end with the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[_Thread] = []  # the thread that worked last is the first to work again: its memory is warm
        self._waiting: deque[Job] = deque()

    def run(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Does the work in a thread. Work that is cancelled may still begin."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        job = (work, done, loop)
        with self._lock:
            if self._idle:
                self._idle.pop().begin(job)
            elif self._started >= self._most or not self._begun(job):
                self._waiting.append(job)
        return done

    def _begun(self, job: Job) -> bool:
        """Begins the work in a new thread. False when the machine has no more threads, but here are some.

        Raises Unavailable when here are none either.
        """
        try:
            _Thread(self, job)
        except RuntimeError as error:
            if not self._started:
                raise errors.Unavailable(NO_THREADS, why=NO_THREADS_WHY) from error
            return False
        self._started += 1
        return True

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
    """A thread, which is given its first piece of work."""

    def __init__(self, threads: Threads, job: Job) -> None:
        self._threads = threads
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
        result, error = None, None  # type: Any, BaseException | None
        try:
            result = work()
        except StopIteration as raised:
            error = RuntimeError("work has raised StopIteration")  # a future takes no StopIteration
            error.__cause__ = raised
        except BaseException as raised:
            error = raised
        following = self._threads.next(self)
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
