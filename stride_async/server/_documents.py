"""Documents (ADF): create them from text, check them against the schema, and convert them back to text.

The documents of `from_markdown` and `from_plain` are valid by the strict schema. The functions that read a document
accept everything that passes the lenient check: unknown nodes, null content, unexpected attributes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from typing import Any

from attrs import Factory, frozen
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from markdown_it import MarkdownIt
from markdown_it.token import Token

Node = dict[str, Any]

_SCHEMA: dict[str, Any] = json.loads((files(__package__) / "adf.schema.json").read_text("utf-8"))
_VALIDATOR = Draft202012Validator(_SCHEMA)
_VALIDATORS = {
    kind: _VALIDATOR.evolve(schema=schema) for kind, schema in _SCHEMA["$defs"].items() if not kind.startswith("_")
}
LANGUAGES: tuple[str, ...] = tuple(
    _SCHEMA["$defs"]["codeBlock"]["properties"]["attrs"]["properties"]["language"]["enum"]
)

_LARGEST_NUMBER = 1 << 31
_MOST_PROBLEMS = 20
_DEEPEST = 300  # nested objects and lists (protocol 8.5); less than the json module can read and write
_LONGEST_QUOTE = 60  # characters of the value that a problem quotes

_TEXT_BLOCKS = frozenset({"paragraph", "heading", "codeBlock", "decisionItem", "taskItem"})
_INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineExtension", "date", "placeholder"})
_FALLBACK_TEXT = frozenset({"applicationCard", "extension"})

_BARE_URL = re.compile(r"https?://(?:\([^\s<>\"()]*\)|[^\s<>\"()])+(?<![.,:;!?'*_~`|\]}])")
_LANGUAGE_NAMES = {
    "bash": "shell", "sh": "shell", "zsh": "shell", "console": "shell", "js": "javascript", "ts": "typescript",
    "py": "python", "python3": "python", "rb": "ruby", "golang": "go", "rs": "rust", "cs": "csharp", "c#": "csharp",
    "cpp": "c++", "objc": "objective-c", "hs": "haskell", "kt": "kotlin", "rst": "restructuredtext",
    "ps1": "powershell", "coffee": "coffeescript", "htm": "html", "svg": "xml",
}  # fmt: skip


def from_plain(text: str) -> Node:
    """Return a document of one paragraph, in which each line break of the text is a hard break."""
    return _doc([_paragraph(_lines_of_text(text.replace("\r\n", "\n").replace("\r", "\n"), ()))])


def from_markdown(text: str) -> Node:
    """Convert Markdown with the features of protocol 5.10: CommonMark with pipe tables, strikethrough and bare URLs.

    Images and HTML remain text as written. A block that a document does not allow at its position, such as a heading in
    a quotation or code in a list item, becomes paragraphs. Quotations and lists are read to a depth of 100.
    """
    return _doc([_block(parsed) for parsed in _parse(text)] or [_paragraph([])])


_MARKDOWN = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])


@frozen
class _Parsed:
    """A block of Markdown: its opening token and the blocks in it."""

    token: Token
    children: list[_Parsed] = Factory(list)

    @property
    def type(self) -> str:
        return self.token.type.removesuffix("_open")


def _parse(text: str) -> list[_Parsed]:
    # markdown_it.tree also nests the inline tokens, so that a row of asterisks reaches the recursion limit.
    levels: list[list[_Parsed]] = [[]]
    for token in _MARKDOWN.parse(text):
        if token.nesting >= 0:
            parsed = _Parsed(token)
            levels[-1].append(parsed)
        if token.nesting > 0:
            levels.append(parsed.children)
        elif token.nesting < 0:
            levels.pop()
    return levels[0]


def _doc(blocks: list[Node]) -> Node:
    return {"version": 1, "type": "doc", "content": blocks}


def _paragraph(inline: list[Node]) -> Node:
    return {"type": "paragraph", "content": inline}


def _blocks(parent: _Parsed) -> list[Node]:
    return [_block(node) for node in parent.children]


def _block(node: _Parsed) -> Node:
    match node.type:
        case "paragraph":
            return _paragraph(_inline(node))
        case "heading":
            return {"type": "heading", "attrs": {"level": int(node.token.tag[1:])}, "content": _inline(node)}
        case "bullet_list":
            return {"type": "bulletList", "content": [_list_item(item) for item in node.children]}
        case "ordered_list":
            return _ordered_list(node)
        case "blockquote":
            return {"type": "blockquote", "content": _only_paragraphs(_blocks(node)) or [_paragraph([])]}
        case "fence" | "code_block":
            return _code_block(node)
        case "table":
            rows = [row for part in node.children for row in part.children]
            return {"type": "table", "content": [_table_row(row) for row in rows]}
        case "hr":
            return {"type": "rule"}
        case _:
            raise AssertionError(f"markdown block {node.type} is not enabled")


def _ordered_list(node: _Parsed) -> Node:
    items = [_list_item(item) for item in node.children]
    start = int(node.token.attrs.get("start", 1))
    if start > 1:
        return {"type": "orderedList", "attrs": {"order": start}, "content": items}
    return {"type": "orderedList", "content": items}


def _list_item(node: _Parsed) -> Node:
    blocks: list[Node] = []
    for block in _blocks(node):
        if block["type"] in {"bulletList", "orderedList"}:
            blocks += [block] if blocks else [_paragraph([]), block]
        else:
            blocks += _only_paragraphs([block])
    return {"type": "listItem", "content": blocks or [_paragraph([])]}


def _code_block(node: _Parsed) -> Node:
    block: Node = {"type": "codeBlock"}
    named = (node.token.info.split() or [""])[0].lower()
    language = _LANGUAGE_NAMES.get(named, named)
    if language in LANGUAGES:
        block["attrs"] = {"language": language}
    text = node.token.content.removesuffix("\n")
    block["content"] = [{"type": "text", "text": text}] if text else []
    return block


def _table_row(node: _Parsed) -> Node:
    cells = [
        {
            "type": "tableHeader" if cell.type == "th" else "tableCell",
            "attrs": {"colspan": 1, "rowspan": 1},
            "content": [_paragraph(_inline(cell))],
        }
        for cell in node.children
    ]
    return {"type": "tableRow", "content": cells}


def _only_paragraphs(blocks: Iterable[Node]) -> list[Node]:
    """Return the same content as paragraphs."""
    return [paragraph for block in blocks for paragraph in _as_paragraphs(block)]


def _as_paragraphs(block: Node) -> list[Node]:
    match block["type"]:
        case "heading":
            return [_paragraph(block["content"])]
        case "codeBlock":
            text = "".join(node["text"] for node in block["content"])
            return [_paragraph(_lines_of_text(text, ({"type": "code"},)))]
        case "bulletList":
            return _items_as_paragraphs(block, ("• " for _ in block["content"]))
        case "orderedList":
            first = block.get("attrs", {}).get("order", 1)
            return _items_as_paragraphs(block, (f"{first + index}. " for index in range(len(block["content"]))))
        case "table":
            return [_row_as_paragraph(row) for row in block["content"]]
        case "rule":
            return [_paragraph([_text("---", ())])]
        case "blockquote":
            return list(block["content"])
        case _:
            return [block]


def _items_as_paragraphs(block: Node, bullets: Iterable[str]) -> list[Node]:
    paragraphs: list[Node] = []
    for item, bullet in zip(block["content"], bullets, strict=True):
        first, *rest = _only_paragraphs(item["content"])
        paragraphs += [_paragraph([_text(bullet, ()), *first["content"]]), *rest]
    return paragraphs


def _row_as_paragraph(row: Node) -> Node:
    inline: list[Node] = []
    for cell in row["content"]:
        inline += [_text(" | ", ())] if inline else []
        inline += cell["content"][0]["content"]
    return _paragraph(inline)


def _text(text: str, marks: tuple[Node, ...]) -> Node:
    return {"type": "text", "text": text, "marks": list(marks)} if marks else {"type": "text", "text": text}


def _lines_of_text(text: str, marks: tuple[Node, ...]) -> list[Node]:
    inline: list[Node] = []
    for number, line in enumerate(text.split("\n")):
        inline += [{"type": "hardBreak"}] if number else []
        inline += [_text(line, marks)] if line else []
    return inline


def _inline(parent: _Parsed) -> list[Node]:
    """Return the inline nodes of a block, with equally marked neighbors joined and bare URLs linked."""
    joined: list[tuple[str | None, tuple[Node, ...]]] = []
    for text, marks in _spans(parent):
        if joined and text is not None and joined[-1][0] is not None and joined[-1][1] == marks:
            joined[-1] = (joined[-1][0] + text, marks)
        elif text != "":
            joined.append((text, marks))
    nodes: list[Node] = []
    for text, marks in joined:
        nodes += [{"type": "hardBreak"}] if text is None else _linked(text, marks)
    return nodes


def _spans(parent: _Parsed) -> Iterator[tuple[str | None, tuple[Node, ...]]]:
    """Yield pieces of text with their marks. None is a hard break."""
    open_marks: list[Node] = []
    for token in (inline for child in parent.children for inline in child.token.children or ()):
        if token.nesting > 0:
            open_marks.append(_mark(token))
        elif token.nesting < 0:
            open_marks.pop()
        elif token.type == "hardbreak":
            yield None, ()
        else:
            yield _source(token), _marks_at(open_marks, code=token.type == "code_inline")


def _mark(token: Token) -> Node:
    if token.type != "link_open":
        return {"type": {"strong_open": "strong", "em_open": "em", "s_open": "strike"}[token.type]}
    return {"type": "link", "attrs": {key: str(token.attrs[key]) for key in ("href", "title") if key in token.attrs}}


def _marks_at(open_marks: list[Node], *, code: bool) -> tuple[Node, ...]:
    """Return one mark of each type. Code is combined only with a link, and a link without a URL is omitted."""
    marks = {mark["type"]: mark for mark in open_marks if mark["type"] != "link" or mark["attrs"]["href"]}
    if code:
        return (*(mark for mark in marks.values() if mark["type"] == "link"), {"type": "code"})
    return tuple(marks.values())


def _source(token: Token) -> str:
    if token.type == "softbreak":
        return " "
    if token.type == "image":
        title = f' "{token.attrs["title"]}"' if "title" in token.attrs else ""
        return f"![{token.content}]({token.attrs['src']}{title})"
    return token.content


def _linked(text: str, marks: tuple[Node, ...]) -> Iterator[Node]:
    if any(mark["type"] in {"link", "code"} for mark in marks):
        yield _text(text, marks)
        return
    start = 0
    for url in _BARE_URL.finditer(text):
        if url.start() > start:
            yield _text(text[start : url.start()], marks)
        yield _text(url.group(), (*marks, {"type": "link", "attrs": {"href": url.group()}}))
        start = url.end()
    if start < len(text):
        yield _text(text[start:], marks)


def to_plain_text(document: Node) -> str:
    """Return the `text` of a message: joined inline text, one line for each block, without media (protocol 4.3).

    The depth is not checked here. `problems` reports a document that is too deep.
    """
    return "\n".join(_plain_blocks(document))


def _plain_blocks(parent: Node) -> Iterator[str]:
    for node in _children(parent):
        kind = _kind(node)
        if kind in _TEXT_BLOCKS:
            yield _inline_text(node)
        elif kind in _INLINE:
            yield _inline_text({"content": [node]})
        elif kind in _FALLBACK_TEXT:
            text = _attr(node, "text")
            if text:
                yield text
        else:
            yield from _plain_blocks(node)


def render_text(document: Node) -> str:
    """Return plain text for readers: as `to_plain_text`, with bullets, numbers, quotation marks and table bars."""
    return "\n".join(_rendered(document))


def _rendered(parent: Node) -> list[str]:
    return [line for node in _children(parent) for line in _rendered_block(node)]


def _rendered_block(node: Node) -> list[str]:
    kind = _kind(node)
    if kind in _TEXT_BLOCKS or kind in _INLINE or kind in _FALLBACK_TEXT:
        text = "\n".join(_plain_blocks({"content": [node]}))
        lines = text.split("\n") if text or kind in _TEXT_BLOCKS else []
        return _behind(_sign(node), lines) if kind in {"taskItem", "decisionItem"} else lines
    if kind in {"bulletList", "orderedList"}:
        return _rendered_list(node, numbered=kind == "orderedList")
    if kind == "blockquote":
        return [f"> {line}" for line in _rendered(node)]
    if kind == "rule":
        return ["---"]
    if kind == "tableRow":
        return [" | ".join(" ".join(_rendered(cell)) for cell in _children(node))]
    return _rendered(node)


def _rendered_list(node: Node, *, numbered: bool) -> list[str]:
    attrs = node.get("attrs")
    order = attrs.get("order") if isinstance(attrs, dict) else None
    first = order if isinstance(order, int) and abs(order) < _LARGEST_NUMBER else 1
    lines: list[str] = []
    for index, item in enumerate(_children(node)):
        lines += _behind(f"{first + index}. " if numbered else "• ", _rendered(item))
    return lines


def _sign(node: Node) -> str:
    if node.get("type") == "decisionItem":
        return "<> "
    return "[x] " if _attr(node, "state") == "DONE" else "[ ] "


def _behind(sign: str, lines: list[str]) -> list[str]:
    first, *rest = lines or [""]
    return [sign + first, *(" " * len(sign) + line for line in rest)]


def _inline_text(block: Node) -> str:
    return "".join(_text_of(node) for node in _children(block))


def _text_of(node: Node) -> str:
    match node.get("type"):
        case "text":
            text = node.get("text")
            return text if isinstance(text, str) else ""
        case "hardBreak":
            return "\n"
        case "mention" | "inlineExtension":
            return _attr(node, "text")
        case "emoji":
            return _attr(node, "shortName")
        case "date":
            return _attr(node, "timestamp")
        case "placeholder":
            return ""
        case _:
            return _inline_text(node)


def _kind(node: Node) -> str:
    """Return the type of a node; empty if it is missing or not text, which the lenient check allows."""
    kind = node.get("type")
    return kind if isinstance(kind, str) else ""


def _children(node: Node) -> list[Node]:
    content = node.get("content")
    return [child for child in content if isinstance(child, dict)] if isinstance(content, list) else []


def _attr(node: Node, name: str) -> str:
    attrs = node.get("attrs")
    value = attrs.get(name) if isinstance(attrs, dict) else None
    return value if isinstance(value, str) else ""


def problems(document: object, *, lenient: bool = False) -> list[str]:
    """Return up to 20 reasons why the value is not a valid document, each with its JSON path.

    The lenient check requires only the type `doc`, a list as content, and a bounded depth (protocol 8.5).
    """
    if _too_deep(document):
        return [f"$: nested deeper than {_DEEPEST} objects and lists"]
    if not isinstance(document, dict):
        return [f"$: expected an object, found {_quoted(document)}"]
    if lenient:
        return _lenient_problems(document)
    found: list[str] = []
    nodes = [("$", "doc", document)]
    while nodes and len(found) < _MOST_PROBLEMS:
        path, kind, node = nodes.pop()
        reasons = (f"{path}{error.json_path[1:]}: {_reason(error)}" for error in _VALIDATORS[kind].iter_errors(node))
        found += dict.fromkeys(reasons)
        found += _repeated_marks(path, node)
        nodes += reversed(list(_known_children(path, node)))
    return found[:_MOST_PROBLEMS]


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _lenient_problems(document: Node) -> list[str]:
    found = []
    if document.get("type") != "doc":
        found.append(f"$.type: expected 'doc', found {_quoted(document.get('type'))}")
    if not isinstance(document.get("content"), list):
        found.append(f"$.content: expected a list, found {_quoted(document.get('content'))}")
    return found


def _known_children(path: str, node: Node) -> Iterator[tuple[str, str, Node]]:
    for name in ("content", "marks"):
        children = node.get(name)
        for index, child in enumerate(children if isinstance(children, list) else ()):
            kind = child.get("type") if isinstance(child, dict) else None
            if isinstance(kind, str) and kind in _VALIDATORS:
                yield f"{path}.{name}[{index}]", kind, child


def _repeated_marks(path: str, node: Node) -> Iterator[str]:
    marks = node.get("marks")
    seen: list[object] = []
    for index, mark in enumerate(marks if isinstance(marks, list) else ()):
        kind = mark.get("type") if isinstance(mark, dict) else None
        if kind is not None and kind in seen:
            yield f"{path}.marks[{index}]: the text already has the mark {_quoted(kind)}"
        seen.append(kind)


def _reason(error: ValidationError) -> str:
    """Describe a problem. The value is quoted in part, because it may be a megabyte."""
    schema: Any = error.schema
    found: Any = error.instance
    wanted: Any = error.validator_value
    match error.validator:
        case "not":
            return f"expected {wanted['description']}"
        case "required":
            return "lacks " + ", ".join(repr(name) for name in wanted if name not in found)
        case "additionalProperties":
            return (
                ", ".join(sorted(repr(name) for name in found if name not in schema["properties"]))
                + " is not part of it"
            )
        case "minLength" | "minItems":
            return "is empty"
        case "maxItems":
            return f"expected at most {wanted}, found {len(found)}"
        case keyword:
            return f"expected {_EXPECTED[str(keyword)](schema)}, found {_quoted(found)}"


_TYPE_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "number": "a number",
    "boolean": "true or false",
}
_EXPECTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "enum": lambda schema: _one_of(schema["enum"]),
    "const": lambda schema: repr(schema["const"]),
    "type": lambda schema: _TYPE_WORDS[schema["type"]],
    "pattern": lambda schema: str(schema["description"]),
    "minimum": lambda schema: f"at least {schema['minimum']}",
    "maximum": lambda schema: f"at most {schema['maximum']}",
}


def _one_of(names: list[str]) -> str:
    return repr(names[0]) if len(names) == 1 else "one of " + ", ".join(names)


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
