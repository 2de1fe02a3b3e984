"""Nodes, and views of the JSON objects in a document as nodes.

The JSON is kept as it was read, so that nothing the service sends is lost. No function here recurses, because a sender
may nest a document to any depth.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import attrs

JsonObject: TypeAlias = dict[str, object]
"""A decoded JSON object."""

NOTHING: Mapping[str, object] = MappingProxyType({})


@attrs.frozen
class Mark:
    """Formatting of a text, or its link (protocol 8.3)."""

    type: str
    """The type, such as `strong`."""
    attrs: Mapping[str, object]
    """The attributes, such as the `href` of a link."""

    def __hash__(self) -> int:
        return hash(self.type)

    def __reduce__(self) -> tuple[Any, ...]:
        return _mark, (self.type, dict(self.attrs))


def _mark(type: str, attrs: dict[str, object]) -> Mark:
    return Mark(type, MappingProxyType(attrs))


class Node:
    """A node of a document, read-only (protocol 8.1 and 8.2).

    A field that is missing or malformed reads as empty: a missing type is `""`, and `"content": null` is `()`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def type(self) -> str:
        """The type, such as `paragraph`."""

    @property
    @abstractmethod
    def attrs(self) -> Mapping[str, object]:
        """The attributes, including unknown ones."""

    @property
    @abstractmethod
    def text(self) -> str | None:
        """The text of a text node, None for other nodes."""

    @property
    @abstractmethod
    def content(self) -> tuple[Node, ...]:
        """The children, in order."""

    @property
    @abstractmethod
    def marks(self) -> tuple[Mark, ...]:
        """The marks of a text node, in order."""

    @abstractmethod
    def walk(self) -> Iterator[Node]:
        """Iterate over this node and every node below it, depth first in reading order."""

    @property
    @abstractmethod
    def _json(self) -> JsonObject: ...

    def to_json(self) -> JsonObject:
        """Return a copy of the node as a JSON object; changing it does not change the node."""
        return copied(self._json)

    def __eq__(self, other: object) -> bool:
        return same(self._json, other._json) if isinstance(other, Node) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.type, self.text))

    def __repr__(self) -> str:
        text = self.text
        return f"<Node {self.type}>" if text is None else f"<Node {self.type} {shortened(text)!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return NodeView, (self._json,)


class NodeView(Node):
    """A node as a view of its JSON object."""

    __slots__ = ("_json", "type")

    def __init__(self, json: JsonObject) -> None:
        self._json: Final = json
        self.type: Final[str] = kind_of(json)

    @property
    def attrs(self) -> Mapping[str, object]:
        """The `attrs` if they are an object, else empty."""
        found = self._json.get("attrs")
        return MappingProxyType(found) if isinstance(found, dict) else NOTHING

    @property
    def text(self) -> str | None:
        """The `text` if it is a string."""
        found = self._json.get("text")
        return found if isinstance(found, str) else None

    @property
    def content(self) -> tuple[Node, ...]:
        """Views of the objects in `content`; anything else in it is skipped."""
        return tuple(map(NodeView, children(self._json)))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The objects in `marks` that have a type."""
        return tuple(
            Mark(kind, MappingProxyType(found) if isinstance(found := mark.get("attrs"), dict) else NOTHING)
            for mark in objects(self._json.get("marks"))
            if isinstance(kind := mark.get("type"), str)
        )

    def walk(self) -> Iterator[Node]:
        """Iterate over views of all objects, each created when it is reached."""
        stack: list[object] = [self._json]
        pop = stack.pop
        # The fields are set here because calling the constructor would take a third of the time.
        new: Any = object.__new__
        while stack:
            json = pop()
            if isinstance(json, dict):
                node = new(NodeView)
                node._json = json  # noqa: SLF001 (its own)
                kind = json.get("type")
                node.type = kind if isinstance(kind, str) else ""
                yield node
                content = json.get("content")
                if content and isinstance(content, list):
                    stack += content[::-1]


def json_of(node: Node) -> JsonObject:
    """Return the JSON object of a node. It may be read, or put into another object, but never changed."""
    return node._json  # noqa: SLF001 (the only access; users get copies)


def kind_of(json: JsonObject) -> str:
    """Return the type of a node; `""` if it is missing or not text."""
    kind = json.get("type")
    return kind if isinstance(kind, str) else ""


def objects(value: object) -> list[JsonObject]:
    """Return the JSON objects in a list; none if the value is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def children(json: JsonObject) -> list[JsonObject]:
    """Return the JSON objects in a node's `content`."""
    return objects(json.get("content"))


def attr(json: JsonObject, name: str) -> str:
    """Return an attribute of a node or mark if it is text, else `""`."""
    found = json.get("attrs")
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def shortened(text: str, length: int = 40) -> str:
    """Return text for a repr: its beginning, with an ellipsis if the rest was cut off."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shown(value: object) -> str:
    """Return a short text that shows a JSON value in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() | float():
            return shortened(repr(value))
        case int() if abs(value) < 10**20:
            return str(value)
        case int():
            return "a huge number"
        case dict():
            return "an object"
        case list():
            return "a list"
    return f"a {type(value).__name__}"


def copied(json: JsonObject) -> JsonObject:
    """Return a deep copy of a JSON object of any depth."""
    top: JsonObject = {}
    pending: list[tuple[object, dict[str, object] | list[object]]] = [(json, top)]
    while pending:
        source, target = pending.pop()
        if isinstance(target, dict) and isinstance(source, dict):
            for key, value in source.items():
                target[key] = _empty_like(value, pending)
        elif isinstance(target, list) and isinstance(source, list):
            target.extend([_empty_like(value, pending) for value in source])
    return top


def _empty_like(value: object, pending: list[tuple[object, dict[str, object] | list[object]]]) -> object:
    """Return the copy of a value: the value itself, or an empty container that is added to `pending`."""
    if not isinstance(value, (dict, list)):
        return value
    target: dict[str, object] | list[object] = {} if isinstance(value, dict) else []
    pending.append((value, target))
    return target


def same(one: object, other: object) -> bool:
    """Return whether two JSON values of any depth are equal."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        if a is b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs.extend((value, b[key]) for key, value in a.items())
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif a != b:
            return False
    return True
