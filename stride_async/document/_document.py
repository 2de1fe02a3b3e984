"""A complete document as a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from stride_async.document._decoded import decoded
from stride_async.document._nodes import Node, NodeView, attr, json_of, shortened, shown
from stride_async.document._schema import Problem, problems
from stride_async.document._text import to_text


class Document:
    """A rich message, built by `doc(…)` or read from the body of a message (protocol 8).

    A document never changes, and two documents with the same JSON are equal. Every method works on documents of any
    shape and depth. Unknown parts are kept as they are, or skipped.
    """

    __slots__ = ("_nodes", "_raw", "_view")

    def __init__(self, root: Node, raw: msgspec.Raw | None = None) -> None:
        # The nodes to walk over, and their JSON text if they were decoded from one.
        self._nodes = root
        self._raw = raw
        self._view = None if raw is not None else root

    @classmethod
    def from_json(cls, json: object) -> Document:
        """Return the document in a decoded JSON object. Unknown parts of it are kept.

        Args:
            json: A decoded JSON object. It is not copied; do not change it afterwards.

        Raises:
            ValueError: It is not an object of type `doc`.
        """
        if isinstance(json, dict):
            if json.get("type") == "doc":
                return cls(NodeView(json))
            raise ValueError(f"$.type: expected 'doc', not {shown(json.get('type'))}")
        raise ValueError(f"$: expected a document object, not {shown(json)}")

    def to_json(self) -> dict[str, Any]:
        """Return a copy of the document as a JSON object, exactly as it was read or built."""
        return self._root.to_json()

    @property
    def _root(self) -> Node:
        """The `doc` as a view of its JSON object, with all fields in the order in which they were sent."""
        if self._view is None:
            assert self._raw is not None
            try:
                json = msgspec.json.decode(self._raw)
            except RecursionError:  # The caller is nested more deeply than when the nodes were decoded.
                json = json_of(self._nodes)
            self._view = NodeView(json)
        return self._view

    @property
    def content(self) -> tuple[Node, ...]:
        """The blocks, in order."""
        return self._nodes.content

    def walk(self) -> Iterator[Node]:
        """Iterate over every node, depth first in reading order, beginning with the `doc` itself."""
        return self._nodes.walk()

    def to_text(self) -> str:
        """Return plain text, as the service creates it for the `text` of a message (protocol 4.3).

        Inline nodes are joined, and blocks are separated by line feeds. A mention becomes its text, an emoji its short
        name, a date its timestamp, and a card or an extension its fallback text. Placeholders and media are omitted.
        Half a surrogate pair becomes U+FFFD.
        """
        return to_text(self._root)

    def to_markdown(self) -> str:
        """Return CommonMark with tables and strikethrough, from which a parser reads the same blocks, texts and marks.

        What Markdown cannot express is omitted (color, underline, subscript and superscript, actions, unsafe links,
        empty paragraphs, blanks at the ends of a line) or written out (the type of a panel, a decision, the id of a
        file). A heading and the cell of a table have one line. Lists and quotes below the 40th level are written
        without their markers. Half a surrogate pair becomes U+FFFD.
        """
        from stride_async.document._markdown import to_markdown  # noqa: PLC0415 -- most programs write no Markdown

        return to_markdown(self._root)

    def to_html(self) -> str:
        """Return HTML that is safe to insert into a page.

        All text is escaped, and links use http, https or mailto. Half a surrogate pair becomes U+FFFD.
        """
        from stride_async.document._html import to_html  # noqa: PLC0415 -- most programs write no HTML

        return to_html(self._root)

    def _repr_html_(self) -> str:
        """Return `to_html()` for a notebook, which shows the document instead of its repr.

        The classes keep the notebook from reading text between two dollar signs as a formula.
        """
        return f'<div class="tex2jax_ignore mathjax_ignore">{self.to_html()}</div>'

    def mentions(self) -> tuple[str, ...]:
        """Return the ids of the mentioned people, in reading order, each once. They include `all` and `here`."""
        return self._ids("mention")

    def media(self) -> tuple[str, ...]:
        """Return the ids of the displayed media, in reading order, each once."""
        return self._ids("media")

    def validate(self) -> tuple[Problem, ...]:
        """Return the violations of the schema, in reading order; none for a valid document (protocol 8).

        A document in which more than 300 objects and lists are nested has this one problem. Messages from the service
        are not necessarily valid, because it adds empty `attrs`, null `content` and more (protocol 6.3).
        """
        return problems(self._root)

    def _ids(self, kind: str) -> tuple[str, ...]:
        found = (attr(json_of(node), "id") for node in self._nodes.walk() if node.type == kind)
        return tuple(dict.fromkeys(filter(None, found)))

    def __eq__(self, other: object) -> bool:
        return self._root == other._root if isinstance(other, Document) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_text())

    def __reduce__(self) -> tuple[Any, ...]:
        return Document.from_json, (json_of(self._root),)

    def __repr__(self) -> str:
        return f"<Document {shortened(self.to_text())!r}>"


def usual_document(raw: msgspec.Raw) -> Document | None:
    """Return the document in the JSON text of a body, or None if anything in it is unusual."""
    raw = raw.copy()  # A document must not keep the page of its message.
    try:
        root = decoded(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Document(root, raw) if root.type == "doc" else None
