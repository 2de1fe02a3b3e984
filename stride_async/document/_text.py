"""Write a document as plain text, by the rule of the service (protocol 4.3)."""

from __future__ import annotations

import datetime
import re

from stride_async.document._nodes import JsonObject, Node, attr, json_of

INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineExtension", "date", "placeholder"})
"""Types of nodes that stand within a line."""

LINES = frozenset({"paragraph", "heading", "codeBlock", "decisionItem", "taskItem"})
"""Types of nodes that hold inline nodes. Each is one line of plain text."""

FALLBACKS = frozenset({"applicationCard", "extension"})
"""Types of blocks with a fallback text in their attribute `text`."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def to_text(root: Node) -> str:
    """Return the joined inline text, with one line for each block. Media are omitted."""
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
    """Return the plain text of an inline node."""
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
    """Return the text of an inline node for readers.

    That is the character of an emoji, the date, or the id of a mention without a name.
    """
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
    """Return a date node as `2018-02-27` (UTC), or its timestamp if that is not a number of milliseconds."""
    raw = attr(json, "timestamp")
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=int(raw))
    except (ValueError, OverflowError):
        return raw
    return moment.date().isoformat()
