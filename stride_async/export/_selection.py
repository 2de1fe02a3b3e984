"""Select conversations by id, address or name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

from stride_async._wire.addresses import room_in_address
from stride_async._wire.nearest import nearest

_SELECTORS_COMPARED = 3


@attrs.frozen
class Selection:
    """Which conversations to export.

    A selector is an id, an address, or a glob pattern for the name. The last selector that matches a conversation
    decides: one that starts with `^` excludes it, any other includes it. Without selectors, or with exclusions only,
    every other conversation is included.

    Names are compared without regard to case. In a pattern, `*` matches any text and `?` any one character, so `?up`
    matches a conversation called `^up`. Every other character matches itself.
    """

    selectors: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    """Only conversations of these kinds: `group`, `direct`, `public`, `private`. Empty means all."""

    def picks(self, id: str, name: str, kinds: Iterable[str]) -> bool:
        """Return whether a conversation is selected."""
        if self.kinds and not self.kinds & set(kinds):
            return False
        picked = all(selector.startswith("^") for selector in self.selectors)
        for selector in self.selectors:
            if _matches(selector.removeprefix("^"), id, name):
                picked = not selector.startswith("^")
        return picked

    def unmatched(self, names: Mapping[str, str]) -> list[str]:
        """Return the selectors that match none of these conversations, given as id to name."""
        return [
            selector
            for selector in self.selectors
            if not any(_matches(selector.removeprefix("^"), id, name) for id, name in names.items())
        ]

    def nearest(self, names: Mapping[str, str]) -> list[str]:
        """Return up to three names or ids similar to the selectors that match none of these conversations.

        The most similar comes first. Conversations are given as id to name.
        """
        sought = []
        for selector in sorted(self.unmatched(names), key=lambda one: one.startswith("^"))[:_SELECTORS_COMPARED]:
            address = room_in_address(selector.removeprefix("^"))
            sought.append(address[1] if address is not None else selector.strip("^*"))
        return nearest(sought, names.values(), names)


def _matches(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    if selector == id:
        return True
    name, selector = name.casefold(), selector.casefold()
    return name == selector or fnmatchcase(name, selector.replace("[", "[[]"))
