"""Which conversations are meant: ids, addresses, globs on names. Pure."""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

_ADDRESS = re.compile(
    r"https://(?:app\.stride\.com/(?P<web_site>[^/]+)|applink\.atlassian\.com/stride/(?P<link_site>[^/]+))"
    r"/chat/(?P<room>[^/?#]+)[/?#]?.*"
)
_NEAREST = 3
"""Names offered, for so many selectors at most that mean nothing."""
_ALIKE = 0.6
"""From which likeness on (of 0 to 1) an id is offered beside names."""


def room_in_address(text: str) -> tuple[str, str] | None:
    """`(cloud id, conversation id)` of a web address or deep link of a room (protocol 1.1); None for anything else."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    return match["web_site"] or match["link_site"], match["room"]


@attrs.frozen
class Selection:
    """Selectors in the order given: an id, an address, or a glob on the name; `^` before one takes out again.

    Without any, or with only exclusions, everything is meant. Names compare without regard to case. In a glob `*` and
    `?` stand for anything and for any one character, so that `?up` means a conversation called `^up`; all else is
    itself.
    """

    selectors: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    """Of `group` and `direct`, or of `public` and `private`; empty: all."""

    def picks(self, id: str, name: str, kinds: Iterable[str]) -> bool:
        """Whether a conversation is meant."""
        if self.kinds and not self.kinds & set(kinds):
            return False
        picked = all(selector.startswith("^") for selector in self.selectors)
        for selector in self.selectors:
            excluding = selector.startswith("^")
            if _means(selector.removeprefix("^"), id, name):
                picked = not excluding
        return picked

    def idle(self, names: Mapping[str, str]) -> list[str]:
        """Selectors that mean none of these conversations (id to name)."""
        return [
            selector
            for selector in self.selectors
            if not any(_means(selector.removeprefix("^"), id, name) for id, name in names.items())
        ]

    def nearest(self, names: Mapping[str, str]) -> list[str]:
        """What is most like the selectors that mean none of these conversations (id to name), the most like first.

        Names, however unlike, and ids that are alike.
        """
        found: dict[str, float] = {}
        for selector in sorted(self.idle(names), key=lambda one: one.startswith("^"))[:_NEAREST]:
            address = room_in_address(selector.removeprefix("^"))
            sought = address[1] if address is not None else selector.strip("^*")
            matcher = difflib.SequenceMatcher(b=sought.casefold())
            for id, name in names.items():
                for text, least in ((name, 0.0), (id, _ALIKE)):
                    matcher.set_seq1(text.casefold())
                    if not text or matcher.real_quick_ratio() < least:
                        continue
                    if (alike := matcher.ratio()) >= least:
                        found[text] = max(alike, found.get(text, 0.0))
        return heapq.nlargest(_NEAREST, found, key=found.__getitem__)


def _means(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    if selector == id:
        return True
    name, selector = name.casefold(), selector.casefold()
    return name == selector or fnmatchcase(name, selector.replace("[", "[[]"))
