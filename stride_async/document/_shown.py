"""What HTML and Markdown share: which links are safe, and what a card looks like in simpler nodes."""

from __future__ import annotations

import re

from stride_async.document._nodes import JsonObject, attr, objects

_SAFE = re.compile(r"(?:https?://|mailto:)[^\x00-\x20\x7f]+", re.IGNORECASE)


def safe_href(href: str) -> str | None:
    """The address when it may be followed: http, https or mailto, no blank or control character in it."""
    return href if _SAFE.fullmatch(href) else None


def card_blocks(card: JsonObject) -> list[JsonObject]:
    """An applicationCard as paragraphs and a list: title, description, details, context (protocol 8.4)."""
    attrs = card.get("attrs")
    values: JsonObject = attrs if isinstance(attrs, dict) else {}
    title = _text_of(values.get("title")) or attr(card, "text")
    marks: list[JsonObject] = [{"type": "strong"}]
    if href := _member(values.get("link"), "url") or attr(card, "textUrl"):
        marks.insert(0, {"type": "link", "attrs": {"href": href}})
    blocks = [_paragraph(title, marks), _paragraph(_text_of(values.get("description")))]
    details = [_paragraph(line) for detail in objects(values.get("details")) if (line := _detail_line(detail))]
    if details:
        items: list[JsonObject] = [{"type": "listItem", "content": [paragraph]} for paragraph in details]
        blocks.append({"type": "bulletList", "content": items})
    blocks.append(_paragraph(_text_of(values.get("context"))))
    return [block for block in blocks if block["content"]]


def _detail_line(detail: JsonObject) -> str:
    badge = detail.get("badge")
    value = badge.get("value") if isinstance(badge, dict) else None
    parts = (
        _member(detail, "title"),
        _member(detail, "text"),
        _text_of(detail.get("lozenge")),
        str(value) if isinstance(value, (int, float)) else "",
    )
    return ": ".join(filter(None, parts))


def _paragraph(text: str, marks: list[JsonObject] | None = None) -> JsonObject:
    node: JsonObject = {"type": "text", "text": text}
    if marks:
        node["marks"] = marks
    return {"type": "paragraph", "content": [node] if text else []}


def _text_of(value: object) -> str:
    return _member(value, "text")


def _member(value: object, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
