"""Documents as the text of Slack messages: what reads the same, what is written out, and what is counted."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given

from stride_async.document import Document
from stride_async.export.formats._slack_line import SlackLines
from stride_async.export.formats._slack_text import SlackText
from tests.documents import expressible
from tests.formats.rules_slack import unescaped
from tests.schema_cases import documents, mark, node, text

LINK = mark("link", href="https://example.com/?a=1&b=<|>")
STRONG, EM, STRIKE, CODE = map(mark, ("strong", "em", "strike", "code"))


def written(document: Document) -> tuple[str, dict[str, int]]:
    """Return the text of a document, and what is lost in it."""
    lost: Counter[str] = Counter()
    lines = SlackLines(
        lambda user: f"U{user.encode().hex().upper()}", lambda _: "(a file)", lambda kind: lost.update([kind])
    )
    return SlackText(lines).of(document), dict(lost)


def of(*blocks: Any) -> tuple[str, dict[str, int]]:
    return written(Document.from_json({"type": "doc", "version": 1, "content": list(blocks)}))


def paragraph(*inline: Any) -> Any:
    return node("paragraph", *inline)


def item(*blocks: Any) -> Any:
    return node("listItem", *blocks)


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        ([text("a < b & c > d")], "a &lt; b &amp; c &gt; d"),
        ([text("see "), text("here", LINK)], "see <https://example.com/?a=1&amp;b=%3C%7C%3E|here>"),
        ([text("a"), text(" b ", mark("link", href="https://e.com")), text("c")], "a <https://e.com|b> c"),
        ([text("a "), text("b", STRONG), text(" c")], "a *b* c"),
        ([text("a ", STRONG), text("b", STRONG, EM), text(" c", STRONG)], "*a _b_ c*"),
        ([text("a "), text(" b ", STRIKE), text("c")], "a  ~b~ c"),
        ([text("x", CODE), text(", "), text("<y>", CODE)], "`x`, `&lt;y&gt;`"),
        ([text("("), text("a", EM), text(")")], "(_a_)"),
        ([text("a", STRONG, LINK)], "*<https://example.com/?a=1&amp;b=%3C%7C%3E|a>*"),
        ([node("mention", id="u", text="@Ann"), text(" hi")], "<@U75> hi"),
        ([node("mention", id="all", text="@all"), node("mention", id="here", text="@here")], "<!channel><!here>"),
        ([text("a"), node("hardBreak"), text("b\nc")], "a\nb\nc"),
        ([text("a", STRONG), node("hardBreak"), text("b", STRONG)], "*a*\n*b*"),
        ([node("emoji", shortName=":smile:", text="😄")], "😄"),
        ([node("date", timestamp="1519689600000")], "2018-02-27"),
    ],
)
def test_what_a_line_holds_reads_the_same(inline, expected):
    """Marks, links, mentions and breaks have an equivalent, so nothing is counted as lost."""
    assert (expected, {}) == of(paragraph(*inline))


@pytest.mark.parametrize(
    ("inline", "expected", "lost"),
    [
        ([text("in"), text("side", STRONG)], "inside", "mark without equivalent: strong"),
        ([text("out", EM), text("side")], "outside", "mark without equivalent: em"),
        ([text("2*3", STRONG)], "2*3", "mark without equivalent: strong"),
        ([text("x`y", CODE)], "x`y", "mark without equivalent: code"),
        ([text("a", mark("underline"))], "a", "mark without equivalent: underline"),
        ([text("a", mark("textColor", color="#ff0000"))], "a", "mark without equivalent: textColor"),
        ([text("a", mark("blink"))], "a", "mark without equivalent: unknown"),
        ([text("a", mark("link", href="javascript:alert(1)"))], "a", "link left out"),
        ([text("a|b", mark("link", href="https://e.com"))], "<https://e.com|ab>", "character left out"),
    ],
)
def test_what_slack_cannot_show_in_a_line_is_omitted_and_counted(inline, expected, lost):
    """The text stays, without signs that a reader would see."""
    assert (expected, {lost: 1}) == of(paragraph(*inline))


@pytest.mark.parametrize(
    ("block", "expected", "lost"),
    [
        (node("heading", text("Plan"), level=1), "*Plan*", "heading"),
        (node("rule"), "---", "rule"),
        (node("panel", paragraph(text("Mind")), panelType="info"), "&gt; *Info*\n&gt; Mind", "panel"),
        (node("taskList", node("taskItem", text("go"), state="DONE")), "☑ go", "taskItem"),
        (node("taskList", node("taskItem", text("go"), state="TODO")), "☐ go", "taskItem"),
        (node("decisionList", node("decisionItem", text("yes"))), "&gt; *Decision:* yes", "decisionItem"),
        (node("codeBlock", text("a ``` b")), "a ``` b", "codeBlock"),
        (node("extension", text="Poll"), "Poll", "extension"),
        (node("hologram", paragraph(text("x"))), "x", "unknown"),
    ],
)
def test_what_slack_does_not_know_is_written_out_and_counted(block, expected, lost):
    """A block without an equivalent is text that says what it is."""
    assert (expected, {f"node without equivalent: {lost}": 1}) == of(block)


def test_a_table_has_a_line_for_each_row():
    """Everything in a cell is on that line."""
    cells = [node("tableCell", paragraph(text("a")), paragraph(text("b"))), node("tableCell", paragraph(text("c")))]
    table = node("table", node("tableRow", *cells), node("tableRow", node("tableCell", paragraph(text("d")))))

    assert ("a b | c\nd", {"node without equivalent: table": 1}) == of(table)


def test_code_in_a_cell_has_no_fences():
    """Signs that are text, or the label of a link, stay."""
    code, other = node("codeBlock", text("x = 1\ny = 2")), paragraph(text("a "), text("```", LINK))
    table = node("table", node("tableRow", node("tableCell", code, other), node("tableCell", node("codeBlock"))))

    assert "x = 1 y = 2 a <https://example.com/?a=1&amp;b=%3C%7C%3E|```> |" == of(table)[0]


def test_lists_are_indented_and_numbered():
    """An item without text keeps its number, and lines below the first are indented."""
    inner = node("orderedList", item(paragraph(text("one")), paragraph(text("more"))), item(), order=2)
    outer = node("bulletList", item(paragraph(text("a")), inner), item(paragraph(text("b"))))

    assert ("• a\n    2. one\n        more\n    3.\n• b", {}) == of(outer)


def test_code_and_quotes_keep_their_lines():
    """Code is escaped as text is, and each line of a quote begins with its sign."""
    code = node("codeBlock", text("if a < b:\n    pass"))
    quote = node("blockquote", paragraph(text("a"), node("hardBreak"), text("b")))

    assert ("```\nif a &lt; b:\n    pass\n```\n&gt; a\n&gt; b", {}) == of(code, quote)


def test_a_file_is_shown_by_what_the_caller_says():
    """It is usually attached to the message, and then nothing is shown."""
    assert ("(a file)", {}) == of(node("mediaGroup", node("media", type="file", id="m", collection="c")))


def letters(text: str) -> list[str]:
    return [letter for letter in text if letter.isalnum()]


@given(expressible)
def test_no_letter_is_lost(document):
    """The letters of a document are those of its text, in the same order, and the text is escaped."""
    found, lost = written(document)
    shown = html.unescape(re.sub(r"<[^<>|]*\|([^<>]*)>", r"\1", found))
    rest = iter(letters(shown))

    assert [] == unescaped(found)
    assert all(letter in rest for letter in letters(document.to_text())), (found, lost)


@pytest.mark.parametrize("one_of", [50, pytest.param(1, marks=pytest.mark.slow)])
def test_any_document_can_be_written(one_of):
    """Every valid node, and each of them with one thing changed, gives a text that is escaped."""
    for json_document in list(documents())[::one_of]:
        if json_document.get("type") == "doc":
            assert [] == unescaped(written(Document.from_json(json_document))[0]), json.dumps(json_document)


def test_depth_is_not_limited():
    """Neither the stack nor the indentation grows with a document that is nested without end."""
    block = paragraph(text("deep"))
    for _ in range(3_000):
        block = node("bulletList", item(node("blockquote", block)))

    found, _ = of(block)

    assert found.splitlines()[-1].endswith("deep")
    assert len(found) < 3_000 * 60
