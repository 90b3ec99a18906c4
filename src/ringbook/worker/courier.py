"""Sends due pushes to the push providers and records the receipts: one event loop with many requests in flight.

    run(db, config, stop)    until told to stop, in a thread of its own
    Courier.drain()          what is due at one moment, for a clock that is moved by hand

Three things go on side by side: facts become pushes (`core/announcing.py`), due pushes are claimed and sent, and
receipts are recorded, within a fraction of a second. The database is asked in threads, so that the loop never waits.
The first two rest until they are woken: by what this process writes (`core/waking.py`), or by a look, ten times a
second, at what others have written.

A lane is an application's channel; none may take all places (`room`), so that a provider that hangs does not hold up
the others. Web Push has two lanes: one for endpoints that answer, one for those that never did or no longer do. When
three quarters of such a lane are taken, the rest is for senders with few requests in flight, so that a flood to hosts
that hang takes no place from them. What is claimed stays in our hands until it is recorded: should its lease end
meanwhile, because the database is away or a clock jumps, we do not send it again.
"""

import asyncio
import functools
import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import uvloop

from .. import errors, times
from ..config import Config
from ..core import announcing, delivery, waking
from ..core.delivery import Attempt, Due, Room
from ..core.waking import Work
from ..exchange.threads import Threads
from ..logs import log
from ..push.transport import Cause, NotSetUp, Outcome, Receipt
from ..times import Clock
from .senders import Senders

if TYPE_CHECKING:
    from ..store.db import Database

P = ParamSpec("P")
T = TypeVar("T")

PLACES = 2_000  # requests in flight
FEWEST_PLACES = 20  # for each lane, also when all places are taken
FEWEST_CLAIMED = 400  # per claim, because each claim is a transaction
FEW = 4  # requests in flight of one sender
ATTEMPT_SECONDS = 20  # for an attempt with all it needs, such as a new token; well within a lease
SLOWEST_CLAIM_SECONDS = delivery.LEASE_SECONDS - ATTEMPT_SECONDS - 2  # after that there is no time for an attempt
REST_SECONDS = 5  # of a part that nothing wakes
IDLE_SECONDS = 0.5
OTHERS_SECONDS = 0.25  # between claims that skip a busy lane, which may be long
THREADS = 4
RECORD_SECONDS = 0.2
LOOK_SECONDS = 0.1  # between two looks for work that other processes have written
LATE_SECONDS = 0.5  # between two looks for attempts that take too long
TROUBLE_SECONDS = 2.0
TOO_LONG = Receipt(Outcome.LATER, "it took too long", silent=None, cause=Cause.NO_ANSWER)
LAST_SECONDS = 4.0  # for requests in flight when the process is told to stop


def run(db: "Database", config: Config, stop: threading.Event) -> None:
    """Send pushes until told to stop; then give requests in flight some seconds to finish."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Courier(db, config, stop).work())


def room(lanes: Mapping[str, Counter[int]]) -> tuple[int, dict[str, Room]]:
    """How many pushes may be claimed in all, and how many of each lane with requests in flight.

    lanes   how many requests of each sender are in flight in each lane

    A lane may have half of what the others leave of PLACES, and never fewer than FEWEST_PLACES: a provider that hangs
    leaves room for the others, and so do several.
    """
    counts = {lane: senders.total() for lane, senders in lanes.items()}
    taken = sum(counts.values())
    rooms = {
        lane: _room(lane, max(FEWEST_PLACES, (PLACES - taken + count) // 2), count, lanes[lane])
        for lane, count in counts.items()
        if count > 0
    }
    return max(FEWEST_PLACES, (PLACES - taken) // 2), rooms


def _room(lane: str, places: int, count: int, senders: Mapping[int, int]) -> Room:
    """How many may be claimed from a lane with `count` of its `places` taken; 0 where it would be only a few."""
    shared = delivery.shared(lane, places)
    if shared == places:
        return Room(places - count if places - count >= FEWEST_CLAIMED else 0)
    if shared - count >= min(FEWEST_CLAIMED, shared // 2):
        return Room(shared - count)
    return Room(max(0, places - count), [sender for sender, own in senders.items() if own >= FEW], FEW)


class Courier:
    """The requests in flight of one process."""

    def __init__(self, db: "Database", config: Config, stop: threading.Event, clock: Clock = times.now) -> None:
        self._db = db
        self._config = config
        self._stop = stop
        self._clock = clock
        self._in_flight: dict[asyncio.Task[None], float] = {}  # and the time limit of each, the first one first
        self._lanes: defaultdict[str, Counter[int]] = defaultdict(Counter)  # in flight, by lane and sender
        self._done: list[Attempt] = []
        self._held: set[int] = set()  # pushes from their claim until their receipt is recorded
        self._unrecorded = False
        self._claimed_at = 0.0
        self._batch = announcing.BATCH
        self._freed = asyncio.Event()
        self._woken = {work: asyncio.Event() for work in Work}
        self._threads = Threads(THREADS)
        self._senders = Senders(config, self._asked)

    async def __aenter__(self) -> "Courier":
        await self._senders.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._senders.__aexit__(kind, error, trace)

    async def work(self) -> None:
        """Send and record until told to stop."""
        loop = asyncio.get_running_loop()
        end = waking.on_work(self._db, functools.partial(self._wake, loop))
        try:
            async with self:
                # Alone, because a statement of it may wait for a lock while pushes that were sent must be recorded.
                telling = asyncio.create_task(
                    self._repeat("telling who joined", self._tell, REST_SECONDS, self._woken[Work.FACTS])
                )
                await asyncio.gather(
                    self._repeat("sending pushes", self._send_due, REST_SECONDS, self._woken[Work.PUSHES]),
                    self._repeat("recording pushes", self._record, RECORD_SECONDS),
                    self._repeat("looking for work", self._look, LOOK_SECONDS),
                    self._repeat("ending late attempts", self._end_late, LATE_SECONDS),
                )
                await self._finish()
                await asyncio.wait([telling], timeout=LAST_SECONDS)
                telling.cancel()
        finally:
            end()

    async def drain(self) -> None:
        """Announce, send and record all that is due at the clock's time, and return. Within `async with` the courier.

        Instead of `work`, for a clock that stands still meanwhile.
        """
        if not await self._asked(waking.waiting, self._clock()):
            return
        while await self._tell():
            pass
        while await self._send_due():
            await asyncio.gather(*self._in_flight)
            await self._record()

    def _wake(self, loop: asyncio.AbstractEventLoop, work: Work) -> None:
        """Called in the thread of whoever has written this work."""
        with suppress(RuntimeError):  # the loop has ended a moment ago
            loop.call_soon_threadsafe(self._woken[work].set)

    async def _finish(self) -> None:
        """Wait for requests in flight, and record the receipts."""
        until = time.monotonic() + LAST_SECONDS
        while (self._in_flight or self._done) and time.monotonic() < until:
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=RECORD_SECONDS)
            try:
                await self._record()
            except errors.Unavailable:
                await asyncio.sleep(RECORD_SECONDS)

    async def _asked(self, work: "Callable[Concatenate[Database, P], T]", *values: P.args, **named: P.kwargs) -> T:
        """Run a database call in this courier's own thread, so that nothing else can delay it."""
        found: T = await self._threads.run(functools.partial(work, self._db, *values, **named))
        return found

    async def _repeat(
        self, what: str, step: Callable[[], Awaitable[bool]], pause: float, woken: asyncio.Event | None = None
    ) -> None:
        """Repeat a step, with a pause when there was no work or after an error, which is logged.

        woken   ends the pause
        """
        woken = woken or asyncio.Event()
        while not self._stop.is_set():
            woken.clear()
            try:
                busy = await step()
            except errors.Unavailable as away:
                log.warning("work waits", part=what, reason=away.reason, why=away.why or None)
                await self._pause(TROUBLE_SECONDS)
            except Exception:
                log.exception("work failed", part=what)
                await self._pause(TROUBLE_SECONDS)
            else:
                await asyncio.sleep(0) if busy else await self._pause(pause, woken)

    async def _pause(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            if not woken:
                await asyncio.sleep(min(left, 0.2))
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), min(left, 0.2))
                return

    async def _look(self) -> bool:
        """Wake the parts that rest and have work."""
        if not all(event.is_set() for event in self._woken.values()):
            for work in await self._asked(waking.waiting, self._clock()):
                self._woken[work].set()
        return False

    async def _tell(self) -> bool:
        """Tell one batch of holders; after a change during it a smaller one, which is over before the next change."""
        try:
            found = await self._asked(announcing.expand, self._clock(), self._batch)
        except announcing.Overtaken:
            self._batch = max(1, self._batch // 8)
            return True
        self._batch = min(2 * self._batch, announcing.BATCH)
        return found > 0

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_due(self) -> bool:
        """Claim only as many pushes as can be sent at once: the lease of a push that waits would expire."""
        places, rooms = room(self._lanes)
        narrow = any(one.of_each or not one.places for one in rooms.values())
        if self._unrecorded or (narrow and time.monotonic() - self._claimed_at < OTHERS_SECONDS):
            await self._until_freed()
            return True
        began = self._claimed_at = time.monotonic()
        claimed = await self._asked(delivery.claim, self._clock(), places, rooms)
        if time.monotonic() - began > SLOWEST_CLAIM_SECONDS:
            return True  # the lease has nearly expired; a later claim takes these pushes
        for due in claimed:
            if due.message.id not in self._held:  # otherwise its lease expired before its receipt was recorded
                self._start(due)
        return bool(claimed or narrow)

    def _start(self, due: Due) -> None:
        self._held.add(due.message.id)
        self._lanes[due.lane][due.sender_id] += 1
        task = asyncio.create_task(self._attempt(due), name="")  # to make up a name takes time
        self._in_flight[task] = time.monotonic() + ATTEMPT_SECONDS
        task.add_done_callback(functools.partial(self._ended, due))

    async def _end_late(self) -> bool:
        """Cancel attempts that take too long. A timer for each attempt would take more time than most attempts."""
        now = time.monotonic()
        for task, until in list(itertools.takewhile(lambda one: one[1] <= now, self._in_flight.items())):
            if until:
                self._in_flight[task] = 0  # its attempt gets a receipt
                task.cancel()
        return False

    def _ended(self, due: Due, task: asyncio.Task[None]) -> None:
        self._in_flight.pop(task, None)
        senders = self._lanes[due.lane]
        senders[due.sender_id] -= 1
        if not senders[due.sender_id]:
            del senders[due.sender_id]
        if not senders:
            del self._lanes[due.lane]
        self._freed.set()

    async def _until_freed(self) -> None:
        self._freed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._freed.wait(), IDLE_SECONDS)
        await asyncio.sleep(0.01)  # collect a few

    async def _attempt(self, due: Due) -> None:
        began_at = self._clock()
        receipt = await self._receipt(due, began_at)
        self._done.append(Attempt(due=due, receipt=receipt, began_at=began_at))

    async def _receipt(self, due: Due, now: int) -> Receipt:
        try:
            sender = self._senders.known(due) or await self._senders.of(due)
            return await sender.send(due.message, now)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not task or self._in_flight.get(task):
                raise  # the courier ends
            return TOO_LONG
        except TimeoutError:
            return TOO_LONG
        except NotSetUp as missing:
            return Receipt(Outcome.REFUSED, str(missing), silent=None, cause=Cause.NOT_SET_UP)
        except errors.NotFound:
            return Receipt(Outcome.REFUSED, "the application is deleted", silent=None, cause=Cause.APPLICATION_DELETED)
        except errors.Unreadable:
            reason = "the application's secrets cannot be read: `ringbook check` says more"
            return Receipt(Outcome.REFUSED, reason, silent=None, cause=Cause.UNREADABLE)
        except errors.Unavailable:
            reason = "the database could not be reached"
            return Receipt(Outcome.LATER, reason, silent=None, cause=Cause.DATABASE_UNAVAILABLE)
        except Exception:
            log.exception("push failed", push=due.message.id, channel=due.message.channel)
            reason = "an error of this server; its log says more"
            return Receipt(Outcome.LATER, reason, silent=None, cause=Cause.SERVER_ERROR)

    # ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _record(self) -> bool:
        """Record the receipts. After a failure this is repeated, and nothing is sent until it succeeds.

        Those that arrive meanwhile wait for the next time, so that each transaction has many.
        """
        attempts, self._done = self._done, []
        if not attempts:
            return False
        try:
            await self._asked(delivery.record, attempts, self._clock())
        except BaseException:
            self._done, self._unrecorded = attempts + self._done, True
            raise
        self._unrecorded = False
        self._held -= {one.due.message.id for one in attempts}
        return False
