"""One timer for the timeouts of all calls in flight.

asyncio sets a timer for every `asyncio.timeout`, and nearly all of them are cancelled milliseconds later without having
run. The calls of a pool share one timer instead. It is set for the earliest end of any scope, and when it runs, it
lets the scopes expire that are due and is set for the next one. A scope that leaves does not touch the timer, so it may
run once for nothing. A scope that must end before the timer runs moves it forward.
"""

from __future__ import annotations

import asyncio
import math


class Timer:
    """Ends timeout scopes: each at its own time, or all at once."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.Timeout, float] = {}
        self._runs_at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, scope: asyncio.Timeout, end: float | None) -> None:
        """Let an entered scope expire at `end`, in the time of the loop; None means that only `close` ends it."""
        self._ends[scope] = end = math.inf if end is None else end
        if end < self._runs_at:
            self._set_timer(end)

    def remove(self, scope: asyncio.Timeout) -> None:
        """Forget a scope that was left."""
        self._ends.pop(scope, None)

    def close(self) -> None:
        """Let every scope expire now, and never set the timer again."""
        self._set_timer(math.inf)
        self._runs_at = -math.inf
        self._expire(math.inf)

    def _run(self) -> None:
        self._expire(self._runs_at)
        self._set_timer(min(self._ends.values(), default=math.inf))

    def _expire(self, until: float) -> None:
        due = [scope for scope, end in self._ends.items() if end <= until]
        for scope in due:
            del self._ends[scope]
            if not scope.expired():
                scope.reschedule(0.0)

    def _set_timer(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._runs_at = at
        self._handle = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._run)
