"""A complete document as a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stride_async.document._html import to_html
from stride_async.document._markdown import to_markdown
from stride_async.document._nodes import Node, attr, json_of, shortened, shown
from stride_async.document._schema import Problem, problems
from stride_async.document._text import to_text


class Document:
    """A rich message: what `doc(…)` builds and what a message's body is read into (protocol 8).

    A document never changes, and two documents with the same JSON are equal. Every method works on documents of any
    shape and depth. Unknown parts are kept as they are, or skipped.
    """

    __slots__ = ("_root",)

    def __init__(self, root: Node) -> None:
        self._root = root

    @classmethod
    def from_json(cls, json: object) -> Document:
        """Return the document in a decoded JSON object. Unknown parts of it are kept.

        The object is kept, not copied: do not change it afterwards.

        Raises:
            ValueError: It is not an object of type `doc`.
        """
        if isinstance(json, dict):
            if json.get("type") == "doc":
                return cls(Node(json))
            raise ValueError(f"$.type: expected 'doc', not {shown(json.get('type'))}")
        raise ValueError(f"$: expected a document object, not {shown(json)}")

    def to_json(self) -> dict[str, Any]:
        """Return a copy of the document as a JSON object, exactly as it was read or built."""
        return self._root.to_json()

    @property
    def content(self) -> tuple[Node, ...]:
        """The document's blocks, in order."""
        return self._root.content

    def walk(self) -> Iterator[Node]:
        """Return an iterator over every node, depth first in reading order, beginning with the `doc` itself."""
        return self._root.walk()

    def to_text(self) -> str:
        """Return plain text as the service makes it for a message's `text` (protocol 4.3).

        Inline nodes follow each other directly, and line feeds separate blocks. A mention becomes its text, an emoji
        its short name, a date its timestamp, and a card or an extension its fallback text. Placeholders and media
        contribute nothing, not even a line.
        """
        return to_text(self._root)

    def to_markdown(self) -> str:
        """CommonMark with tables and strikethrough; text is escaped, so that it comes back as text.

        What Markdown cannot say is left off (color, underline, sub- and superscript, actions, unsafe
        links) or said in words (a panel's kind, a decision, a file's id). Lists and quotes deeper than
        80 columns of indent are written flat.
        """
        return to_markdown(self._root)

    def to_html(self) -> str:
        """HTML elements, safe to put into a page: all text escaped, links to http, https and mailto only."""
        return to_html(self._root)

    def mentions(self) -> tuple[str, ...]:
        """Return the ids of the people mentioned, in reading order, each once. `all` and `here` are kept as sent."""
        return self._ids("mention")

    def media(self) -> tuple[str, ...]:
        """Return the ids of the media shown, in reading order, each once."""
        return self._ids("media")

    def validate(self) -> tuple[Problem, ...]:
        """Return what the service's closed schema does not allow, in reading order; empty for a valid document.

        Levels below the 200th are reported as one problem and are not checked. Delivered messages need not be
        valid: the service itself adds empty `attrs`, null `content` and more (protocol 6.3).
        """
        return problems(self._root)

    def _ids(self, kind: str) -> tuple[str, ...]:
        found = (attr(json_of(node), "id") for node in self._root.walk() if node.type == kind)
        return tuple(dict.fromkeys(filter(None, found)))

    def __eq__(self, other: object) -> bool:
        return self._root == other._root if isinstance(other, Document) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_text())

    def __repr__(self) -> str:
        return f"<Document {shortened(self.to_text())!r}>"
