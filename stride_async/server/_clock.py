"""The server's clock, and message ids made from its times."""

from __future__ import annotations

import itertools
import secrets
import time
from uuid import UUID

from stride_async.server._times import UUID_EPOCH_TICKS

_NODE_PREFIX = 0x0242 << 32


class Clock:
    """A clock in nanoseconds since 1970 that never returns the same time twice."""

    def __init__(self) -> None:
        self._last = 0
        # A random start, so that a server restarted on the same database does not repeat ids of equal times.
        self._serials = itertools.count(secrets.randbits(46))

    def now(self) -> int:
        """Return the current time, later than any returned before."""
        self._last = max(time.time_ns(), self._last + 1)
        return self._last

    def message_id(self, ts: int) -> str:
        """Return a new version 1 UUID of this time (protocol 1.2). Ids of equal times differ."""
        serial = next(self._serials)
        ticks = (ts // 100 + UUID_EPOCH_TICKS) & (1 << 60) - 1
        return str(
            UUID(
                fields=(
                    ticks & 0xFFFFFFFF,
                    ticks >> 32 & 0xFFFF,
                    ticks >> 48 & 0x0FFF | 0x1000,
                    serial >> 8 & 0x3F | 0x80,
                    serial & 0xFF,
                    _NODE_PREFIX | serial >> 14 & 0xFFFFFFFF,
                )
            )
        )
