"""Documents as Markdown: a parser finds the same texts, marks and blocks."""

import pytest
from hypothesis import given

from stride_async.document import (
    Document,
    application_card,
    bullet_list,
    code,
    code_block,
    decision_list,
    doc,
    external_media,
    heading,
    link,
    media,
    media_group,
    ordered_list,
    panel,
    paragraph,
    strong,
    table,
    table_cell,
    table_header,
    table_row,
    task_item,
    task_list,
)
from tests.documents import expressible, outline, outline_of_markdown


@given(expressible)
def test_markdown_reads_back_as_the_same_document(document):
    """A CommonMark parser finds the same blocks, the same texts and the same marks."""
    assert outline(document) == outline_of_markdown(document.to_markdown())


@pytest.mark.parametrize(
    ("block", "markdown"),
    [
        (heading("C #"), r"# C \#"),
        (heading("#"), r"# \#"),
        (paragraph(link("plan", " https://e.com/the plan")), "[plan](https://e.com/the%20plan)"),
        (paragraph(code("  "), "and", code(" b ")), "`  `and`  b  `"),
        (paragraph(link(code("[a]:"), "https://e.com")), "&#32;[`[a]:`](https://e.com)"),
        (paragraph(strong("a_b"), strong("?!"), "c"), r"**a_b?!**&#99;"),
    ],
)
def test_markdown_of_text(block, markdown):
    """Text that looks like markup, and marks next to punctuation, as they are written."""
    assert markdown == doc(block).to_markdown()


@pytest.mark.parametrize(
    ("block", "cell"),
    [
        (paragraph(code("a|b"), " | ", code("\\|")), r"`a\|b` \| `\\|`"),
        (paragraph("- a"), "- a"),
        (code_block("if x:\n    pass"), "`if x:` `    pass`"),
        (media_group(media("m1", collection="c"), media("m|2", collection="c")), r"\[media m1\] \[media m\|2\]"),
        (media_group(external_media("https://e.com/a|b.png")), "![](https://e.com/a%7Cb.png)"),
        (application_card("Build", link="https://e.com", description="green"), "[**Build**](https://e.com) green"),
        (task_list("a", task_item("b", done=True)), "[ ] a [x] b"),
        (decision_list("go"), "**Decision:** go"),
        (panel("x", type="warning"), "**Warning** x"),
        (bullet_list("a", "b"), "• a • b"),
        (ordered_list("a", "b", order=3), "3. a 4. b"),
    ],
)
def test_markdown_of_cells(block, cell):
    """A cell has one line, on which everything that it holds is written."""
    document = doc(table(table_row(table_header(block)), table_row(table_cell(block))))

    assert [f"| {cell} |", "| --- |", f"| {cell} |"] == document.to_markdown().split("\n")


@pytest.mark.parametrize("kind", ["inlineCard", "blockCard", "embedCard"])
@pytest.mark.parametrize("attrs", [{"url": "https://e.com/x"}, {"data": {"url": "https://e.com/x", "name": "X"}}])
def test_a_card_that_is_only_a_url_shows_the_url(kind, attrs):
    """These cards are later than Stride, but a document may hold them, in a paragraph or on their own."""
    card = {"type": kind, "attrs": attrs}
    alone = Document.from_json({"type": "doc", "content": [card]})
    inline = Document.from_json({"type": "doc", "content": [{"type": "paragraph", "content": [card]}]})

    assert "<https://e.com/x>" == alone.to_markdown() == inline.to_markdown()
    assert all('<a href="https://e.com/x"' in document.to_html() for document in (alone, inline))


def test_lists_around_an_empty_paragraph_stay_apart():
    """Nothing is written for the paragraph, so that the second list needs another marker."""
    document = doc(bullet_list("a"), paragraph(), bullet_list("b"))

    assert "- a\n\n* b" == document.to_markdown()


def test_text_of_unknown_nodes_is_written():
    """What a line holds that does not belong there gives its text."""
    inner = {"type": "sparkle", "content": [{"type": "text", "text": "new"}]}
    row = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    document = Document.from_json({"type": "doc", "content": [{"type": "paragraph", "content": [inner]}, *row]})

    assert "new\n\na b" == document.to_markdown()
