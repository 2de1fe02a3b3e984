"""Nodes of the usual shape, decoded from JSON text without an object for each part of it.

Reading the nodes of many messages is the one place where the cost of a document shows. `decoded` accepts only nodes
whose fields all are known and have the documented types, and leaves everything else to the views of JSON objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from stride_async.document._nodes import NOTHING, JsonObject, Mark, Node


class _DecodedMark(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    type: str
    attrs: dict[str, Any] | UnsetType = UNSET

    def json(self) -> JsonObject:
        return {"type": self.type} if self.attrs is UNSET else {"type": self.type, "attrs": self.attrs}


class DecodedNode(Node, msgspec.Struct, gc=False, frozen=True, eq=False, forbid_unknown_fields=True):
    """A node with the fields of its JSON object. A field that the object does not have is `UNSET`."""

    type: str
    own_attrs: dict[str, Any] | UnsetType = msgspec.field(default=UNSET, name="attrs")
    children: list[DecodedNode] | UnsetType = msgspec.field(default=UNSET, name="content")
    own_text: str | UnsetType = msgspec.field(default=UNSET, name="text")
    own_marks: list[_DecodedMark] | UnsetType = msgspec.field(default=UNSET, name="marks")
    version: Any = UNSET

    @property
    def attrs(self) -> Mapping[str, object]:
        """The decoded attributes, read-only."""
        return NOTHING if self.own_attrs is UNSET else MappingProxyType(self.own_attrs)

    @property
    def text(self) -> str | None:
        """The decoded text, None if the object has none."""
        return None if self.own_text is UNSET else self.own_text

    @property
    def content(self) -> tuple[Node, ...]:
        """The decoded children as a tuple."""
        return tuple(self.children or ())

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The decoded marks, as the marks of any node."""
        return tuple(
            Mark(mark.type, NOTHING if mark.attrs is UNSET else MappingProxyType(mark.attrs))
            for mark in self.own_marks or ()
        )

    def walk(self) -> Iterator[Node]:
        """Iterate over the decoded nodes themselves, so that none is created."""
        yield self
        # Most nodes have no children, so going through each list in a loop is faster than a stack of nodes.
        unfinished: list[Iterator[DecodedNode]] = []
        siblings: Iterator[DecodedNode] | None = iter(self.children or ())
        while siblings is not None:
            for node in siblings:
                yield node
                if node.children:
                    unfinished.append(siblings)
                    siblings = iter(node.children)
                    break
            else:
                siblings = unfinished.pop() if unfinished else None

    @property
    def _json(self) -> JsonObject:
        """The object that this node was decoded from, with its fields in the usual order."""
        top = self.fields()
        pending = [(self, top)]
        while pending:
            node, json = pending.pop()
            if node.children is not UNSET:
                below = [(child, child.fields()) for child in node.children]
                json["content"] = [found for _, found in below]
                pending += below
        return top

    def fields(self) -> JsonObject:
        """Return the fields of this node's JSON object; the content is a placeholder."""
        marks = UNSET if self.own_marks is UNSET else [mark.json() for mark in self.own_marks]
        found = {
            "version": self.version,
            "type": self.type,
            "attrs": self.own_attrs,
            "content": self.children,
            "text": self.own_text,
            "marks": marks,
        }
        return {name: value for name, value in found.items() if value is not UNSET}


decoded = msgspec.json.Decoder(DecodedNode).decode
"""Decode a node, or raise an error of `msgspec` or a `RecursionError` if anything in it is unusual."""
