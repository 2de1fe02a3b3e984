"""When to send again, and after how long.

`decide` is the whole rule, a pure function of what happened so far; tenacity's `AsyncRetrying`, built anew for each
call that has to be repeated, only carries it out.

| what came | may be repeated | may not be repeated |
| --- | --- | --- |
| not sent | again after backoff | again after backoff |
| nothing after sending | again after backoff | raised, `maybe_processed` |
| 401, token renewable, first time | again at once with a new token | the same |
| 429 | again after the stated wait, else backoff | the same |
| 500, 502, 503, 504 | again after the stated wait, else backoff | raised, `maybe_processed` |
| any other answer | raised | raised |

Never more than `Settings.attempts` in all; never a stated wait above `Settings.longest_wait`; never a wait that cannot
end before the deadline; and repeats that are neither after 429 nor after 401 spend the client-wide `Budget`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import attrs
import tenacity

from stride_async._errors import StrideError
from stride_async._settings import Settings

R = TypeVar("R")

LONGEST_BACKOFF = 20.0
"""Seconds at which doubling ends."""
STATED_JITTER = 0.1
"""Part of a stated wait that is added at random on top of it."""
RESERVE = 20.0
"""Repeats a client may make before any call has earned one."""
REPEATED_STATUSES = frozenset({500, 502, 503, 504})

Kind = Literal["not sent", "ambiguous", "answered"]


@attrs.frozen
class Outcome:
    """How one attempt ended: `status` and `stated` (seconds the service asks to wait) only where it was answered."""

    kind: Kind
    status: int | None = None
    stated: float | None = None


@attrs.frozen
class Again:
    """Send again after `seconds`; `costs` is what that takes from the budget."""

    seconds: float
    reason: str
    costs: int = 1


@attrs.frozen
class Stop:
    """Raise what came, because of `reason`."""

    reason: str


class Budget:
    """Repeats a whole client may still make: calls earn a part of one each, up to the reserve."""

    def __init__(self) -> None:
        self._left = RESERVE

    @property
    def left(self) -> float:
        """Repeats that may be made now."""
        return self._left

    def earn(self, part: float) -> None:
        """A call began."""
        self._left = min(RESERVE, self._left + part)

    def spend(self, repeats: int) -> None:
        """Calls are sent again."""
        self._left -= repeats


def decide(
    outcomes: Sequence[Outcome],
    settings: Settings,
    *,
    repeatable: bool,
    renewable: bool,
    budget: float,
    remaining: float | None,
    chance: float,
) -> Again | Stop:
    """What follows the last of `outcomes`, by the table above.

    `renewable`: a refused token can be renewed. `budget`: repeats left to the client. `remaining`: seconds to the
    deadline, None without one. `chance`: a number from 0 to 1 that the jitter is made of.
    """
    last = outcomes[-1]
    refusal = _refusal(last, outcomes, repeatable=repeatable, renewable=renewable)
    if refusal is not None:
        return Stop(refusal)
    if len(outcomes) >= settings.attempts:
        return Stop(f"all {settings.attempts} attempts are spent")
    if last.status == 401:
        return Again(0.0, "the token was refused: renewed", costs=0)
    stated = last.stated
    if stated is not None:
        if stated > settings.longest_wait:
            return Stop(f"the stated wait of {stated:.1f} s is above longest_wait={settings.longest_wait:g}")
        seconds, reason = stated * (1 + STATED_JITTER * chance), f"{_words(last)}: the service asks for {stated:.1f} s"
    else:
        doubled = settings.backoff * 2.0 ** min(len(outcomes) - 1, 32)
        seconds, reason = min(LONGEST_BACKOFF, doubled) * chance, f"{_words(last)}: backoff"
    if remaining is not None and seconds >= remaining:
        return Stop(f"a wait of {seconds:.1f} s cannot end before the deadline")
    costs = 0 if last.status == 429 else 1
    if costs > budget:
        return Stop("the client's retry budget is spent: the service seems to be down")
    return Again(seconds, reason, costs)


def _refusal(last: Outcome, outcomes: Sequence[Outcome], *, repeatable: bool, renewable: bool) -> str | None:
    """Why this outcome is not repeated at all; None when it may be."""
    if last.kind == "not sent" or last.status == 429:
        return None
    if last.status == 401:
        if not renewable:
            return "the token cannot be renewed"
        return "a renewed token was refused, too" if _refused_before(outcomes) else None
    if last.kind == "answered" and last.status not in REPEATED_STATUSES:
        return f"{last.status} is not repeated"
    return None if repeatable else f"{_words(last)} on a call that may not be repeated"


def _refused_before(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.status == 401 for outcome in outcomes[:-1])


def _words(outcome: Outcome) -> str:
    return outcome.kind if outcome.status is None else f"answered {outcome.status}"


async def carry_out(
    attempt: Callable[[], Awaitable[R]],
    rule: Callable[[], Again | Stop | None],
    waiting: Callable[[Again], Awaitable[None]],
) -> R:
    """Attempt until `rule` does not say `Again`; then the last attempt's value or error.

    `rule` is asked once after each attempt; None means that it went well. `waiting` waits out an `Again`. A call that
    was cancelled is not repeated, whatever the rule would say.
    """
    decision: Again | Stop | None = None

    def again(state: tenacity.RetryCallState) -> bool:
        nonlocal decision
        failure = state.outcome.exception() if state.outcome is not None else None
        if failure is not None and not isinstance(failure, StrideError):
            return False
        decision = rule()
        return isinstance(decision, Again)

    async def sleep(_: float) -> None:
        assert isinstance(decision, Again)
        await waiting(decision)

    # Most calls go well at once, and tenacity's own work costs half of sending one: it begins with the repeats.
    try:
        value = await attempt()
    except StrideError:
        decision = rule()
        if not isinstance(decision, Again):
            raise
    else:
        decision = rule()
        if not isinstance(decision, Again):
            return value
    await waiting(decision)
    retrying = tenacity.AsyncRetrying(
        retry=again, stop=tenacity.stop_never, wait=tenacity.wait_none(), sleep=sleep, reraise=True
    )
    return await retrying(attempt)


def chance() -> float:
    """A number from 0 to 1 for jitter."""
    return random.random()  # noqa: S311  # spreads load, keeps no secret
