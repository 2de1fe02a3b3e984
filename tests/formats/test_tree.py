"""A document becomes other markup by one walk and a table of rules."""

from __future__ import annotations

from stride_async.document import Document, bullet_list, doc, list_item, paragraph, strong, text
from stride_async.export.formats._tree import joined, render

RULES = {
    "text": lambda node, inner: node.text,
    "paragraph": lambda node, inner: f"<{joined(inner)}>",
    "listItem": lambda node, inner: f"* {joined(inner)}",
    "bulletList": lambda node, inner: "\n".join(piece.text for piece in inner),
}


def test_each_node_is_written_by_its_rule_from_its_children():
    """A node without a rule is passed to the function for all others."""
    document = doc(bullet_list(list_item(paragraph(text("one"))), list_item(paragraph(text("two "), strong("three")))))

    assert "* <one>\n* <two three>" == render(document, RULES, otherwise=lambda node, inner: "?")
    without_items = {kind: rule for kind, rule in RULES.items() if kind != "listItem"}
    assert "?\n?" == render(document, without_items, otherwise=lambda node, inner: "?")


def test_any_depth_can_be_written():
    """Very deep nodes are replaced by what they contain."""
    node = {"type": "text", "text": "deep"}
    for _ in range(50_000):
        node = {"type": "paragraph", "content": [node]}

    text = render(Document.from_json({"type": "doc", "content": [node]}), RULES, otherwise=lambda node, inner: "?")

    assert "deep" == text.strip("<>")
    assert len(text) < 200
