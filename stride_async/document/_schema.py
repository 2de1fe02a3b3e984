"""The closed schema of documents (protocol 8): what each type of node and mark may have and hold.

`KINDS` and `MARKS` are the schema. `problems` checks a complete document; `node_problems` checks one node, which is how
the builders refuse what the service would refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import attrs
import msgspec

from stride_async.document._nodes import JsonObject, Node, json_of, kind_of, objects, shown
from stride_async.document._text import INLINE, without_surrogates

DEEPEST = 300
"""How many JSON objects and lists may be inside one another, the document itself included (protocol 8.5)."""


@attrs.frozen
class Problem:
    """One thing in a document that the schema does not allow."""

    path: str
    """Where it is, such as `$.content[0].attrs.level`."""
    message: str
    """What is wrong there."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


Rule: TypeAlias = Callable[[object, str], Iterator[Problem]]
"""A check of a value at a path: it yields what is wrong."""


def _simple(expected: str, fits: Callable[[object], bool]) -> Rule:
    def rule(value: object, path: str) -> Iterator[Problem]:
        if not fits(value):
            yield Problem(path, f"expected {expected}, not {shown(value)}")

    return rule


def _beginning_with(expected: str, *prefixes: str) -> Rule:
    return _simple(expected, lambda value: isinstance(value, str) and value.startswith(prefixes))


def _one_of(*words: str) -> Rule:
    listed = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return _simple(listed, lambda value: isinstance(value, str) and value in words)


def _number(expected: str, lowest: float = -math.inf, highest: float = math.inf) -> Rule:
    def fits(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest

    return _simple(expected, fits)


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
                yield Problem(f"{path}.{without_surrogates(name)}", "is not allowed here")

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
NUMBER = _number("a number")
_ANYTHING = _simple("anything", lambda _: True)
LINK = _beginning_with("an http, https or data:image URL", "https://", "http://", "data:image/")
IMAGE = _beginning_with("an https or data:image URL", "https://", "data:image/")

_LANGUAGES = """
    abap actionscript ada arduino autoit c c++ clojure coffeescript csharp css cuda d dart delphi elixir erlang fortran
    foxpro go groovy haskell haxe html java javascript json julia kotlin latex livescript lua mathematica matlab
    objective-c objective-j objectpascal ocaml octave perl php powershell prolog puppet python qml r racket
    restructuredtext ruby rust sass scala scheme shell smalltalk sql standardml swift tcl tex typescript vala vbnet
    verilog vhdl xml xquery
"""
LANGUAGES = frozenset(_LANGUAGES.split())
"""What a code block's `language` may be."""

_ICON = _object({"url": IMAGE, "label": STRING})
_TARGET = _object({"key": STRING}, {"receiver": STRING})
_ACTION: tuple[dict[str, Rule], dict[str, Rule]] = (
    {"title": STRING, "target": _TARGET},
    {"key": STRING, "parameters": _ANYTHING},
)
_BADGE = _object(
    {"value": NUMBER},
    {
        "max": NUMBER,
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
        "textUrl": STRING,
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
_CELL = _object({}, {"colspan": NUMBER, "rowspan": NUMBER, "colwidth": _list_of(NUMBER), "background": STRING})
_FILE = _object(
    {"type": _one_of("file", "link", "external"), "id": NON_EMPTY, "collection": STRING},
    {"occurrenceKey": NON_EMPTY, "width": NUMBER, "height": NUMBER},
)
_EXTERNAL = _object({"type": _one_of("external"), "url": STRING}, {"width": NUMBER, "height": NUMBER})


_COLOR = re.compile(r"#[0-9a-f]{6}")


def _is_color(value: object) -> bool:
    return isinstance(value, str) and _COLOR.fullmatch(value) is not None


def _media(value: object, path: str) -> Iterator[Problem]:
    external = isinstance(value, dict) and value.get("type") == "external"
    return (_EXTERNAL if external else _FILE)(value, path)


_Types: TypeAlias = tuple[str, ...] | frozenset[str]

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
_IN_EXTENSIONS = tuple(kind for kind in BLOCKS if kind != "bodiedExtension")
_IN_CELLS = tuple(kind for kind in _IN_EXTENSIONS if kind != "table")


class Kind(msgspec.Struct, frozen=True, eq=False):
    """What one type of node may have: attributes that pass `attrs`, and children of the types in `content`.

    The node has no children if `content` is None, and may lack the field `content` if `least` is None. `first` are the
    types that its first child may have, if they differ.
    """

    attrs: Rule | None = None
    attrs_required: bool = False
    content: _Types | None = None
    least: int | None = 0
    most: int | None = None
    first: _Types | None = None


def _with_attrs(rule: Rule, content: _Types | None = None, least: int | None = 0) -> Kind:
    return Kind(rule, attrs_required=True, content=content, least=least)


_LIST = _object({"localId": STRING})

KINDS: dict[str, Kind] = {
    "doc": Kind(content=BLOCKS, least=1),
    "paragraph": Kind(content=INLINE),
    "heading": _with_attrs(_object({"level": _number("1 to 6", 1, 6)}), INLINE),
    "bulletList": Kind(content=("listItem",), least=1),
    "orderedList": Kind(_object({"order": _number("a number of 1 or more", 1)}), content=("listItem",), least=1),
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
    "table": Kind(
        _object({}, {"isNumberColumnEnabled": BOOLEAN, "layout": _one_of("default", "wide", "full-width")}),
        content=("tableRow",),
        least=1,
    ),
    "tableRow": Kind(content=("tableHeader", "tableCell")),
    "tableCell": Kind(_CELL, content=_IN_CELLS, least=1),
    "tableHeader": Kind(_CELL, content=_IN_CELLS, least=1),
    "applicationCard": _with_attrs(_CARD),
    "extension": _with_attrs(_EXTENSION),
    "bodiedExtension": _with_attrs(_EXTENSION, _IN_EXTENSIONS, 1),
    "text": Kind(),
    "hardBreak": Kind(_object({}, {"text": _simple("a line feed", lambda value: value == "\n")})),
    "mention": _with_attrs(
        _object(
            {"id": STRING},
            {"text": STRING, "accessLevel": STRING, "userType": _one_of("DEFAULT", "SPECIAL", "APP")},
        )
    ),
    "emoji": _with_attrs(_object({"shortName": STRING}, {"id": STRING, "text": STRING})),
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
    "textColor": _object({"color": _simple("a color such as #36b37e, in lower case", _is_color)}),
    "link": _object({"href": STRING}, {"title": STRING, "id": STRING, "collection": STRING, "occurrenceKey": STRING}),
    "action": _object(*_ACTION),
}

_Place: TypeAlias = "tuple[_Place, int] | None"


def problems(root: Node) -> tuple[Problem, ...]:
    """Return everything in a document that the schema does not allow, in reading order."""
    if _is_too_deep(json_of(root)):
        return (Problem("$", f"more than {DEEPEST} objects and lists are nested"),)
    found: list[Problem] = []
    stack: list[tuple[JsonObject, _Place]] = [(json_of(root), None)]
    while stack:
        json, place = stack.pop()
        if kind_of(json) not in KINDS:
            continue  # a problem of its parent
        found.extend(Problem(_path(place) + problem.path[1:], problem.message) for problem in node_problems(json))
        content = json.get("content")
        children = list(enumerate(content)) if isinstance(content, list) else []
        stack.extend((child, (place, number)) for number, child in reversed(children) if isinstance(child, dict))
    return tuple(found)


def _is_too_deep(json: JsonObject) -> bool:
    level: list[object] = [json]
    for _ in range(DEEPEST + 1):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return False
        level = inner
    return True


def node_problems(json: JsonObject) -> Iterator[Problem]:
    """Yield what is wrong with a node of a known type and with the types of its children, but not below them."""
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
            shown_field = without_surrogates(field)
            yield Problem(f"$.{shown_field}", f"a {name} has no {shown_field}")


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
            yield Problem(path, f"{name} is repeated")
        seen.add(name)
        rule = MARKS[name]
        yield from _object({"type": STRING} | ({"attrs": rule} if rule else {}))(mark, path)
    if "code" in seen and (others := seen - {"code", "link"}):
        yield Problem("$.marks", f"code can be combined only with link, not with {', '.join(sorted(others))}")


def _content_problems(json: JsonObject, name: str, kind: Kind, allowed: _Types) -> Iterator[Problem]:
    if "content" not in json and kind.least is None:
        return
    content = json.get("content")
    if not isinstance(content, list):
        yield Problem("$.content", f"expected a list, not {shown(content)}")
        return
    if len(content) < (kind.least or 0):
        yield Problem("$.content", f"a {name} must contain at least {kind.least}: {_listed(allowed)}")
    if kind.most is not None and len(content) > kind.most:
        yield Problem("$.content", f"a {name} must contain {kind.most}, not {len(content)}")
    for number, child in enumerate(content):
        expected = kind.first if kind.first is not None and number == 0 else allowed
        if (message := _child_problem(child, name, expected)) is not None:
            yield Problem(f"$.content[{number}]", message)
    if name == "tableRow" and {"tableHeader", "tableCell"} <= set(map(kind_of, objects(content))):
        yield Problem("$.content", "a tableRow is all tableHeader or all tableCell")
    if name == "codeBlock" and any(child.get("marks", []) != [] for child in objects(content)):
        yield Problem("$.content", "text in a codeBlock has no marks")


def _child_problem(child: object, parent: str, expected: _Types) -> str | None:
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


def _listed(types: _Types) -> str:
    names: dict[_Types, str] = {
        INLINE: "inline nodes",
        BLOCKS: "blocks",
        _IN_EXTENSIONS: "blocks other than bodiedExtension",
        _IN_CELLS: "blocks other than table and bodiedExtension",
    }
    return names.get(types) or " or ".join(types)


def _path(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, number = place
        steps.append(f".content[{number}]")
    return "$" + "".join(reversed(steps))
