"""Documents, valid and not, that go through every node, mark and attribute of the schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
Path = tuple[str | int, ...]


def text(value: str, *marks: Json) -> Json:
    return {"type": "text", "text": value} | ({"marks": list(marks)} if marks else {})


def mark(kind: str, /, **attrs: object) -> Json:
    return {"type": kind} | ({"attrs": attrs} if attrs else {})


def node(type: str, /, *content: Json, **attrs: object) -> Json:
    return {"type": type} | ({"attrs": attrs} if attrs else {}) | ({"content": list(content)} if content else {})


def document(*blocks: object) -> Json:
    return {"version": 1, "type": "doc", "content": list(blocks)}


PARAGRAPH = node("paragraph", text("x"))
ITEM = node("listItem", PARAGRAPH)
FILE = node("media", type="file", id="m", collection="c", occurrenceKey="k", width=1, height=2)
ICON = {"url": "https://e.org/i.png", "label": "i"}
USER = {"icon": ICON, "id": "u"}
ACTION = {"title": "t", "target": {"key": "k", "receiver": "r"}, "key": "a", "parameters": {"x": 1}}
CELL = {"colspan": 1, "rowspan": 1, "colwidth": [10, 20], "background": "#eeeeee"}
EXTENSION = {"extensionType": "com.example", "extensionKey": "k", "parameters": {"x": [1]}, "text": "t"}
CARD = {
    "text": "t",
    "textUrl": "https://e.org",
    "title": {"text": "t", "user": USER},
    "link": {"url": "http://e.org"},
    "background": {"url": "https://e.org/b.png"},
    "preview": {"url": "data:image/png;base64,AA=="},
    "collapsible": True,
    "description": {"text": "d"},
    "context": {"text": "c", "icon": ICON},
    "details": [
        {
            "title": "t",
            "text": "x",
            "icon": ICON,
            "badge": {"value": 1, "max": 9, "theme": "dark", "appearance": "added"},
            "lozenge": {"text": "l", "bold": True, "appearance": "moved"},
            "users": [USER],
        }
    ],
    "actions": [ACTION],
}

INLINE_NODES = [
    text("x"),
    text("x", mark("strong"), mark("em"), mark("strike"), mark("underline")),
    text("x", mark("code"), mark("link", href="https://e.org")),
    text("x", mark("subsup", type="sub"), mark("textColor", color="#97a0af"), mark("action", **ACTION)),
    text("x", mark("link", href="h", title="t", id="i", collection="c", occurrenceKey="o")),
    node("hardBreak", text="\n"),
    node("mention", id="u", text="@U", accessLevel="CONTAINER", userType="APP"),
    node("emoji", shortName=":x:", id="e", text="x"),
    node("inlineExtension", **EXTENSION),
    node("date", timestamp="0"),
    node("placeholder", text="p"),
]
BLOCK_NODES = [
    *(node("paragraph", inline) for inline in INLINE_NODES),
    node("heading", text("x"), level=2),
    node("bulletList", ITEM, node("listItem", PARAGRAPH, node("bulletList", ITEM))),
    node("orderedList", ITEM, order=2),
    node("panel", PARAGRAPH, node("heading", text("x"), level=6), node("bulletList", ITEM), panelType="info"),
    node("codeBlock", text("x"), language="python"),
    node("blockquote", PARAGRAPH),
    node("rule"),
    node("decisionList", node("decisionItem", text("x"), localId="i", state="DECIDED"), localId="l"),
    node("taskList", node("taskItem", text("x"), localId="i", state="TODO"), localId="l"),
    node("mediaGroup", FILE, node("media", type="link", id="m", collection="c")),
    node("mediaSingle", node("media", type="external", url="https://e.org", width=1, height=2), layout="center"),
    node(
        "table",
        node("tableRow", node("tableHeader", PARAGRAPH, **CELL)),
        node("tableRow", node("tableCell", PARAGRAPH, **CELL), node("tableCell", PARAGRAPH)),
        isNumberColumnEnabled=True,
        layout="wide",
    ),
    node("applicationCard", **CARD),
    node("extension", **EXTENSION),
    node("bodiedExtension", PARAGRAPH, **EXTENSION),
]
PARTS = [
    ITEM,
    node("decisionItem", text("x"), localId="i", state="DECIDED"),
    node("taskItem", text("x"), localId="i", state="DONE"),
    FILE,
    node("tableRow", node("tableCell", PARAGRAPH)),
    node("tableCell", PARAGRAPH),
    node("tableHeader", PARAGRAPH),
    document(PARAGRAPH),
]
NODES = [*BLOCK_NODES, *INLINE_NODES, *PARTS, node("video"), {"type": {}}, {"type": []}, {}, None, "x", 1, []]

VALUES = [
    *(None, True, False, 0, 1, 2, 6, 7, -1, 1.0, 1.5, 0.5, 1e300, 10**30),
    *("", "x", "\n", ":x:", "text", "clojure", "go", "#97a0af", "#97A0AF", "red", "0", "APP", "TODO", "DECIDED"),
    *("sub", "file", "link", "external", "center", "wide", "default", "full-width", "success", "dark", "primary"),
    *("http://e.org", "https://e.org", "https://", "HTTPS://e.org", "data:image/png", "ftp://e.org", " https://e.org"),
    *([], {}, [1], ["x"], [1.5], [{}], [None], {"x": 1}, {"text": "x"}, {"url": "https://e.org"}, {"key": "k"}),
]
FIELDS = {
    "attrs": [{}, None, {"x": 1}, {"text": "x"}, {"level": 1}],
    "content": [[], None, [{}], [text("x")], [PARAGRAPH], [text("x") | {"marks": []}]],
    "marks": [
        *([], None, [{}], [None], ["em"], {}, "em", [mark("em")], [mark("blink")], [mark("em"), mark("em")]),
        *(
            [mark("code")],
            [mark("code"), mark("em")],
            [mark("code"), mark("link", href="")],
            [{"type": "em", "attrs": {}}],
        ),
        *([mark("link")], [mark("confluenceInlineComment", reference="r")], [{"type": {}}], [{"type": []}]),
    ],
    "text": ["x", ""],
    "version": [1, 2, "1", 1.0, True],
    "x": [1],
}


def documents() -> Iterator[Json]:
    """Yield every valid node, then each of them with one thing changed in every way."""
    seen: set[str] = set()
    for block in BLOCK_NODES:
        valid = document(block)
        for changed in [valid, *_changes(valid)]:
            key = json.dumps(changed)
            if key not in seen:
                seen.add(key)
                yield changed


def _changes(valid: Json) -> Iterator[Json]:
    for path, value in list(places_in(valid)):
        if path:
            yield _without(valid, path)
            for other in NODES if isinstance(path[-1], int) and path[-2] == "content" else VALUES:
                yield with_value(valid, path, other)
        if isinstance(value, dict):
            for field, values in FIELDS.items():
                for other in values:
                    yield with_value(valid, (*path, field), other)
        if isinstance(value, list):
            for other in [*NODES, *value] if path[-1] == "content" else [*value, 1, {}]:
                yield with_value(valid, path, [*value, other])
                yield with_value(valid, path, [other, *value])
                yield with_value(valid, path, [*value, other, other])


def places_in(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield every value inside a JSON value with its path, the outermost first."""
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places_in(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places_in(inner, (*path, number))


def with_value(valid: Json, path: Path, value: object) -> Json:
    """Return a copy with another value at a path."""
    changed: Any = copy.deepcopy(valid)
    place = _parent(changed, path)
    place[path[-1]] = value
    return changed


def _without(valid: Json, path: Path) -> Json:
    changed: Any = copy.deepcopy(valid)
    del _parent(changed, path)[path[-1]]
    return changed


def _parent(value: Any, path: Path) -> Any:
    for step in path[:-1]:
        value = value[step]
    return value
