"""What the commits of a conversation prove about its history. Pure."""

from __future__ import annotations

from typing import Literal

from stride_async._models import Key, just_above
from stride_async._moments import format_nanoseconds
from stride_async.export._archive.commits import BEGINNING
from stride_async.export._archive.state import Span, State, join, touches

VerdictKind = Literal["complete", "complete up to", "gap", "unknown"]
"""What an archive proves about the history of a conversation."""


def verdict_of(state: State) -> tuple[VerdictKind, str]:
    """Return what the commits of a conversation prove, as a kind and as a sentence."""
    spans = _spans_with_leg(state)
    if not spans:
        return "unknown", "unknown: its messages were not read"
    failed = ("history", "") in state.failed
    attempt = "the last attempt to read newer messages" if state.leg is None else "the walk under way"
    but = f"; {attempt} failed" if failed else ""
    if len(spans) > 1:
        more = f" (and {len(spans) - 2} more)" if len(spans) > 2 else ""
        return "gap", f"gap between {_moment(spans[1].high)} and {_moment(spans[0].low)}{more}{but}"
    [span] = spans
    leg_from_newest = state.leg is not None and state.leg.upper is None and bool(state.raw_groups or state.walk_end)
    has_upper_bound = not (state.reaches_newest or leg_from_newest)
    if span.low != BEGINNING:
        if has_upper_bound:
            return "complete up to", f"complete from {_moment(span.low)} up to {_moment(span.high)}{but}"
        return "complete up to", f"complete up to {_moment(span.low)}, from the newest back{but}"
    if not has_upper_bound and not failed:
        return "complete", "complete"
    if span.high == BEGINNING:
        return "complete up to", f"complete up to the previous attempt, which found no messages{but}"
    return "complete up to", f"complete up to {_moment(span.high)}{but}"


def _spans_with_leg(state: State) -> list[Span]:
    """Return the spans, with what the leg under way has read, newest first."""
    leg, raw_groups, end = state.leg, state.raw_groups, state.walk_end
    if leg is None or not (raw_groups or end):
        return state.spans
    low = end.low if end is not None else raw_groups[-1].low
    top = just_above(raw_groups[0].high) if raw_groups else low
    high = leg.upper if leg.upper is not None and touches(leg.upper, state.spans) else top
    return join(state.spans, Span(low, max(low, high)))


def _moment(key: Key) -> str:
    return "the beginning" if key == BEGINNING else format_nanoseconds(key[0])
