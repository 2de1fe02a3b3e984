"""Write inline nodes as lines of Slack's mark-up.

Slack has no way to escape the signs of its marks. It reads `*`, `_`, `~` and a backtick as marks only at the edges of
words, so a mark that begins or ends inside a word, or whose text contains its own sign, would show its signs to the
reader. Such a mark is omitted and counted. Marks are nested in the order of `_SIGNS`, and blanks stand outside of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from urllib.parse import quote

import attrs

from stride_async.document._nodes import JsonObject, attr, children, kind_of, objects
from stride_async.document._shown import SHOWN_AS_TEXT, as_text, safe_href
from stride_async.document._text import LINES, shown_text, without_surrogates
from stride_async.export.formats._tree import FILES

_SIGNS = {"strong": "*", "em": "_", "strike": "~", "code": "`"}
_BITS = {kind: 1 << number for number, kind in enumerate(_SIGNS)}
_ORDER = tuple((kind, _BITS[kind], sign) for kind, sign in _SIGNS.items())
_OTHER_MARKS = frozenset({"underline", "textColor", "subsup", "action"})
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_UNSAFE_IN_URL = re.compile(r"[<>|\s]")
_SCHEME = re.compile(r"[A-Za-z]+:")
_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_EVERYONE = {"all": "<!channel>", "here": "<!here>"}

Count = Callable[[str], None]
"""Counts something that is lost, by its kind."""


@attrs.frozen
class SlackLines:
    """Writes inline nodes as lines."""

    user_id: Callable[[str], str]
    """Returns the id that a person has in Slack."""
    file: Callable[[JsonObject], str]
    """Returns what is shown in place of a media node, empty if the file is attached to the message."""
    lost: Count

    def of(self, nodes: Sequence[JsonObject]) -> list[str]:
        """Return the lines of a row of inline nodes, without empty ones at the ends."""
        lines: list[list[_Piece]] = [[]]
        stack = list(nodes[::-1])
        while stack:
            node = stack.pop()
            kind = kind_of(node)
            if kind in LINES and lines[-1]:
                lines.append([])
            if kind in SHOWN_AS_TEXT:
                node, kind = self.text_node(node, kind), "text"
            if kind == "mention" and attr(node, "id"):
                lines[-1].append(self._mention(node))
            else:
                first, *rest = self._text(node, kind)
                lines[-1] += first
                lines += rest
            if node.get("content"):
                stack += children(node)[::-1]
        written = [self._line(line).strip() for line in lines]
        while written and not written[0]:
            del written[0]
        while written and not written[-1]:
            del written[-1]
        return written

    def text_node(self, node: JsonObject, kind: str) -> JsonObject:
        """Return a card that is only a URL, or a file, as a text node."""
        if kind in FILES and safe_href(attr(node, "url")) is None:
            return {"type": "text", "text": self.file(node)}
        return as_text(node)

    def _mention(self, node: JsonObject) -> _Piece:
        id = attr(node, "id")
        return _Piece("@", _EVERYONE.get(id) or f"<@{self.user_id(id)}>", 0)

    def _text(self, node: JsonObject, kind: str) -> list[list[_Piece]]:
        """Return the pieces of a node by lines."""
        value = node.get("text") if kind == "text" else None
        text = value if isinstance(value, str) else shown_text(node)
        bits, href = self._style(node) if node.get("marks") else (0, None)
        if text.isprintable():
            return [[self._piece(text, bits, href)] if text else []]
        return [[self._piece(part, bits, href)] if part else [] for part in _BREAKS.split(shown(text))]

    def _piece(self, text: str, bits: int, href: str | None) -> _Piece:
        if href is None:
            return _Piece(text, escaped(text), bits)
        if "|" in text:
            self.lost("character left out")
        return _Piece(text, link(href, text), bits)

    def _style(self, node: JsonObject) -> tuple[int, str | None]:
        bits, href = 0, None
        for mark in objects(node.get("marks")):
            kind = kind_of(mark)
            if kind in _BITS:
                bits |= _BITS[kind]
            elif kind == "link":
                href = safe_href(attr(mark, "href"))
                if href is None:
                    self.lost("link left out")
            else:
                self.lost(f"mark without equivalent: {kind if kind in _OTHER_MARKS else 'unknown'}")
        return bits, href

    def _line(self, pieces: list[_Piece]) -> str:
        if not any(piece.bits for piece in pieces):
            return "".join([piece.written for piece in pieces])
        return self._marked(pieces, 0, "", "")

    def _marked(self, pieces: Sequence[_Piece], depth: int, before: str, after: str) -> str:
        """Write pieces with the marks from one in `_ORDER` on, between what is on either side of them."""
        if depth == len(_ORDER):
            return "".join([piece.written for piece in pieces])
        kind, bit, sign = _ORDER[depth]
        groups = [list(group) for _, group in groupby(pieces, lambda piece: piece.bits & bit)]
        written = []
        for number, group in enumerate(groups):
            left = groups[number - 1][-1].plain[-1] if number else before
            right = groups[number + 1][0].plain[0] if number + 1 < len(groups) else after
            plain = "".join([piece.plain for piece in group])
            core = plain.strip()
            if not group[0].bits & bit or not core:
                written.append(self._marked(group, depth + 1, left, right))
            elif sign in plain or _in_word(left + plain[0]) or _in_word(right + plain[-1]):
                self.lost(f"mark without equivalent: {kind}")
                written.append(self._marked(group, depth + 1, left, right))
            else:
                inner = self._marked(group, depth + 1, "", "")
                kept = inner.strip()
                start = inner.index(kept)
                written.append(f"{inner[:start]}{sign}{kept}{sign}{inner[start + len(kept) :]}")
        return "".join(written)


@attrs.frozen
class _Piece:
    """A piece of a line in one style."""

    plain: str
    """What a reader sees, never empty; a sign for a mention."""
    written: str
    bits: int


def escaped(text: str) -> str:
    """Return text in which Slack finds neither links nor mentions."""
    return text.translate(_ESCAPED)


def link(href: str, text: str) -> str:
    """Return a link, with blanks around its label outside. The label cannot contain the bar that ends the URL."""
    url = _UNSAFE_IN_URL.sub(lambda found: quote(found[0], safe=""), href)
    url = _SCHEME.sub(lambda found: found[0].lower(), url, count=1)
    label = text.replace("|", "")
    core = label.strip()
    before, _, after = label.partition(core) if core else ("", "", "")
    return f"{before}<{escaped(url)}|{escaped(core or url)}>{after}"


def shown(text: str) -> str:
    """Return text without characters that cannot be encoded, or that no reader expects."""
    return without_surrogates(text).replace("\0", "\ufffd")


def _in_word(pair: str) -> bool:
    """Return whether two characters belong to one word."""
    return len(pair) == 2 and all(character.isalnum() or character == "_" for character in pair)
