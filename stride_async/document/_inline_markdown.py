"""A run of inline nodes as lines of Markdown.

Escaped so that a CommonMark parser finds the same text and the same marks again, and no more than
that: a plain sentence stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import attrs

from stride_async.document._nodes import JsonObject, attr, objects
from stride_async.document._shown import safe_href
from stride_async.document._text import shown_text

_SPECIAL = re.compile(r"[\\`*\[\]<~|]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_LINE_START = re.compile(r"#{1,6}(?=\s|$)|[-+](?=\s|$)|-(?=[-:])|=+\s*$|>|:(?=-)")
_NUMBERED = re.compile(r"(\d{1,9})[.)](?=\s|$)")
_PLAIN_ADDRESS = re.compile(r"https?://[A-Za-z0-9:/?#@!$'()*+,;=._~-]+")
_UNSAFE_IN_ADDRESS = re.compile(r"[<>\\`|\s]")
_BACKTICKS = re.compile(r"`+")
# What CommonMark takes for blanks beside emphasis; str.strip() would take more.
_BLANKS = "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_SEPARATIONS = 4  # there and back, twice: more was never needed
# Each of its own kind: asterisks for both would run together where one ends and the other begins.
_DELIMITERS = {"strong": "**", "em": "_", "strike": "~~"}


@attrs.frozen(repr=False)
class _Run:
    """Text under the same marks: the link outermost, code innermost."""

    text: str
    link: tuple[str, str] | None = None
    marks: tuple[str, ...] = ()
    code: bool = False


@attrs.define(eq=False, repr=False)
class _Piece:
    """A stretch of the line being written; `delimiter` when it opens or closes emphasis."""

    raw: str
    delimiter: bool = False
    opens: bool = False


def inline_lines(nodes: Iterable[JsonObject]) -> list[str]:
    """One string a line; line breaks at either end, which Markdown cannot say, are left off."""
    lines = [_line(runs) for runs in _runs_by_line(nodes)]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _escaped_start(line: str) -> str:
    """A line of text that no longer looks like a heading, a list item, a quote, a rule or a table."""
    if numbered := _NUMBERED.match(line):
        return f"{numbered[1]}\\{line[numbered.end(1) :]}"
    return f"\\{line}" if _LINE_START.match(line) else line


def _runs_by_line(nodes: Iterable[JsonObject]) -> list[list[_Run]]:
    lines: list[list[_Run]] = [[]]
    for node in nodes:
        # A parser replaces NUL before it looks at anything else.
        text = shown_text(node).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
        style = _style(node)
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append([])
            if part:
                _append(lines[-1], attrs.evolve(style, text=part))
    return lines


def _append(runs: list[_Run], run: _Run) -> None:
    """Text under the marks of the run before it joins that run."""
    if runs and attrs.evolve(runs[-1], text="") == attrs.evolve(run, text=""):
        runs[-1] = attrs.evolve(run, text=runs[-1].text + run.text)
    else:
        runs.append(run)


def _style(node: JsonObject) -> _Run:
    marks = {mark["type"]: mark for mark in objects(node.get("marks")) if isinstance(mark.get("type"), str)}
    link = None
    if "link" in marks and (href := safe_href(attr(marks["link"], "href"))) is not None:
        link = (href, attr(marks["link"], "title"))
    return _Run("", link, tuple(kind for kind in _DELIMITERS if kind in marks), "code" in marks)


def _line(runs: Sequence[_Run]) -> str:
    pieces: list[_Piece] = []
    open_link: tuple[str, str] | None = None
    open_marks: tuple[str, ...] = ()
    for run in _with_blanks_outside(runs):
        if run.link != open_link:
            _switch(pieces, open_marks, ())
            _close_link(pieces, open_link)
            open_marks = ()
            if run.link is not None and _is_bare(run):
                pieces.append(_Piece(f"<{run.text}>"))
                open_link = None
                continue
            if run.link is not None:
                _open_link(pieces)
            open_link = run.link
        _switch(pieces, open_marks, run.marks)
        open_marks = run.marks
        pieces.append(_Piece(_code_span(run.text) if run.code else _SPECIAL.sub(r"\\\g<0>", run.text)))
    _switch(pieces, open_marks, ())
    _close_link(pieces, open_link)
    _separate(pieces)
    return _escaped_start("".join(piece.raw for piece in pieces).strip(" \t"))


def _with_blanks_outside(runs: Sequence[_Run]) -> list[_Run]:
    """Runs whose emphasis neither begins nor ends with a blank, which Markdown would not take for emphasis."""
    parts: list[_Run] = []
    for run in runs:
        core = run.text if run.code else run.text.strip(_BLANKS)
        if core == run.text or not run.marks:
            parts.append(run)
        elif not core:
            parts.append(attrs.evolve(run, marks=()))
        else:
            before, _, after = run.text.partition(core)
            parts.append(attrs.evolve(run, text=before, marks=()))
            parts.append(attrs.evolve(run, text=core))
            parts.append(attrs.evolve(run, text=after, marks=()))
    return [part for part in parts if part.text]


def _switch(pieces: list[_Piece], open_marks: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Close what is no longer wanted, innermost first, and open what is new."""
    common = 0
    while common < min(len(open_marks), len(wanted)) and open_marks[common] == wanted[common]:
        common += 1
    pieces.extend(_Piece(_DELIMITERS[kind], delimiter=True) for kind in reversed(open_marks[common:]))
    pieces.extend(_Piece(_DELIMITERS[kind], delimiter=True, opens=True) for kind in wanted[common:])


def _open_link(pieces: list[_Piece]) -> None:
    """An exclamation mark before the bracket would make the link an image."""
    if pieces and pieces[-1].raw.endswith("!"):
        pieces[-1].raw = pieces[-1].raw[:-1] + "\\!"
    pieces.append(_Piece("["))


def _close_link(pieces: list[_Piece], link: tuple[str, str] | None) -> None:
    if link is not None:
        href, title = link
        titled = ' "' + re.sub(r'[\\"&<`|]', r"\\\g<0>", " ".join(title.split())) + '"' if title else ""
        pieces.append(_Piece(f"]({_address(href)}{titled})"))


def _is_bare(run: _Run) -> bool:
    return run.link == (run.text, "") and not run.marks and not run.code and bool(_PLAIN_ADDRESS.fullmatch(run.text))


def _address(href: str) -> str:
    """A link's destination: what would end it is percent-encoded or escaped."""
    encoded = _UNSAFE_IN_ADDRESS.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")), href
    )
    return re.sub(r"[()]|&(?=#?\w+;)", r"\\\g<0>", encoded)


def _code_span(text: str) -> str:
    fence = "`" * (max((len(found) for found in _BACKTICKS.findall(text)), default=0) + 1)
    blank = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _separate(pieces: list[_Piece]) -> None:
    """Write as entities the letters that would keep emphasis beside punctuation from opening or closing.

    `**"a"**b` is not strong to a CommonMark parser; `**"a"**&#98;` is.
    """
    boundaries: list[tuple[_Piece, Sequence[_Piece], _Piece]] = []
    number = 0
    while number < len(pieces):
        start = number
        while number < len(pieces) and pieces[number].delimiter:
            number += 1
        if 0 < start < number < len(pieces):
            boundaries.append((pieces[start - 1], pieces[start:number], pieces[number]))
        number += 1
    # An entity is punctuation in its turn, to the boundary at the other end of a text of one letter.
    for _ in range(_SEPARATIONS):
        for boundary in boundaries:
            _separate_at(*boundary)
        boundaries.reverse()


def _separate_at(before: _Piece, delimiters: Sequence[_Piece], after: _Piece) -> None:
    """Encode the letter on either side where that side's delimiter could not do its work beside it."""
    left, right = before.raw[-1], after.raw[0]
    first, last = delimiters[0], delimiters[-1]
    if len(delimiters) > 1:
        left_neighbor, right_neighbor = delimiters[-2].raw[0], delimiters[1].raw[0]
    else:
        left_neighbor, right_neighbor = left, right
    if first.opens and _is_letter(left) and (first.raw == "_" or _may_be_punctuation(right_neighbor)):
        before.raw = f"{before.raw[:-1]}&#{ord(left)};"
    if not last.opens and _is_letter(right) and (last.raw == "_" or _may_be_punctuation(left_neighbor)):
        after.raw = f"&#{ord(right)};{after.raw[1:]}"


def _may_be_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _is_letter(character: str) -> bool:
    """Neither blank nor, to any parser, punctuation."""
    if character.isascii() and character.isprintable():
        return character.isalnum()
    return character not in _BLANKS and unicodedata.category(character)[0] != "P"
