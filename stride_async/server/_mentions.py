"""Mentions in documents: find them, and put one in front of a message (protocol 8.2)."""

from __future__ import annotations

from collections.abc import Iterator

Document = dict[str, object]


def mentions(document: Document) -> Iterator[dict[str, object]]:
    """Yield the attributes of each mention in the document."""
    unvisited: list[object] = [document]
    while unvisited:
        node = unvisited.pop()
        if not isinstance(node, dict):
            continue
        attrs = node.get("attrs")
        if node.get("type") == "mention" and isinstance(attrs, dict):
            yield attrs
        if isinstance(content := node.get("content"), list):
            unvisited.extend(content)


def with_mention(document: Document, user_id: str, name: str) -> Document:
    """Return the document with a mention of the user in front of its text.

    The mention begins the first paragraph. If the document does not begin with a paragraph, one is added.
    """
    mention = {"type": "mention", "attrs": {"id": user_id, "text": f"@{name}", "accessLevel": "CONTAINER"}}
    content = document.get("content")
    blocks: list[object] = content if isinstance(content, list) else []
    first = blocks[0] if blocks else None
    if isinstance(first, dict) and first.get("type") == "paragraph":
        first = {**first, "content": [mention, {"type": "text", "text": " "}, *(first.get("content") or [])]}
        return {**document, "content": [first, *blocks[1:]]}
    return {**document, "content": [{"type": "paragraph", "content": [mention]}, *blocks]}
