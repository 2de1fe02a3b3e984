"""Write a document as the text of a Slack message.

Slack's markup has lines, quotes and code, and lists as lines that begin with a bullet. What it does not have is written
out and counted: a panel is a quote that names its kind, a table is a line for each row. Each block ends its last line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stride_async.document import Document, Node
from stride_async.document._nodes import JsonObject, attr, children, json_of
from stride_async.document._shown import SHOWN_AS_TEXT, card_blocks
from stride_async.document._text import INLINE, LINES, shown_text
from stride_async.export.formats._slack_line import SlackLines, escaped, shown
from stride_async.export.formats._tree import Piece, Rule, joined, render

_QUOTE = "&gt; "
_FENCE = "```"

_Write = Callable[[SlackLines, Node, Sequence[Piece]], str]


class SlackText:
    """Writes documents."""

    def __init__(self, lines: SlackLines) -> None:
        def bound(write: _Write) -> Rule:
            return lambda node, inner: write(lines, node, inner)

        self._lines = lines
        self._rules = {kind: bound(write) for kind, write in _WRITERS.items()}
        self._otherwise = bound(_unknown)

    def of(self, document: Document) -> str:
        """Return the blocks of a document, each on lines of its own."""
        blocks = document.content
        if all(block.type == "paragraph" for block in blocks):  # as in nearly all messages
            text = "".join([_paragraph(self._lines, block, ()) for block in blocks])
        else:
            text = render(document, self._rules, otherwise=self._otherwise, leaves=_LEAVES)
        return text.strip("\n")


def _line(lines: SlackLines, nodes: Sequence[JsonObject]) -> str:
    return "".join([f"{line}\n" for line in lines.of(nodes) or [""]])


def _paragraph(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    return _line(lines, children(json_of(node)))


def _bare(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    """Write an inline node that is not in a paragraph."""
    return _line(lines, [json_of(node)])


def _group(_: SlackLines, __: Node, inner: Sequence[Piece]) -> str:
    return joined(inner)


def _heading(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: heading")
    return _line(lines, [_strong(child) for child in children(json_of(node))])


def _rule(lines: SlackLines, _: Node, __: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: rule")
    return "---\n"


def _code(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    code = shown("".join(map(shown_text, children(json_of(node)))))
    written = "".join([f"{escaped(line)}\n" for line in code.splitlines()])
    if _FENCE in code:
        lines.lost("node without equivalent: codeBlock")
        return written
    return f"{_FENCE}\n{written}{_FENCE}\n"


def _quote(_: SlackLines, __: Node, inner: Sequence[Piece]) -> str:
    return _quoted(joined(inner))


def _panel(lines: SlackLines, node: Node, inner: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: panel")
    kind = attr(json_of(node), "panelType").capitalize() or "Note"
    return _quoted(_line(lines, [_strong({"type": "text", "text": kind})]) + joined(inner))


def _decision(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: decisionItem")
    word: list[JsonObject] = [_strong({"type": "text", "text": "Decision:"}), {"type": "text", "text": " "}]
    return _quoted(_line(lines, [*word, *children(json_of(node))]))


def _task(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: taskItem")
    box = "☑ " if attr(json_of(node), "state") == "DONE" else "☐ "
    return _line(lines, [{"type": "text", "text": box}, *children(json_of(node))])


def _bullets(_: SlackLines, __: Node, inner: Sequence[Piece]) -> str:
    return "".join([_item("• ", piece.text) for piece in inner])


def _numbers(_: SlackLines, node: Node, inner: Sequence[Piece]) -> str:
    order = node.attrs.get("order")
    first = int(order) if isinstance(order, (int, float)) and 0 <= order < 10**9 else 1
    return "".join([_item(f"{number}. ", piece.text) for number, piece in enumerate(inner, first)])


def _row(_: SlackLines, __: Node, inner: Sequence[Piece]) -> str:
    return " | ".join([" ".join(_stripped(_lines(piece.text))) for piece in inner]).rstrip() + "\n"


def _cell(_: SlackLines, __: Node, inner: Sequence[Piece]) -> str:
    """Write everything on one line. Code has no fences there."""
    written: list[str] = []
    for piece in inner:
        lines = _lines(piece.text)
        is_fenced = piece.kind == "codeBlock" and lines[0] == f"{_FENCE}\n"
        written += _stripped(lines[1:-1] if is_fenced else lines)
    return " ".join(written) + "\n"


def _table(lines: SlackLines, _: Node, inner: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: table")
    return joined(inner)


def _shown_as_text(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    """Write a card that is only a URL, or a file. A file that is attached needs no line."""
    found = lines.text_node(json_of(node), node.type)
    return _line(lines, [found]) if found.get("text") else ""


def _card(lines: SlackLines, node: Node, _: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: applicationCard")
    blocks: dict[str, object] = {"type": "doc", "content": card_blocks(json_of(node))}
    return f"{SlackText(lines).of(Document.from_json(blocks))}\n"


def _extension(lines: SlackLines, node: Node, inner: Sequence[Piece]) -> str:
    lines.lost(f"node without equivalent: {node.type}")
    return _with_text(lines, node, inner)


def _unknown(lines: SlackLines, node: Node, inner: Sequence[Piece]) -> str:
    lines.lost("node without equivalent: unknown")
    return _with_text(lines, node, inner)


def _with_text(lines: SlackLines, node: Node, inner: Sequence[Piece]) -> str:
    text = shown_text(json_of(node)) or attr(json_of(node), "text")
    return (_line(lines, [{"type": "text", "text": text}]) if text else "") + joined(inner)


def _strong(node: JsonObject) -> JsonObject:
    marks = node.get("marks")
    return {**node, "marks": [*(marks if isinstance(marks, list) else ()), {"type": "strong"}]}


def _quoted(text: str) -> str:
    """Return the lines with the sign of a quote in front. Slack has no quotes within quotes."""
    return "".join([line if line.startswith(_QUOTE) else f"{_QUOTE}{line}" for line in _lines(text)])


def _item(marker: str, text: str) -> str:
    """Return an item of a list. Lists within it are indented; the sign of a quote stays at the start of a line."""
    written = []
    lead = marker
    for line in _lines(text) or ["\n"]:
        quote = _QUOTE if line.startswith(_QUOTE) else ""
        written.append(f"{quote}{lead}{line.removeprefix(quote)}".rstrip() + "\n")
        lead = "    "
    return "".join(written)


def _stripped(lines: Iterable[str]) -> list[str]:
    """Return lines without blanks around them and signs of quotes, and no empty ones."""
    return [found for line in lines if (found := line.removeprefix(_QUOTE).strip())]


def _lines(text: str) -> list[str]:
    """Return lines with their line feeds. Other line breaks were replaced before."""
    return [f"{line}\n" for line in text.split("\n")[:-1]]


# How each type of node is written.
_WRITERS: dict[str, _Write] = {
    **dict.fromkeys(("mediaGroup", "mediaSingle", "taskList", "decisionList", "listItem"), _group),
    **dict.fromkeys(("tableCell", "tableHeader"), _cell),
    **dict.fromkeys(INLINE, _bare),
    **dict.fromkeys(SHOWN_AS_TEXT, _shown_as_text),
    "paragraph": _paragraph,
    "heading": _heading,
    "rule": _rule,
    "codeBlock": _code,
    "blockquote": _quote,
    "panel": _panel,
    "decisionItem": _decision,
    "taskItem": _task,
    "bulletList": _bullets,
    "orderedList": _numbers,
    "tableRow": _row,
    "table": _table,
    "applicationCard": _card,
    "extension": _extension,
    "bodiedExtension": _extension,
}
_LEAVES = LINES | INLINE | {"applicationCard"}
