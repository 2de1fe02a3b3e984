"""What `parts.json` says about the pages that a folder holds: enough to leave those alone that have not changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.export.formats._report import MOST_EXAMPLES
from stride_async.export.formats.html._messages import Piece
from stride_async.export.formats.html._paging import page_name

NAME = "parts.json"
"""The name of the file with the records."""


class LossRecord(msgspec.Struct, array_like=True):
    """How often something was lost, with the first ids."""

    kind: str
    count: int
    examples: list[str]


class PartRecord(msgspec.Struct):
    """The pages of a part."""

    digest: str
    """Of all that the messages on its pages depend on."""
    earlier: str
    later: str
    rows: int
    first_days: list[str] = []
    """The day of the first message of each page."""
    last_day: str = ""
    people: list[str] = []
    """The ids of its senders, sorted."""
    shown_files: list[str] = []
    """The ids of the files in its messages, sorted."""
    text_files: list[str] = []
    losses: list[LossRecord] = []

    def add(self, page: Sequence[Piece]) -> None:
        """Add the messages of a page."""
        self.first_days.append(page[0].day)
        self.last_day = max(self.last_day, *(piece.day for piece in page))
        self.people = sorted({*self.people, *(piece.sender_id for piece in page)})
        self.shown_files = sorted({*self.shown_files, *(id for piece in page for id in piece.shown_files)})
        for piece in page:
            if piece.text_file is not None:
                self.text_files.append(piece.text_file[0])
            for kind, id in piece.lost:
                self._lose(kind, id)

    def files(self, folder: str, month: str) -> Iterator[str]:
        """Yield the names of the files of the part."""
        for number in range(len(self.first_days)):
            yield f"c/{folder}/{page_name(month, number + 1)}"
        yield from self.text_files

    def _lose(self, kind: str, id: str) -> None:
        loss = next((loss for loss in self.losses if loss.kind == kind), None)
        if loss is None:
            loss = LossRecord(kind, 0, [])
            self.losses.append(loss)
        loss.count += 1
        if len(loss.examples) < MOST_EXAMPLES:
            loss.examples.append(id)


class Records(msgspec.Struct):
    """The pages of all parts, by conversation folder and month."""

    edition: str = ""
    parts: dict[str, dict[str, PartRecord]] = {}

    def get(self, folder: str, month: str) -> PartRecord | None:
        """Return the record of a part, None if there is none."""
        return self.parts.get(folder, {}).get(month)


def read_records(content: bytes) -> Records:
    """Return the records in `parts.json`; none if it is not as this version writes it."""
    try:
        return msgspec.json.decode(content, type=Records)
    except NOT_DECODABLE:
        return Records()


def records_json(records: Records) -> bytes:
    """Return the content of `parts.json`."""
    return msgspec.json.encode(records, order="sorted") + b"\n"
