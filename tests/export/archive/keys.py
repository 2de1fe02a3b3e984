"""Keys and spans for Hypothesis, few enough that any two may touch."""

from __future__ import annotations

from hypothesis import strategies as st

from stride_async.export._archive.state import Span

keys = st.tuples(st.integers(0, 40), st.sampled_from("abc"))
spans = st.tuples(keys, keys).map(lambda pair: Span(min(pair), max(pair)))
EVERY_KEY = [(ts, id) for ts in range(41) for id in "abc"]
