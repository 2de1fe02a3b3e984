"""The document of a message as a page displays it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.document import Document
from stride_async.export.formats.html._bodies import kind_of
from stride_async.export.formats.html._markup import body_html, color_class

_NASTY = st.sampled_from(
    ["<b>", "</p>", '"><script>', "' onload='x", "javascript:x", 'https://e.org/"<', "#fff", "#de350b", "x" * 3]
)
_MARKS = st.builds(
    lambda kind, value: {"type": kind, "attrs": {"href": value, "title": value, "color": value, "type": value}},
    st.sampled_from(["link", "textColor", "strong", "code", "subsup", "action"]),
    _NASTY,
)
_NODES = st.recursive(
    st.builds(lambda text, marks: {"type": "text", "text": text, "marks": marks}, _NASTY, st.lists(_MARKS, max_size=3)),
    lambda inner: st.builds(
        lambda kind, value, level, content: {
            "type": kind,
            "attrs": {
                **dict.fromkeys(("id", "text", "url", "language", "background", "panelType", "shortName"), value),
                "level": level,
                "colspan": level,
                "order": level,
                "state": "DONE",
            },
            "content": content,
        },
        st.sampled_from(
            [
                "paragraph",
                "heading",
                "codeBlock",
                "media",
                "mediaSingle",
                "table",
                "tableRow",
                "tableCell",
                "panel",
                "mention",
                "emoji",
                "taskItem",
                "applicationCard",
                "extension",
                "blockCard",
                "mystery",
            ]
        ),
        _NASTY,
        st.integers(0, 7),
        st.lists(inner, max_size=3),
    ),
    max_leaves=12,
)
_ALLOWED = re.compile(r"<(/?[a-z0-9]+)([^<>]*)>")


def page_html(*content) -> str:
    document = Document.from_json({"version": 1, "type": "doc", "content": list(content)})
    return body_html(document.to_html(), lambda _: "[file]")


def paragraph(text: str, *marks) -> dict:
    return {"type": "paragraph", "content": [{"type": "text", "text": text, "marks": list(marks)}]}


def test_colors_become_classes():
    """A page has no style attributes: text and cells get the nearest of twelve colors."""
    red = {"type": "textColor", "attrs": {"color": "#de350b"}}
    cell = {"type": "tableCell", "attrs": {"background": "#e3fcef", "colspan": 2}, "content": [paragraph("a")]}
    table = {"type": "table", "content": [{"type": "tableRow", "content": [cell]}]}

    assert '<p><span class="ink-red">a</span></p>' == page_html(paragraph("a", red))
    assert '<td colspan="2" class="fill-green">' in page_html(table)


@pytest.mark.parametrize(
    ("color", "name"),
    [("#000", "gray"), ("#7a869a", "gray"), ("#ff5630", "red"), ("#ff991f", "orange"), ("#36b37e", "teal"),
     ("#0052ccff", "blue"), ("#6554c0", "indigo"), ("#f0f", "pink"), ("#12345", "gray")],
)  # fmt: skip
def test_any_color_has_a_class(color, name):
    """Colors without a hue, and what is not a color, are gray."""
    assert name == color_class(color)


def test_links_lead_away_without_a_trace_and_pictures_from_elsewhere_are_links():
    """Nothing is loaded from elsewhere, and a link gives away neither page nor opener."""
    link = {"type": "link", "attrs": {"href": 'https://example.com/?a="b"'}}
    media = {"type": "media", "attrs": {"type": "external", "url": "https://example.com/x.png"}}

    assert 'rel="noopener noreferrer nofollow"' in page_html(paragraph("a", link))
    html = page_html({"type": "mediaSingle", "content": [media]})
    assert "<img" not in html
    assert '<a href="https://example.com/x.png" rel="noopener noreferrer nofollow">' in html


def test_headings_leave_room_for_those_of_the_page():
    """A page has one h1 and a h2 for each day, so headings in messages begin at h3."""
    headings = [{"type": "heading", "attrs": {"level": level}, "content": []} for level in (1, 3, 6)]

    assert ["h3", "h5", "h6"] == re.findall(r"<(h\d)>", page_html(*headings))


@given(st.lists(_NODES, max_size=4))
def test_any_document_has_only_harmless_tags(content):
    """No document gives a tag that runs, loads or styles anything, and no text becomes a tag."""
    html = page_html(*content).replace("[file ", "")

    for name, attributes in _ALLOWED.findall(html):
        assert name.strip("/") not in {
            "script",
            "style",
            "iframe",
            "object",
            "embed",
            "img",
            "form",
            "input",
            "h1",
            "h2",
        }
        assert not re.search(r"(?:^|\s)(?:style|src|on\w+)=", re.sub(r'"[^"]*"', '""', attributes))
    assert "<" not in _ALLOWED.sub("", html)


@pytest.mark.parametrize(
    ("first", "element", "extension"),
    [
        (b"\x89PNG\r\n\x1a\n....", "img", "png"),
        (b"\xff\xd8\xff\xe0", "img", "jpg"),
        (b"GIF89a", "img", "gif"),
        (b"RIFF\n\0\0\0WEBPVP8 ", "img", "webp"),
        (b"\0\0\0\x1cftypavif", "img", "avif"),
        (b"\0\0\0\x18ftypmp42", "video", "mp4"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\x01webm", "video", "webm"),
        (b"ID3\x03", "audio", "mp3"),
        (b"OggS\0", "audio", "ogg"),
        (b"RIFF\n\0\0\0WAVEfmt ", "audio", "wav"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "download", "bin"),
        (b"<!doctype html>", "download", "bin"),
        (b"%PDF-1.7", "download", "bin"),
        (b"", "download", "bin"),
    ],
)
def test_first_bytes_decide_what_a_page_displays(first, element, extension):
    """Pictures, videos and sounds are displayed; everything else is a download with a neutral name."""
    kind = kind_of(first)

    assert (element, extension) == (kind.element, kind.extension)
