"""Documents for property tests, and what a document and a Markdown page have in common."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stride_async.document import Document

Json = dict[str, Any]
Character = tuple[str, frozenset[str], tuple[str, str] | None]
"""A character, its marks, and its link as URL and title."""

COMMONMARK = MarkdownIt("commonmark", {"html": False, "maxNesting": 1000}).enable(["table", "strikethrough"])
BLANKS = "\t\n\v\f\r" + "".join(c for c in map(chr, range(0x3001)) if unicodedata.category(c) == "Zs")
BLANKS += "\u2028\u2029\ufeff"


# What a document says


def outline(document: Document) -> list[Any]:
    """Return the blocks, texts and marks of a document that Markdown can express."""
    return _blocks(document.to_json()["content"])


def _blocks(nodes: Iterable[Json]) -> list[Any]:
    return [block for node in nodes for block in _block(node)]


def _block(node: Json) -> Iterator[Any]:
    inner = node.get("content") or []
    match node["type"]:
        case "paragraph":
            if characters := _inline(inner):
                yield "paragraph", characters
        case "heading":
            yield "heading", f"h{node['attrs']['level']}", _on_one_line(_inline(inner))
        case "codeBlock":
            text = _clean("".join(child["text"] for child in inner))
            yield "code", node.get("attrs", {}).get("language", ""), text
        case "bulletList":
            if inner:
                yield "bullet_list", [_blocks(item["content"]) for item in inner]
        case "orderedList":
            if inner:
                yield (
                    "ordered_list",
                    node.get("attrs", {}).get("order", 1),
                    [_blocks(item["content"]) for item in inner],
                )
        case "blockquote":
            yield "blockquote", _blocks(inner)
        case "rule":
            yield ("hr",)
        case "table":
            cells = [[cell["content"][0]["content"] for cell in row["content"]] for row in inner]
            yield "table", [[_on_one_line(_inline(inline)) for inline in row] for row in cells]
        case _:
            yield from _blocks(inner)


def _inline(nodes: Iterable[Json]) -> list[Character]:
    characters: list[Character] = []
    for node in nodes:
        marks = {mark["type"]: mark for mark in node.get("marks", ())}
        link = None
        if "link" in marks:
            attrs = marks["link"]["attrs"]
            link = (attrs["href"], attrs.get("title", ""))
        text = "\n" if node["type"] == "hardBreak" else _clean(node["text"])
        characters += [(c, frozenset(marks) - {"link"} if c != "\n" else frozenset(), link) for c in text]
    return _trimmed(characters)


def _on_one_line(characters: list[Character]) -> list[Character]:
    """Write line breaks, however many in a row, as one blank."""
    return [
        (" " if here[0] == "\n" else here[0], *here[1:])
        for before, here in zip([None, *characters], characters, strict=False)
        if here[0] != "\n" or before is None or before[0] != "\n"
    ]


def _clean(text: str) -> str:
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


# What a Markdown page says


def outline_of_markdown(source: str) -> list[Any]:
    """Return the blocks, texts and marks that a CommonMark parser finds."""
    return _read(iter(COMMONMARK.parse(source)), "")


def _read(tokens: Iterator[Token], end: str) -> list[Any]:
    """Return the blocks up to a closing token."""
    blocks: list[Any] = []
    for token in tokens:
        if token.type == end:
            break
        kind = token.type.removesuffix("_open")
        closing = f"{kind}_close"
        match kind:
            case "paragraph" | "heading" | "th" | "td":
                ((_, inline),) = _read(tokens, closing)
                names = {"paragraph": ("paragraph", inline), "heading": ("heading", token.tag, inline)}
                blocks.append(names.get(kind, inline))
            case "inline":
                blocks.append((kind, _characters(token)))
            case "fence" | "code_block":
                blocks.append(("code", token.info, token.content.removesuffix("\n")))
            case "list_item" | "tr":
                blocks.append(_read(tokens, closing))
            case "thead" | "tbody":
                blocks += _read(tokens, closing)
            case "hr":
                blocks.append((kind,))
            case "ordered_list":
                blocks.append((kind, token.attrs.get("start", 1), _read(tokens, closing)))
            case "bullet_list" | "blockquote" | "table":
                blocks.append((kind, _read(tokens, closing)))
            case _:
                raise AssertionError(token.type)
    return blocks


def _characters(inline: Token) -> list[Character]:
    characters: list[Character] = []
    marks: list[str] = []
    link: tuple[str, str] | None = None
    names = {"strong": "strong", "em": "em", "s": "strike"}
    for token in inline.children or []:
        match token.type:
            case "text":
                characters += [(c, frozenset(marks), link) for c in token.content]
            case "code_inline":
                characters += [(c, frozenset({*marks, "code"}), link) for c in token.content]
            case "softbreak" | "hardbreak":
                characters.append(("\n" if token.type == "hardbreak" else " ", frozenset(), link))
            case "link_open":
                link = str(token.attrs["href"]), str(token.attrs.get("title", ""))
            case "link_close":
                link = None
            case _ if token.type.removesuffix("_open") in names:
                marks.append(names[token.type.removesuffix("_open")])
            case _ if token.type.removesuffix("_close") in names:
                marks.remove(names[token.type.removesuffix("_close")])
            case _:
                raise AssertionError(token.type)
    return _trimmed(characters)


def _trimmed(characters: list[Character]) -> list[Character]:
    """Leave out what Markdown cannot express.

    That are blanks and line breaks at the edges, emphasis of blanks, and control characters next to emphasis.
    """
    lines: list[list[Character]] = [[]]
    for character in characters:
        if character[0] == "\n":
            lines.append([])
        else:
            lines[-1].append(_expressible(*character))
    for line in lines:
        while line and _is_blank(line[-1]):
            line.pop()
        while line and _is_blank(line[0]):
            line.pop(0)
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return [c for number, line in enumerate(lines) for c in ([("\n", frozenset(), None)] if number else []) + line]


def _expressible(c: str, marks: frozenset[str], link: tuple[str, str] | None) -> Character:
    if c in BLANKS and "code" not in marks:
        marks = frozenset()
    elif unicodedata.category(c) == "Cc" or ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF:
        c = "\ufffd"
    return c, marks, link and (unquote(link[0]).strip(), " ".join(link[1].split()))


def _is_blank(character: Character) -> bool:
    return character[0] in BLANKS and "code" not in character[1] and character[2] is None


# Documents that Markdown can express

_WORDS = st.text(st.characters(), min_size=1, max_size=8)
_SCRAPS_OF_MARKUP = r"""
    a b 0 1 é 😀 . , ! " ' ( ) [ ] { } < > # - + = : ; / \ ` ``` * ** _ __ ~ ~~ | & &amp; &#65; 1. 2) ## C# a_b $ ^ % @
    https://e.com <https://e.com> ![x] [x](y) [x]: ]: \| |- :- --- ===
"""
_SCRAPS_OF_SPACE = [" ", "  ", "\t", " #", "- ", *"\xa0\u2003\u0301\u200b\x01\x0b\x0c\x1c\x85\u2028\ud800\ufffe\r"]
_SCRAPS = st.lists(st.sampled_from([*_SCRAPS_OF_MARKUP.split(), *_SCRAPS_OF_SPACE]), min_size=1, max_size=6)
_TEXTS = _SCRAPS.map("".join) | _WORDS.filter(lambda text: "\n" not in text)
_HREFS = st.sampled_from(
    [
        "https://e.com",
        "https://e.com/a_(b)?c=*&copy;#d",
        "http://e.com/a b",
        "https://e.com/a|b`c\\d<e>\"f'[g]",
        "https://xn--bcher-kva.example/",
        "https://E.com/%41",
        " https://e.com/\té\xa0",
        "mailto:ann@e.com",
    ]
)
_LINKS = st.builds(
    lambda href, title: {"type": "link", "attrs": {"href": href} | ({"title": title} if title else {})},
    _HREFS,
    st.sampled_from(["", "", "t", 'say "x"', "a|b`c*d&amp;\\"]),
)
_MARKS = st.lists(
    st.sampled_from(["strong", "em", "strike", "code"]).map(lambda kind: {"type": kind}) | _LINKS,
    max_size=3,
    unique_by=lambda mark: mark["type"],
)


def _text(text: str, marks: list[Json]) -> Json:
    return {"type": "text", "text": text} | ({"marks": marks} if marks else {})


_LINKED_URLS = _HREFS.map(lambda href: _text(href.strip(), [{"type": "link", "attrs": {"href": href.strip()}}]))
_TEXT_NODES = st.builds(_text, _TEXTS, _MARKS) | _LINKED_URLS
_BREAKS = st.just({"type": "hardBreak"})
one_line = st.lists(_TEXT_NODES, min_size=1, max_size=4)
_LINES = st.lists(_TEXT_NODES | _TEXT_NODES | _BREAKS, max_size=5)


def _node(kind: str, content: list[Json], **attrs: object) -> Json:
    return {"type": kind, **({"attrs": attrs} if attrs else {}), "content": content}


_PARAGRAPHS = _LINES.map(lambda inline: _node("paragraph", inline))
_HEADINGS = st.builds(lambda level, inline: _node("heading", inline, level=level), st.integers(1, 6), one_line)
_CODE = st.builds(
    lambda text, language: _node("codeBlock", [_text(text, [])] if text else [], **language),
    st.lists(_TEXTS | st.just("\n") | st.just("    "), max_size=5).map("".join),
    st.sampled_from([{}, {"language": "python"}, {"language": "c++"}]),
)


@st.composite
def _tables(draw: st.DrawFn) -> Json:
    columns = draw(st.integers(1, 3))
    rows = []
    for kind in ["tableHeader", *["tableCell"] * draw(st.integers(0, 2))]:
        row = draw(st.lists(one_line | st.just([]), min_size=columns, max_size=columns))
        rows.append(_node("tableRow", [_node(kind, [_node("paragraph", inline)]) for inline in row]))
    return _node("table", rows)


def _lists(items: st.SearchStrategy[list[Json]]) -> st.SearchStrategy[Json]:
    listed = st.lists(items, min_size=1, max_size=3).map(lambda items: [_node("listItem", item) for item in items])
    return listed.map(lambda items: _node("bulletList", items)) | st.builds(
        lambda items, order: _node("orderedList", items, order=order), listed, st.sampled_from([1, 1, 2, 9, 10, 123])
    )


_LEAVES = st.one_of(_PARAGRAPHS, _PARAGRAPHS, _HEADINGS, _CODE, st.just({"type": "rule"}), _tables())
_BLOCKS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda blocks: _node("blockquote", blocks)),
        _lists(st.lists(inner, max_size=3)),
        st.lists(inner, max_size=2).map(lambda blocks: _node("bodiedExtension", blocks)),
    ),
    max_leaves=8,
)
expressible = st.lists(_BLOCKS, min_size=1, max_size=4).map(
    lambda blocks: Document.from_json({"version": 1, "type": "doc", "content": blocks})
)
