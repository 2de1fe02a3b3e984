"""Build a document from nested calls that read like the document.

For example, `doc(paragraph("Hello ", mention("557058:aa", "@Ann"), "!"))`. Each node is checked against the schema
(protocol 8) when it is built. What the service would refuse raises `ValueError`, and an argument of another type
`TypeError`.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Protocol, TypeAlias, TypeVar

from stride_async._arguments import of_type
from stride_async.document._document import Document
from stride_async.document._nodes import JsonObject, Node, NodeView, copied, json_of
from stride_async.document._schema import node_problems
from stride_async.document._text import INLINE

T = TypeVar("T")

Inline: TypeAlias = str | Node
"""Text, or a node. Where blocks are expected, consecutive text and inline nodes become a paragraph."""


class UploadedMedia(Protocol):
    """A file that `media_group` and `media_single` accept, such as a `Media`."""

    @property
    def id(self) -> str:
        """The media id."""

    @property
    def conversation_id(self) -> str:
        """The id of the conversation that it was uploaded to, which is also its collection (protocol 9)."""


def doc(*blocks: Inline) -> Document:
    """Build a document of at least one block.

    Args:
        *blocks: The blocks. Consecutive text and inline nodes become a paragraph.
    """
    return Document(_built({"version": 1, "type": "doc", "content": _blocks(blocks)}))


def paragraph(*inline: Inline) -> Node:
    """Build a paragraph. Without content, it is an empty line.

    Args:
        *inline: Text and inline nodes.
    """
    return _built({"type": "paragraph", "content": _inline(inline)})


def heading(*inline: Inline, level: int = 1) -> Node:
    """Build a heading.

    Args:
        *inline: Text and inline nodes.
        level: 1 to 6.
    """
    return _built({"type": "heading", "attrs": {"level": of_type(level, "level", int)}, "content": _inline(inline)})


def text(value: str) -> Node:
    """Build plain text.

    Args:
        value: One or more characters.
    """
    return _built({"type": "text", "text": value})


def strong(content: Inline) -> Node:
    """Build bold text. `strong(em("both"))` is bold and italic.

    Args:
        content: Text, or a text node.
    """
    return _marked(content, "strong")


def em(content: Inline) -> Node:
    """Build italic text.

    Args:
        content: Text, or a text node.
    """
    return _marked(content, "em")


def strike(content: Inline) -> Node:
    """Build text that is struck through.

    Args:
        content: Text, or a text node.
    """
    return _marked(content, "strike")


def underline(content: Inline) -> Node:
    """Build underlined text.

    Args:
        content: Text, or a text node.
    """
    return _marked(content, "underline")


def code(content: Inline) -> Node:
    """Build inline code, which can only be combined with a link.

    Args:
        content: Text, or a text node without other marks than a link.
    """
    return _marked(content, "code")


def subsup(content: Inline, type: str) -> Node:
    """Build subscript or superscript.

    Args:
        content: Text, or a text node.
        type: `sub` or `sup`.
    """
    return _marked(content, "subsup", {"type": type})


def text_color(content: Inline, color: str) -> Node:
    """Build colored text.

    Args:
        content: Text, or a text node.
        color: Hexadecimal, such as `#36b37e`, in lower case.
    """
    return _marked(content, "textColor", {"color": color})


def link(content: Inline, href: str, *, title: str | None = None) -> Node:
    """Build text that links to a URL.

    Args:
        content: Text, or a text node.
        href: The URL, which must not be empty.
        title: The title of the link.
    """
    if not href:
        raise ValueError("link: href is empty")
    return _marked(content, "link", _given(href=href, title=title))


def action_mark(
    content: Inline,
    *,
    title: str,
    target: str,
    receiver: str | None = None,
    key: str | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Node:
    """Build text that calls an action target of an app.

    Args:
        content: Text, or a text node.
        title: The title of the action.
        target: The key of the action target.
        receiver: The key of another app whose target it is.
        key: The key of the action itself.
        parameters: JSON that the target receives.
    """
    _check_parameters(parameters)
    aim = _given(key=target, receiver=receiver)
    return _marked(content, "action", _given(title=title, target=aim, key=key, parameters=parameters))


def mention(id: str, text: str | None = None, *, access_level: str | None = None, user_type: str | None = None) -> Node:
    """Mention a person.

    Args:
        id: The user id.
        text: The text to show, such as `@Ann`. The service fills in `@Name` if it is omitted.
        access_level: The access level; the service itself writes `CONTAINER`.
        user_type: `DEFAULT`, `SPECIAL` or `APP`.
    """
    if not id:
        raise ValueError("mention: id is empty")
    return _built({"type": "mention", "attrs": _given(id=id, text=text, accessLevel=access_level, userType=user_type)})


def emoji(short_name: str, *, id: str | None = None, text: str | None = None) -> Node:
    """Build an emoji.

    Args:
        short_name: The short name, usually between colons.
        id: The id of the emoji.
        text: The fallback character.
    """
    return _built({"type": "emoji", "attrs": _given(shortName=short_name, id=id, text=text)})


def hard_break() -> Node:
    """Build a line break within a block."""
    return _built({"type": "hardBreak"})


def date(day: datetime.date) -> Node:
    """Build a date.

    Args:
        day: A date. A datetime must have a time zone and is converted to its day in UTC.

    Raises:
        ValueError: The datetime has no time zone.
    """
    of_type(day, "the day", datetime.date)
    if isinstance(day, datetime.datetime):
        if day.tzinfo is None:
            raise ValueError(f"date: {day} has no time zone")
        day = day.astimezone(datetime.UTC).date()
    milliseconds = (day - datetime.date(1970, 1, 1)).days * 86_400_000
    return _built({"type": "date", "attrs": {"timestamp": str(milliseconds)}})


def placeholder(text: str) -> Node:
    """Build a hint to the author of a message at the place where text is expected.

    Args:
        text: The hint.
    """
    return _built({"type": "placeholder", "attrs": {"text": text}})


def inline_extension(
    key: str,
    *,
    type: str = "com.atlassian.stride",
    parameters: Mapping[str, object] | None = None,
    text: str | None = None,
) -> Node:
    """Build an inline extension. Stride itself had the keys `action`, `actionGroup` and `select`.

    Args:
        key: The key of the extension.
        type: The type of the extension.
        parameters: JSON for the extension.
        text: What is displayed where the extension is not supported.
    """
    return _built({"type": "inlineExtension", "attrs": _extension_attrs(key, type, parameters, text)})


def bullet_list(*items: Inline) -> Node:
    """Build a bullet list. An argument that is not a list item becomes one.

    Args:
        *items: List items, or what becomes one each.
    """
    return _built({"type": "bulletList", "content": _each(items, "listItem", list_item)})


def ordered_list(*items: Inline, order: int | None = None) -> Node:
    """Build a numbered list. An argument that is not a list item becomes one.

    Args:
        *items: List items, or what becomes one each.
        order: The first number; None means 1.
    """
    attrs: JsonObject = {} if order is None else {"attrs": {"order": of_type(order, "order", int)}}
    return _built({"type": "orderedList", **attrs, "content": _each(items, "listItem", list_item)})


def list_item(*content: Inline) -> Node:
    """Build a list item. Its first block is a paragraph or a media_single; the others can also be lists.

    Args:
        *content: The blocks.
    """
    return _built({"type": "listItem", "content": _blocks(content)})


def panel(*content: Inline, type: str = "info") -> Node:
    """Build a colored box.

    Args:
        *content: The blocks.
        type: `info`, `note`, `tip`, `warning`, `error` or `success`.
    """
    return _built({"type": "panel", "attrs": {"panelType": type}, "content": _blocks(content)})


def code_block(source: str, language: str | None = None) -> Node:
    """Build a block of code.

    Args:
        source: The code, which may be empty.
        language: The name of its language.
    """
    attrs: JsonObject = {} if language is None else {"attrs": {"language": language}}
    content = _inline([source]) if of_type(source, "the source", str) else []
    return _built({"type": "codeBlock", **attrs, "content": content})


def blockquote(*paragraphs: Inline) -> Node:
    """Build a quotation of at least one paragraph.

    Args:
        *paragraphs: The paragraphs, or what becomes one.
    """
    return _built({"type": "blockquote", "content": _blocks(paragraphs)})


def rule() -> Node:
    """Build a horizontal rule."""
    return _built({"type": "rule"})


def decision_list(*items: Inline, local_id: str | None = None) -> Node:
    """Build a list of decisions. An argument that is not a decision item becomes one.

    Args:
        *items: Decision items, or what becomes one each.
        local_id: The id within the document; None makes a random one.
    """
    content = _each(items, "decisionItem", decision_item)
    return _built({"type": "decisionList", "attrs": {"localId": _local_id(local_id)}, "content": content})


def decision_item(*inline: Inline, state: str = "DECIDED", local_id: str | None = None) -> Node:
    """Build a decision.

    Args:
        *inline: Text and inline nodes.
        state: Any text; it has no visible effect.
        local_id: The id within the document; None makes a random one.
    """
    attrs = {"localId": _local_id(local_id), "state": state}
    return _built({"type": "decisionItem", "attrs": attrs, "content": _inline(inline)})


def task_list(*items: Inline, local_id: str | None = None) -> Node:
    """Build a list of tasks. An argument that is not a task item becomes an open task.

    Args:
        *items: Task items, or what becomes one each.
        local_id: The id within the document; None makes a random one.
    """
    content = _each(items, "taskItem", task_item)
    return _built({"type": "taskList", "attrs": {"localId": _local_id(local_id)}, "content": content})


def task_item(*inline: Inline, done: bool = False, local_id: str | None = None) -> Node:
    """Build a task, which is open or done.

    Args:
        *inline: Text and inline nodes.
        done: Whether it is done.
        local_id: The id within the document; None makes a random one.
    """
    attrs = {"localId": _local_id(local_id), "state": "DONE" if of_type(done, "done", bool) else "TODO"}
    return _built({"type": "taskItem", "attrs": attrs, "content": _inline(inline)})


def media(
    id: str,
    *,
    collection: str,
    type: str = "file",
    occurrence_key: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Node:
    """Build a reference to an uploaded file.

    Args:
        id: The media id.
        collection: The id of the conversation that the file belongs to (protocol 9).
        type: `file` or `link`.
        occurrence_key: The key of this occurrence of the file.
        width: The width in pixels.
        height: The height in pixels.
    """
    attrs = _given(type=type, id=id, collection=collection, occurrenceKey=occurrence_key, width=width, height=height)
    return _built({"type": "media", "attrs": attrs})


def external_media(url: str, *, width: float | None = None, height: float | None = None) -> Node:
    """Build an image from a URL on the web.

    Args:
        url: The URL of the image.
        width: The width in pixels.
        height: The height in pixels.
    """
    return _built({"type": "media", "attrs": _given(type="external", url=url, width=width, height=height)})


def media_group(*files: UploadedMedia | Node) -> Node:
    """Build a row of files.

    Args:
        *files: Results of `upload`, or `media` nodes.
    """
    return _built({"type": "mediaGroup", "content": [json_of(_media_node(file)) for file in files]})


def media_single(file: UploadedMedia | Node, *, layout: str = "center") -> Node:
    """Build a single file.

    Args:
        file: The result of `upload`, or a `media` node.
        layout: `center`, `wrap-left`, `wrap-right`, `wide` or `full-width`.
    """
    return _built({"type": "mediaSingle", "attrs": {"layout": layout}, "content": [json_of(_media_node(file))]})


def table(*rows: Node, numbered: bool | None = None, layout: str | None = None) -> Node:
    """Build a table of rows.

    Args:
        *rows: The rows.
        numbered: Whether there is a column of row numbers.
        layout: `default`, `wide` or `full-width`.
    """
    attrs = _given(isNumberColumnEnabled=numbered, layout=layout)
    content = [json_of(of_type(row, "a row", Node)) for row in rows]
    return _built({"type": "table", **({"attrs": attrs} if attrs else {}), "content": content})


def table_row(*cells: Inline) -> Node:
    """Build a row of cells, or of headers. Text becomes a cell.

    Args:
        *cells: Cells or headers, or text that becomes a cell.
    """
    content = [
        json_of(cell if cell.type in {"tableCell", "tableHeader"} else table_cell(cell)) for cell in _nodes(cells)
    ]
    return _built({"type": "tableRow", "content": content})


def table_cell(
    *content: Inline,
    colspan: int = 1,
    rowspan: int = 1,
    colwidth: Sequence[int] | None = None,
    background: str | None = None,
) -> Node:
    """Build a cell of blocks, or an empty one. The spans are always written, because Stride required them.

    Args:
        *content: The blocks.
        colspan: How many columns it covers.
        rowspan: How many rows it covers.
        colwidth: The widths of these columns in pixels.
        background: The color of the background, such as `#deebff`.
    """
    return _cell("tableCell", content, colspan, rowspan, colwidth, background)


def table_header(
    *content: Inline,
    colspan: int = 1,
    rowspan: int = 1,
    colwidth: Sequence[int] | None = None,
    background: str | None = None,
) -> Node:
    """Build a header cell of a row or a column.

    Args:
        *content: The blocks.
        colspan: How many columns it covers.
        rowspan: How many rows it covers.
        colwidth: The widths of these columns in pixels.
        background: The color of the background, such as `#deebff`.
    """
    return _cell("tableHeader", content, colspan, rowspan, colwidth, background)


def application_card(
    title: str,
    *,
    text: str | None = None,
    link: str | None = None,
    description: str | None = None,
    user: Mapping[str, object] | None = None,
    background: str | None = None,
    preview: str | None = None,
    collapsible: bool | None = None,
    context: Mapping[str, object] | None = None,
    details: Iterable[Mapping[str, object]] | None = None,
    actions: Iterable[Mapping[str, object]] | None = None,
) -> Node:
    """Build a card of an app.

    Args:
        title: The title.
        text: The fallback text; None means the title.
        link: The URL of the card and of its fallback text.
        description: The text below the title.
        user: Who acts in the title (protocol 8.4).
        background: The URL of an image behind the card.
        preview: The URL of an image in the card.
        collapsible: Whether the card can be collapsed.
        context: What the card belongs to (protocol 8.4).
        details: Rows of facts (protocol 8.4).
        actions: Buttons (protocol 8.4).
    """
    of_type(title, "title", str)
    of_type(link, "link", str, NoneType)
    attrs = _given(
        text=title if text is None else text,
        title=_given(text=title, user=user),
        textUrl=link,
        link=None if link is None else {"url": link},
        description=None if description is None else {"text": description},
        background=None if background is None else {"url": background},
        preview=None if preview is None else {"url": preview},
        collapsible=collapsible,
        context=context,
        details=None if details is None else list(of_type(details, "details", Iterable)),
        actions=None if actions is None else list(of_type(actions, "actions", Iterable)),
    )
    return _built({"type": "applicationCard", "attrs": attrs})


def extension(
    key: str,
    *,
    type: str = "com.atlassian.stride",
    parameters: Mapping[str, object] | None = None,
    text: str | None = None,
) -> Node:
    """Build a block extension. Stride itself had the key `actionGroup`.

    Args:
        key: The key of the extension.
        type: The type of the extension.
        parameters: JSON for the extension.
        text: What is displayed where the extension is not supported.
    """
    return _built({"type": "extension", "attrs": _extension_attrs(key, type, parameters, text)})


def bodied_extension(
    key: str,
    *content: Inline,
    type: str = "com.atlassian.stride",
    parameters: Mapping[str, object] | None = None,
    text: str | None = None,
) -> Node:
    """Build an extension around blocks.

    Args:
        key: The key of the extension.
        *content: The blocks.
        type: The type of the extension.
        parameters: JSON for the extension.
        text: What is displayed where the extension is not supported.
    """
    attrs = _extension_attrs(key, type, parameters, text)
    return _built({"type": "bodiedExtension", "attrs": attrs, "content": _blocks(content)})


def _built(json: JsonObject) -> Node:
    """Return the node.

    Raises:
        ValueError: The schema does not allow it.
    """
    for problem in node_problems(json):
        raise ValueError(f"{json['type']}{problem.path[1:]}: {problem.message}")
    return NodeView(json)


def _marked(content: Inline, kind: str, attrs: JsonObject | None = None) -> Node:
    [node] = _nodes([content])
    if node.type != "text":
        raise ValueError(f"{kind} can mark only text, not {node.type}")
    mark: JsonObject = {"type": kind} if attrs is None else {"type": kind, "attrs": attrs}
    json = json_of(node)
    marks = json.get("marks")
    return _built({**json, "marks": [*(marks if isinstance(marks, list) else []), mark]})


def _nodes(content: Iterable[Inline]) -> list[Node]:
    return [text(part) if isinstance(part, str) else of_type(part, "the content", str, Node) for part in content]


def _inline(content: Iterable[Inline]) -> list[JsonObject]:
    return [json_of(node) for node in _nodes(content)]


def _blocks(content: Iterable[Inline]) -> list[JsonObject]:
    """Return blocks unchanged, and each run of inline nodes as one paragraph."""
    blocks: list[JsonObject] = []
    run: list[JsonObject] | None = None
    for node in _nodes(content):
        if node.type not in INLINE:
            run = None
            blocks.append(json_of(node))
        elif run is None:
            run = [json_of(node)]
            blocks.append({"type": "paragraph", "content": run})
        else:
            run.append(json_of(node))
    return blocks


class _MakesItem(Protocol):
    def __call__(self, content: Inline, /) -> Node: ...


def _each(items: Iterable[Inline], kind: str, make: _MakesItem) -> list[JsonObject]:
    return [json_of(item if item.type == kind else make(item)) for item in _nodes(items)]


def _media_node(file: UploadedMedia | Node) -> Node:
    if isinstance(file, Node):
        return file
    if not (hasattr(file, "id") and hasattr(file, "conversation_id")):
        raise TypeError(f"the file must be a Media or a Node, not {type(file).__name__}: {file!r:.100}")
    return media(file.id, collection=file.conversation_id)


def _cell(
    kind: str,
    content: Iterable[Inline],
    colspan: int,
    rowspan: int,
    colwidth: Sequence[int] | None,
    background: str | None,
) -> Node:
    of_type(colspan, "colspan", int)
    of_type(rowspan, "rowspan", int)
    widths = None if colwidth is None else list(of_type(colwidth, "colwidth", Sequence))
    attrs = _given(colspan=colspan, rowspan=rowspan, colwidth=widths, background=background)
    return _built({"type": kind, "attrs": attrs, "content": _blocks(content) or [json_of(paragraph())]})


def _extension_attrs(key: str, type: str, parameters: Mapping[str, object] | None, text: str | None) -> JsonObject:
    _check_parameters(parameters)
    return _given(extensionType=type, extensionKey=key, parameters=parameters, text=text)


def _check_parameters(parameters: Mapping[str, object] | None) -> None:
    of_type(parameters, "parameters", Mapping, NoneType)


def _given(**attrs: object) -> JsonObject:
    """Return the attributes that are not None. They are copied, so that later changes by the caller have no effect."""
    given: JsonObject = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in attrs.items() if value is not None
    }
    return copied(given)


def _local_id(given: str | None) -> str:
    return str(uuid.uuid4()) if given is None else given
