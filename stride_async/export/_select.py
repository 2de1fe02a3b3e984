"""Which conversations are meant: ids, addresses, globs on names. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

_ADDRESS = re.compile(
    r"https://(?:app\.stride\.com/(?P<web_site>[^/]+)|applink\.atlassian\.com/stride/(?P<link_site>[^/]+))"
    r"/chat/(?P<room>[^/?#]+)[/?#]?.*"
)
_NEAREST, _LIKENESS = 3, 0.6
"""Names offered for a selector, and how alike they must be."""


def room_in_address(text: str) -> tuple[str, str] | None:
    """`(cloud id, conversation id)` of a web address or deep link of a room (protocol 1.1); None for anything else."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    return match["web_site"] or match["link_site"], match["room"]


@attrs.frozen
class Selection:
    """Selectors in the order given: an id, an address, or a glob on the name; `^` before one takes out again.

    Without any, or with only exclusions, everything is meant. Names compare without regard to case.
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
        """Names that look like a selector which means none of these conversations (id to name)."""
        folded = {name.casefold(): name for name in names.values()}
        near = [
            folded[name]
            for selector in self.idle(names)
            for name in difflib.get_close_matches(selector.strip("^*").casefold(), folded, _NEAREST, _LIKENESS)
        ]
        return list(dict.fromkeys(near))


def _means(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    if selector == id:
        return True
    name, selector = name.casefold(), selector.casefold()
    return name == selector or fnmatchcase(name, selector)
