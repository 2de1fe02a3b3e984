"""Build and check rich message documents, and convert them to text, Markdown or HTML.

    from stride_async.document import doc, link, mention, paragraph

    doc(paragraph("Hello ", mention("557058:aa", "@Ann"), ", see ", link("the plan", "https://example.com")))

Documents from the service are read as they are, whatever they contain (protocol 6.3). The builders follow the schema
(protocol 8). This package uses no other part of `stride_async` and needs no extra.
"""

from __future__ import annotations

from stride_async.document._build import (
    Inline,
    UploadedMedia,
    action_mark,
    application_card,
    blockquote,
    bodied_extension,
    bullet_list,
    code,
    code_block,
    date,
    decision_item,
    decision_list,
    doc,
    em,
    emoji,
    extension,
    external_media,
    hard_break,
    heading,
    inline_extension,
    link,
    list_item,
    media,
    media_group,
    media_single,
    mention,
    ordered_list,
    panel,
    paragraph,
    placeholder,
    rule,
    strike,
    strong,
    subsup,
    table,
    table_cell,
    table_header,
    table_row,
    task_item,
    task_list,
    text,
    text_color,
    underline,
)
from stride_async.document._document import Document
from stride_async.document._nodes import JsonObject, Mark, Node
from stride_async.document._schema import Problem

__all__ = [
    "Document",
    "Inline",
    "JsonObject",
    "Mark",
    "Node",
    "Problem",
    "UploadedMedia",
    "action_mark",
    "application_card",
    "blockquote",
    "bodied_extension",
    "bullet_list",
    "code",
    "code_block",
    "date",
    "decision_item",
    "decision_list",
    "doc",
    "em",
    "emoji",
    "extension",
    "external_media",
    "hard_break",
    "heading",
    "inline_extension",
    "link",
    "list_item",
    "media",
    "media_group",
    "media_single",
    "mention",
    "ordered_list",
    "panel",
    "paragraph",
    "placeholder",
    "rule",
    "strike",
    "strong",
    "subsup",
    "table",
    "table_cell",
    "table_header",
    "table_row",
    "task_item",
    "task_list",
    "text",
    "text_color",
    "underline",
]

for _name in __all__:
    if _name not in {"Inline", "JsonObject"}:  # An alias has no module of its own.
        globals()[_name].__module__ = __name__
del _name
