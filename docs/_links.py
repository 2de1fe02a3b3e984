"""A Sphinx extension: link public names to the pages of the API, and citations such as `protocol 5.2` to the protocol.

Authors write neither of these links, in pages and in docstrings alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module

from _docstrings import PUBLIC_MODULES
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

CITATION = re.compile(r"\bprotocol (\d+(?:\.\d+)?)")
# Text in these is not linked: it is a link already, or would be confusing as one.
_UNLINKED = (nodes.reference, nodes.title, nodes.literal_block, pending_xref)


@cache
def public_classes() -> dict[str, str]:
    """Return the path of each public class by its name, unless several classes have the name, and by its path."""
    found = [
        (name, f"{module.__name__}.{name}")
        for module in map(import_module, PUBLIC_MODULES)
        for name in module.__all__
        if name[0].isupper() and getattr(module, name).__class__ is not str
    ]
    count = Counter(name for name, _ in found)
    return {name: path for name, path in found if count[name] == 1} | {path: path for _, path in found}


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Link code in a page that is the name of a public class, or of a member of one."""
    for literal in list(doctree.findall(nodes.literal)):
        named = re.fullmatch(r"((?:stride_async\.[a-z_.]*)?[A-Z]\w*)((?:\.\w+)?)(\(\))?", literal.astext())
        if named and named[1] in public_classes() and not _is_inside(literal, _UNLINKED):
            path = public_classes()[named[1]] + named[2]
            link = pending_xref(
                "", refdomain="py", reftype="obj", reftarget=path, refdoc=app.env.docname, refwarn=False
            )
            link += literal.deepcopy()
            literal.replace_self(link)


def link_citations(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link the citations of a page. Those on the page of the protocol itself stay as they are."""
    if page == "protocol" or app.builder.format != "html":
        return
    anchors = _anchors(app.env)
    for text in list(doctree.findall(nodes.Text)):
        if CITATION.search(text) and not _is_inside(text, (*_UNLINKED, nodes.literal)):
            base = app.builder.get_relative_uri(page, "protocol")
            text.parent.replace(text, list(_linked(text.astext(), base, anchors)))


def _linked(text: str, base: str, anchors: dict[str, str]) -> Iterator[nodes.Node]:
    end = 0
    for citation in CITATION.finditer(text):
        anchor = anchors.get(citation[1]) or anchors[citation[1].partition(".")[0]]
        yield nodes.Text(text[end : citation.start()])
        yield nodes.reference("", citation[0], refuri=f"{base}#{anchor}", internal=True)
        end = citation.end()
    yield nodes.Text(text[end:])


def _anchors(env: BuildEnvironment) -> dict[str, str]:
    """Return the anchor of each numbered section of the protocol."""
    sections = env.get_doctree("protocol").findall(nodes.section)
    numbered = [(section, re.match(r"\d+(\.\d+)?", section[0].astext())) for section in sections]
    return {number[0]: section["ids"][0] for section, number in numbered if number}


def _is_inside(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    parent = node.parent
    while parent is not None and not isinstance(parent, kinds):
        parent = parent.parent
    return parent is not None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is above."""
    app.connect("doctree-read", link_names)
    app.connect("doctree-resolved", link_citations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
