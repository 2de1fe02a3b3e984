"""Write a document in the HTML that Matrix clients show.

They show few elements, no styles, and pictures only from the homeserver. So what they would leave out becomes text, and
a mention becomes a link to the person.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from stride_async.document import Document
from stride_async.document._nodes import JsonObject, attr, children, json_of, kind_of, objects
from stride_async.document._shown import safe_href
from stride_async.document._text import shown_text
from stride_async.export.formats._tree import FILES

_AROUND_FILES = frozenset({"mediaGroup", "mediaSingle"})
_EVERYONE = frozenset({"all", "here"})
_OTHER_NODES = frozenset({"decisionItem", "applicationCard", "extension", "bodiedExtension"})
_OTHER_MARKS = frozenset({"textColor", "action"})


@attrs.frozen
class MatrixText:
    """Writes documents."""

    user_url: Callable[[str], str]
    """Returns the URL by which clients know a person."""
    lost: Callable[[str], None]
    """Counts something that is lost, by its kind."""

    def of(self, document: Document) -> Document:
        """Return a document without files, whose HTML is what clients show."""
        root: JsonObject = {"type": "doc", "content": []}
        stack = [(json_of(node), root) for node in document.content[::-1]]
        while stack:
            node, parent = stack.pop()
            if kind_of(node) in _AROUND_FILES:
                stack += [(child, parent) for child in children(node)[::-1]]
                continue
            written = self._node(node, kind_of(node))
            if written is None:
                continue
            siblings = parent["content"]
            assert isinstance(siblings, list)
            siblings.append(written)
            if inner := children(node):
                written["content"] = _box(node)
                stack += [(child, written) for child in inner[::-1]]
        return Document.from_json(root)

    def _node(self, node: JsonObject, kind: str) -> JsonObject | None:
        """Return a node as clients can show it, without what it contains; None to omit it."""
        if kind == "mention":
            return self._mention(node)
        if kind in FILES:
            return self._picture(node)
        if kind == "panel":
            return {"type": "blockquote"}
        if kind in {"emoji", "date"}:
            return _text(shown_text(node))
        if kind in _OTHER_NODES:
            self.lost(f"node without equivalent: {kind}")
        if kind == "taskItem":
            return {"type": "listItem"}
        if node.get("marks"):
            return {**node, "marks": self._marks(node)}
        return dict(node)

    def _mention(self, node: JsonObject) -> JsonObject:
        id = attr(node, "id")
        if not id or id in _EVERYONE:
            return _text(shown_text(node))
        return _linked(shown_text(node), self.user_url(id))

    def _picture(self, node: JsonObject) -> JsonObject | None:
        url = safe_href(attr(node, "url"))
        if url is None:
            return None
        return {"type": "paragraph", "content": [_linked(url, url)]}

    def _marks(self, node: JsonObject) -> list[JsonObject]:
        kept = []
        for mark in objects(node.get("marks")):
            kind = kind_of(mark)
            if kind in _OTHER_MARKS:
                self.lost(f"mark without equivalent: {kind}")
                continue
            if kind == "link" and safe_href(attr(mark, "href")) is None:
                self.lost("link left out")
            kept.append(mark)
        return kept


def files_in(document: Document) -> list[str]:
    """Return the ids of the files that a document shows, each once, in order."""
    found = (json_of(node) for node in document.walk() if node.type in FILES)
    ids = (attr(node, "id") for node in found if safe_href(attr(node, "url")) is None)
    return list(dict.fromkeys(filter(None, ids)))


def _box(node: JsonObject) -> list[JsonObject]:
    """Return what a node begins with: the box of a task."""
    if kind_of(node) != "taskItem":
        return []
    return [_text("\N{BALLOT BOX WITH CHECK} " if attr(node, "state") == "DONE" else "\N{BALLOT BOX} ")]


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _linked(text: str, url: str) -> JsonObject:
    return {**_text(text), "marks": [{"type": "link", "attrs": {"href": url}}]}
