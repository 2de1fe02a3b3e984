"""The server's own time, and message ids that agree with it."""

from __future__ import annotations

import itertools
import secrets
import time
from uuid import UUID

# 100-nanosecond steps between the start of UUID time (15 October 1582) and 1970.
_UUID_EPOCH = 0x01B21DD213814000
_NODE_PREFIX = 0x0242 << 32


class Clock:
    """Nanoseconds since 1970; never the same twice, never backwards."""

    def __init__(self) -> None:
        self._last = 0
        # Starts anywhere, so that a server started again on one database does not repeat ids of equal times.
        self._serials = itertools.count(secrets.randbits(46))

    def now(self) -> int:
        """The time, later than any given before."""
        self._last = max(time.time_ns(), self._last + 1)
        return self._last

    def message_id(self, ts: int) -> str:
        """A new time-based UUID of this time (protocol 1.2); ids of one time differ."""
        serial = next(self._serials)
        ticks = (ts // 100 + _UUID_EPOCH) & (1 << 60) - 1
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


def milliseconds(ns: int) -> str:
    """The time as conversations and people carry it: RFC 3339 UTC with three digits of a second (protocol 1.3)."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03}Z"
