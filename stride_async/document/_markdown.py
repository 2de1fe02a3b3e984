"""A document as Markdown: CommonMark with tables and strikethrough.

Works with a stack, so depth does not matter; lists and quotes nested deeper than `_DEEPEST` columns
are written flat, because each further level would lengthen every line below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs

from stride_async.document._inline_markdown import inline_lines
from stride_async.document._nodes import JsonObject, Node, attr, children, json_of, objects
from stride_async.document._shown import card_blocks, safe_href
from stride_async.document._text import INLINE, LINES

_DEEPEST = 80  # columns of indent
_LARGEST_NUMBER = 999_999_999  # of a list item, to CommonMark
_LANGUAGE = re.compile(r"[\w+#.-]+")
_FENCES = re.compile(r"`{3,}")
_BULLETS = frozenset({"bulletList", "decisionList", "taskList"})
_LISTS = _BULLETS | {"orderedList"}


@attrs.frozen(eq=False, repr=False)
class _Task:
    """A node still to be written and where; `json` None ends the list item or quote it stands behind."""

    json: JsonObject | None
    indent: str = ""
    marker: str = ""
    tight: bool = False
    other_bullet: bool = False


@attrs.define(eq=False, repr=False)
class _Page:
    """Lines written so far, and the markers that the next line has to begin with."""

    lines: list[str] = attrs.field(factory=list)
    lead: str | None = None

    def write(self, block: Sequence[str], indent: str) -> None:
        """Add a block, a blank line before it unless it stands right behind a marker."""
        if not block:
            return
        if self.lead is None:
            self.blank(indent)
        self.lines.append((indent if self.lead is None else self.lead) + block[0])
        self.lead = None
        self.lines.extend(indent + line if line else indent.rstrip(" ") for line in block[1:])

    def open(self, marker: str, indent: str, *, tight: bool) -> None:
        """Let the next line begin with a marker."""
        if self.lead is None and not tight:
            self.blank(indent)
        self.lead = (indent if self.lead is None else self.lead) + marker

    def close(self, indent: str) -> None:
        """Write markers that nothing came to stand behind."""
        if self.lead is not None:
            # Right below a paragraph, a lone hyphen would underline it as a heading.
            self.blank(indent)
            self.lines.append(self.lead.rstrip(" "))
            self.lead = None

    def blank(self, indent: str) -> None:
        """Add a blank line, but never as the first."""
        if self.lines:
            self.lines.append(indent.rstrip(" "))


def to_markdown(root: Node) -> str:
    """The document's blocks as Markdown."""
    page = _Page()
    stack = _siblings(children(json_of(root)), "")[::-1]
    while stack:
        stack += _write(stack.pop(), page)[::-1]
    return "\n".join(page.lines)


def _write(task: _Task, page: _Page) -> list[_Task]:
    """Write a node as far as it goes on its own; what it holds comes back as further tasks."""
    json, indent = task.json, task.indent
    if json is None:
        page.close(indent)
        return []
    kind = json.get("type")
    inner = children(json)
    if task.marker:
        return _item(task, json, page)
    if isinstance(kind, str) and kind in _LISTS:
        return _items(task, json, kind, behind_marker=page.lead is not None)
    match kind:
        case "blockquote":
            return _quote(inner, indent, page)
        case "panel":
            return _quote([_strong(attr(json, "panelType").capitalize()), *inner], indent, page)
        case "applicationCard":
            return _siblings(card_blocks(json), indent)
        case "mediaGroup" | "mediaSingle" | "bodiedExtension" | "doc":
            return _siblings(inner, indent)
    if lines := _leaf(json, kind):
        page.write(lines, indent)
        return []
    if isinstance(kind, str) and (kind in LINES or kind in INLINE):
        return []
    page.write(_paragraph([{"type": "text", "text": attr(json, "text")}]), indent)
    return _siblings(inner, indent)


def _leaf(json: JsonObject, kind: object) -> list[str]:
    """The lines of a node that holds no further blocks."""
    match kind:
        case "heading":
            return [_heading(json)]
        case "codeBlock":
            return _code_block(json)
        case "rule":
            return ["___"]  # of hyphens, it would underline; of asterisks, it would begin a list item
        case "media":
            return [_media(json)]
        case "table":
            return _table(json)
        case str() if kind in INLINE:
            return _paragraph([json])
        case str() if kind in LINES:
            return _paragraph(children(json))
    return []


def _siblings(nodes: Iterable[JsonObject], indent: str, *, in_item: bool = False) -> list[_Task]:
    """Tasks for nodes in a row; a list right behind one of its kind gets the other marker, or they would be one."""
    tasks: list[_Task] = []
    for node in nodes:
        family = _family(node)
        before = tasks[-1] if tasks else None
        follows = (
            before is not None and before.json is not None and family is not None and _family(before.json) == family
        )
        other = follows and before is not None and not before.other_bullet
        tasks.append(_Task(node, indent, tight=in_item, other_bullet=other))
    return tasks


def _family(node: JsonObject) -> str | None:
    kind = node.get("type")
    if kind == "orderedList":
        return "ordered"
    return "bullet" if isinstance(kind, str) and kind in _BULLETS else None


def _items(task: _Task, json: JsonObject, kind: str, *, behind_marker: bool) -> list[_Task]:
    """A list's items, each with its marker; only a list that may follow a paragraph without a blank line does."""
    number = _first_number(json)
    # `- - -` would be a rule.
    bullet = "+ " if behind_marker else "* " if task.other_bullet else "- "
    tight = task.tight and (kind != "orderedList" or number == 1)
    tasks = []
    for item in children(json):
        if kind == "orderedList":
            marker = f"{min(number, _LARGEST_NUMBER)}{')' if task.other_bullet else '.'} "
            number += 1
        else:
            marker = bullet
        tasks.append(_Task(item, task.indent, marker, tight))
        tight = True
    return tasks


def _item(task: _Task, json: JsonObject, page: _Page) -> list[_Task]:
    indent = task.indent
    if len(indent) >= _DEEPEST:
        return _siblings(children(json), indent) if json.get("type") == "listItem" else [_Task(json, indent)]
    page.open(task.marker, indent, tight=task.tight)
    end = _Task(None, indent)
    indent += " " * len(task.marker)
    match json.get("type"):
        case "taskItem":
            page.write(_prefixed("[x] " if attr(json, "state") == "DONE" else "[ ] ", children(json)), indent)
        case "decisionItem":
            page.write(_prefixed("**Decision:** ", children(json)), indent)
        case "listItem":
            return [*_siblings(children(json), indent, in_item=True), end]
        case _:
            return [_Task(json, indent), end]
    return [end]


def _prefixed(prefix: str, nodes: Iterable[JsonObject]) -> list[str]:
    lines = _paragraph(nodes) or [""]
    return [prefix + lines[0], *lines[1:]]


def _quote(inner: Sequence[JsonObject], indent: str, page: _Page) -> list[_Task]:
    if len(indent) >= _DEEPEST:
        return _siblings(inner, indent)
    page.open("> ", indent, tight=False)
    return [*_siblings(inner, indent + "> "), _Task(None, indent)]


def _strong(text: str) -> JsonObject:
    return {"type": "paragraph", "content": [{"type": "text", "text": text, "marks": [{"type": "strong"}]}]}


def _paragraph(nodes: Iterable[JsonObject]) -> list[str]:
    lines = inline_lines(nodes)
    return [*(line + "\\" for line in lines[:-1]), *lines[-1:]]


def _heading(json: JsonObject) -> str:
    found = json.get("attrs")
    level = found.get("level") if isinstance(found, dict) else None
    hashes = "#" * (level if isinstance(level, int) and 1 <= level <= 6 else 1)
    text = " ".join(inline_lines(children(json)))
    closing = len(text) - len(text.rstrip("#"))
    return f"{hashes} {text[: len(text) - closing]}".rstrip(" ") + r"\#" * closing


def _code_block(json: JsonObject) -> list[str]:
    parts = [part for child in children(json) if isinstance(part := child.get("text"), str)]
    text = "".join(parts).replace("\r\n", "\n").replace("\r", "\n")
    fence = "`" * (max((len(found) for found in _FENCES.findall(text)), default=2) + 1)
    language = attr(json, "language")
    return [fence + (language if _LANGUAGE.fullmatch(language) else ""), *text.split("\n"), fence]


def _media(json: JsonObject) -> str:
    url = safe_href(attr(json, "url"))
    if url is not None and not re.search(r"[<>\\]", url):
        return f"![](<{url}>)"
    return _paragraph([{"type": "text", "text": f"[media {' '.join(attr(json, 'id').split())}]"}])[0]


def _table(json: JsonObject) -> list[str]:
    """Rows between pipes; without a row of headers, an empty one, since Markdown knows no table without."""
    rows = [children(row) for row in children(json) if row.get("type") == "tableRow"]
    columns = max(map(len, rows), default=0)
    if not columns:
        return []
    lines = [_row(map(_cell, row)) for row in rows]
    if any(cell.get("type") != "tableHeader" for cell in rows[0]) or not rows[0]:
        lines.insert(0, _row([""] * columns))
    elif len(rows[0]) < columns:
        lines[0] = _row([*map(_cell, rows[0]), *[""] * (columns - len(rows[0]))])
    lines.insert(1, _row(["---"] * columns))
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: JsonObject) -> str:
    """All lines of text in a cell, on one line."""
    lines = (map(_without_piped_code, children(json_of(node))) for node in Node(cell).walk() if node.type in LINES)
    return " ".join(filter(None, map(" ".join, map(inline_lines, lines))))


def _without_piped_code(node: JsonObject) -> JsonObject:
    """Code with a pipe in it as plain text: within a table, a code span cannot hold every pipe."""
    text = node.get("text")
    if not isinstance(text, str) or "|" not in text:
        return node
    return {**node, "marks": [mark for mark in objects(node.get("marks")) if mark.get("type") != "code"]}


def _first_number(json: JsonObject) -> int:
    found = json.get("attrs")
    order = found.get("order") if isinstance(found, dict) else None
    return order if isinstance(order, int) and 0 <= order <= _LARGEST_NUMBER else 1
