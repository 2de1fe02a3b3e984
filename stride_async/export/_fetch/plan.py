"""Which part of a history is still to be fetched. Pure."""

from __future__ import annotations

import attrs

from stride_async._models import Key
from stride_async.export._archive.commits import BEGINNING
from stride_async.export._archive.state import State


@attrs.frozen
class Window:
    """What of the history is asked for: messages from `since` (included) to `until` (excluded), in nanoseconds."""

    since: int | None = None
    until: int | None = None

    @property
    def floor(self) -> Key:
        """The least key asked for."""
        return BEGINNING if self.since is None else (self.since, "")

    @property
    def ceiling(self) -> Key | None:
        """The keys asked for are below this one; None: all are."""
        return None if self.until is None else (self.until, "")


@attrs.frozen
class Leg:
    """A walk to be made: from the newest message (None), or from below a key."""

    upper: Key | None


def next_leg(state: State, window: Window, *, looked: bool) -> Leg | None:
    """The walk that is still missing; None when everything asked for is held.

    `looked`: this run has already walked from the newest message that is asked for.
    """
    if not looked:
        return Leg(window.ceiling)
    for span in state.spans:
        if window.ceiling is None or span.low < window.ceiling:
            return Leg(span.low) if span.low > window.floor else None
    return None
