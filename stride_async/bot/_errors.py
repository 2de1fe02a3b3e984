"""What goes wrong in a bot, apart from its calls to the service, whose errors are of the `StrideError` tree."""

from __future__ import annotations

from stride_async._arguments import seconds


class BotError(Exception):
    """Base class of the errors of `stride_async.bot`."""


class HandlerTimeout(BotError):
    """A handler did not return within its time limit and was cancelled."""


class GaveUp(BotError):
    """An event was begun `BotSettings.attempts` times, and the process was killed during the last attempt."""


class StoreBusy(BotError):
    """Another process uses the store."""


class TryAgain(BotError):
    """Raise this in a handler to begin the event again after a number of seconds.

    Other events of the conversation wait until then. The event fails when it was begun `BotSettings.attempts` times.

    Raises:
        TypeError: `after` is not a number.
        ValueError: It is negative or not finite.
    """

    def __init__(self, after: float) -> None:
        self.after: float = seconds(after, "after")
        """Seconds until the next attempt."""
        super().__init__(after)

    def __str__(self) -> str:
        return f"try again after {self.after:g} s"
