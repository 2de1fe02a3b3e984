"""How many requests may be out, and how fast, as the service counts them (protocol 3.4).

The service allows so many calls a minute to one conversation. A place is taken when a call is let through and is free
again one window after its *answer*: measured from its sending, latency could put more calls into one of the
service's windows than it allows.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Iterator
from itertools import chain

from stride_async._errors import ClientClosed

WINDOW = 60.0
"""Seconds the service counts over."""
LEFT_TO_OTHERS = 0.03
"""Part of the places that callers of background priority do not take."""
_SWEEP_EVERY = 512


class Place:
    """One call let through; it says how it went by `used` or `unused`, once."""

    __slots__ = ("_key", "_taken")

    def __init__(self, key: _Key) -> None:
        self._key = key
        self._taken = True

    def used(self) -> None:
        """The call was answered, or may have been seen: the place is free one window from now."""
        if self._taken:
            self._taken = False
            self._key.give_back(counted=True)

    def unused(self) -> None:
        """The service never saw the call: the place is free at once."""
        if self._taken:
            self._taken = False
            self._key.give_back(counted=False)


class _Queue:
    """Those who wait, first come first served; all who are sent again go before those who never had a turn."""

    def __init__(self) -> None:
        self._again: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._again) + len(self._new)

    def __iter__(self) -> Iterator[asyncio.Future[None]]:
        return chain(self._again, self._new)

    def append(self, turn: asyncio.Future[None], *, again: bool) -> None:
        (self._again if again else self._new).append(turn)

    def popleft(self) -> asyncio.Future[None]:
        return (self._again or self._new).popleft()

    def remove(self, turn: asyncio.Future[None]) -> None:
        (self._again if turn in self._again else self._new).remove(turn)

    def clear(self) -> None:
        self._again.clear()
        self._new.clear()


class _Key:
    """The places of one conversation."""

    def __init__(self, loop: asyncio.AbstractEventLoop, window: float) -> None:
        self._loop = loop
        self._window = window
        self._limit: int | None = None
        self._out = 0
        self._busy_until: deque[float] = deque()
        self._paused_until = 0.0
        self._waiting = _Queue()
        self._waiting_behind = _Queue()
        self._timer: asyncio.TimerHandle | None = None

    def _free(self, now: float) -> int:
        while self._busy_until and self._busy_until[0] <= now:
            self._busy_until.popleft()
        if now < self._paused_until:
            return 0
        if self._limit is None:
            return 1_000_000_000
        return self._limit - self._out - len(self._busy_until)

    def _reserve(self) -> int:
        return 0 if self._limit is None or self._limit < 2 else max(1, round(self._limit * LEFT_TO_OTHERS))

    async def take(self, limit: int | None, *, background: bool, again: bool) -> Place:
        """Wait for a place, first come first served; a repeat (`again`) goes before those who never had one."""
        now = self._loop.time()
        if limit is not None:
            self._limit = limit
        elif now >= self._paused_until:
            # Another client of the same pool may keep a limit: what it waits for is not freed by this one.
            self._out += 1
            return Place(self)
        free = self._free(now)
        queue = self._waiting_behind if background else self._waiting
        nobody_before = not self._waiting and not (background and self._waiting_behind)
        if nobody_before and free > (self._reserve() if background else 0):
            self._out += 1
            return Place(self)
        turn: asyncio.Future[None] = self._loop.create_future()
        queue.append(turn, again=again)
        self._let_through()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(counted=False)
            elif turn in queue:
                queue.remove(turn)
                self._let_through()
            raise
        return Place(self)

    def give_back(self, *, counted: bool) -> None:
        self._out -= 1
        if counted and self._limit is not None:
            self._busy_until.append(self._loop.time() + self._window)
        self._let_through()

    def recall(self, seconds_ago: float) -> None:
        until = self._loop.time() + self._window - seconds_ago
        insort(self._busy_until, until)

    def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)
        self._let_through()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turn in (*self._waiting, *self._waiting_behind):
            if not turn.done():
                turn.set_exception(ClientClosed("the client was closed while this call waited for its turn"))
        self._waiting.clear()
        self._waiting_behind.clear()

    def idle(self) -> bool:
        now = self._loop.time()
        free = self._free(now)
        waits = self._waiting or self._waiting_behind or self._busy_until or now < self._paused_until
        return not waits and not self._out and free > 0

    def _let_through(self) -> None:
        """Give free places to those who wait, in order; the others are looked at again when the next may be free."""
        now = self._loop.time()
        free = self._free(now)
        for queue, kept in ((self._waiting, 0), (self._waiting_behind, self._reserve())):
            while queue and free > kept:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    self._out += 1
                    free -= 1
        self._wake_later(now)

    def _wake_later(self, now: float) -> None:
        """See to it that those who wait are looked at again; `now` is the moment by which they found no place."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting and not self._waiting_behind:
            return
        if now < self._paused_until:
            at = self._paused_until
        elif self._busy_until:
            at = self._busy_until[0]
        else:
            return  # All places are out; whoever comes back wakes the next.
        self._timer = self._loop.call_at(at, self._let_through)


class Throttle:
    """A place for each call to a conversation, kept before the service has to say so."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._keys: dict[str, _Key] = {}
        self._taken = 0

    async def take(self, key: str, limit: int | None, *, background: bool = False, again: bool = False) -> Place:
        """Wait until one more call to `key` keeps within `limit` calls a window.

        Raises:
            ClientClosed: the client was closed meanwhile.
        """
        self._taken += 1
        if self._taken % _SWEEP_EVERY == 0:
            self._keys = {name: held for name, held in self._keys.items() if not held.idle()}
        return await self._key(key).take(limit, background=background, again=again)

    def recall(self, key: str, seconds_ago: float) -> None:
        """Count a call that was made before this process began."""
        self._key(key).recall(seconds_ago)

    def pause(self, key: str, seconds: float) -> None:
        """Let nobody through to `key` for so long: the service said the limit is reached."""
        self._key(key).pause(seconds)

    def close(self) -> None:
        """Wake all who wait, with `ClientClosed`."""
        for key in self._keys.values():
            key.close()
        self._keys.clear()

    def _key(self, key: str) -> _Key:
        held = self._keys.get(key)
        if held is None:
            held = self._keys[key] = _Key(asyncio.get_running_loop(), self._window)
        return held
