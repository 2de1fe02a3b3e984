"""What HTML and Markdown share: which links are safe, and what cards and files look like in simpler nodes."""

from __future__ import annotations

import re

from stride_async.document._nodes import JsonObject, attr, objects, shown
from stride_async.document._text import without_surrogates

SHOWN_AS_TEXT = frozenset({"inlineCard", "blockCard", "embedCard", "media", "mediaInline"})
"""Types of nodes that `as_text` turns into text when they stand within a line."""

_CLEAN = re.compile(r"(?:https?://|mailto:)[^\x00-\x20\x7f\ud800-\udfff]+", re.IGNORECASE)
_SAFE = re.compile(r"(?:https?://|mailto:).", re.IGNORECASE | re.DOTALL)
_ENCODED = re.compile(r"[\x00-\x20\x7f]")
_IGNORED = "".join(map(chr, range(0x21)))  # what browsers remove from both ends of a URL


def safe_href(href: str) -> str | None:
    """Return the URL if it is safe to follow: http, https or mailto. Blanks in it are percent-encoded."""
    if _CLEAN.fullmatch(href):
        return href
    href = without_surrogates(href.strip(_IGNORED))
    return _ENCODED.sub(lambda found: f"%{ord(found[0]):02X}", href) if _SAFE.match(href) else None


def as_text(json: JsonObject) -> JsonObject:
    """Return a card that is only a URL, or a file, as a text node: the URL, or the id of the file."""
    values = json.get("attrs")
    url = attr(json, "url") or (_member(values.get("data"), "url") if isinstance(values, dict) else "")
    if url:
        return {"type": "text", "text": url, "marks": [{"type": "link", "attrs": {"href": url}}]}
    return {"type": "text", "text": f"[media {' '.join(attr(json, 'id').split())}]" if attr(json, "id") else ""}


def card_blocks(card: JsonObject) -> list[JsonObject]:
    """Return an applicationCard as paragraphs and a list: title, description, details, context (protocol 8.4)."""
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
    parts = (
        _member(detail, "title"),
        _member(detail, "text"),
        _text_of(detail.get("lozenge")),
        _number_of(detail.get("badge")),
    )
    return ": ".join(filter(None, parts))


def _number_of(badge: object) -> str:
    value = badge.get("value") if isinstance(badge, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return shown(value)


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
