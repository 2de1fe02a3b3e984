"""Documents as Markdown: a parser finds the same texts, marks and blocks."""

from hypothesis import given

from tests.documents import expressible, outline, outline_of_markdown


@given(expressible)
def test_markdown_reads_back_as_the_same_document(document):
    """A CommonMark parser finds the same blocks, the same texts and the same marks."""
    assert outline(document) == outline_of_markdown(document.to_markdown())
