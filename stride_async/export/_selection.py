"""Which conversations are meant: ids, addresses, globs on names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

from stride_async._wire.addresses import room_in_address
from stride_async._wire.nearest import nearest

_SELECTORS_COMPARED = 3


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
        sought = []
        for selector in sorted(self.idle(names), key=lambda one: one.startswith("^"))[:_SELECTORS_COMPARED]:
            address = room_in_address(selector.removeprefix("^"))
            sought.append(address[1] if address is not None else selector.strip("^*"))
        return nearest(sought, names.values(), names)


def _means(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    if selector == id:
        return True
    name, selector = name.casefold(), selector.casefold()
    return name == selector or fnmatchcase(name, selector.replace("[", "[[]"))
