"""The closed schema of documents (protocol 8): what each node and mark may have and hold.

One table says it. `problems` reads a whole document against it, `node_problems` one node,
which is how the builders refuse what the service would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import attrs

from stride_async.document._nodes import JsonObject, Node, json_of, objects, shown

DEEPEST = 200
"""Levels of nodes; what stands deeper is one problem and is not looked at."""


@attrs.frozen
class Problem:
    """One thing in a document that the schema does not allow, and where: `$.content[0].attrs.level`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


Rule: TypeAlias = Callable[[object, str], Iterator[Problem]]
"""Yields what is wrong with a value at a path."""


def _simple(expected: str, fits: Callable[[object], bool]) -> Rule:
    def rule(value: object, path: str) -> Iterator[Problem]:
        if not fits(value):
            yield Problem(path, f"expected {expected}, not {shown(value)}")

    return rule


def _matching(pattern: str, expected: str) -> Rule:
    matches = re.compile(pattern, re.IGNORECASE if "://" in pattern else 0).fullmatch
    return _simple(expected, lambda value: isinstance(value, str) and matches(value) is not None)


def _one_of(*words: str) -> Rule:
    listed = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return _simple(listed, lambda value: isinstance(value, str) and value in words)


def _number(expected: str, lowest: float, *, whole: bool = True) -> Rule:
    kinds = int if whole else (int, float)
    return _simple(
        expected, lambda value: isinstance(value, kinds) and not isinstance(value, bool) and bool(value >= lowest)
    )


def _object(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    rules = {**required, **(optional or {})}

    def rule(value: object, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield Problem(path, f"expected an object, not {shown(value)}")
            return
        for name in required:
            if name not in value:
                yield Problem(path, f"{name} is required")
        for name, member in value.items():
            if name in rules:
                yield from rules[name](member, f"{path}.{name}")
            else:
                yield Problem(f"{path}.{name}", "is not known here")

    return rule


def _list_of(item: Rule) -> Rule:
    def rule(value: object, path: str) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield Problem(path, f"expected a list, not {shown(value)}")
            return
        for number, member in enumerate(value):
            yield from item(member, f"{path}[{number}]")

    return rule


STRING = _simple("text", lambda value: isinstance(value, str))
NON_EMPTY = _simple("text of one character or more", lambda value: isinstance(value, str) and bool(value))
BOOLEAN = _simple("true or false", lambda value: isinstance(value, bool))
JSON_OBJECT = _simple("an object", lambda value: isinstance(value, dict))
_ANYTHING = _simple("anything", lambda _: True)
POSITIVE = _number("a whole number of 1 or more", 1)
LENGTH = _number("a number of 0 or more", 0, whole=False)
LINK = _matching(r"(?:https?://|data:image/).+", "an http, https or data:image address")
IMAGE = _matching(r"(?:https://|data:image/).+", "an https or data:image address")

_LANGUAGES = """
    abap actionscript ada arduino autoit c c++ coffeescript csharp css cuda d dart delphi elixir erlang fortran foxpro
    go groovy haskell haxe html java javascript json julia kotlin latex livescript lua mathematica matlab objective-c
    objective-j objectpascal ocaml octave perl php powershell prolog puppet python qml r racket restructuredtext ruby
    rust sass scala scheme shell smalltalk sql standardml swift tcl tex text typescript vala vbnet verilog vhdl xml
    xquery
"""
LANGUAGES = frozenset(_LANGUAGES.split())
"""What a code block's `language` may be."""

_ICON = _object({"url": IMAGE, "label": STRING})
_TARGET = _object({"key": STRING}, {"receiver": STRING})
_ACTION: tuple[dict[str, Rule], dict[str, Rule]] = (
    {"title": STRING, "target": _TARGET},
    {"key": STRING, "parameters": JSON_OBJECT},
)
_BADGE = _object(
    {"value": _number("a number", float("-inf"), whole=False)},
    {
        "max": _number("a number", float("-inf"), whole=False),
        "theme": _one_of("default", "dark"),
        "appearance": _one_of("default", "primary", "important", "added", "removed"),
    },
)
_LOZENGE = _object(
    {"text": STRING},
    {"bold": BOOLEAN, "appearance": _one_of("default", "success", "removed", "inprogress", "new", "moved")},
)
_DETAIL = _object(
    {},
    {
        "title": STRING,
        "text": STRING,
        "icon": _ICON,
        "badge": _BADGE,
        "lozenge": _LOZENGE,
        "users": _list_of(_object({"icon": _ICON}, {"id": STRING})),
    },
)
_CARD = _object(
    {"text": STRING, "title": _object({"text": STRING}, {"user": _object({"icon": _ICON}, {"id": STRING})})},
    {
        "textUrl": IMAGE,
        "link": _object({"url": LINK}),
        "background": _object({"url": IMAGE}),
        "preview": _object({"url": IMAGE}),
        "collapsible": BOOLEAN,
        "description": _object({"text": STRING}),
        "context": _object({"text": STRING}, {"icon": _ICON}),
        "details": _list_of(_DETAIL),
        "actions": _list_of(_object(*_ACTION)),
    },
)
_EXTENSION = _object({"extensionType": NON_EMPTY, "extensionKey": NON_EMPTY}, {"parameters": _ANYTHING, "text": STRING})
_CELL = _object({}, {"colspan": POSITIVE, "rowspan": POSITIVE, "colwidth": _list_of(POSITIVE), "background": STRING})
_FILE = _object(
    {"type": _one_of("file", "link", "external"), "id": NON_EMPTY, "collection": STRING},
    {"occurrenceKey": STRING, "width": LENGTH, "height": LENGTH},
)
_EXTERNAL = _object({"type": _one_of("external"), "url": NON_EMPTY}, {"width": LENGTH, "height": LENGTH})


def _media(value: object, path: str) -> Iterator[Problem]:
    external = isinstance(value, dict) and value.get("type") == "external"
    return (_EXTERNAL if external else _FILE)(value, path)


INLINE = ("text", "hardBreak", "mention", "emoji", "inlineExtension", "date", "placeholder")
BLOCKS = (
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "panel",
    "codeBlock",
    "blockquote",
    "rule",
    "decisionList",
    "taskList",
    "mediaGroup",
    "mediaSingle",
    "table",
    "applicationCard",
    "extension",
    "bodiedExtension",
)


_IN_CELLS = tuple(kind for kind in BLOCKS if kind not in {"table", "bodiedExtension"})


@attrs.frozen(eq=False, repr=False)
class Kind:
    """What one type of node may have: attributes by `attrs`, and children of the types in `content`.

    `content` None: the node has no children. `least` None: `content` itself may be left out.
    """

    attrs: Rule | None = None
    attrs_required: bool = False
    content: tuple[str, ...] | None = None
    least: int | None = 0
    most: int | None = None
    first: tuple[str, ...] | None = None


def _with_attrs(rule: Rule, content: tuple[str, ...] | None = None, least: int | None = 0) -> Kind:
    return Kind(rule, attrs_required=True, content=content, least=least)


_LIST = _object({"localId": STRING})

KINDS: dict[str, Kind] = {
    "doc": Kind(content=BLOCKS, least=1),
    "paragraph": Kind(content=INLINE),
    "heading": _with_attrs(
        _object({"level": _simple("1 to 6", lambda value: type(value) is int and 1 <= value <= 6)}), INLINE
    ),
    "bulletList": Kind(content=("listItem",), least=1),
    "orderedList": Kind(_object({}, {"order": POSITIVE}), content=("listItem",), least=1),
    "listItem": Kind(
        content=("paragraph", "mediaSingle", "bulletList", "orderedList"), least=1, first=("paragraph", "mediaSingle")
    ),
    "panel": _with_attrs(
        _object({"panelType": _one_of("info", "note", "tip", "warning", "error", "success")}),
        ("paragraph", "heading", "bulletList", "orderedList"),
        1,
    ),
    "codeBlock": Kind(
        _object(
            {},
            {"language": _simple("one of the languages", lambda value: isinstance(value, str) and value in LANGUAGES)},
        ),
        content=("text",),
        least=None,
    ),
    "blockquote": Kind(content=("paragraph",), least=1),
    "rule": Kind(),
    "decisionList": _with_attrs(_LIST, ("decisionItem",), 1),
    "decisionItem": _with_attrs(_object({"localId": STRING, "state": STRING}), INLINE),
    "taskList": _with_attrs(_LIST, ("taskItem",), 1),
    "taskItem": _with_attrs(_object({"localId": STRING, "state": _one_of("TODO", "DONE")}), INLINE),
    "mediaGroup": Kind(content=("media",), least=1),
    "mediaSingle": Kind(
        _object({"layout": _one_of("center", "wrap-left", "wrap-right", "wide", "full-width")}),
        content=("media",),
        least=1,
        most=1,
    ),
    "media": _with_attrs(_media),
    "table": Kind(_object({}, {"isNumberColumnEnabled": BOOLEAN, "layout": STRING}), content=("tableRow",), least=1),
    "tableRow": Kind(content=("tableHeader", "tableCell")),
    "tableCell": Kind(_CELL, content=_IN_CELLS, least=1),
    "tableHeader": Kind(_CELL, content=_IN_CELLS, least=1),
    "applicationCard": _with_attrs(_CARD),
    "extension": _with_attrs(_EXTENSION),
    "bodiedExtension": _with_attrs(_EXTENSION, BLOCKS, 1),
    "text": Kind(),
    "hardBreak": Kind(_object({}, {"text": _simple("a line feed", lambda value: value == "\n")})),
    "mention": _with_attrs(
        _object(
            {"id": NON_EMPTY},
            {"text": STRING, "accessLevel": STRING, "userType": _one_of("DEFAULT", "SPECIAL", "APP")},
        )
    ),
    "emoji": _with_attrs(
        _object({"shortName": _matching(r":[^\s]+:", "a name between colons")}, {"id": STRING, "text": STRING})
    ),
    "inlineExtension": _with_attrs(_EXTENSION),
    "date": _with_attrs(_object({"timestamp": NON_EMPTY})),
    "placeholder": _with_attrs(_object({"text": STRING})),
}

MARKS: dict[str, Rule | None] = {
    "strong": None,
    "em": None,
    "strike": None,
    "underline": None,
    "code": None,
    "subsup": _object({"type": _one_of("sub", "sup")}),
    "textColor": _object({"color": _matching(r"#[0-9a-f]{6}", "a color such as #36b37e, in lower case")}),
    "link": _object(
        {"href": NON_EMPTY}, {"title": STRING, "id": STRING, "collection": STRING, "occurrenceKey": STRING}
    ),
    "action": _object(*_ACTION),
}

_Place: TypeAlias = "tuple[_Place, int] | None"


def problems(root: Node) -> tuple[Problem, ...]:
    """Everything the schema does not allow in a document, in reading order."""
    found: list[Problem] = []
    stack: list[tuple[JsonObject, _Place, int]] = [(json_of(root), None, 1)]
    while stack:
        json, place, depth = stack.pop()
        kind = json.get("type")
        if not isinstance(kind, str) or kind not in KINDS:
            continue  # said where its parent was looked at
        found.extend(Problem(_path(place) + problem.path[1:], problem.message) for problem in node_problems(json))
        content = json.get("content")
        if not isinstance(content, list):
            continue
        if depth == DEEPEST and content:
            found.append(Problem(f"{_path(place)}.content", f"nested deeper than {DEEPEST} levels"))
            continue
        stack.extend(
            (child, (place, number), depth + 1)
            for number, child in reversed(list(enumerate(content)))
            if isinstance(child, dict)
        )
    return tuple(found)


def node_problems(json: JsonObject) -> Iterator[Problem]:
    """What is wrong with a node of a known type, its children's types included, but not what they hold."""
    name = str(json["type"])
    kind = KINDS[name]
    yield from _field_problems(json, name, kind)
    if kind.attrs is not None and "attrs" in json:
        yield from kind.attrs(json["attrs"], "$.attrs")
    elif kind.attrs_required:
        yield Problem("$", f"attrs is required for {name}")
    if name == "text":
        yield from NON_EMPTY(json.get("text"), "$.text")
        if "marks" in json:
            yield from _mark_problems(json["marks"])
    if name == "doc" and (json.get("version") != 1 or isinstance(json.get("version"), bool)):
        yield Problem("$.version", f"expected 1, not {shown(json.get('version'))}")
    if kind.content is not None:
        yield from _content_problems(json, name, kind, kind.content)


def _field_problems(json: JsonObject, name: str, kind: Kind) -> Iterator[Problem]:
    for field in json:
        known = (
            field == "type"
            or (field == "attrs" and kind.attrs is not None)
            or (field == "content" and kind.content is not None)
            or (field in {"text", "marks"} and name == "text")
            or (field == "version" and name == "doc")
        )
        if not known:
            yield Problem(f"$.{field}", f"a {name} has no {field}")


def _mark_problems(marks: object) -> Iterator[Problem]:
    if not isinstance(marks, list):
        yield Problem("$.marks", f"expected a list, not {shown(marks)}")
        return
    seen: set[str] = set()
    for number, mark in enumerate(marks):
        path = f"$.marks[{number}]"
        name = mark.get("type") if isinstance(mark, dict) else None
        if not isinstance(mark, dict) or not isinstance(name, str) or name not in MARKS:
            yield Problem(path, f"unknown mark {shown(mark if name is None else name)}")
            continue
        if name in seen:
            yield Problem(path, f"{name} is there twice")
        seen.add(name)
        rule = MARKS[name]
        yield from _object({"type": STRING} | ({"attrs": rule} if rule else {}))(mark, path)
    if "code" in seen and (others := seen - {"code", "link"}):
        yield Problem("$.marks", f"code goes with link only, not with {', '.join(sorted(others))}")


def _content_problems(json: JsonObject, name: str, kind: Kind, allowed: tuple[str, ...]) -> Iterator[Problem]:
    if "content" not in json and kind.least is None:
        return
    content = json.get("content")
    if not isinstance(content, list):
        yield Problem("$.content", f"expected a list, not {shown(content)}")
        return
    if len(content) < (kind.least or 0):
        yield Problem("$.content", f"a {name} holds at least {kind.least}: {_listed(allowed)}")
    if kind.most is not None and len(content) > kind.most:
        yield Problem("$.content", f"a {name} holds {kind.most}, not {len(content)}")
    for number, child in enumerate(content):
        expected = kind.first if kind.first is not None and number == 0 else allowed
        if (message := _child_problem(child, name, expected)) is not None:
            yield Problem(f"$.content[{number}]", message)
    if name == "tableRow" and len({child.get("type") for child in objects(content)} & {"tableHeader", "tableCell"}) > 1:
        yield Problem("$.content", "a tableRow is all tableHeader or all tableCell")
    if name == "codeBlock" and any("marks" in child for child in objects(content)):
        yield Problem("$.content", "text in a codeBlock has no marks")


def _child_problem(child: object, parent: str, expected: tuple[str, ...]) -> str | None:
    if not isinstance(child, dict):
        return f"expected a node, not {shown(child)}"
    kind = child.get("type")
    if not isinstance(kind, str):
        return f"expected a type, not {shown(kind)}"
    if kind not in KINDS:
        return f"unknown node type {shown(kind)}"
    if kind not in expected:
        return f"a {parent} holds {_listed(expected)} here, not {kind}"
    return None


def _listed(types: tuple[str, ...]) -> str:
    return {INLINE: "inline nodes", BLOCKS: "blocks", _IN_CELLS: "blocks other than tables"}.get(types) or " or ".join(
        types
    )


def _path(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, number = place
        steps.append(f".content[{number}]")
    return "$" + "".join(reversed(steps))
