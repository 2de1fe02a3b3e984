"""What a person, a conversation and a message become in Matrix."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stride_async import Conversation
from stride_async._models import new_message
from stride_async.document import (
    Document,
    Inline,
    doc,
    emoji,
    external_media,
    link,
    media_group,
    mention,
    panel,
    paragraph,
    strong,
    task_item,
    task_list,
    text_color,
)
from stride_async.document import media as media_node
from stride_async.export.formats._source import Person
from stride_async.export.matrix._content import (
    Converted,
    Converter,
    display_name,
    new_room,
    sound_mime_type,
    user_id,
    wanted_state,
)
from tests.documents import expressible
from tests.matrix.fake import LARGEST_EVENT

ANN = "557058:ann"
ANN_IN_MATRIX = user_id(ANN, "a.example")


def person(id: str) -> Person:
    return Person(id=id, name=f"Name of {id}", label="", email="", active=True, is_known=True)


def converted(document: Document, *, text: str | None = None, ts: int = 5_000_000) -> tuple[Converted, list[str]]:
    """Return what a message becomes, and the kinds of what is lost."""
    raw = json.dumps({"id": "m", "body": document.to_json()}).encode()
    lost: list[str] = []
    converter = Converter("a.example", person, lambda _: None, lambda kind, _: lost.append(kind))
    return converter.of(new_message("m", ANN, ts, document.to_text() if text is None else text, raw)), lost


def html_of(*blocks: Inline) -> str:
    [event] = converted(doc(*blocks))[0].events
    return str(event.content.get("formatted_body", ""))


@pytest.mark.parametrize(
    ("block", "html"),
    [
        (paragraph("only text"), ""),
        (paragraph("a < b"), ""),
        (paragraph(strong("bold")), "<p><strong>bold</strong></p>"),
        (
            paragraph(mention(ANN, "@Ann")),
            f'<p><a href="https://matrix.to/#/{ANN_IN_MATRIX}" rel="noopener noreferrer">@Ann</a></p>',
        ),
        (paragraph(mention("all", "@all"), " of you"), ""),
        (paragraph(emoji(":tada:", text="🎉")), "<p>🎉</p>"),
        (panel(paragraph("note")), "<blockquote><p>note</p>\n</blockquote>"),
        (
            task_list(task_item("done", done=True), task_item("open")),
            '<ul class="tasks"><li>☑ done</li>\n<li>☐ open</li>\n</ul>',
        ),
        (paragraph(text_color("red", "#ff0000"), strong("!")), "<p>red<strong>!</strong></p>"),
        (paragraph(link("a", "http://b/")), '<p><a href="http://b/" rel="noopener noreferrer">a</a></p>'),
    ],
)
def test_html_has_only_what_clients_show(block, html):
    """Plain text needs no HTML. Boxes of tasks, emoji and mentions are text."""
    assert html == html_of(block)


def test_an_external_picture_is_a_link_and_a_file_is_not_in_the_html():
    """Clients show pictures of the homeserver only."""
    file = media_group(media_node("f-1", collection="c"))

    shown, lost = converted(doc(paragraph(strong("see")), file, media_group(external_media("https://a.invalid/x.png"))))

    assert ["m.text", "m.notice"] == [event.content["msgtype"] for event in shown.events]
    assert "<p><strong>see</strong></p>\n<p>" in str(shown.events[0].content["formatted_body"])
    assert 'href="https://a.invalid/x.png"' in str(shown.events[0].content["formatted_body"])
    assert "f-1" not in str(shown.events[0].content)
    assert ["file not held"] == lost


def test_what_clients_do_not_show_is_counted():
    """So is a message without anything in it, which says so."""
    _, colored = converted(doc(paragraph(text_color("red", "#ff0000"))))
    empty, lost = converted(doc(paragraph()))

    assert ["mark without equivalent: textColor"] == colored
    assert ["(empty message)"] == [event.content["body"] for event in empty.events]
    assert ["empty message"] == lost


@given(st.text(min_size=1, max_size=30).filter(str.strip), st.integers(1, 5_000))
@example("\x1f" * 20 + "\U00010000", 1_100)
def test_a_long_message_is_cut_into_events_that_fit(words, times):
    """No character is lost but blanks, and every event is smaller than a homeserver accepts."""
    shown, _ = converted(doc(paragraph("x")), text=f"{words} " * times)

    bodies = "".join(str(event.content["body"]) for event in shown.events)
    assert "".join(words.split()) * times == "".join(bodies.split())
    assert all(len(json.dumps(event.content, ensure_ascii=False).encode()) < LARGEST_EVENT for event in shown.events)
    assert list(range(len(shown.events))) == [event.mark.part for event in shown.events]


@given(expressible)
def test_any_document_becomes_events_that_fit(document):
    """Each has text, and a mark with the exact time as text, because numbers in Matrix have 53 bits."""
    shown, _ = converted(document, ts=1_530_403_199_999_999_999)

    assert shown.events
    for event in shown.events:
        assert event.content["body"]
        assert "1530403199999999999" == event.mark.ts
        assert len(json.dumps(event.content)) < LARGEST_EVENT
    assert len({event.transaction("c") for event in shown.events}) == len(shown.events)


@pytest.mark.parametrize(
    ("ts", "sent", "kinds"), [(-1, 0, ["time moved"]), (999_999, 0, []), (10**25, None, ["time moved"])]
)
def test_times_that_matrix_does_not_have_are_moved_and_counted(ts, sent, kinds):
    """They count milliseconds from 1970 to 9999."""
    shown, lost = converted(doc(paragraph("x")), ts=ts)

    assert (253_402_300_799_999 if sent is None else sent) == shown.sent
    assert kinds == lost


@pytest.mark.parametrize(
    ("changes", "preset", "rule"),
    [
        ({}, "public_chat", "public"),
        ({"privacy": "private"}, "private_chat", "invite"),
        ({"type": "direct"}, "private_chat", "invite"),
        ({"is_archived": True}, "public_chat", "invite"),
    ],
)
def test_who_may_join_a_room_follows_the_conversation(changes, preset, rule):
    """No one joins an archived one."""
    about = attrs.evolve(Conversation(id="c", name="n" * 300, topic="About"), **changes)

    state = wanted_state(about)

    assert preset == new_room(about)["preset"]
    assert {"join_rule": rule} == state["m.room.join_rules"]
    assert {"name": "n" * 255} == state["m.room.name"]
    assert {"topic": "About"} == state["m.room.topic"]


@pytest.mark.parametrize(
    ("mime_type", "sent"),
    [
        ("image/png", "image/png"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("", "application/octet-stream"),
        ("image", "application/octet-stream"),
        ("image/png\r\nX-Evil: 1", "application/octet-stream"),
        ("text/\ud800", "application/octet-stream"),
        ("a/" + "b" * 70_000, "application/octet-stream"),
    ],
)
def test_a_mime_type_is_one_that_a_header_can_have(mime_type, sent):
    """Anything else is that of any bytes."""
    assert sent == sound_mime_type(mime_type)


def test_names_have_no_characters_that_databases_do_not_store():
    """PostgreSQL has no U+0000, UTF-8 no surrogates."""
    about = Conversation(id="c", name="a\0b\ud800", topic="\0")

    assert "Name of \ufffd" == display_name(person("\0"))
    assert {"name": "a\ufffdb\ufffd"} == wanted_state(about)["m.room.name"]
    assert {"topic": "\ufffd"} == wanted_state(about)["m.room.topic"]


def test_ids_come_from_those_of_the_site_alone():
    """They are the same in every migration."""
    assert "@stride_2fe5ca1c1a3d50bd92f1:a.example" == user_id("Ä", "a.example")
