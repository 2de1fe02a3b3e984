"""Which legs are walked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stride_async._models import just_above
from stride_async.export._archive.state import Span, State, join
from stride_async.export._fetch.plan import Bounds, next_leg
from tests.export.archive.keys import EVERY_KEY, spans


@given(st.lists(spans, max_size=5), st.none() | st.integers(0, 40), st.none() | st.integers(0, 40))
def test_walking_one_leg_after_another_ends_with_everything_held(given_spans, since, until):
    """If each leg reaches the next span or the lower bound, nothing within the bounds is missing at the end."""
    bounds = Bounds(since, until)
    state = State()
    for span in given_spans:
        state.spans = join(state.spans, span)
    legs, newest_read = 0, False
    while (leg := next_leg(state, bounds, newest_read=newest_read)) is not None:
        legs, newest_read = legs + 1, True
        upper = leg.upper or just_above((40, "c"))
        below = [span.high for span in state.spans if span.high < upper]
        state.spans = join(state.spans, Span(min(upper, max([*below, bounds.floor])), upper))
        assert legs <= len(given_spans) + 2

    wanted = [key for key in EVERY_KEY if key >= bounds.floor and (bounds.ceiling is None or key < bounds.ceiling)]
    assert all(any(span.contains(key) for span in state.spans) for key in wanted)
