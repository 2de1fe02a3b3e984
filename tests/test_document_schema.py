"""Which documents are valid: by the client, by the local server, and by the schema that Atlassian published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from stride_async.document import Document
from stride_async.server._documents import problems
from tests.schema_cases import ITEM, PARAGRAPH, Json, document, documents, mark, node, text

OFFICIAL = Path(__file__).parents[1].parent / "shared/data/adf-schema/full.json"


def is_valid(document: Json) -> tuple[bool, bool]:
    """Return the verdicts of the client and of the local server."""
    by_client = document.get("type") == "doc" and not Document.from_json(document).validate()
    return by_client, not problems(document)


def code_block(**attrs: object) -> Json:
    return node("codeBlock", text("x"), **attrs)


def marked(*marks: Any) -> Json:
    return node("paragraph", {"type": "text", "text": "x", "marks": list(marks)})


def cell(**attrs: object) -> Json:
    return node("table", node("tableRow", node("tableCell", PARAGRAPH, **attrs)))


def card(**attrs: object) -> Json:
    return node("applicationCard", text="t", title={"text": "t"}, **attrs)


def nested_lists(levels: int) -> Json:
    block = node("bulletList", ITEM)
    for _ in range(levels - 1):
        block = node("bulletList", node("listItem", PARAGRAPH, block))
    return block


VALID = {
    "clojure": code_block(language="clojure"),
    "code with an empty list of marks": node("codeBlock", text("x") | {"marks": []}),
    "code without content": {"type": "codeBlock"},
    "an emoji without colons": node("paragraph", node("emoji", shortName="smile")),
    "a mention without a name": node("paragraph", node("mention", id="")),
    "a link to nowhere": marked(mark("link", href="")),
    "parameters of any kind": marked(mark("action", title="t", target={"key": ""}, parameters=[1])),
    "a card that links to any text": card(textUrl="see below"),
    "an action of a card with any parameters": card(actions=[{"title": "t", "target": {"key": "k"}, "parameters": 1}]),
    "a card that links to http": card(link={"url": "http://"}),
    "a fractional width": cell(colwidth=[0.5, -1], colspan=0, rowspan=1.5),
    "a wide table": cell() | {"attrs": {"layout": "full-width"}},
    "a fractional level": node("heading", text("x"), level=1.5) | {"content": []},
    "an image without a URL": node("mediaSingle", node("media", type="external", url="", width=-1)),
    "a table in an extension": node("bodiedExtension", cell(), extensionType="t", extensionKey="k"),
    "code that is a link": marked(mark("code"), mark("link", href="h")),
}
INVALID = {
    "text as a language": code_block(language="text"),
    "a language in capitals": code_block(language="Python"),
    "marked text in code": node("codeBlock", text("x", mark("em"))),
    "code whose marks are null": node("codeBlock", text("x") | {"marks": None}),
    "a list without its order": node("orderedList", ITEM) | {"attrs": {}},
    "a list that begins with 0": node("orderedList", ITEM, order=0),
    "an image without its layout": node("mediaSingle", node("media", type="external", url="u")) | {"attrs": {}},
    "a file with an empty key": node("mediaGroup", node("media", type="file", id="m", collection="", occurrenceKey="")),
    "a table of another layout": cell() | {"attrs": {"layout": "huge"}},
    "a row of cells and headers": node(
        "table", node("tableRow", node("tableHeader", PARAGRAPH), node("tableCell", PARAGRAPH))
    ),
    "a table in a cell": node("table", node("tableRow", node("tableCell", cell()))),
    "an extension in an extension": node(
        "bodiedExtension",
        node("bodiedExtension", PARAGRAPH, extensionType="t", extensionKey="k"),
        extensionType="t",
        extensionKey="k",
    ),
    "a preview that is not https": card(preview={"url": "http://e.org"}),
    "a URL in capitals": card(preview={"url": "HTTPS://e.org"}),
    "a color with a line break": marked(mark("textColor", color="#97a0af\n")),
    "a type that is an object": node("table", node("tableRow", {"type": {}, "content": []})),
    "a comment of Confluence": marked(mark("confluenceInlineComment", reference="r")),
    "code that is bold": marked(mark("code"), mark("strong")),
}
STRICTER = {
    "a heading as the third child of a list item": node(
        "bulletList", node("listItem", PARAGRAPH, PARAGRAPH, node("heading", text("x"), level=1))
    ),
    "a text that is a list item's third child": node("bulletList", node("listItem", PARAGRAPH, PARAGRAPH, text("x"))),
    "one mark twice": marked(mark("em"), mark("em")),
}


@pytest.mark.parametrize("name", VALID)
def test_the_client_and_the_server_accept(name):
    """Both take what the published schema takes (protocol 8)."""
    assert (True, True) == is_valid(document(VALID[name]))


@pytest.mark.parametrize("name", [*INVALID, *STRICTER])
def test_the_client_and_the_server_reject(name):
    """Both refuse what the published schema refuses, and what protocol 8.5 adds to it."""
    assert (False, False) == is_valid(document({**INVALID, **STRICTER}[name]))


def test_the_client_and_the_server_agree_how_deep_a_document_may_be():
    """300 objects and lists may be inside one another: that are 73 lists (protocol 8.5)."""
    assert (True, True) == is_valid(document(nested_lists(73)))
    assert (False, False) == is_valid(document(nested_lists(74)))


def test_the_client_and_the_server_agree_on_every_change_of_a_document():
    """Two implementations that share no code give the same verdict."""
    every = list(documents())[::200]

    assert len(every) > 175
    assert [] == [changed for changed in every if len(set(is_valid(changed))) > 1]


@pytest.mark.parametrize("one_of", [120, pytest.param(7, marks=pytest.mark.slow)])
def test_verdicts_are_those_of_the_published_schema(one_of):
    """Of thousands of documents, only those that protocol 8.5 names are valid by the schema but not to us."""
    official = published_schema()
    every = list(documents())[::one_of]

    verdicts = [(changed, official.is_valid(changed), *is_valid(changed)) for changed in every]

    assert len(every) > 35_000 // one_of
    assert len([changed for changed, is_official, _, _ in verdicts if is_official]) > 3500 // one_of
    different = [changed for changed, *three in verdicts if len(set(three)) > 1]
    assert [] == [changed for changed in different if not (official.is_valid(changed) and is_stricter(changed))]


@pytest.mark.parametrize("name", [*VALID, *INVALID, *STRICTER])
def test_the_cases_are_those_of_the_published_schema(name):
    """The cases above are what the schema says, so that they stand for it where it is missing."""
    official = published_schema()
    cases = {**VALID, **INVALID, **STRICTER}

    if name == "a color with a line break":
        pytest.skip("`$` of a pattern stands before a line break in Python, but not in JSON Schema")
    assert official.is_valid(document(cases[name])) is (name not in INVALID)


def published_schema() -> Any:
    """Return a validator of Atlassian's schema, or skip the test if there is none."""
    if not OFFICIAL.is_file():
        pytest.skip("Atlassian's schema is not here")
    schema = json.loads(OFFICIAL.read_text())
    types = {
        f"#/definitions/{name}": each["properties"]["type"]["enum"]
        for name, each in schema["definitions"].items()
        if "type" in each.get("properties", {})
    }

    def any_of(validator: Any, choices: list[Json], found: Any, _schema: Json) -> Iterator[ValidationError]:
        """Try only what the node's type allows: a node that fits none would cost 16 errors with their causes."""
        if isinstance(found, dict):
            choices = [
                each for each in choices if found.get("type") in types.get(each.get("$ref"), [found.get("type")])
            ]
        if not any(validator.evolve(schema=each).is_valid(found) for each in choices):
            yield ValidationError("fits none")

    return extend(Draft4Validator, {"anyOf": any_of})(schema)


def is_stricter(value: object) -> bool:
    """Whether protocol 8.5 adds to the schema here: the third child of a list item, or one mark twice."""
    if isinstance(value, list):
        return any(map(is_stricter, value))
    if not isinstance(value, dict):
        return False
    content, marks = value.get("content"), value.get("marks")
    names = [repr(mark.get("type")) for mark in marks if isinstance(mark, dict)] if isinstance(marks, list) else []
    third = value.get("type") == "listItem" and isinstance(content, list) and len(content) > 2
    return third or len(set(names)) < len(names) or any(map(is_stricter, value.values()))
