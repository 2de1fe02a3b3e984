"""Which part of a history is still to be fetched. Pure."""

from __future__ import annotations

import attrs

from stride_async._models import Key
from stride_async.export._archive.commits import BEGINNING
from stride_async.export._archive.state import State


@attrs.frozen
class Bounds:
    """The messages that a run asks for: from `since` (inclusive) to `until` (exclusive), in nanoseconds."""

    since: int | None = None
    until: int | None = None

    @property
    def floor(self) -> Key:
        """The lowest key that is asked for."""
        return BEGINNING if self.since is None else (self.since, "")

    @property
    def ceiling(self) -> Key | None:
        """The key below which everything is asked for, None if there is no upper bound."""
        return None if self.until is None else (self.until, "")


@attrs.frozen
class PlannedLeg:
    """A leg to walk: down from `upper`, or from the newest message if that is None."""

    upper: Key | None


def next_leg(state: State, bounds: Bounds, *, newest_read: bool) -> PlannedLeg | None:
    """Return the leg to walk next, None when everything that is asked for is held.

    The first leg of a run starts at the newest message that is asked for, whatever is held; `newest_read` says that it
    was walked. The legs after it fill the gaps, newest first.
    """
    if not newest_read:
        return PlannedLeg(bounds.ceiling)
    for span in state.spans:
        if bounds.ceiling is None or span.low < bounds.ceiling:
            return PlannedLeg(span.low) if span.low > bounds.floor else None
    return None
