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

    def nearest(self, names: Mapping[str, str]) -> list[str]:
        """Names and ids that look like a selector which picks none of these conversations (id to name)."""
        near: list[str] = []
        for selector in self.selectors:
            if not any(_means(selector.removeprefix("^"), id, name) for id, name in names.items()):
                near += difflib.get_close_matches(selector.strip("^*").casefold(), _folded(names), 3, 0.4)
        back = {name.casefold(): name for name in names.values()}
        return list(dict.fromkeys(back.get(name, name) for name in near))


def _folded(names: Mapping[str, str]) -> list[str]:
    return [name.casefold() for name in names.values()]


def _means(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    return selector == id or fnmatchcase(name.casefold(), selector.casefold())
