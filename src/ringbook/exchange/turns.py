"""Decides whose request is worked on next: turns go round by address and by user, not by arrival.

    Kind        a kind of work; each kind has places of its own
    Places      how many requests of a kind are at work at once: of all users, of one user, from one address
    Turns       the queues of some routes, one for each kind, and the threads that do the work
    Queue       the requests of one kind: those at work and those that wait
    Asker       who asks: an address and a user
    Askers      finds the asker of a request
    NeedsTurn   raised by a handler that finds out that its work is of another kind

A request takes a turn before its session is read, and gives it back when its response is made. It waits in the event
loop and holds no thread. So no user and no address has more than its places, and while others wait, each address gets
one turn after the other, and each user of it as well. All queues behind this one, such as those for the database's
write lock or for the processor, stay as short as the number of places.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import NamedTuple

from .. import errors, metrics
from ..core.networks import Groups
from .threads import Threads

MOST_USERS = 10_000  # whose tokens are remembered, twice: see Askers
REFUSED_SECONDS = 1  # the response of a request that has no room to wait is delayed, or its client repeats it at once
SPARE_THREADS = 4  # for responses to refusals
FULL = "Too many requests wait already. Try again."
WAITED = "The server is busy just now. Try again."


class Kind(Enum):
    """A kind of work."""

    SMALL = "small"
    HEAVY = "heavy"  # it keeps the processor or the database's write lock busy for a long time
    SEARCH = "search"
    SLOW = "slow"  # it may hash a password or call another server


@dataclass(frozen=True, slots=True)
class Places:
    """How many requests of a kind are at work at once.

    at_once        of all users
    per_user       of one user; also of all callers of one address who are not known yet
    per_address    from one address
    wait_seconds   a request that waits longer is refused
    most_waiting   when more requests wait, the address with most of them loses its last one
    busy           the refusal of a request that waited for another one of its own user; None: Unavailable
    limit          the setting of the number of places, for the metric
    """

    at_once: int
    per_user: int
    per_address: int
    wait_seconds: float = 10
    most_waiting: int = 1_000
    busy: Callable[[], errors.Refused] | None = None
    limit: str = "turn_seconds"


class Asker(NamedTuple):
    """Who asks: an address and a user. A caller who is not known yet is the address itself."""

    address: Hashable
    user: Hashable


class NeedsTurn(Exception):
    """The work needs a turn of this kind. The request is carried out again once it has one.

    otherwise   the request has had such a turn, but another process works for its user: it tries again for
                `Places.wait_seconds`, and is then refused so
    """

    def __init__(self, kind: Kind, *, otherwise: errors.Refused | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.otherwise = otherwise


class Turns:
    """The turns of some routes: a queue for each kind of work, and threads for all of them."""

    def __init__(self, places: Mapping[Kind, Places]) -> None:
        self.threads = Threads(sum(one.at_once for one in places.values()) + SPARE_THREADS)
        self._queues = {kind: Queue(one) for kind, one in places.items()}

    def of(self, kind: Kind) -> "Queue":
        """The queue of a kind of work."""
        return self._queues[kind]


class _Wait:
    """A request that waits until it is `woken`: with a turn, or without because it has no room to wait."""

    __slots__ = ("asker", "has_turn", "loop", "woken")

    def __init__(self, asker: Asker, loop: asyncio.AbstractEventLoop) -> None:
        self.asker = asker
        self.has_turn = False
        self.loop = loop
        self.woken: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        """Ends the wait. Runs in the request's event loop."""
        if not self.woken.done():
            self.woken.set_result(None)


class Queue:
    """The requests of one kind: those at work and those that wait. Several event loops may use it at once."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.waiting = 0
        self._lock = threading.Lock()
        self._at_work = 0
        self._of_user: dict[Hashable, int] = {}
        self._of_address: dict[Hashable, int] = {}
        # By address and user, in the order of their turns. An entry without requests is removed.
        self._waiting: OrderedDict[Hashable, OrderedDict[Hashable, deque[_Wait]]] = OrderedDict()

    def take(self, asker: Asker) -> bool:
        """Takes a turn if there is one now. Whoever waits has no use for it: its user or address has all its places."""
        places, (address, user) = self.places, asker
        with self._lock:
            if (
                self._at_work >= places.at_once
                or self._of_user.get(user, 0) >= places.per_user
                or self._of_address.get(address, 0) >= places.per_address
            ):
                return False
            self._begin(asker)
            return True

    async def wait(self, asker: Asker) -> None:
        """Waits for a turn. Raises Unavailable or `Places.busy` when there is none in time, or no room to wait."""
        loop = asyncio.get_running_loop()
        wait = _Wait(asker, loop)
        self._enter(wait)
        timer = loop.call_later(self.places.wait_seconds, wait.wake)
        try:
            await wait.woken
        except asyncio.CancelledError:
            if not self._leave(wait) and wait.has_turn:
                self.give_back(asker)
            raise
        finally:
            timer.cancel()
        if wait.has_turn:
            return
        if self._leave(wait):
            raise self._refusal(asker)
        await asyncio.sleep(REFUSED_SECONDS)
        raise errors.Unavailable(FULL, limit="max_waiting_requests", why="most waiting requests are of this address")

    def give_back(self, asker: Asker) -> None:
        """Ends a turn. The next request begins."""
        address, user = asker
        with self._lock:
            self._at_work -= 1
            _less(self._of_user, user)
            _less(self._of_address, address)
            following = self._next()
        if following and not _wake(following):
            self.give_back(following.asker)

    def _begin(self, asker: Asker) -> None:
        address, user = asker
        self._at_work += 1
        self._of_user[user] = self._of_user.get(user, 0) + 1
        self._of_address[address] = self._of_address.get(address, 0) + 1

    def _next(self) -> _Wait | None:
        """The request whose turn it is. Those who have all their places are passed over: they are few."""
        places = self.places
        for address, users in self._waiting.items():
            if self._of_address.get(address, 0) >= places.per_address:
                continue
            for user, requests in users.items():
                if self._of_user.get(user, 0) < places.per_user:
                    following = requests.popleft()
                    users.move_to_end(user)
                    self._waiting.move_to_end(address)
                    self._tidy(address, user)
                    self._begin(following.asker)
                    following.has_turn = True
                    return following
        return None

    def _enter(self, wait: _Wait) -> None:
        address, user = wait.asker
        dropped = None
        with self._lock:
            self._waiting.setdefault(address, OrderedDict()).setdefault(user, deque()).append(wait)
            self.waiting += 1
            metrics.waits(1)
            if self.waiting > self.places.most_waiting:
                dropped = self._drop()
        if dropped:
            _wake(dropped)

    def _drop(self) -> _Wait:
        """Removes the last request of the user and the address that have most waiting requests."""
        address = max(self._waiting, key=lambda one: sum(map(len, self._waiting[one].values())))
        user = max(self._waiting[address], key=lambda one: len(self._waiting[address][one]))
        last = self._waiting[address][user].pop()
        self._tidy(address, user)
        return last

    def _leave(self, wait: _Wait) -> bool:
        """Removes a request that waits no longer; False when it was removed already."""
        address, user = wait.asker
        with self._lock:
            requests = self._waiting[address].get(user) if address in self._waiting else None
            if not requests or wait not in requests:
                return False
            requests.remove(wait)
            self._tidy(address, user)
            return True

    def _tidy(self, address: Hashable, user: Hashable) -> None:
        """Called for each request that has left the queue."""
        self.waiting -= 1
        metrics.waits(-1)
        users = self._waiting[address]
        if not users[user]:
            del users[user]
            if not users:
                del self._waiting[address]

    def _refusal(self, asker: Asker) -> errors.Refused:
        places = self.places
        if places.busy and self._of_user.get(asker.user, 0) >= places.per_user:
            return places.busy()
        return errors.Unavailable(WAITED, limit=places.limit, why=f"no turn within {places.wait_seconds} s")


def _less(counts: dict[Hashable, int], key: Hashable) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]


def _wake(wait: _Wait) -> bool:
    """Ends a wait from any thread; False when the request's event loop has ended."""
    try:
        wait.loop.call_soon_threadsafe(wait.wake)
    except RuntimeError:
        return False
    return True


class Askers:
    """Finds the asker of a request before its session is read.

    proxies   the networks of trusted proxies: an address of theirs stands for many users, and so does none at all

    The users of tokens that were identified lately are remembered, by the digest of the token and the id of the user. A
    caller without a known token is its address. Callers from a proxy's own address are told apart by their tokens.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self._groups = Groups(proxies)
        # When one is full, it replaces the older one. So users who come again stay, and no lock is needed.
        self._users: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}
        self._requests = count()

    def of(self, address: str, token: bytes | None = None, user_id: int | None = None) -> Asker:
        """The asker of a request.

        token     the digest of the token
        user_id   the user, if it is known
        """
        user = user_id or (token and (self._users.get(token) or self._older.get(token)))
        group = self._groups.of(address)
        if group is not None:
            return Asker(group, user or group)
        alone = user or token or ("request", next(self._requests))
        return Asker(alone, alone)

    def identified(self, token: bytes, user_id: int) -> None:
        """Remembers the user of a token."""
        if len(self._users) >= MOST_USERS:
            self._older, self._users = self._users, {}
        self._users[token] = user_id
