"""A conversation, its people and its files, as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export.formats._source import People, Room
from stride_async.export.formats.html._bodies import FIRST_BYTES, BodyKind, kind_of
from stride_async.export.formats.html._shown import Face, face, shown, size
from stride_async.export.formats.html._templates import render

_UNKNOWN = Face("Unknown sender", "?", 0)


class Faces:
    """How the pages show people, by id."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._faces = {"": _UNKNOWN}

    def __getitem__(self, id: str) -> Face:
        known = self._faces.get(id)
        if known is None:
            known = self._faces[id] = face(id, self._people[id].label)
        return known


@attrs.frozen
class ShownFile:
    """A file whose body the archive holds."""

    path: str
    """Where it is among the pages."""
    kind: BodyKind
    name: str
    size: int
    body: ArchivedMedia


class Files:
    """The files of a conversation by id, looked at when they are needed."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._files: dict[str, ShownFile | None] = {}

    def __getitem__(self, id: str) -> ShownFile | None:
        if id not in self._files:
            self._files[id] = self._looked_at(id)
        return self._files[id]

    def html(self, id: str) -> tuple[str, str | None]:
        """Return the HTML for a file, and the kind of loss if its content is not displayed."""
        file = self[id]
        if file is None:
            return render("file.html", path="", name=shown(id), note="not in this archive"), "file not held"
        html = render("file.html", path=f"../../{file.path}", kind=file.kind, name=file.name, note=size(file.size))
        return html, "file not shown inline" if file.kind.element == "download" else None

    def appearance(self, ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return what pages show of files."""
        files = ((id, self[id]) for id in ids)
        return [(id, file.path, file.name) if file else (id, "", "") for id, file in files]

    def _looked_at(self, id: str) -> ShownFile | None:
        medium = self._room.medium(id)
        if medium is None:
            return None
        with medium.open() as body:
            kind = kind_of(body.read(FIRST_BYTES))
        name = shown(medium.name or "") or shown(id)
        return ShownFile(f"m/{medium.sha256}.{kind.extension}", kind, name, medium.size, medium)
