"""The rule: whether an attempt is retried, after how long, and when to give up. Pure.

`refusal`, `wait_after` and `exhaustion` are asked in this order after each attempt that did not succeed. They are what
tenacity calls `retry`, `wait` and `stop`; `call.py` hands them to it.

| outcome | the call may be repeated | it may not |
| --- | --- | --- |
| not sent | retried after backoff | retried after backoff |
| ambiguous: no response after sending | retried after backoff | raised, `maybe_processed` |
| 401, the first, with a renewable token | retried at once with a new token | the same |
| 429 | retried after the stated wait or the backoff, whichever is longer | the same |
| 500, 502, 503, 504 | the same as after 429 | raised, `maybe_processed` |
| any other status | raised | raised |

A call gives up after `Settings.attempts` attempts, before a stated wait above `Settings.longest_wait`, before a wait
that cannot end before the deadline, and when the retry budget of the client is used up. Retries after a 429 or a 401
cost nothing from the budget.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import msgspec

from stride_async._settings import Settings

# The backoff stops doubling at this many seconds.
LONGEST_BACKOFF = 20.0
# The part of a stated wait that is added at random on top of it.
STATED_JITTER = 0.1
RETRIED_STATUSES = frozenset({500, 502, 503, 504})

Kind = Literal["not sent", "ambiguous", "answered"]


class Outcome(msgspec.Struct, frozen=True):
    """How one attempt ended."""

    kind: Kind
    status: int | None = None
    """The status of the response, if there is one."""
    stated: float | None = None
    """Seconds the service asked to wait, if it did."""

    def __str__(self) -> str:
        return self.kind if self.status is None else f"answered {self.status}"


class Wait(msgspec.Struct, frozen=True):
    """A wait before a retry: how long, why, and how much of the retry budget the retry costs."""

    seconds: float
    reason: str
    cost: int = 1


def refusal(outcomes: Sequence[Outcome], *, repeatable: bool, renewable: bool) -> str | None:
    """Return why the last of `outcomes` is never retried, or None if it may be.

    Args:
        outcomes: How each attempt of the call ended, in order.
        repeatable: Whether the call may have its effect twice.
        renewable: Whether a refused token can be renewed.
    """
    last = outcomes[-1]
    if last.kind == "not sent" or last.status == 429:
        return None
    if last.status == 401:
        if not renewable:
            return "the token cannot be renewed"
        refused_before = any(outcome.status == 401 for outcome in outcomes[:-1])
        return "the renewed token was refused as well" if refused_before else None
    if last.kind == "answered" and last.status not in RETRIED_STATUSES:
        return f"{last.status} is not retried"
    return None if repeatable else f"{last}, and the call may not be repeated"


def wait_after(outcomes: Sequence[Outcome], settings: Settings, chance: float) -> Wait:
    """Return how long to wait before the next attempt; `chance` (0 to 1) becomes the jitter.

    A stated wait never shortens the backoff: if it did, a service that asks for 0 s would get all attempts at once.
    """
    last = outcomes[-1]
    if last.status == 401:
        return Wait(0.0, "the token was refused and is renewed", cost=0)
    cost = 0 if last.status == 429 else 1
    own = Wait(backoff(len(outcomes), settings, chance), f"{last}: backoff", cost)
    if last.stated is None:
        return own
    stated = last.stated * (1 + STATED_JITTER * chance)
    if stated < own.seconds:
        reason = f"{own.reason}, longer than the {last.stated:.1f} s that the service asked for"
        return msgspec.structs.replace(own, reason=reason)
    return Wait(stated, f"{last}: the service asked for {last.stated:.1f} s", cost)


def exhaustion(
    outcomes: Sequence[Outcome], wait: Wait, settings: Settings, *, budget: float, remaining: float | None
) -> str | None:
    """Return why the call gives up instead of waiting, or None if it may wait.

    Args:
        outcomes: How each attempt of the call ended, in order.
        wait: The wait before the next attempt.
        settings: The options of the client.
        budget: How many retries the client may still make.
        remaining: Seconds to the deadline; None without one.
    """
    last = outcomes[-1]
    if len(outcomes) >= settings.attempts:
        return out_of_attempts(settings)
    if last.status == 401:
        return None
    if last.stated is not None and last.stated > settings.longest_wait:
        return f"the stated wait of {last.stated:.1f} s exceeds longest_wait={settings.longest_wait:g}"
    if remaining is not None and wait.seconds >= remaining:
        return f"a wait of {wait.seconds:.1f} s cannot end before the deadline"
    if wait.cost > budget:
        return "the client's retry budget is used up: the service seems to be down"
    return None


def out_of_attempts(settings: Settings) -> str:
    """Return the reason to give up when no attempts remain."""
    return f"all {settings.attempts} attempts were made"


def backoff(attempts: int, settings: Settings, chance: float) -> float:
    """Return the seconds to wait after so many attempts if no wait is stated: exponential, with full jitter."""
    return min(LONGEST_BACKOFF, settings.backoff * 2.0 ** min(attempts - 1, 32)) * chance


def chance() -> float:
    """Return a random number from 0 to 1 for jitter."""
    return random.random()  # noqa: S311  # spreads load, keeps no secret
