"""Documents: conversion from Markdown and plain text, validation, and conversion to text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.server._documents import (
    LANGUAGES,
    from_markdown,
    from_plain,
    problems,
    render_text,
    to_plain_text,
)

MEETUP = Path(__file__).parents[2].parent / "shared/data/meetup"

MARKUP = st.text(alphabet=st.sampled_from("ab1 \n\t*_~`#>-+.|:[]()!<>\\&\"'/h=é\u05d0😀"), max_size=120)


def doc(*blocks):
    return {"version": 1, "type": "doc", "content": list(blocks)}


def paragraph(*inline):
    return {"type": "paragraph", "content": list(inline)}


def text(words, *marks):
    return {"type": "text", "text": words, "marks": list(marks)} if marks else {"type": "text", "text": words}


@given(st.text() | MARKUP)
def test_any_markdown_becomes_a_valid_document(markdown):
    """Any Markdown is converted to a document that follows the strict schema."""
    assert [] == problems(from_markdown(markdown))


@given(st.text())
def test_plain_text_is_kept(plain):
    """One paragraph with hard breaks holds all of the text; line ends are normalized."""
    document = from_plain(plain)

    assert [] == problems(document)
    assert plain.replace("\r\n", "\n").replace("\r", "\n") == to_plain_text(document)


@pytest.mark.parametrize(
    ("markdown", "blocks"),
    [
        ("###### six", [{"type": "heading", "attrs": {"level": 6}, "content": [text("six")]}]),
        ("___", [{"type": "rule"}]),
        (
            "**a** _b_ ~~c~~ `d`",
            [
                paragraph(
                    text("a", {"type": "strong"}),
                    text(" "),
                    text("b", {"type": "em"}),
                    text(" "),
                    text("c", {"type": "strike"}),
                    text(" "),
                    text("d", {"type": "code"}),
                )
            ],
        ),
        (
            "[**`x`**](https://e.org 'T')",
            [
                paragraph(
                    text("x", {"type": "link", "attrs": {"href": "https://e.org", "title": "T"}}, {"type": "code"}),
                )
            ],
        ),
        (
            "see https://e.org/a_(b)_c.",
            [
                paragraph(
                    text("see "),
                    text("https://e.org/a_(b)_c", {"type": "link", "attrs": {"href": "https://e.org/a_(b)_c"}}),
                    text("."),
                )
            ],
        ),
        ("soft\nhard  \nend", [paragraph(text("soft hard"), {"type": "hardBreak"}, text("end"))]),
        ("~~~js\nf()\n~~~", [{"type": "codeBlock", "attrs": {"language": "javascript"}, "content": [text("f()")]}]),
        ("    indented\n", [{"type": "codeBlock", "content": [text("indented")]}]),
        ("```klingon\n```", [{"type": "codeBlock", "content": []}]),
        (
            "3. a\n   - b",
            [
                {
                    "type": "orderedList",
                    "attrs": {"order": 3},
                    "content": [
                        {
                            "type": "listItem",
                            "content": [
                                paragraph(text("a")),
                                {
                                    "type": "bulletList",
                                    "content": [{"type": "listItem", "content": [paragraph(text("b"))]}],
                                },
                            ],
                        }
                    ],
                }
            ],
        ),
        (
            "> # q\n>\n> > 1. a\n> > 2. b",
            [
                {
                    "type": "blockquote",
                    "content": [
                        paragraph(text("q")),
                        paragraph(text("1. "), text("a")),
                        paragraph(text("2. "), text("b")),
                    ],
                }
            ],
        ),
        (
            "> - a\n>\n> ---\n>\n> x | y\n> --- | ---\n> 1 | 2",
            [
                {
                    "type": "blockquote",
                    "content": [
                        paragraph(text("• "), text("a")),
                        paragraph(text("---")),
                        paragraph(text("x"), text(" | "), text("y")),
                        paragraph(text("1"), text(" | "), text("2")),
                    ],
                }
            ],
        ),
        ("![alt](pic.png 't') <b>", [paragraph(text('![alt](pic.png "t") <b>'))]),
        ("", [paragraph()]),
    ],
)
def test_markdown_becomes_nodes(markdown, blocks):
    """Each feature of protocol 5.10 becomes its node; everything else stays text."""
    assert doc(*blocks) == from_markdown(markdown)


def test_table_has_a_row_of_headers_and_rows_of_cells():
    """The first row has headers; each cell has one paragraph and its spans."""
    (table,) = from_markdown("a | b\n--- | ---\n1 | **2**")["content"]

    assert [["tableHeader"] * 2, ["tableCell"] * 2] == [
        [cell["type"] for cell in row["content"]] for row in table["content"]
    ]
    assert {"colspan": 1, "rowspan": 1} == table["content"][1]["content"][1]["attrs"]
    assert [paragraph(text("2", {"type": "strong"}))] == table["content"][1]["content"][1]["content"]


def test_code_in_a_list_item_becomes_lines_marked_as_code():
    """A list item cannot contain a code block, so that its lines become a paragraph of code."""
    (bullets,) = from_markdown("- x\n\n  ```\n  a\n  b\n  ```")["content"]

    code = {"type": "code"}
    assert paragraph(text("a", code), {"type": "hardBreak"}, text("b", code)) == bullets["content"][0]["content"][1]


@pytest.mark.parametrize("markdown", ["- " * 500 + "x", ">" * 3000 + "x", "*" * 3000 + "a" + "*" * 3000, "[" * 3000])
def test_deeply_nested_markdown_is_read(markdown):
    """Deep Markdown reaches no recursion limit and becomes a valid document."""
    assert [] == problems(from_markdown(markdown))


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (paragraph(text("")), "$.content[0].content[0].text: is empty"),
        ({"type": "paragraph"}, "$.content[0]: lacks 'content'"),
        (
            {"type": "heading", "attrs": {"level": 7}, "content": []},
            "$.content[0].attrs.level: expected at most 6, found 7",
        ),
        ({"type": "rule", "attrs": {}}, "$.content[0]: 'attrs' is not part of it"),
        (
            {"type": "blockquote", "content": [{"type": "rule"}]},
            "$.content[0].content[0].type: expected 'paragraph', found 'rule'",
        ),
        (
            {"type": "codeBlock", "content": [text("x", {"type": "em"})]},
            "$.content[0].content[0]: expected text without marks",
        ),
        (
            paragraph(text("x", {"type": "code"}, {"type": "em"})),
            "$.content[0].content[0].marks[1].type: expected one of code, link, found 'em'",
        ),
        (
            paragraph(text("x", {"type": "em"}, {"type": "em"})),
            "$.content[0].content[0].marks[1]: the text already has the mark 'em'",
        ),
        (
            paragraph(text("x", {"type": "textColor", "attrs": {"color": "red"}})),
            "$.content[0].content[0].marks[0].attrs.color: expected a color such as #97a0af, found 'red'",
        ),
        (
            {"type": "mediaGroup", "content": [{"type": "media", "attrs": {"type": "file", "id": "m"}}]},
            "$.content[0].content[0].attrs: lacks 'collection'",
        ),
        (
            {"type": "mediaGroup", "content": None},
            "$.content[0].content: expected a list, found None",
        ),
        (
            {
                "type": "taskList",
                "attrs": {"localId": "l"},
                "content": [{"type": "taskItem", "attrs": {"localId": "i", "state": "MAYBE"}, "content": []}],
            },
            "$.content[0].content[0].attrs.state: expected one of TODO, DONE, found 'MAYBE'",
        ),
        (
            {
                "type": "table",
                "content": [
                    {
                        "type": "tableRow",
                        "content": [{"type": kind, "content": [paragraph()]} for kind in ("tableHeader", "tableCell")],
                    }
                ],
            },
            "$.content[0].content[0].content: expected a row of tableHeader only or of tableCell only",
        ),
        (
            {
                "type": "applicationCard",
                "attrs": {"text": "t", "title": {"text": "t"}, "preview": {"url": "http://e.org"}},
            },
            "$.content[0].attrs.preview.url: expected an https or data:image URL, found 'http://e.org'",
        ),
        (
            {"type": "codeBlock", "attrs": {"language": "Python"}, "content": []},
            f"$.content[0].attrs.language: expected one of {', '.join(LANGUAGES)}, found 'Python'",
        ),
    ],
)
def test_problem_names_the_path_and_the_violation(block, problem):
    """Each violation is one sentence that begins with its path."""
    assert [problem] == problems(doc(block))


@pytest.mark.parametrize("document", [None, 3, [], {}, {"version": 2, "type": "doc", "content": [paragraph()]}, doc()])
def test_other_values_are_rejected(document):
    """The root must have its version, its type and at least one block."""
    assert [] != problems(document)


def test_an_unknown_node_is_one_problem():
    """The content of an unknown node is not checked."""
    (problem,) = problems(doc({"type": "marquee", "content": [3, {"type": "nope"}]}))

    assert problem.startswith("$.content[0].type: expected one of paragraph, heading")
    assert problem.endswith("found 'marquee'")


@pytest.mark.parametrize("lenient", [False, True])
def test_a_document_that_is_too_deep_is_rejected(lenient):
    """The depth is checked before anything else."""
    node = paragraph()
    for _ in range(10_000):
        node = {"type": "blockquote", "content": [node]}

    assert ["$: nested deeper than 300 objects and lists"] == problems(doc(node), lenient=lenient)


def test_at_most_20_problems_are_reported():
    """A document with 1 000 violations has the first 20 of them."""
    assert 20 == len(problems(doc(*[{"type": "nope"}] * 1000)))


def test_lenient_check_accepts_documents_of_the_service():
    """Null content and unexpected attributes pass; a missing list of blocks does not (protocol 6.3, 8.5)."""
    delivered = {"type": "doc", "content": [{"type": "mediaGroup", "attrs": {}, "content": None}]}

    assert [] == problems(delivered, lenient=True)
    assert ["$.content: expected a list, found None"] == problems({"type": "doc", "content": None}, lenient=True)


def test_plain_text_joins_blocks_and_omits_media():
    """Mentions and emoji become text, each block is a line, and media are omitted (protocol 4.3)."""
    document = doc(
        paragraph(
            {"type": "mention", "attrs": {"id": "u", "text": "@Ann"}},
            text(" hi "),
            {"type": "emoji", "attrs": {"shortName": ":tada:"}},
        ),
        {"type": "mediaGroup", "attrs": {}, "content": [{"type": "media", "attrs": {}, "content": None}]},
        {"type": "bulletList", "content": [{"type": "listItem", "content": [paragraph(text("one"))]}]},
        paragraph(text("a"), {"type": "hardBreak"}, text("b")),
    )

    assert "@Ann hi :tada:\none\na\nb" == to_plain_text(document)


def test_rendered_text_shows_lists_quotes_tasks_and_tables():
    """Lists, quotations, tasks and tables are recognizable in plain text."""
    document = from_markdown("intro\n\n- a\n  1. b\n  2. c\n\n> q\n\n---\n\nx | y\n--- | ---\n1 | 2")
    document["content"].append(
        {
            "type": "taskList",
            "attrs": {"localId": ""},
            "content": [{"type": "taskItem", "attrs": {"localId": "", "state": "DONE"}, "content": [text("ship")]}],
        }
    )

    assert "intro\n• a\n  1. b\n  2. c\n> q\n---\nx | y\n1 | 2\n[x] ship" == render_text(document)


@pytest.mark.skipif(not MEETUP.is_dir(), reason="the messages of the meet-up are not available")
def test_real_messages_are_valid_and_have_their_text():
    """The documents of a real site follow the strict schema, and their plain text is the stored text."""
    lines = map(json.loads, (MEETUP / "site.jsonl").read_text("utf-8").splitlines())
    messages = [line["message"] for line in lines if line["type"] == "message"]

    assert 1031 == len(messages)
    assert [] == [message["id"] for message in messages if problems(message["body"])]
    assert [] == [message["id"] for message in messages if to_plain_text(message["body"]) != message["text"]]
