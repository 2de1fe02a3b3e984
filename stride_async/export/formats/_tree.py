"""Write a document as another markup: one walk over its nodes, one table of rules for each format.

A rule turns a node, and the texts of its children, into text. Nodes are visited from the leaves up, with a stack
instead of recursion, because a sender may nest a document to any depth.

    RULES = {"paragraph": lambda node, inner: f"{joined(inner)} ", "text": …}
    render(document, RULES, otherwise=…)
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import attrs

from stride_async.document import Document, Node


@attrs.frozen
class Piece:
    """A child that is already written."""

    kind: str
    """The type of its node."""
    text: str


FILES = frozenset({"media", "mediaInline"})
"""The types of the nodes that show a file."""
EMPTY_MESSAGE = "(empty message)"
"""The text of a message without content, in a system that accepts no such message."""

Rule = Callable[[Node, Sequence[Piece]], str]
"""Returns the text of a node from those of its children, in order."""

# Below this depth, nodes are replaced by what they contain: each level may lengthen every line within it.
_DEEPEST = 40


def render(
    document: Document, rules: Mapping[str, Rule], *, otherwise: Rule, leaves: Container[str] = frozenset()
) -> str:
    """Return the text of a document. A node whose type has no rule is written by `otherwise`.

    The rules of the types in `leaves` write everything in their nodes themselves, and get no texts of children.
    """
    results: list[list[Piece]] = [[]]
    stack: list[Node | None] = [*reversed(document.content)]
    open_nodes: list[Node] = []
    while stack:
        node = stack.pop()
        if node is not None:
            open_nodes.append(node)
            results.append([])
            stack.append(None)  # When it is popped, all children are written.
            if node.type not in leaves:
                stack.extend(reversed(node.content))
            continue
        node, inner = open_nodes.pop(), results.pop()
        rule = rules.get(node.type, otherwise) if len(open_nodes) < _DEEPEST or not inner else _grouped
        results[-1].append(Piece(node.type, rule(node, inner)))
    return joined(results[0])


def file_not_held(id: str) -> str:
    """Return the text in place of a file whose body the archive does not hold."""
    return f"(file not held: {id})"


def joined(inner: Sequence[Piece]) -> str:
    """Return the texts of children without anything between them."""
    return "".join(piece.text for piece in inner)


def _grouped(_: Node, inner: Sequence[Piece]) -> str:
    return joined(inner)
