"""The messages of one part of a conversation as pages.

A part is a month, or what is in no month yet. Pages are cut from its beginning, so a page that is full never changes
when messages are added later, except that the last one gets a link to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter

import attrs
from markupsafe import Markup

from stride_async._models import Key
from stride_async._moments import EPOCH
from stride_async.export.formats.html._messages import Piece
from stride_async.export.formats.html._search import Found
from stride_async.export.formats.html._shown import long_day, month_name, weekday
from stride_async.export.formats.html._templates import render

MOST_MESSAGES = 200
"""The most messages of a page."""
MOST_BYTES = 300_000
"""The largest size of a page."""

_FRAME_BYTES = 12_000  # a page without its messages
_DAY_BYTES = 150  # the heading of a day


@attrs.frozen
class Part:
    """What the pages of a part need to know about it."""

    conversation: str
    """The name of the conversation."""
    folder: str
    month: str
    earlier: str
    """The name of the page before the first one; empty if there is none."""
    later: str
    """The name of the page after the last one; empty if there is none."""

    @property
    def title(self) -> str:
        """The name of the month, for people."""
        return month_title(self.month)

    def page(self, number: int) -> str:
        """Return the name of a page, counted from 1."""
        return page_name(self.month, number)


def page_name(month: str, number: int) -> str:
    """Return the file name of a page, counted from 1."""
    return f"{month}-{number}.html"


def month_title(month: str) -> str:
    """Return the name of a part: `March 2018`, or what the messages that are in no month are called."""
    return f"{month_name(month)} {month[:4]}" if month[:1].isdigit() else "Not in a complete month"


def paged(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield the messages of each page."""
    page: list[Piece] = []
    total, day = _FRAME_BYTES, ""
    for piece in pieces:
        size = piece.size + (_DAY_BYTES if piece.day != day else 0)
        if page and (len(page) == MOST_MESSAGES or total + size > MOST_BYTES):
            yield page
            page, total = [], _FRAME_BYTES
        page.append(piece)
        total += size
        day = piece.day
    if page:
        yield page


def write_pages(
    part: Part, pieces: Iterable[Piece], put: Callable[[str, bytes], None], seen: Callable[[list[Piece]], None]
) -> Iterator[tuple[Key, Found]]:
    """Write the pages of a part, and yield what the search shows of each message.

    `seen` is called with the messages of each page.
    """
    waiting: list[Piece] = []
    number = 0
    for page in paged(pieces):
        if waiting:
            _write(part, number, waiting, part.page(number + 1), put)
        number += 1
        waiting = page
        path = f"c/{part.folder}/{part.page(number).removesuffix('.html')}"
        seen(page)
        for piece in page:
            piece.found.page = path
            yield piece.key, piece.found
            if piece.text_file is not None:
                put(*piece.text_file)
    if waiting:
        _write(part, number, waiting, part.later, put)


def _write(part: Part, number: int, page: list[Piece], later: str, put: Callable[[str, bytes], None]) -> None:
    html = render(
        "page.html",
        root="../../",
        room=part.conversation,
        folder=part.folder,
        title=part.title,
        first_day=page[0].day,
        earlier=part.earlier if number == 1 else part.page(number - 1),
        later=later,
        days=[
            {"id": day or "unknown", "title": day_title(day), "messages": [Markup(piece.html) for piece in pieces]}  # noqa: S704 -- made by a template
            for day, pieces in groupby(page, attrgetter("day"))
        ],
    )
    put(f"c/{part.folder}/{part.page(number)}", html.encode(errors="replace"))


def day_title(day: str) -> str:
    """Return a day as a heading, such as `Thursday, 1 March 2018`."""
    if not day:
        return "Unknown time"
    return f"{weekday((date.fromisoformat(day) - EPOCH.date()).days)}, {long_day(day)}"
