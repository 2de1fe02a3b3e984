"""Select conversations by id, address or name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

from stride_async._arguments import of_type, several
from stride_async._wire.addresses import room_in_address
from stride_async._wire.nearest import nearest

_SELECTORS_COMPARED = 3


class NothingSelected(Exception):
    """No conversation matches the selectors."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.nearest = nearest
        """Names that are similar to the selectors, the most similar first."""

    def __reduce__(self) -> tuple[type[NothingSelected], tuple[str, list[str]]]:
        return type(self), (str(self), self.nearest)


def _selectors(selectors: Iterable[str]) -> tuple[str, ...]:
    return tuple(of_type(each, "a selector", str) for each in several(selectors, "selectors"))


def _kinds(kinds: Iterable[str]) -> frozenset[str]:
    return frozenset(of_type(each, "a kind", str) for each in several(kinds, "kinds"))


@attrs.frozen
class Selection:
    """Which conversations to export.

    A selector is an id, an address, or a glob pattern for the name. The last selector that matches a conversation
    decides: one that starts with `^` excludes it, any other includes it. Without selectors, or with exclusions only,
    every other conversation is included.

    Names are compared without regard to case. In a pattern, `*` matches any text and `?` any one character, so `?up`
    matches a conversation called `^up`. Every other character matches itself.
    """

    selectors: tuple[str, ...] = attrs.field(default=(), converter=_selectors)
    """Ids, addresses, or glob patterns for names; `^` before one excludes what it matches."""
    kinds: frozenset[str] = attrs.field(default=frozenset(), converter=_kinds)
    """Only conversations of these kinds: `group`, `direct`, `public`, `private`. Empty means all."""

    def picks(self, id: str, name: str, kinds: Iterable[str]) -> bool:
        """Return whether a conversation is selected.

        Args:
            id: The id of the conversation.
            name: Its name.
            kinds: Its kinds: some of `group`, `direct`, `public`, `private`.
        """
        of_type(id, "id", str)
        of_type(name, "name", str)
        if self.kinds and not self.kinds & _kinds(kinds):
            return False
        picked = all(selector.startswith("^") for selector in self.selectors)
        for selector in self.selectors:
            if _matches(selector.removeprefix("^"), id, name):
                picked = not selector.startswith("^")
        return picked

    def unmatched(self, names: Mapping[str, str]) -> list[str]:
        """Return the selectors that match none of these conversations, given as id to name.

        Args:
            names: The names of all conversations, by id.
        """
        known = of_type(names, "names", Mapping).items()
        return [
            selector
            for selector in self.selectors
            if not any(_matches(selector.removeprefix("^"), id, name) for id, name in known)
        ]

    def nearest(self, names: Mapping[str, str]) -> list[str]:
        """Return up to three names or ids similar to the selectors that match none of these conversations.

        The most similar comes first. Conversations are given as id to name.

        Args:
            names: The names of all conversations, by id.
        """
        sought = []
        for selector in sorted(self.unmatched(names), key=lambda one: one.startswith("^"))[:_SELECTORS_COMPARED]:
            address = room_in_address(selector.removeprefix("^"))
            sought.append(address[1] if address is not None else selector.strip("^*"))
        return nearest(sought, names.values(), names)


def nothing_selected(selection: Selection, names: Mapping[str, str]) -> NothingSelected:
    """Return the error for a selection that matches none of these conversations, given as id to name."""
    if not names:
        return NothingSelected("the site has no conversations that this app may see", [])
    kinds = f"of type {' or '.join(sorted(selection.kinds))}" if selection.kinds else ""
    wanted = " ".join(filter(None, (*map(repr, selection.selectors), kinds)))
    return NothingSelected(f"no conversation matches {wanted} ({len(names):,} available)", selection.nearest(names))


def name_of(listed: Mapping[str, object]) -> str:
    """Return the name of a conversation as the service listed it, empty if it has none."""
    return _text(listed, "name")


def kinds_of(listed: Mapping[str, object]) -> set[str]:
    """Return the kinds of a conversation as the service listed it."""
    kind = _text(listed, "type")
    return {kind} if kind == "direct" else {kind, _text(listed, "privacy")}


def _text(listed: Mapping[str, object], name: str) -> str:
    value = listed.get(name)
    return value if isinstance(value, str) else ""


def _matches(selector: str, id: str, name: str) -> bool:
    address = room_in_address(selector)
    if address is not None:
        return address[1] == id
    if selector == id:
        return True
    name, selector = name.casefold(), selector.casefold()
    return name == selector or fnmatchcase(name, selector.replace("[", "[[]"))
