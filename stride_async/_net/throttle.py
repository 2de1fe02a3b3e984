"""Keep calls to a conversation within its limit, before the service has to refuse them (protocol 3.4).

The service counts the calls to each conversation in fixed windows of 60 seconds and allows `limit` in each. The client
sees neither where a window begins nor when exactly a call is counted: only that it is counted after it was sent and
before its response arrived.

**The invariant.** No span of 60 seconds contains more than `limit` moments at which a call may have been counted. Then
no window of the service does either, wherever it begins.

**The states of a slot.** Each conversation has `limit` slots, and a call needs one to go out:

               take                give_back(counted=True)              one window later
    free ──────────────► out ──────────────────────────────► cooling ──────────────────────► free
                          │
                          └──────► free                       give_back(counted=False): the service never saw the call

A slot cools for one window from the *response* of its call. So if one slot carries two calls, the first was counted
before its response and the second at least 60 seconds after that response; a span of 60 seconds contains at most one of
the two, and with `limit` slots at most `limit`. If the slot cooled from the *sending*, latency could bring the two
together: the first counted late, the second early.

A 429 pauses its conversation: until the pause ends, no slot counts as free.

**The order.** Callers are served first come, first served, and a retry goes before callers that had no turn yet.
Callers of background priority wait in a second queue, which is served after the first and leaves a few slots for it.

**Why every wait ends.** A caller waits only if no slot is free for it, so each slot is out, cooling or paused. One that
is out comes back, because every attempt has a timeout and gives its slot back however it ends. One that is cooling or
paused becomes free at a known moment. Both events run `_let_through`, which serves the queues and, while anyone still
waits, sets the timer for the next known moment. A caller that is cancelled leaves its queue, or gives back the slot it
was assigned in the same instant. A caller that has waited for as long as it allows leaves its queue as well. No caller
overtakes others of its queue. Only a background caller can wait for longer than the queue before it: while callers of
normal priority use the limit up.

**How long a wait takes** is estimated when it begins, from the slots and the number of callers that go first. Each slot
serves one caller when it becomes free and another one every window after that. A cooling slot becomes free at a known
moment. A slot that is out is expected back now, so it is free in one window. The estimate is too long if calls turn out
not to be counted, and too short if responses are slow or if retries and callers of higher priority come later.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable

from stride_async._errors import ClientClosed

# Seconds over which the service counts.
WINDOW = 60.0
# The part of the slots that callers of background priority leave free.
BACKGROUND_RESERVE = 0.03
# Conversations that have become idle are dropped once in so many new ones.
_SWEEP_EVERY = 512
_UNLIMITED = 1_000_000_000


class LimitReached(Exception):
    """A caller would wait longer for its slot than it allows; the argument is the estimate in seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Slot:
    """Permission to make one call to a conversation; give it back once."""

    __slots__ = ("_limiter",)

    def __init__(self, limiter: _Limiter) -> None:
        self._limiter = limiter

    def give_back(self, *, counted: bool) -> None:
        """Free the slot: one window from now if the service may have counted the call, else at once."""
        self._limiter.give_back(counted=counted)


class _Queue(deque["asyncio.Future[None]"]):
    """Callers that wait: first come, first served, and retries before callers that had no turn yet."""

    def __init__(self) -> None:
        super().__init__()
        self._retries = 0  # at the beginning of the queue

    def add(self, turn: asyncio.Future[None], *, again: bool) -> None:
        self.insert(self.before_next(again=again), turn)
        self._retries += again

    def before_next(self, *, again: bool) -> int:
        """Return how many callers go before one that comes now."""
        return self._retries if again else len(self)

    def popleft(self) -> asyncio.Future[None]:
        self._retries = max(0, self._retries - 1)
        return super().popleft()

    def remove(self, turn: asyncio.Future[None]) -> None:
        self._retries -= self.index(turn) < self._retries
        super().remove(turn)

    def clear(self) -> None:
        self._retries = 0
        super().clear()


class _Limiter:
    """The slots of one conversation."""

    def __init__(self, loop: asyncio.AbstractEventLoop, window: float) -> None:
        self._loop = loop
        self._window = window
        self._limit: int | None = None
        self._out = 0
        self._cooling_until: deque[float] = deque()
        self._paused_until = 0.0
        self._waiting = _Queue()
        self._waiting_background = _Queue()
        self._timer: asyncio.TimerHandle | None = None

    def _drop_cooled(self, now: float) -> None:
        while self._cooling_until and self._cooling_until[0] <= now:
            self._cooling_until.popleft()

    def _free(self, now: float) -> int:
        self._drop_cooled(now)
        if now < self._paused_until:
            return 0
        if self._limit is None:
            return _UNLIMITED
        return self._limit - self._out - len(self._cooling_until)

    def _estimate(self, now: float, ahead: int, kept: int) -> float:
        """Return the seconds until a caller gets a slot if `ahead` callers go first and it leaves `kept` slots free."""
        pause = max(0.0, self._paused_until - now)
        if self._limit is None:
            return pause
        rounds, place = divmod(ahead, self._limit - kept)
        behind_free = place + kept - (self._limit - self._out - len(self._cooling_until))
        if behind_free < 0:
            first = 0.0
        elif behind_free < len(self._cooling_until):
            first = self._cooling_until[behind_free] - now
        else:
            first = self._window
        return max(first, pause) + rounds * self._window

    def calls_left(self, limit: int | None, *, background: bool) -> int | None:
        now = self._loop.time()
        self._drop_cooled(now)
        if now < self._paused_until:
            return 0
        if limit is None:
            return None
        waiting = len(self._waiting) + (len(self._waiting_background) if background else 0)
        kept = _reserve(limit) if background else 0
        return max(0, limit - self._out - len(self._cooling_until) - kept - waiting)

    def take_free(self, limit: int | None, *, background: bool) -> Slot | None:
        now = self._loop.time()
        if limit is not None:
            self._limit = limit
        elif now >= self._paused_until:
            # Another client of the same pool may have a limit: this call frees nothing that its callers wait for.
            self._out += 1
            return Slot(self)
        if self._waiting or (background and self._waiting_background):
            return None
        if self._free(now) <= (_reserve(self._limit) if background else 0):
            return None
        self._out += 1
        return Slot(self)

    async def take(
        self,
        limit: int | None,
        *,
        background: bool,
        again: bool,
        longest: float | None,
        on_wait: Callable[[float], None],
    ) -> Slot:
        slot = self.take_free(limit, background=background)
        if slot is not None:
            return slot
        now, kept = self._loop.time(), _reserve(self._limit) if background else 0
        queue = self._waiting_background if background else self._waiting
        ahead = queue.before_next(again=again) + (len(self._waiting) if background else 0)
        seconds = self._estimate(now, ahead, kept)
        if longest is not None and seconds > longest:
            raise LimitReached(seconds)
        if seconds > 0:
            on_wait(seconds)
        turn: asyncio.Future[None] = self._loop.create_future()
        queue.add(turn, again=again)
        self._let_through()
        end = None if longest is None else self._loop.call_later(longest, self._end_wait, turn, background)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(counted=False)
            elif turn in queue:
                queue.remove(turn)
                self._let_through()
            raise
        finally:
            if end is not None:
                end.cancel()
        return Slot(self)

    def _end_wait(self, turn: asyncio.Future[None], background: bool) -> None:
        """Raise `LimitReached` in a caller that waited for as long as it allows."""
        if turn.done():
            return
        queue, now = self._waiting_background if background else self._waiting, self._loop.time()
        self._drop_cooled(now)
        ahead = queue.index(turn) + (len(self._waiting) if background else 0)
        seconds = self._estimate(now, ahead, _reserve(self._limit) if background else 0)
        queue.remove(turn)
        turn.set_exception(LimitReached(seconds))
        self._let_through()

    def give_back(self, *, counted: bool) -> None:
        self._out -= 1
        if counted and self._limit is not None:
            self._cooling_until.append(self._loop.time() + self._window)
        self._let_through()

    def recall(self, seconds_ago: float) -> None:
        until = self._loop.time() + self._window - seconds_ago
        insort(self._cooling_until, until)

    def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)
        self._let_through()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turn in (*self._waiting, *self._waiting_background):
            if not turn.done():
                turn.set_exception(ClientClosed("the client was closed while this call waited for the rate limit"))
        self._waiting.clear()
        self._waiting_background.clear()

    def idle(self) -> bool:
        now = self._loop.time()
        free = self._free(now)
        waits = self._waiting or self._waiting_background or self._cooling_until or now < self._paused_until
        return not waits and not self._out and free > 0

    def _let_through(self) -> None:
        """Assign free slots to the callers that wait, in order; set the timer if some still wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting and not self._waiting_background:
            return
        now = self._loop.time()
        free = self._free(now)
        for queue, kept in ((self._waiting, 0), (self._waiting_background, _reserve(self._limit))):
            while queue and free > kept:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    self._out += 1
                    free -= 1
        if self._waiting or self._waiting_background:
            self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        """Come back when a slot may be free; `now` is the moment at which the callers found none."""
        if now < self._paused_until:
            at = self._paused_until
        elif self._cooling_until:
            at = self._cooling_until[0]
        else:
            return  # All slots are out: the next one that is given back lets a caller through.
        self._timer = self._loop.call_at(at, self._let_through)


def _reserve(limit: int | None) -> int:
    """Return how many slots callers of background priority leave free."""
    return 0 if limit is None or limit < 2 else max(1, round(limit * BACKGROUND_RESERVE))


def _unobserved(_: float) -> None:
    """Do nothing when a wait begins."""


class Throttle:
    """The limits of all conversations of a pool."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._limiters: dict[str, _Limiter] = {}
        self._made = 0

    def take_free(self, key: str, limit: int | None, *, background: bool = False) -> Slot | None:
        """Return a slot as `take` does, or None if the caller would have to wait for it."""
        return self._of(key).take_free(limit, background=background)

    async def take(
        self,
        key: str,
        limit: int | None,
        *,
        background: bool = False,
        again: bool = False,
        longest: float | None = None,
        on_wait: Callable[[float], None] = _unobserved,
    ) -> Slot:
        """Wait for a slot, so that the calls to `key` stay within `limit` calls a window.

        Args:
            key: The conversation, as in `Request.limit_key`.
            limit: Calls per window; None means that only a pause makes the call wait.
            background: Whether to leave slots free for callers of normal priority.
            again: Whether the call is a retry, which goes before callers that had no turn yet.
            longest: The longest wait in seconds; None means unlimited.
            on_wait: Called with the estimated seconds when a wait begins.

        Raises:
            ClientClosed: The client was closed during the wait.
            LimitReached: The wait would take, or has taken, longer than `longest`.
        """
        return await self._of(key).take(limit, background=background, again=again, longest=longest, on_wait=on_wait)

    def calls_left(self, key: str, limit: int | None, *, background: bool = False) -> int | None:
        """Return how many calls to `key` would not wait now; None means any number."""
        limiter = self._limiters.get(key)
        if limiter is not None:
            return limiter.calls_left(limit, background=background)
        return None if limit is None else limit - (_reserve(limit) if background else 0)

    def recall(self, key: str, seconds_ago: float) -> None:
        """Count a call that an earlier process made."""
        self._of(key).recall(seconds_ago)

    def pause(self, key: str, seconds: float) -> None:
        """Let no call to `key` through for some seconds, because the service said that the limit is reached."""
        self._of(key).pause(seconds)

    def close(self) -> None:
        """Raise `ClientClosed` in every caller that waits."""
        for limiter in self._limiters.values():
            limiter.close()
        self._limiters.clear()

    def _of(self, key: str) -> _Limiter:
        limiter = self._limiters.get(key)
        if limiter is None:
            self._made += 1
            if self._made % _SWEEP_EVERY == 0:
                self._limiters = {name: each for name, each in self._limiters.items() if not each.idle()}
            limiter = self._limiters[key] = _Limiter(asyncio.get_running_loop(), self._window)
        return limiter
