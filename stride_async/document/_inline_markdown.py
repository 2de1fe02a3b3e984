"""Write a run of inline nodes as lines of Markdown.

The text is escaped so that a CommonMark parser finds the same text and the same marks again, and no more than that: a
plain sentence stays as it is.

Emphasis is the hard part. CommonMark decides by the characters on either side of a delimiter whether it may open or
close: `**"a"**b` is not strong, because the closing `**` stands between punctuation and a letter. Such a letter is
written as a character reference (`**"a"**&#98;`), which reads as the same letter but counts as punctuation.

1. `**`, `_` and `~~` are nested in this order, within links and around code. Two delimiters of one kind never touch,
   and asterisks are never used for both strong and em, so a delimiter cannot pair with the wrong one.
2. Blanks at the edges of marked text are written outside of the delimiters, because a delimiter next to a blank on its
   inner side does nothing.
3. A delimiter that opens fails only next to a letter on its left; then that letter becomes a reference. If the letter
   is a complete piece of text, the delimiter on its other side now opens before punctuation. Going from right to left
   handles that delimiter later, so one pass is enough. Closing delimiters are the mirror image, from left to right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TypeAlias

import attrs

from stride_async.document._nodes import JsonObject, attr, children, kind_of, objects
from stride_async.document._shown import SHOWN_AS_TEXT, as_text, safe_href
from stride_async.document._text import LINES, shown_text, without_surrogates

_Link: TypeAlias = tuple[str, str]
"""A URL that is safe and a title."""

# Each kind of emphasis has characters of its own: see 1. above.
_DELIMITERS = {"strong": "**", "em": "_", "strike": "~~"}
_BITS = {kind: 1 << number for number, kind in enumerate(_DELIMITERS)}
_CODE = 1 << len(_DELIMITERS)
_BITS_OF_MARKS = {**_BITS, "code": _CODE}
_TEXT, _OPENS, _CLOSES = range(3)  # the roles of the pieces of a line

_PERHAPS_SPECIAL = re.compile(r"[\\`*\[\]<~|&_]")
_SPECIAL = re.compile(r"[\\`*\[\]<~|]|&(?=#?\w+;)|_(?<![^\W_]_)|_(?![^\W_])")
_SPECIAL_IN_CELL = re.compile(r"[\\`*\[\]<~]|&(?=#?\w+;)|_(?<![^\W_]_)|_(?![^\W_])")
_PERHAPS_BLOCK = frozenset("#-+=>:[0123456789")
_LINE_START = re.compile(r"#{1,6}(?=\s|$)|[-+](?=\s|$)|-(?=[-:])|=+\s*$|>|:(?=-)")
_DEFINITION = re.compile(r"\[.*?(?<!\\)(?:\\\\)*\]:")
_NUMBERED = re.compile(r"([0-9]{1,9})[.)](?=\s|$)")
_PLAIN_URL = re.compile(
    r"https?://(?!xn--|[^/]*\.xn--)[a-z0-9.-]+(?::[0-9]+)?(?:[/?#][A-Za-z0-9:/?#@!$'()*+,;=._~-]*)?"
)
_UNSAFE_IN_URL = re.compile(r"[<>\\`|\s]")
_ESCAPED_IN_URL = re.compile(r"[()]|&(?=#?\w+;)")
_ESCAPED_IN_TITLE = re.compile(r'[\\"&<`|]')
_BACKTICKS = re.compile(r"`+")
# What CommonMark counts as blank next to emphasis; str.strip() would remove more.
_BLANKS = "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_EDGES = _BLANKS + "\u2028\u2029\ufeff"  # what parsers remove from both ends of a line


@attrs.define(eq=False, repr=False)
class _Run:
    """Text of one style: its emphasis and whether it is code as bits, and its link."""

    text: str
    bits: int
    link: _Link | None


def inline_lines(nodes: Sequence[JsonObject]) -> list[str]:
    """Return the lines of a paragraph, without empty lines at either end, which Markdown cannot express."""
    lines = [_line(runs, _SPECIAL) for runs in _runs_by_line(nodes)]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return [_escaped_start(line) if line[:1] in _PERHAPS_BLOCK else line for line in lines]


def inline_line(nodes: Sequence[JsonObject], *, in_cell: bool = False) -> str:
    """Return everything on one line, for a heading or for the cell of a table.

    A table demands a backslash before every pipe, even in code, and removes it before it reads anything else.
    """
    lines = [_line(runs, _SPECIAL_IN_CELL if in_cell else _SPECIAL) for runs in _runs_by_line(nodes)]
    line = lines[0] if len(lines) == 1 else " ".join(filter(None, lines))
    return line.replace("|", "\\|") if in_cell else line


def _runs_by_line(nodes: Sequence[JsonObject]) -> list[list[_Run]]:
    """Return the text of the nodes in runs of equal style, without the style that Markdown cannot express.

    Nodes that do not belong into a line, and unknown ones, give the text that they hold.
    """
    runs: list[_Run] = []
    lines = [runs]
    stack = list(nodes[::-1])
    while stack:
        node = stack.pop()
        kind = node.get("type")
        if kind == "text" and isinstance(value := node.get("text"), str):
            text = value
        else:
            if (kind := kind_of(node)) in SHOWN_AS_TEXT:
                node = as_text(node)
            elif kind in LINES and runs:
                runs = []
                lines.append(runs)
            text = shown_text(node)
        if node.get("content"):
            stack += children(node)[::-1]
        bits, link = _style(node) if node.get("marks") else (0, None)
        if text.isprintable():
            _append(runs, text, bits, link)
            continue
        first, *rest = _normalized(text).split("\n")
        _append(runs, first, bits, link)
        for part in rest:
            runs = []
            lines.append(runs)
            _append(runs, part, bits, link)
    return lines


def _normalized(text: str) -> str:
    """Return the text with line feeds only and without what no parser leaves as it is."""
    return without_surrogates(text).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _append(runs: list[_Run], text: str, bits: int, link: _Link | None) -> None:
    """Add text, to the run before it if that has the same style: two code spans in a row would read as one."""
    if runs and (last := runs[-1]).bits == bits and last.link == link:
        last.text += text
    elif text:
        runs.append(_Run(text, bits, link))


def _style(node: JsonObject) -> tuple[int, _Link | None]:
    bits, link = 0, None
    for mark in objects(node.get("marks")):
        kind = kind_of(mark)
        bits |= _BITS_OF_MARKS.get(kind, 0)
        if kind == "link" and (href := safe_href(attr(mark, "href"))) is not None:
            link = (href, " ".join(attr(mark, "title").split()))
    return bits, link


def _line(runs: list[_Run], special: re.Pattern[str]) -> str:
    if not runs:
        return ""
    if len(runs) == 1 and not runs[0].bits and runs[0].link is None:
        return _escaped(runs[0].text.strip(_EDGES), special)
    return _marked_line(_trimmed(_with_blanks_outside(runs)), special)


def _marked_line(runs: list[_Run], special: re.Pattern[str]) -> str:
    line = _Line()
    for run in runs:
        text, bits, link = run.text, run.bits, run.link
        if link != line.link:
            line.end_link()
            if not bits and link == (text, "") and _PLAIN_URL.fullmatch(text):
                line.add(f"<{text}>")
                continue
            if link is not None:
                line.begin_link(link)
        line.mark(bits & ~_CODE)
        line.add(_code_span(text) if bits & _CODE else _escaped(text, special))
    line.end_link()
    return line.joined()


def _changes(opened: int, wanted: int) -> tuple[list[str], list[int]]:
    """Return the delimiters that close what is open and not wanted, innermost first, and open what is new."""
    one = [kind for kind in _DELIMITERS if opened & _BITS[kind]]
    other = [kind for kind in _DELIMITERS if wanted & _BITS[kind]]
    while one and other and one[0] == other[0]:
        del one[0], other[0]
    return [_DELIMITERS[kind] for kind in [*reversed(one), *other]], [_CLOSES] * len(one) + [_OPENS] * len(other)


_CHANGES = [[_changes(opened, wanted) for wanted in range(_CODE)] for opened in range(_CODE)]


class _Line:
    """A line of marked text while it is written: its pieces, the role of each, and what is open."""

    __slots__ = ("bits", "link", "pieces", "roles")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.roles: list[int] = []
        self.bits = 0
        self.link: _Link | None = None

    def add(self, piece: str) -> None:
        self.pieces.append(piece)
        self.roles.append(_TEXT)

    def mark(self, bits: int) -> None:
        """Close and open emphasis so that what follows is marked by these bits."""
        if bits != self.bits:
            pieces, roles = _CHANGES[self.bits][bits]
            self.pieces += pieces
            self.roles += roles
            self.bits = bits

    def begin_link(self, link: _Link) -> None:
        """Begin a link; an exclamation mark right before it would make it an image."""
        if self.pieces and self.pieces[-1].endswith("!"):
            self.pieces[-1] = self.pieces[-1][:-1] + "\\!"
        self.add("[")
        self.link = link

    def end_link(self) -> None:
        """End all emphasis, and the link if there is one."""
        self.mark(0)
        if self.link is not None:
            href, title = self.link
            quoted = _ESCAPED_IN_TITLE.sub(r"\\\g<0>", title)
            self.add(f']({url_in_markdown(href)} "{quoted}")' if title else f"]({url_in_markdown(href)})")
            self.link = None

    def joined(self) -> str:
        """Return the line, with references for the letters that would keep delimiters from working: see 3. above."""
        if any(self.roles):
            for at in range(len(self.pieces) - 2, 0, -1):
                if self.roles[at] == _OPENS and self.roles[at - 1] == _TEXT:
                    self._let_open(at)
            for at in range(1, len(self.pieces) - 1):
                if self.roles[at] == _CLOSES and self.roles[at + 1] == _TEXT:
                    self._let_close(at)
        return "".join(self.pieces)

    def _let_open(self, at: int) -> None:
        before, delimiter, after = self.pieces[at - 1 : at + 2]
        if _is_letter(before[-1]) and (delimiter == "_" or _may_be_punctuation(after[0])):
            self.pieces[at - 1] = _with_last_as_reference(before)

    def _let_close(self, at: int) -> None:
        before, delimiter, after = self.pieces[at - 1 : at + 2]
        if _is_letter(after[0]) and (delimiter == "_" or _may_be_punctuation(before[-1])):
            self.pieces[at + 1] = _with_first_as_reference(after)


def _with_blanks_outside(runs: list[_Run]) -> list[_Run]:
    """Return runs whose emphasis neither begins nor ends with a blank, which CommonMark does not accept."""
    parts: list[_Run] = []
    for run in runs:
        text = run.text
        if not 0 < run.bits < _CODE or not (text[0] in _EDGES or text[-1] in _EDGES):
            parts.append(run)
            continue
        core = text.strip(_EDGES)
        before, _, after = text.partition(core) if core else (text, "", "")
        _append(parts, before, 0, run.link)
        _append(parts, core, run.bits, run.link)
        _append(parts, after, 0, run.link)
    return parts


def _trimmed(runs: list[_Run]) -> list[_Run]:
    """Return the runs without blanks at the ends of the line, unless they are code or belong to a link."""
    while runs and not runs[0].bits and runs[0].link is None:
        runs[0].text = runs[0].text.lstrip(_EDGES)
        if runs[0].text:
            break
        del runs[0]
    while runs and not runs[-1].bits and runs[-1].link is None:
        runs[-1].text = runs[-1].text.rstrip(_EDGES)
        if runs[-1].text:
            break
        del runs[-1]
    return runs


def _escaped(text: str, special: re.Pattern[str]) -> str:
    return text if _PERHAPS_SPECIAL.search(text) is None else special.sub(r"\\\g<0>", text)


def _escaped_start(line: str) -> str:
    """Return a line of text that cannot be read as the beginning of another block."""
    if numbered := _NUMBERED.match(line):
        return f"{numbered[1]}\\{line[numbered.end(1) :]}"
    if _DEFINITION.match(line):
        return f"&#32;{line}"  # a link whose text has `]:` in code; a blank at the start of a line is not shown
    return f"\\{line}" if _LINE_START.match(line) else line


def url_in_markdown(href: str) -> str:
    """Return a URL as the destination of a link or an image: what would end it is percent-encoded or escaped."""
    encoded = _UNSAFE_IN_URL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), href)
    return _ESCAPED_IN_URL.sub(r"\\\g<0>", encoded)


def _code_span(text: str) -> str:
    fence = "`" * (max(map(len, _BACKTICKS.findall(text))) + 1) if "`" in text else "`"
    # One blank on either side is removed by parsers, unless there is nothing but blanks.
    padded = "`" in (text[0], text[-1]) or (" " == text[0] == text[-1] and text.strip(" "))
    return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"


def _with_last_as_reference(text: str) -> str:
    """Return the text with a reference at its end; an underscore before that is not between letters any longer."""
    rest = text[:-1]
    if rest.endswith("_") and not rest.endswith("\\_"):
        rest = rest[:-1] + "\\_"
    return rest + _reference(text[-1])


def _with_first_as_reference(text: str) -> str:
    rest = text[1:]
    return _reference(text[0]) + (f"\\{rest}" if rest.startswith("_") else rest)


def _reference(character: str) -> str:
    """Return a character reference; what parsers do not accept as one is the replacement character."""
    code = ord(character)
    invalid = unicodedata.category(character) in {"Cc", "Cs"} or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return f"&#{0xFFFD if invalid else code};"


def _may_be_punctuation(character: str) -> bool:
    """Return whether some parser counts the character as punctuation."""
    return unicodedata.category(character)[0] in "PS"


def _is_letter(character: str) -> bool:
    """Return whether some parser counts the character neither as a blank nor as punctuation."""
    if character.isascii() and character.isprintable():
        return character.isalnum()
    return character not in _BLANKS and unicodedata.category(character)[0] != "P"
