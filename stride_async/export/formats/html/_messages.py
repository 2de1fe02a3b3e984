"""A message as a piece of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import attrs
import msgspec
from markupsafe import Markup

from stride_async._errors import DecodeError
from stride_async._json import NOT_DECODABLE, decoder
from stride_async._models import Key
from stride_async._moments import NANOSECONDS, to_datetime
from stride_async._wire.convert import key_at, message_at
from stride_async.document import Document
from stride_async.document._nodes import attr, json_of, kind_of, objects
from stride_async.document._shown import safe_href
from stride_async.export.formats._names import digest_of
from stride_async.export.formats._source import document_of
from stride_async.export.formats.html._markup import body_html
from stride_async.export.formats.html._search import Found, found
from stride_async.export.formats.html._shown import Face, anchor_of
from stride_async.export.formats.html._templates import render

LONGEST_ON_A_PAGE = 200_000
"""The size in bytes from which a page shows only the beginning of a message."""

_BEGINNING = 4_000  # characters of such a message that the page shows
_MINUTE = 60 * NANOSECONDS
_PAUSE = 5 * _MINUTE  # after which the name of a person who goes on speaking appears again
_WITHOUT_KEY = 2**63 - 1  # nanoseconds: messages without a time come last

# An escaped letter may hide the type of a mark.
_MAY_HAVE_LINKS = re.compile(rb'"link"|\\u00[67]')

Losses = list[tuple[str, str]]
"""Kinds of loss, each with the id of what was lost."""


@attrs.frozen
class Piece:
    """A message, ready for a page."""

    key: Key
    sender_id: str
    day: str
    """Such as `2018-03-01`; empty for a message without a time."""
    html: str
    size: int
    """In bytes."""
    found: Found
    """What the search shows, except for the page."""
    shown_files: list[str]
    """The ids of the files in it."""
    lost: Losses
    text_file: tuple[str, bytes] | None
    """The name and content of the file with the complete text, if the message is too long for a page."""


@attrs.frozen
class _Content:
    key: Key
    sender_id: str
    text: str
    body: Markup
    shown_files: list[str]
    lost: Losses


class _Readable(msgspec.Struct):
    """What may be readable of a message that cannot be decoded."""

    text: str = ""


_readable_in = decoder(_Readable)


@attrs.define
class MessageWriter:
    """Makes pieces of the messages of one conversation, in order."""

    conversation: str
    """The name that the search shows."""
    folder: str
    faces: Callable[[str], Face]
    """Returns how a person appears."""
    display_file: Callable[[str], tuple[str, str | None]]
    """Returns the HTML for the id of a file, and the kind of loss if its content is not displayed."""
    _previous: tuple[str, int] = ("", 0)

    def pieces(self, lines: Iterable[bytes]) -> Iterator[Piece]:
        """Yield a piece for each message, given as JSON."""
        for line in lines:
            yield self._piece(self._content(line))

    def _content(self, line: bytes) -> _Content:
        lost: Losses = []
        shown_files: list[str] = []

        def file(id: str) -> str:
            html, loss = self.display_file(id)
            shown_files.append(id)
            if loss is not None:
                lost.append((loss, id))
            return html

        try:
            message = message_at(line, "$")
        except DecodeError:
            return _undecodable(line)
        try:
            document = message.body
        except ValueError:
            lost.append(("message carried as its text", message.id))
            document = document_of(message)
        if _MAY_HAVE_LINKS.search(line):
            lost += [("link left out", message.id)] * _unsafe_links(document)
        body = Markup(body_html(document.to_html(), file))  # noqa: S704 -- all text in it is escaped
        return _Content(message.key, message.sender_id, message.text or document.to_text(), body, shown_files, lost)

    def _piece(self, content: _Content) -> Piece:
        ts, id = content.key
        person = self.faces(content.sender_id)
        moment = _moment(ts)
        sender, before = self._previous
        self._previous = content.sender_id, ts
        is_same = sender == content.sender_id and ts - before < _PAUSE
        html = self._html(content, content.body, person, moment, is_same=is_same)
        size = len(html.encode(errors="replace"))
        text_file = None
        if size > LONGEST_ON_A_PAGE:
            complete = content.text.encode("utf-8-sig", errors="replace")
            text_file = (f"x/{digest_of(f'{self.folder}/{id}')[:32]}.txt", complete)
            html = self._html(content, _beginning(content.text, *text_file), person, moment, is_same=is_same)
            size = len(html.encode(errors="replace"))
        return Piece(
            key=content.key,
            sender_id=content.sender_id,
            day=moment[:10],
            html=html,
            size=size,
            found=found(
                page="",
                anchor=anchor_of(id),
                conversation=self.conversation,
                person=person.name,
                minute=max(0, ts // _MINUTE) if moment else 0,
                text=content.text,
            ),
            shown_files=content.shown_files,
            lost=content.lost,
            text_file=text_file,
        )

    def _html(self, content: _Content, body: Markup, person: Face, moment: str, *, is_same: bool) -> Markup:
        return render(
            "message.html", anchor=anchor_of(content.key[1]), same=is_same, person=person, moment=moment, body=body
        )


def _unsafe_links(document: Document) -> int:
    """Return the number of links that the page shows as text."""
    marks = (mark for node in document.walk() for mark in objects(json_of(node).get("marks")))
    return sum(kind_of(mark) == "link" and safe_href(attr(mark, "href")) is None for mark in marks)


def _undecodable(line: bytes) -> _Content:
    key = key_at(line) or (_WITHOUT_KEY, digest_of(line.decode(errors="replace")))
    try:
        text = _readable_in(line).text
    except NOT_DECODABLE:
        text = ""
    body = _paragraph(text) + render("undecodable.html")
    loss = "message carried as its text" if text else "undecodable message"
    return _Content(key, "", text, body, [], [(loss, key[1])])


def _moment(ts: int) -> str:
    if ts == _WITHOUT_KEY:
        return ""
    try:
        return to_datetime(ts).isoformat(timespec="seconds")[:19] + "Z"
    except ValueError:
        return ""


def _paragraph(text: str) -> Markup:
    return render("text.html", text=text)


def _beginning(text: str, path: str, complete: bytes) -> Markup:
    return render("beginning.html", text=text[:_BEGINNING], path=path, bytes=len(complete))
