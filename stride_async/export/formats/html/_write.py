"""Write the pages of an archive, or bring them up to date.

Pages depend on the part of the conversation that they show, on the names and files in it, and on the pages next to
them. `parts.json` says on what, for each part, so that the pages of a part are made again only when it changes. The
search is made again from the segment of the first change on. It needs all messages from there, so those parts are read
again too, which changes none of their files. Everything else is cheap, and always made.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing

import attrs
import msgspec

from stride_async.export._archive.parts import UNSEALED, ArchivedMonth
from stride_async.export.formats._database import database_errors
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFolder
from stride_async.export.formats._report import Loss, Tally
from stride_async.export.formats._source import Room, Source
from stride_async.export.formats.html._lists import conversation_page, days_script, index_page, listed, room_name
from stride_async.export.formats.html._messages import MessageWriter
from stride_async.export.formats.html._paging import Part, page_name, write_pages
from stride_async.export.formats.html._records import NAME, PartRecord, Records, read_records, records_json
from stride_async.export.formats.html._rooms import Faces, Files
from stride_async.export.formats.html._search import INDEX, SEGMENT, Head, Sorted, kept_files, read_head, search_files
from stride_async.export.formats.html._shown import folder_of
from stride_async.export.formats.html._templates import assets, edition

# The folder of a conversation, and a month.
_PartKey = tuple[str, str]


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write all pages."""
    assert isinstance(output, OutputFolder)
    update = _planned(source, output, tally)
    digests = {id: {month.month: month.sha256 for month in months} for id, months in update.months.items()}
    output.begin(digests, basis=edition())
    update.put(NAME, records_json(update.left_alone()))
    rooms = []
    with database_errors(), closing(Sorted()) as messages:
        for number, room in enumerate(source.rooms()):
            rooms.append(listed(room, update.write_room(number, room, messages)))
            tally.conversation()
        update.write_search(messages)
    for name, content in assets().items():
        update.put(name, content)
    update.put("index.html", index_page(rooms, sum(1 for _ in source.people)))
    update.put(NAME, records_json(update.after))


def _planned(source: Source, output: OutputFolder, tally: Tally) -> _Update:
    """Return what there is to do."""
    before = read_records(_content(output, NAME))
    if before.edition == edition():
        update = _compared(source, output, tally, before, read_head(_content(output, INDEX)))
        if all((output.root / name).is_file() for name in update.expected()):
            return update
    return _compared(source, output, tally, Records(), None)


def _content(output: OutputFolder, name: str) -> bytes:
    path = output.root / name
    return path.read_bytes() if path.is_file() else b""


def _compared(source: Source, output: OutputFolder, tally: Tally, before: Records, head: Head | None) -> _Update:
    faces = Faces(source.people)
    months: dict[str, tuple[ArchivedMonth, ...]] = {}
    digests: dict[_PartKey, str] = {}
    rows: Counter[str] = Counter()
    for room in source.rooms():
        files = Files(room)
        months[room.id] = room.months
        for month in room.months:
            rows[month.month] += month.rows
            record = before.get(folder_of(room.id), month.month)
            known = _digest(faces, room, files, month, record) if record is not None else ""
            digests[folder_of(room.id), month.month] = known
    old = {(folder, month): part.digest for folder, parts in before.parts.items() for month, part in parts.items()}
    changed = {key for key, _ in digests.items() ^ old.items()}
    search_from = _search_from(changed, {month for _, month in (*digests, *old)}, rows, head)
    return _Update(output, tally, faces, months, before, head or Head(), changed, search_from)


@attrs.frozen
class _SearchFrom:
    """The messages that the search needs: those from `month` on, of which the first has this `number`."""

    month: str
    number: int


def _search_from(changed: set[_PartKey], months: set[str], rows: Counter[str], head: Head | None) -> _SearchFrom | None:
    """Return what the search needs, None if it does not change."""
    everything = _SearchFrom("", 0)
    if head is None or UNSEALED in months:  # What is in no month may have been sent at any time.
        return everything
    if not changed:
        return None
    first_change = min(month for _, month in changed)
    segment = sum(count for month, count in rows.items() if month < first_change) // SEGMENT
    if segment > len(head.segments):
        return everything
    found, number = everything, 0
    for month in sorted(rows):
        if number > segment * SEGMENT:
            break
        found = _SearchFrom(month, number)
        number += rows[month]
    return found


@attrs.define
class _Update:
    """The pages that a folder has, and those that it will have."""

    output: OutputFolder
    tally: Tally
    faces: Faces
    months: Mapping[str, tuple[ArchivedMonth, ...]]
    """The parts of each conversation, by its id."""
    before: Records
    head: Head
    """Of the search that the folder has."""
    changed: set[_PartKey]
    """The parts whose messages appear otherwise than before."""
    search_from: _SearchFrom | None
    after: Records = attrs.field(factory=lambda: Records(edition()))

    def put(self, name: str, content: bytes) -> None:
        """Write a file, unless it has this content."""
        if _content(self.output, name) != content or not self.output.keep(name):
            self.output.write(name, content)

    def left_alone(self) -> Records:
        """Return the records of the parts that the update leaves alone, so that they are true if it is interrupted."""
        kept = Records(edition())
        for id, parts in self.months.items():
            folder = folder_of(id)
            records = kept.parts.setdefault(folder, {})
            months = ["", *(part.month for part in parts), ""]
            for earlier, month, later in zip(months, months[1:], months[2:], strict=False):
                record = self.before.get(folder, month)
                if record is not None and not self.changed & {(folder, one) for one in (earlier, month, later)}:
                    records[month] = record
        return kept

    def expected(self) -> Iterator[str]:
        """Yield the names of the files that are there already, if nothing was removed."""
        for folder, parts in self.before.parts.items():
            for month, record in parts.items():
                if (folder, month) not in self.changed:
                    yield from record.files(folder, month)
        yield from self._kept_search()

    def _kept_search(self) -> Iterator[str]:
        return kept_files(self.head, self.search_from.number if self.search_from else self.head.messages)

    def write_room(self, number: int, room: Room, messages: Sorted) -> dict[str, PartRecord]:
        """Write the pages of a conversation, add what the search needs to `messages`, and return what there is."""
        folder = folder_of(room.id)
        files = Files(room)
        records = self.after.parts.setdefault(folder, {})
        earlier = ""
        for at, month in enumerate(room.months):
            later = page_name(room.months[at + 1].month, 1) if at + 1 < len(room.months) else ""
            part = Part(room_name(room), folder, month.month, earlier, later)
            is_searched = self.search_from is not None and month.month >= self.search_from.month
            record = self.before.get(folder, month.month)
            if record is not None and not is_searched and self._is_current(part, record):
                for name in record.files(folder, month.month):
                    self.output.keep(name)
            else:
                record = self._write_part(number, room, files, month, part, messages if is_searched else None)
            records[month.month] = record
            self._count(month, record)
            earlier = page_name(month.month, len(record.first_days))
        for medium in room.media():
            if (file := files[medium.id]) is not None:
                self.output.link(file.path, file.body)
                self.tally.file(file.size)
        self.put(f"c/{folder}/index.html", conversation_page(room, self.faces, records))
        self.put(f"c/{folder}/days.js", days_script(folder, records))
        return records

    def _is_current(self, part: Part, record: PartRecord) -> bool:
        is_changed = (part.folder, part.month) in self.changed
        return not is_changed and (record.earlier, record.later) == (part.earlier, part.later)

    def _write_part(
        self, number: int, room: Room, files: Files, month: ArchivedMonth, part: Part, messages: Sorted | None
    ) -> PartRecord:
        record = PartRecord("", part.earlier, part.later, month.rows)
        writer = MessageWriter(part.conversation, part.folder, self.faces.__getitem__, files.html)
        found = write_pages(part, writer.pieces(room.raw_messages(month.month)), self.put, record.add)
        if messages is not None:
            messages.add(number, found)
        else:
            for _ in found:
                continue
        record.digest = _digest(self.faces, room, files, month, record)
        return record

    def _count(self, month: ArchivedMonth, record: PartRecord) -> None:
        self.tally.message(month.rows)
        self.tally.add_losses(Loss(each.kind, each.count, tuple(each.examples)) for each in record.losses)

    def write_search(self, messages: Sorted) -> None:
        """Write the files of the search."""
        for name in self._kept_search():
            self.output.keep(name)
        if self.search_from is not None:
            for name, content in search_files(messages, self.search_from.number, self.head):
                self.put(name, content)
                self.tally.step()


def _digest(faces: Faces, room: Room, files: Files, month: ArchivedMonth, record: PartRecord) -> str:
    """Return the digest of what the messages of a part depend on, given who and what is on its pages."""
    names = [faces[id].name for id in record.people]
    parts = (month.sha256, month.rows, room_name(room), names, files.appearance(record.shown_files))
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
