"""The text of generated messages: typical blocks, and one of every kind of node and mark."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from stride_async.server._documents import LANGUAGES, Node

_COLORS = ("#97a0af", "#ff5630", "#36b37e")
_WORDS = (
    "the build", "is green again", "after", "we moved", "a cache", "into the worker", "and",
    "nobody noticed", "so far", "please look", "at the last page", "before lunch", "because",
    "the numbers", "do not add up", "twice", "which means", "the customer", "waits",
    "for an answer", "since Monday", "I think", "it is", "the time zone", "again", "or maybe",
    "a missing index", "on the replica", "could you", "roll it back", "when", "the tests",
    "are through", "thanks", "naïve café", "Größe & Übermaß", "שלום עולם", "مرحبا بكم", "日本語の文",
    "👩🏽\u200d💻", "🎉", "e\u0301clair", "\u200fRTL\u200e", "½ µm", "<tag>", '"quoted"', "back\\slash",
    "tab\tstop", "\U0001d518nicode",
)  # fmt: skip


def phrase(random: Random, least: int, most: int) -> str:
    """Return random words, among them words written from right to left and words that JSON escapes."""
    count = least + int(random.random() * (most - least + 1))
    return " ".join(_WORDS[int(random.random() * len(_WORDS))] for _ in range(count))


def block(random: Random, mentions: Sequence[Node]) -> Node:
    """Return a block that is typical of messages, such as words with mentions and links, or a list."""
    chance = random.random()
    if chance < 0.6:
        return _sentence(random, mentions)
    if chance < 0.9:
        items = [_item(random) for _ in range(2 + int(random.random() * 3))]
        return {"type": "bulletList" if chance < 0.8 else "orderedList", "content": items}
    if chance < 0.94:
        lines = "\n".join(f"step_{number}({phrase(random, 1, 2)!r})" for number in range(3))
        return {"type": "codeBlock", "attrs": {"language": "python"}, "content": [text(lines)]}
    if chance < 0.97:
        return {"type": "blockquote", "content": [paragraph(text(phrase(random, 4, 12)))]}
    return {"type": "heading", "attrs": {"level": 3}, "content": [text(phrase(random, 2, 4))]}


def _sentence(random: Random, mentions: Sequence[Node]) -> Node:
    inline = [text(f"{phrase(random, 3, 12)} ")]
    if random.random() < 0.5:
        inline.append(mentions[int(random.random() * len(mentions))])
        inline.append(text(f" {phrase(random, 2, 6)} "))
    if random.random() < 0.5:
        href = f"https://example.com/issues/{random.getrandbits(20)}"
        inline.append(text(href, _link(href)))
    else:
        inline.append(text(phrase(random, 1, 3), {"type": ("strong", "em", "code")[int(random.random() * 3)]}))
    return paragraph(*inline)


def _item(random: Random) -> Node:
    return {"type": "listItem", "content": [paragraph(text(phrase(random, 2, 6)))]}


def specimens(mention: Node) -> list[list[Node]]:
    """Return bodies that together contain every node and mark of protocol 8; `mention` mentions a user of the site."""
    return [
        [
            *(
                {"type": "heading", "attrs": {"level": level}, "content": [text(f"Level {level}")]}
                for level in range(1, 7)
            ),
            {"type": "rule"},
            {"type": "codeBlock"},
            *(
                {"type": "codeBlock", "attrs": {"language": language}, "content": [text("x\n\ty")]}
                for language in LANGUAGES[:2]
            ),
        ],
        [
            {"type": "panel", "attrs": {"panelType": kind}, "content": [paragraph(text(f"A panel of kind {kind}"))]}
            for kind in ("info", "note", "tip", "warning", "error", "success")
        ],
        _inline(mention),
        _lists(),
        [_table()],
        [_card(mention)],
        _extensions(),
        [
            {
                "type": "mediaSingle",
                "attrs": {"layout": "wide"},
                "content": [_external("https://example.com/wide.png")],
            },
            paragraph(),
            {
                "type": "blockquote",
                "content": [paragraph(text("Quoted")), paragraph(text("twice", {"type": "em"}))],
            },
        ],
    ]


def _inline(mention: Node) -> list[Node]:
    action = {
        "type": "action",
        "attrs": {"title": "Vote", "target": {"key": "vote"}, "key": "yes", "parameters": {"n": 1}},
    }
    special = {
        "type": "mention",
        "attrs": {"id": mention["attrs"]["id"], "text": "@all", "accessLevel": "CONTAINER", "userType": "SPECIAL"},
    }
    marks: list[Node] = [{"type": name} for name in ("strong", "em", "strike", "underline", "code")]
    marks += [{"type": "subsup", "attrs": {"type": kind}} for kind in ("sub", "sup")]
    marks += [{"type": "textColor", "attrs": {"color": color}} for color in _COLORS]
    return [
        paragraph(*(text(f"{mark['type']} ", mark) for mark in marks), text("all", *marks[:4], marks[-1])),
        paragraph(text("linked code", _link("https://example.com/?q=a&b=ü"), {"type": "code"}), text("vote", action)),
        paragraph(
            special,
            mention,
            {"type": "hardBreak", "attrs": {"text": "\n"}},
            {"type": "emoji", "attrs": {"shortName": ":tada:", "id": "1f389", "text": "🎉"}},
            {"type": "hardBreak"},
            {"type": "date", "attrs": {"timestamp": "1519721663197"}},
            {"type": "placeholder", "attrs": {"text": "Say more"}},
        ),
    ]


def _lists() -> list[Node]:
    def items(*words: str) -> list[Node]:
        return [{"type": "listItem", "content": [paragraph(text(word))]} for word in words]

    nested: Node = {
        "type": "listItem",
        "content": [paragraph(text("c")), {"type": "bulletList", "content": items("d", "e")}],
    }
    return [
        {"type": "orderedList", "attrs": {"order": 3}, "content": [*items("a", "b"), nested]},
        {
            "type": "taskList",
            "attrs": {"localId": "tasks"},
            "content": [
                {"type": "taskItem", "attrs": {"localId": state, "state": state}, "content": [text(f"Now {state}")]}
                for state in ("TODO", "DONE")
            ],
        },
        {
            "type": "decisionList",
            "attrs": {"localId": "decisions"},
            "content": [
                {"type": "decisionItem", "attrs": {"localId": "d", "state": "DECIDED"}, "content": [text("Ship it")]}
            ],
        },
    ]


def _table() -> Node:
    def row(kind: str, *words: str) -> Node:
        attrs = {"colspan": 1, "rowspan": 1, "colwidth": [120], "background": "#fffae6"}
        cells = [{"type": kind, "attrs": attrs, "content": [paragraph(text(word))]} for word in words]
        return {"type": "tableRow", "content": cells}

    attrs = {"isNumberColumnEnabled": False, "layout": "default"}
    rows = [row("tableHeader", "Week", "Requests"), row("tableCell", "31", "1 204"), row("tableCell", "32", "998")]
    return {"type": "table", "attrs": attrs, "content": rows}


def _card(mention: Node) -> Node:
    icon = {"url": "https://example.com/icon.png", "label": "Icon"}
    detail = {
        "title": "State",
        "text": "in review",
        "icon": icon,
        "badge": {"value": 3, "max": 99, "theme": "dark", "appearance": "important"},
        "lozenge": {"text": "In progress", "bold": True, "appearance": "inprogress"},
        "users": [{"icon": icon, "id": mention["attrs"]["id"]}],
    }
    attrs = {
        "text": "Pull request 12: keep the order",
        "textUrl": "https://example.com/pr/12",
        "link": {"url": "https://example.com/pr/12"},
        "title": {"text": "Keep the order", "user": {"icon": icon, "id": mention["attrs"]["id"]}},
        "description": {"text": "Sorts by time, then by id."},
        "background": {"url": "https://example.com/background.png"},
        "preview": {"url": "https://example.com/preview.png"},
        "context": {"text": "Repository", "icon": icon},
        "collapsible": True,
        "details": [detail],
        "actions": [{"title": "Merge", "target": {"key": "merge"}, "key": "m", "parameters": {"number": 12}}],
    }
    return {"type": "applicationCard", "attrs": attrs}


def _extensions() -> list[Node]:
    def attrs(key: str) -> Node:
        return {"extensionType": "com.atlassian.stride", "extensionKey": key, "parameters": {"key": key}, "text": key}

    return [
        paragraph({"type": "inlineExtension", "attrs": attrs("select")}, text(" inline")),
        {"type": "extension", "attrs": attrs("actionGroup")},
        {"type": "bodiedExtension", "attrs": attrs("actionGroup"), "content": [paragraph(text("In a body"))]},
    ]


def _external(url: str) -> Node:
    return {"type": "media", "attrs": {"type": "external", "url": url, "width": 640, "height": 480}}


def text(words: str, *marks: Node) -> Node:
    """Return a text node with these marks."""
    return {"type": "text", "text": words, "marks": list(marks)} if marks else {"type": "text", "text": words}


def paragraph(*inline: Node) -> Node:
    """Return a paragraph with these inline nodes."""
    return {"type": "paragraph", "content": list(inline)}


def _link(href: str) -> Node:
    return {"type": "link", "attrs": {"href": href}}
