"""Times for systems that keep fewer digits than the service, and that tell messages apart by them. Pure."""

from __future__ import annotations

import attrs

MICROSECOND = 1_000  # nanoseconds
MILLISECOND = 1_000_000  # nanoseconds


@attrs.define
class RisingTimes:
    """The times of the messages of one conversation in a larger unit, strictly increasing.

    A message that would have the time of the one before it, or an earlier one, is moved to the next free time.
    """

    unit: int
    """In nanoseconds."""
    last: int | None = attrs.field(default=None, init=False)
    """The time that was given last, in units."""
    moved: bool = attrs.field(default=False, init=False)
    """Whether that message was moved."""

    def next(self, ts: int) -> int:
        """Return the time for the next message, sent at `ts` in nanoseconds, in units since the epoch."""
        time = ts // self.unit
        self.moved = self.last is not None and time <= self.last
        if self.last is not None and self.moved:
            time = self.last + 1
        self.last = time
        return time

    def skip_to(self, time: int) -> None:
        """Use all times up to and including this one, as the parts of a split message do."""
        self.last = time if self.last is None else max(self.last, time)
