"""Plain text of a document, by the service's own rule (protocol 4.3)."""

from __future__ import annotations

import datetime
import re

from stride_async.document._nodes import JsonObject, Node, attr, json_of

LINES = frozenset({"paragraph", "heading", "codeBlock", "decisionItem", "taskItem"})
"""Nodes that hold a run of inline nodes: each is one line of plain text."""

FALLBACKS = frozenset({"applicationCard", "extension"})
"""Blocks that say what they are in their attribute `text`."""

_SURROGATES = re.compile("[\ud800-\udfff]")

INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineExtension", "date", "placeholder"})


def to_text(root: Node) -> str:
    """Inline text run together, one line a block; media contribute nothing, not even a line."""
    lines: list[list[str]] = []
    line: list[str] | None = None
    for node in root.walk():
        kind = node.type
        if kind in INLINE:
            if line is None:
                line = []
                lines.append(line)
            line.append(inline_text(json_of(node)))
        elif kind in LINES:
            line = []
            lines.append(line)
        elif kind in FALLBACKS:
            line = None
            if fallback := attr(json_of(node), "text"):
                lines.append([fallback])
    return without_surrogates("\n".join(map("".join, lines)))


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD for surrogates, which JSON may hold but UTF-8 cannot encode."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def inline_text(json: JsonObject) -> str:
    """What one inline node adds to its line of plain text."""
    match json.get("type"):
        case "text":
            text = json.get("text")
            return text if isinstance(text, str) else ""
        case "hardBreak":
            return "\n"
        case "emoji":
            return attr(json, "shortName")
        case "date":
            return attr(json, "timestamp")
        case "placeholder":
            return ""
        case _:
            return attr(json, "text")


def shown_text(json: JsonObject) -> str:
    """What a reader should see of an inline node: an emoji's character, a date, a mention's id for want of a name."""
    match json.get("type"):
        case "emoji":
            return attr(json, "text") or attr(json, "shortName")
        case "mention":
            return attr(json, "text") or (f"@{user_id}" if (user_id := attr(json, "id")) else "")
        case "date":
            return date_text(json)
        case "placeholder":
            return attr(json, "text")
        case _:
            return inline_text(json)


def date_text(json: JsonObject) -> str:
    """A date node as `2018-02-27` (UTC); its raw timestamp when that is no count of milliseconds."""
    raw = attr(json, "timestamp")
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=int(raw))
    except (ValueError, OverflowError):
        return raw
    return moment.date().isoformat()
