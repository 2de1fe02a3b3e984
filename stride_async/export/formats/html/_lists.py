"""The page of all conversations, and the page of the months of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import attrs

from stride_async.export.formats._source import Room
from stride_async.export.formats.html._paging import month_title, page_name
from stride_async.export.formats.html._records import PartRecord
from stride_async.export.formats.html._rooms import Faces
from stride_async.export.formats.html._search import script
from stride_async.export.formats.html._shown import counted, folder_of, initials, long_day, month_name, shown, tone
from stride_async.export.formats.html._templates import render

_Parts = Mapping[str, PartRecord]

_GROUPS = ("Rooms", "Private rooms", "Direct conversations", "Archived rooms")


@attrs.frozen
class Listed:
    """A conversation in the list of all."""

    group: str
    folder: str
    name: str
    topic: str
    sign: str
    tone: int
    messages: int
    first_day: str
    last_day: str

    @property
    def count(self) -> str:
        """The number of its messages, for people."""
        return counted(self.messages, "message")

    @property
    def days(self) -> str:
        """The days of its first and last message, for people."""
        return _period(self.first_day, self.last_day) if self.first_day else ""


def room_name(room: Room) -> str:
    """Return the name that the pages show for a conversation."""
    return shown(room.conversation.name) or shown(room.id)


def listed(room: Room, parts: _Parts) -> Listed:
    """Return a conversation as the list of all shows it."""
    name = room_name(room)
    first, last = _first_and_last(parts)
    return Listed(
        group=_group(room),
        folder=folder_of(room.id),
        name=name,
        topic=shown(room.conversation.topic),
        sign=initials(name)[:1] if room.conversation.type == "direct" else "#",
        tone=tone(room.id),
        messages=room.rows,
        first_day=first,
        last_day=last,
    )


def index_page(rooms: Sequence[Listed], people: int) -> bytes:
    """Return the page of all conversations."""
    first_day = min((room.first_day for room in rooms if room.first_day), default="")
    last_day = max((room.last_day for room in rooms), default="")
    facts = [
        counted(len(rooms), "conversation"),
        counted(sum(room.messages for room in rooms), "message"),
        counted(people, "person", "people"),
        *([_period(first_day, last_day)] if first_day else []),
    ]
    by_name = sorted(rooms, key=lambda room: (room.name.casefold(), room.folder))
    groups = [
        {"id": f"g-{number}", "title": title, "rooms": found}
        for number, title in enumerate(_GROUPS)
        if (found := [room for room in by_name if room.group == title])
    ]
    html = render("index.html", root="", facts=facts, groups=groups, first_day=first_day, last_day=last_day)
    return html.encode(errors="replace")


def conversation_page(room: Room, faces: Faces, parts: _Parts) -> bytes:
    """Return the page of the months of a conversation."""
    first, last = _first_and_last(parts)
    facts = [
        _kind(room),
        counted(room.rows, "message"),
        *([counted(len(room.user_ids), "member")] if room.user_ids else []),
        *([_period(first, last)] if first else []),
        "complete history" if room.verdict == "complete" else room.verdict,
    ]
    most = max((part.rows for part in parts.values()), default=1)
    years = [
        {"name": year, "months": [_month(month, parts[month], most) for month in months]}
        for year, months in groupby(parts, lambda month: month[:4] if month[:1].isdigit() else "Other")
    ]
    html = render(
        "conversation.html",
        root="../../",
        name=room_name(room),
        topic=shown(room.conversation.topic),
        folder=folder_of(room.id),
        facts=facts,
        members=sorted((faces[id] for id in room.user_ids), key=lambda person: person.name.casefold()),
        first_day=first,
        last_day=last,
        years=years,
    )
    return html.encode(errors="replace")


def days_script(folder: str, parts: _Parts) -> bytes:
    """Return the script with the first day of each page of a conversation."""
    pages = [
        [page_name(month, number).removesuffix(".html"), day]
        for month, part in parts.items()
        for number, day in enumerate(part.first_days, 1)
    ]
    return script(f"c/{folder}/days", pages)


def _month(month: str, part: PartRecord, most: int) -> dict[str, object]:
    ends = [*part.first_days[1:], part.last_day]
    labels = [_day_numbers(first, end) for first, end in zip(part.first_days, ends, strict=True)]
    pages = [
        {"file": page_name(month, at + 1), "days": label, "same": labels[:at].count(label)}
        for at, label in enumerate(labels)
    ]
    return {
        "title": month_name(month) if month[:1].isdigit() else month_title(month),
        "count": counted(part.rows, "message"),
        "percent": f"{part.rows / most:.1%}",
        "pages": pages,
    }


def _day_numbers(first: str, last: str) -> str:
    """Return the days of a page within its month, such as `3–12`."""
    if not (first and last):
        return "unknown time"
    if first[:7] != last[:7]:
        return _period(first, last)
    start, end = int(first[8:]), int(last[8:])
    return f"{start}\N{EN DASH}{end}" if end != start else str(start)


def _period(first: str, last: str) -> str:
    """Return two days as a period, such as `3 March – 12 April 2018`."""
    if first == last:
        return long_day(first)
    begin = long_day(first)
    if first[:4] == last[:4]:
        begin = begin.rpartition(" ")[0]
        if first[:7] == last[:7]:
            begin = begin.rpartition(" ")[0]
    return f"{begin} \N{EN DASH} {long_day(last)}"


def _first_and_last(parts: _Parts) -> tuple[str, str]:
    first = min((day for part in parts.values() for day in part.first_days if day), default="")
    return first, max((part.last_day for part in parts.values()), default="")


def _group(room: Room) -> str:
    if room.conversation.is_archived:
        return "Archived rooms"
    if room.conversation.type == "direct":
        return "Direct conversations"
    return "Private rooms" if room.conversation.privacy == "private" else "Rooms"


def _kind(room: Room) -> str:
    if room.conversation.type == "direct":
        return "Direct conversation"
    kind = "Private room" if room.conversation.privacy == "private" else "Public room"
    return f"{kind}, archived" if room.conversation.is_archived else kind
