"""Write a document as HTML that is safe to insert into a page.

All text is escaped. A URL is omitted unless it is http, https or mailto, and an attribute is omitted unless its value
was checked. The function uses a stack, so that documents may be arbitrarily deep.
"""

from __future__ import annotations

import re
from html import escape

from stride_async.document._nodes import JsonObject, Node, attr, children, json_of, kind_of, objects
from stride_async.document._shown import SHOWN_AS_TEXT, as_text, card_blocks, safe_href
from stride_async.document._text import INLINE, date_text, shown_text, without_surrogates

_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}")
_LANGUAGE = re.compile(r"[\w+#.-]+")
_LARGEST_SPAN = 1000  # the maximum of colspan in browsers

_TAGS = {
    "paragraph": "p",
    "blockquote": "blockquote",
    "bulletList": "ul",
    "orderedList": "ol",
    "listItem": "li",
    "tableRow": "tr",
    "tableCell": "td",
    "tableHeader": "th",
    "mediaSingle": "figure",
}
_CLASSES = {
    "panel": ("div", "panel"),
    "decisionList": ("ul", "decisions"),
    "decisionItem": ("li", "decision"),
    "taskList": ("ul", "tasks"),
    "taskItem": ("li", "task"),
    "mediaGroup": ("div", "media-group"),
    "applicationCard": ("div", "application-card"),
    "extension": ("div", "extension"),
    "bodiedExtension": ("div", "extension"),
}
_MARK_TAGS = {"strong": "strong", "em": "em", "strike": "s", "underline": "u", "code": "code"}


def to_html(root: Node) -> str:
    """Return the blocks as HTML elements, without a page around them."""
    out: list[str] = []
    stack: list[JsonObject | str] = [*reversed(children(json_of(root)))]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            out.append(part)
        elif kind_of(part) in INLINE:
            out.append(_inline(part))
            if part.get("content"):
                stack += children(part)[::-1]
        else:
            opening, inner, closing = _block(part)
            out.append(opening)
            stack.append(closing)
            stack.extend(reversed(inner))
    return without_surrogates("".join(out).strip())


def _block(json: JsonObject) -> tuple[str, list[JsonObject], str]:
    """Return the opening tags of a node, the nodes in it, and its closing tags."""
    kind = kind_of(json)
    inner = children(json)
    match kind:
        case "heading":
            level = _heading_level(json)
            return f"<h{level}>", inner, f"</h{level}>\n"
        case "codeBlock":
            language = attr(json, "language")
            named = f' class="language-{escape(language)}"' if _LANGUAGE.fullmatch(language) else ""
            return f"<pre><code{named}>", inner, "</code></pre>\n"
        case "rule":
            return "<hr>\n", [], ""
        case "media":
            return _media(json), [], ""
        case "table":
            return "<table><tbody>\n", inner, "</tbody></table>\n"
        case "orderedList" if (order := _integer(json, "order", 10**9)) > 1:
            return f'<ol start="{order}">\n', inner, "</ol>\n"
        case "tableCell" | "tableHeader":
            tag = _TAGS[kind]
            return f"<{tag}{_cell_attributes(json)}>", inner, f"</{tag}>\n"
        case "extension":
            return f'<div class="extension">{escape(attr(json, "text"))}', inner, "</div>\n"
    if kind in _TAGS:
        return f"<{_TAGS[kind]}>", inner, f"</{_TAGS[kind]}>\n"
    if kind in _CLASSES:
        return _classed(json, kind, inner)
    if kind in SHOWN_AS_TEXT:
        link = _inline(as_text(json))
        return (f"<p>{link}", inner, "</p>\n") if kind in {"blockCard", "embedCard"} else (link, inner, "")
    return escape(attr(json, "text")), inner, ""


def _classed(json: JsonObject, kind: str, inner: list[JsonObject]) -> tuple[str, list[JsonObject], str]:
    tag, name = _CLASSES[kind]
    box = ""
    if kind == "panel":
        name = f"panel panel-{attr(json, 'panelType') or 'info'}"
    elif kind == "applicationCard":
        inner = card_blocks(json)
    elif kind == "taskItem":
        checked = " checked" if attr(json, "state") == "DONE" else ""
        box = f'<input type="checkbox" disabled{checked}> '
    return f'<{tag} class="{escape(name)}">{box}', inner, f"</{tag}>\n"


def _inline(json: JsonObject) -> str:
    shown = escape(shown_text(json))
    match kind_of(json):
        case "text":
            return _marked(shown, json)
        case "hardBreak":
            return "<br>"
        case "mention":
            return f'<span class="mention" data-user-id="{escape(attr(json, "id"))}">{shown}</span>'
        case "emoji":
            return f'<span class="emoji" title="{escape(attr(json, "shortName"))}">{shown}</span>'
        case "date":
            return f'<time datetime="{escape(date_text(json))}">{shown}</time>'
        case "placeholder":
            return f'<span class="placeholder">{shown}</span>'
        case _:
            return f'<span class="extension">{shown}</span>'


def _marked(shown: str, json: JsonObject) -> str:
    """Return escaped text inside its marks: code is innermost, and the link is outermost."""
    marks = {mark["type"]: mark for mark in objects(json.get("marks")) if isinstance(mark.get("type"), str)}
    for kind in ("code", "strike", "underline", "em", "strong"):
        if kind in marks:
            shown = f"<{_MARK_TAGS[kind]}>{shown}</{_MARK_TAGS[kind]}>"
    if "subsup" in marks and (raised := attr(marks["subsup"], "type")) in {"sub", "sup"}:
        shown = f"<{raised}>{shown}</{raised}>"
    if "textColor" in marks and _COLOR.fullmatch(color := attr(marks["textColor"], "color")):
        shown = f'<span style="color: {color}">{shown}</span>'
    if "action" in marks:
        shown = f'<span class="action" title="{escape(attr(marks["action"], "title"))}">{shown}</span>'
    if "link" in marks and (href := safe_href(attr(marks["link"], "href"))) is not None:
        title = attr(marks["link"], "title")
        titled = f' title="{escape(title)}"' if title else ""
        shown = f'<a href="{escape(href)}"{titled} rel="noopener noreferrer">{shown}</a>'
    return shown


def _media(json: JsonObject) -> str:
    url = safe_href(attr(json, "url"))
    if url is not None and not url.lower().startswith("mailto:"):
        return f'<img src="{escape(url)}" alt="">\n'
    return f'<span class="media" data-media-id="{escape(attr(json, "id"))}"></span>\n'


def _cell_attributes(json: JsonObject) -> str:
    spans = "".join(
        f' {name}="{span}"' for name in ("colspan", "rowspan") if (span := _integer(json, name, _LARGEST_SPAN)) > 1
    )
    background = attr(json, "background")
    return spans + (f' style="background: {background}"' if _COLOR.fullmatch(background) else "")


def _heading_level(json: JsonObject) -> int:
    return _integer(json, "level", 6) or 1


def _integer(json: JsonObject, name: str, largest: int) -> int:
    """Return an attribute that is an integer from 0 to `largest`; 0 if it is anything else."""
    found = json.get("attrs")
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest else 0
