"""Names to suggest when a name is not found. Pure."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable

MOST_SUGGESTIONS = 3
# From 0 to 1. A less similar name does not help; a less similar id would only displace a useful name.
_LEAST_LIKENESS = 0.5
_LEAST_LIKENESS_OF_AN_ID = 0.6


def nearest(sought: Iterable[str], names: Iterable[str], ids: Iterable[str] = ()) -> list[str]:
    """Return up to three names or ids that are similar to one of the texts sought, the most similar first.

    Case is ignored. A name or id qualifies only if it is similar to such a text or contains it.
    """
    candidates = [(name, _LEAST_LIKENESS) for name in names if name]
    candidates += [(id, _LEAST_LIKENESS_OF_AN_ID) for id in ids if id]
    found: dict[str, float] = {}
    for text in sought:
        folded = text.casefold()
        matcher = difflib.SequenceMatcher(b=folded)
        for candidate, least in candidates:
            other = candidate.casefold()
            matcher.set_seq1(other)
            contains = bool(folded) and folded in other
            if (contains or matcher.real_quick_ratio() >= least) and ((alike := matcher.ratio()) >= least or contains):
                found[candidate] = max(alike, found.get(candidate, 0.0))
    return heapq.nlargest(MOST_SUGGESTIONS, found, key=found.__getitem__)
