"""Write a document as the text of a post in Mattermost, which reads Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from stride_async.document import Document
from stride_async.document._nodes import JsonObject, attr, children, json_of, kind_of, objects
from stride_async.document._shown import safe_href
from stride_async.export.formats._tree import FILES

_EVERYONE = {"all": "@all", "here": "@here"}
# What Markdown shows by its text alone.
_OTHER_NODES = frozenset({"panel", "decisionItem", "taskItem", "applicationCard", "extension", "bodiedExtension"})
_OTHER_MARKS = frozenset({"underline", "textColor", "subsup", "action"})
# The first line of code, below the markers of quotes and lists.
_FENCE = re.compile(r"(?:[ >]|[-*+] |[0-9]+[.)] )*(`{3,})[^`]*")
_BREAK = re.compile(r"(?<!\\)(?:\\\\)*\\$")  # an odd number of backslashes
_WORD = re.compile(r"[\w-]")
_ESCAPED = re.compile(r"\\(.)")
# A code span, in which nothing is escaped; the URL of a link; an escaped character.
_ESCAPES = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)|\]\((?P<url>(?:\\.|[^\\\s)])*)|\\(?P<escaped>.)")
_REFERENCES = {"<": "&lt;", "&": "&amp;", "=": "&#61;", ":": "&#58;"}
_IN_URLS = {"(": "%28", ")": "%29", "&": "&amp;"}


@attrs.frozen
class MattermostText:
    """Writes documents."""

    user_name: Callable[[str], str]
    """Returns the user name that a person has in Mattermost."""
    file: Callable[[JsonObject], str]
    """Returns what is shown in place of a media node, empty if the file is attached to the post."""
    lost: Callable[[str], None]
    """Counts something that is lost, by its kind."""

    def of(self, document: Document) -> str:
        """Return the document as Markdown, with mentions by user names and without the files that are attached."""
        root: JsonObject = {"type": "doc", "content": []}
        stack = [(json_of(node), root) for node in document.content[::-1]]
        while stack:
            node, parent = stack.pop()
            written = self._node(node, kind_of(node))
            if written is None:
                continue
            siblings = parent["content"]
            assert isinstance(siblings, list)
            if siblings:
                _keep_apart(siblings[-1], written)
            siblings.append(written)
            if inner := children(node):
                written["content"] = []
                stack += [(child, written) for child in inner[::-1]]
        return _for_mattermost(Document.from_json(root).to_markdown())

    def _node(self, node: JsonObject, kind: str) -> JsonObject | None:
        """Return a node as Markdown should show it, without what it contains; None to omit it."""
        if kind == "mention" and (id := attr(node, "id")):
            return {"type": "mention", "attrs": {"id": id, "text": _EVERYONE.get(id) or f"@{self.user_name(id)}"}}
        if kind in FILES and safe_href(attr(node, "url")) is None:
            text = self.file(node)
            return {"type": "text", "text": text} if text else None
        if kind in _OTHER_NODES:
            self.lost(f"node without equivalent: {kind}")
        if node.get("marks"):
            self._count_marks(node)
        return dict(node)

    def _count_marks(self, node: JsonObject) -> None:
        for mark in objects(node.get("marks")):
            kind = kind_of(mark)
            if kind in _OTHER_MARKS:
                self.lost(f"mark without equivalent: {kind}")
            elif kind == "link" and safe_href(attr(mark, "href")) is None:
                self.lost("link left out")


def _keep_apart(left: JsonObject, right: JsonObject) -> None:
    """Put a blank between a mention and a word next to it, which would be read as a part of the user name."""
    if kind_of(left) == "mention" and kind_of(right) == "text" and _WORD.match(text := str(right.get("text", ""))):
        right["text"] = f" {text}"
    elif kind_of(left) == "text" and kind_of(right) == "mention" and _WORD.match(str(left.get("text", ""))[-1:]):
        left["text"] = f"{left['text']} "


def _for_mattermost(markdown: str) -> str:
    """Return CommonMark as Mattermost reads it.

    It breaks a line at any line feed and has no backslash for that, escapes fewer characters than CommonMark, and none
    in URLs.
    """
    if "\\" not in markdown:
        return markdown
    lines = markdown.split("\n")
    fence = ""
    for number, line in enumerate(lines):
        if fence:
            if line.endswith(fence) and not line.removesuffix(fence).strip(" >"):
                fence = ""
        elif found := _FENCE.fullmatch(line):
            fence = found[1]
        elif "\\" in line:
            lines[number] = _ESCAPES.sub(_unescaped, line[:-1] if _BREAK.search(line) else line)
    return "\n".join(lines)


def _unescaped(found: re.Match[str]) -> str:
    """Return an escaped character, or a URL in a link, as Mattermost reads it."""
    if found["url"] is not None:
        return _ESCAPED.sub(lambda escaped: _IN_URLS.get(escaped[1], escaped[0]), found[0])
    return _REFERENCES.get(found["escaped"], found[0])


def split(text: str, longest: int) -> list[str]:
    """Return text in parts of at most `longest` characters, cut at line breaks or blanks where there are any.

    Only blanks and line breaks at the cuts are omitted, and no part is empty.
    """
    parts = []
    while len(text) > longest:
        at = max(text.rfind("\n", 0, longest + 1), 0) or max(text.rfind(" ", 0, longest + 1), 0) or longest
        part, text = text[:at].rstrip(), text[at:].lstrip()
        if part:
            parts.append(part)
    return [*parts, text] if text or not parts else parts
