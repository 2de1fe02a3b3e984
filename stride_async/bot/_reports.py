"""What a bot reports of its work, as small frozen values.

A receiver (`BotSettings(on_event=…)`) is called synchronously, so it should return at once. No report carries a token,
a secret or a body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import attrs

from stride_async.bot._router import Kind

LOG = logging.getLogger("stride_async.bot")
LOG.addHandler(logging.NullHandler())

Outcome = Literal["done", "failed", "again", "gave up"]
"""How an attempt at an event ended: `again` after `TryAgain`, `gave up` with `GaveUp`."""


@attrs.frozen(kw_only=True)
class Delivery:
    """One event as the bot received it."""

    id: str
    """Identifies it within its store, for `RunningBot.retry()`."""
    kind: Kind
    """What the bot was called for."""
    module: str
    """Key of the module in the descriptor."""
    received_at: datetime
    """When it arrived, aware."""
    attempt: int
    """How many times it was begun, this time included."""


@attrs.frozen
class Received:
    """A delivery was kept."""

    kind: Kind
    """What the bot was called for."""
    module: str
    """The key of the module in the descriptor."""
    new: bool
    """Whether it had not been kept before."""


@attrs.frozen
class Refused:
    """A call was refused."""

    status: int
    """The HTTP status of the response."""
    why: str
    """The sentence in the response."""


@attrs.frozen
class Begun:
    """An attempt at an event begins."""

    delivery: Delivery
    """The event."""


@attrs.frozen
class Ended:
    """An attempt at an event ended, and its end was noted."""

    delivery: Delivery
    """The event."""
    outcome: Outcome
    """How it ended."""
    seconds: float
    """How long the attempt took."""


Report = Received | Refused | Begun | Ended
"""Any report of a bot."""


@attrs.frozen
class UnderTest:
    """Makes a bot run under test: it passes on every error of a handler, and skips the pauses of `TryAgain`."""

    on_error: Callable[[Exception], None]
    """Called with what a handler, a middleware or an error handler raises, and with `GaveUp`."""


class Reporter:
    """Passes reports to the receiver, if there is one."""

    def __init__(self, receiver: Callable[[Report], None] | None, under_test: UnderTest | None = None) -> None:
        self._receiver = receiver
        self._under_test = under_test
        self._failed = False

    @property
    def skips_pauses(self) -> bool:
        """Whether an event is begun again at once after `TryAgain`."""
        return self._under_test is not None

    def error(self, error: Exception) -> None:
        """Report an error, if the bot runs under test."""
        if self._under_test is not None:
            self._under_test.on_error(error)

    def __call__(self, report: Report) -> None:
        """Pass a report on. The first exception of the receiver is logged, and none is raised."""
        if self._receiver is None:
            return
        try:
            self._receiver(report)
        except Exception:
            if not self._failed:
                LOG.exception("BotSettings.on_event raised; further exceptions of it are not logged")
            self._failed = True
