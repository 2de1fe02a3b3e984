"""Write a document as Markdown: CommonMark with tables and strikethrough.

Each block becomes a list of lines; a list item or a quote puts its marker in front of the lines of what it holds. Only
lists and quotes recurse, to `_DEEPEST` levels. Deeper ones are written without their markers, because each level
lengthens every line below it. Unknown nodes, and those that only group others, are replaced by what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stride_async.document._inline_markdown import inline_line, inline_lines, url_in_markdown
from stride_async.document._nodes import JsonObject, Node, attr, children, json_of, kind_of
from stride_async.document._shown import SHOWN_AS_TEXT, as_text, card_blocks, safe_href
from stride_async.document._text import INLINE, LINES, shown_text, without_surrogates

_DEEPEST = 40  # lists and quotes inside one another
_LARGEST_NUMBER = 999_999_999  # of a list item in CommonMark
_LANGUAGE = re.compile(r"[\w+#.-]+")
_FENCES = re.compile(r"`{3,}")
_BULLETS = frozenset({"bulletList", "decisionList", "taskList"})
_LISTS = _BULLETS | {"orderedList"}
_QUOTES = frozenset({"blockquote", "panel"})
_GROUPS = frozenset({"mediaGroup", "mediaSingle", "bodiedExtension", "doc", "listItem"})
_ITEMS = frozenset({"taskItem", "decisionItem"})
_BULLET_MARKERS = ("-", "*", "+")
_NUMBER_MARKERS = (".", ")")
# The first line of a list that may follow a paragraph without a blank line.
_INTERRUPTING = re.compile(r"(?:[-*+]|1[.)]) +\S")


def to_markdown(root: Node) -> str:
    """Return the document's blocks as Markdown."""
    return without_surrogates("\n".join(_blocks(children(json_of(root)), 0)))


def _blocks(nodes: Sequence[JsonObject], depth: int, *, in_item: bool = False) -> list[str]:
    """Return the lines of blocks in a row, with blank lines between them.

    In a list item, a list right below a paragraph has no blank line above it where a parser accepts that.
    """
    lines: list[str] = []
    above = marker = ""  # the type of the block above, and its marker if it is a list
    stack = list(nodes[::-1])
    while stack:
        node = stack.pop()
        kind = kind_of(node)
        next_marker = ""
        if kind in LINES:
            block = _text_block(node, kind)
        elif kind in _LISTS and depth < _DEEPEST:
            # Behind another marker, a hyphen or an asterisk could be read as a part of a rule.
            next_marker, block = _list(node, kind, depth, "-*" if in_item and not lines else marker)
        elif kind in _QUOTES and depth < _DEEPEST:
            block = [f"> {line}" if line else ">" for line in _blocks(_quoted(node, kind), depth + 1) or [""]]
        elif kind in INLINE:
            row = [node]
            while stack and kind_of(stack[-1]) in INLINE:
                row.append(stack.pop())
            block = _paragraph(row)
        else:
            block, inner = _other(node, kind)
            stack += inner[::-1]
        if not block:
            continue
        tight = in_item and next_marker and (above == "paragraph" or marker) and _INTERRUPTING.match(block[0])
        if lines and not tight:
            lines.append("")
        lines += block
        above, marker = kind, next_marker
    return lines


def _other(node: JsonObject, kind: str) -> tuple[list[str], Sequence[JsonObject]]:
    """Return the lines of a node that is neither text nor a list or quote, and the nodes to write in its place."""
    inner = children(node)
    match kind:
        case "rule":
            return ["___"], ()  # hyphens could underline a heading, asterisks begin a list item
        case "table":
            return _table(inner), ()
        case "media":
            return _media(node), ()
        case "applicationCard":
            return [], card_blocks(node)
    if kind in _GROUPS or kind in _LISTS:
        return [], inner
    if kind in _QUOTES:
        return [], _quoted(node, kind)
    return _paragraph([_as_text(node, kind)]), inner


def _as_text(node: JsonObject, kind: str) -> JsonObject:
    return as_text(node) if kind in SHOWN_AS_TEXT else {"type": "text", "text": shown_text(node)}


def _text_block(node: JsonObject, kind: str) -> list[str]:
    inner = children(node)
    if kind == "paragraph":
        return _paragraph(inner)
    if kind == "heading":
        return [_heading(node, inner)]
    if kind == "codeBlock":
        return _code_block(node, inner)
    return _prefixed(node, kind)


def _paragraph(nodes: Sequence[JsonObject]) -> list[str]:
    lines = inline_lines(nodes)
    for number in range(len(lines) - 1):
        lines[number] += "\\"
    return lines


def _prefixed(item: JsonObject, kind: str) -> list[str]:
    """Return the lines of a task or a decision, prefixed with its kind or state."""
    lines = _paragraph(children(item)) or [""]
    lines[0] = _prefix(item, kind) + lines[0]
    return lines


def _prefix(item: JsonObject, kind: str) -> str:
    if kind == "decisionItem":
        return "**Decision:** "
    return "[x] " if attr(item, "state") == "DONE" else "[ ] "


def _quoted(node: JsonObject, kind: str) -> list[JsonObject]:
    """Return what a quote holds; a panel says its kind first."""
    return [_panel_kind(node), *children(node)] if kind == "panel" else children(node)


def _panel_kind(panel: JsonObject) -> JsonObject:
    text = attr(panel, "panelType").capitalize()
    return {"type": "paragraph", "content": [{"type": "text", "text": text, "marks": [{"type": "strong"}]}]}


def _heading(node: JsonObject, inner: Sequence[JsonObject]) -> str:
    found = node.get("attrs")
    level = found.get("level") if isinstance(found, dict) else None
    hashes = "#" * (int(level) if isinstance(level, (int, float)) and 1 <= level <= 6 else 1)
    text = inline_line(inner)
    if text.endswith("#"):
        # Number signs at the end would be read as a part of the markup.
        kept = text.rstrip("#")
        text = f"{kept}\\{text[len(kept) :]}"
    return f"{hashes} {text}" if text else hashes


def _code_block(node: JsonObject, inner: Sequence[JsonObject]) -> list[str]:
    text = "".join(map(shown_text, inner)).replace("\r\n", "\n").replace("\r", "\n")
    fence = "`" * (max((len(found) for found in _FENCES.findall(text)), default=2) + 1)
    language = attr(node, "language")
    return [fence + (language if _LANGUAGE.fullmatch(language) else ""), *text.split("\n"), fence]


def _media(node: JsonObject) -> list[str]:
    url = safe_href(attr(node, "url"))
    return [f"![]({url_in_markdown(url)})"] if url is not None else _paragraph([as_text(node)])


def _list(node: JsonObject, kind: str, depth: int, avoid: str) -> tuple[str, list[str]]:
    """Return a list's marker, which is none of those to avoid, and its lines.

    The markers of two lists in a row differ, because a parser would read them as one list.
    """
    markers = _NUMBER_MARKERS if kind == "orderedList" else _BULLET_MARKERS
    marker = next(marker for marker in markers if marker not in avoid)
    number = _first_number(node)
    lines: list[str] = []
    for item in children(node):
        lead = f"{marker} "
        if kind == "orderedList":
            lead = f"{min(number, _LARGEST_NUMBER)}{lead}"
            number += 1
        first, *rest = _item(item, depth + 1) or [""]
        lines.append(lead + first if first else lead[:-1])
        indent = " " * len(lead)
        lines += [indent + line if line else "" for line in rest]
    return marker, lines


def _item(item: JsonObject, depth: int) -> list[str]:
    kind = kind_of(item)
    if kind == "listItem":
        return _blocks(children(item), depth, in_item=True)
    if kind in _ITEMS:
        return _prefixed(item, kind)
    return _blocks([item], depth, in_item=True)


def _first_number(node: JsonObject) -> int:
    found = node.get("attrs")
    order = found.get("order") if isinstance(found, dict) else None
    return int(order) if isinstance(order, (int, float)) and 0 <= order <= _LARGEST_NUMBER else 1


def _table(rows: Iterable[JsonObject]) -> list[str]:
    """Return rows between pipes; without a row of headers, an empty one first, because Markdown demands one."""
    cells = [children(row) if row.get("type") == "tableRow" else [row] for row in rows]
    columns = max(map(len, cells), default=0)
    if not columns:
        return []
    lines = [_row(map(_cell, row)) for row in cells]
    if any(cell.get("type") != "tableHeader" for cell in cells[0]) or not cells[0]:
        lines.insert(0, _row([""] * columns))
    elif len(cells[0]) < columns:
        lines[0] = _row([*map(_cell, cells[0]), *[""] * (columns - len(cells[0]))])
    lines.insert(1, _row(["---"] * columns))
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: JsonObject) -> str:
    """Return everything that a cell holds on one line."""
    parts: list[str] = []
    stack: list[JsonObject | str] = [cell]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        kind = kind_of(node)
        if kind in LINES:
            parts.append(_text_in_cell(node, kind))
        elif kind in INLINE:
            parts.append(inline_line([node], in_cell=True))
        elif kind == "media" and (url := safe_href(attr(node, "url"))) is not None:
            parts.append(f"![]({url_in_markdown(url)})")
        else:
            if kind not in _GROUPS and kind != "applicationCard":
                parts.append(inline_line([_as_text(node, kind)], in_cell=True))
            stack += _held(node, kind)[::-1]
    return " ".join(filter(None, parts))


def _text_in_cell(node: JsonObject, kind: str) -> str:
    inner = children(node)
    if kind == "codeBlock":
        inner = [{"type": "text", "text": "".join(map(shown_text, inner)), "marks": [{"type": "code"}]}]
    text = inline_line(inner, in_cell=True)
    return f"{_prefix(node, kind)}{text}" if kind in _ITEMS else text


def _held(node: JsonObject, kind: str) -> list[JsonObject | str]:
    """Return what a node holds, with the markers of list items between."""
    inner: list[JsonObject | str] = [*children(node)]
    if kind == "applicationCard":
        return [*card_blocks(node)]
    if kind == "panel":
        return [_panel_kind(node), *inner]
    if kind == "bulletList":
        return [part for item in inner for part in ("•", item)]
    if kind == "orderedList":
        return [part for number, item in enumerate(inner, _first_number(node)) for part in (f"{number}.", item)]
    return inner
