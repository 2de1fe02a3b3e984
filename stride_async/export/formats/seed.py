"""The site as a seed of the local server: JSON lines, with every message byte for byte as it is archived.

A seed is stricter than an archive: it holds only what has the documented form. Everything else is counted as lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, NoReturn

import msgspec

from stride_async._arguments import path as checked_path
from stride_async._json import NOT_DECODABLE
from stride_async._moments import parse_nanoseconds
from stride_async.document._text import without_surrogates
from stride_async.export._archive.address import folder_at
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.reader import ArchivedMedia
from stride_async.export._selection import Selection
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import Output, OutputFolder
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import Room, Source

NOT_HELD = {f"{noun} that a seed cannot hold": noun for noun in ("message", "file", "person", "conversation")}
"""The kinds of what an archive has and a seed cannot hold, each with a noun for it."""

_TYPES = ("group", "direct")
_PRIVACIES = ("public", "private")
# What a seed accepts: at most nine fraction digits, and no blank before the time of day.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_TIMES = range(-(2**63), 2**63)  # What a seed accepts, in nanoseconds.
_strict = msgspec.json.Decoder().decode


def write(source: Source, output: Output, options: ConvertOptions, tally: Tally) -> None:
    """Write `site.jsonl`, and the bodies in `media`, each named by its digest."""
    assert isinstance(output, OutputFolder)
    with output.open("site.jsonl") as file:
        for line in _lines(source, tally, _name_of_body):
            file.write(line + b"\n")
    for room in source.rooms():
        for medium in room.media():
            output.link(_name_of_body(medium), medium)
            tally.step()


def seed_of(archive: str | PathLike[str]) -> Iterator[bytes]:
    """Yield the lines of a seed with the site of an archive, for `LocalServer`. No export can run meanwhile.

    The paths of the bodies are those in the archive, so its folder is the `media_root`.

    Args:
        archive: The folder of the archive.

    Raises:
        NotAnArchive, NewerArchive, ArchiveBusy, DamagedArchive: The archive cannot be read.
        ValueError: It is in an object store.
    """
    checked_path(archive, "archive")
    return seed_lines(archive, Tally())


def seed_lines(archive: str | PathLike[str], tally: Tally) -> Iterator[bytes]:
    """Yield the lines of `seed_of`, and count what they hold and what is lost."""
    opened = Archive.open(folder_at(archive))
    with opened.kept_unchanged():
        source = Source(opened, Selection(), tally)
        yield from _lines(source, tally, lambda medium: medium.path_in_archive)


def _lines(source: Source, tally: Tally, path_of: Callable[[ArchivedMedia], str]) -> Iterator[bytes]:
    yield _line({"type": "site", "cloudId": source.cloud_id, "name": source.cloud_id})
    users: set[str] = set()
    for person in source.people:
        raw = source.people.raw_profile(person.id)
        if raw is None:
            continue  # It is counted as a person without a profile.
        user = _decoded(raw)
        if isinstance(user, dict) and _is_user(user) and user["id"] not in users:  # It need not be the person's id.
            users.add(user["id"])
            yield b'{"type":"user","user":%b}' % raw
        else:
            tally.lose("person that a seed cannot hold", person.id)
    for room in source.rooms():
        line = _conversation_line(room) if _is_conversation(room.details, source.cloud_id) else None
        if line is not None:
            yield line
            yield from _messages(room, tally)
            yield from _media(room, tally, path_of)
        else:
            tally.lose("conversation that a seed cannot hold", room.id)
        tally.conversation()


def _messages(room: Room, tally: Tally) -> Iterator[bytes]:
    start = b'{"type":"message","conversationId":%b,"message":' % _line(room.id)
    ids: set[str] = set()
    for raw in room.raw_messages():
        message = _decoded(raw)
        id = message.get("id") if isinstance(message, dict) else None
        if _is_message(message) and id not in ids:
            ids.add(str(id))
            tally.message()
            yield b"%b%b}" % (start, raw)
        else:
            tally.lose("message that a seed cannot hold", id if isinstance(id, str) else room.id)


def _media(room: Room, tally: Tally, path_of: Callable[[ArchivedMedia], str]) -> Iterator[bytes]:
    for id in room.media_not_held():
        tally.lose("file not held", id)
    for medium in room.media():
        if not _is_id(medium.id):
            tally.lose("file that a seed cannot hold", medium.id)
            continue
        tally.file(medium.size)
        yield _line(
            {
                "type": "media",
                "conversationId": room.id,
                "id": medium.id,
                "name": medium.name or medium.id,
                "mimeType": medium.mime_type or "application/octet-stream",
                "size": medium.size,
                "sha256": medium.sha256,
                "path": path_of(medium),
            }
        )


def _name_of_body(medium: ArchivedMedia) -> str:
    return f"media/{medium.sha256}"


def _conversation_line(room: Room) -> bytes | None:
    """Return the line of a conversation with each member once, None if it is nested too deeply."""
    members = [id for id in dict.fromkeys(room.user_ids) if id and without_surrogates(id) == id]
    try:
        line = _line({"type": "conversation", "conversation": room.details, "roster": members})
    except RecursionError:
        return None
    return line if _decoded(line) is not None else None


def _line(value: object) -> bytes:
    """Return a value as JSON; half a surrogate pair can only be written as an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _decoded(raw: bytes) -> object:
    """Return a decoded JSON value, None if it is not JSON in UTF-8 or the server may find it nested too deeply."""
    is_deep = raw.count(b"[") + raw.count(b"{") > _DEEP
    try:
        if not is_deep:
            return _strict(raw)
    except NOT_DECODABLE:
        pass
    try:
        if is_deep:
            _DECODER.decode((b"[" * _DEEP + raw + b"]" * _DEEP).decode())
        return _DECODER.decode(raw.decode())  # It also accepts half a surrogate pair and very large numbers.
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# As the server decodes a seed. How many levels the interpreter allows depends on how deep the calls are already.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_DEEP = 200


def _is_user(user: Mapping[str, Any]) -> bool:
    return _is_id(user.get("id")) and _are_texts(user, "userName", "displayName") and _has_finite_numbers(user)


def _has_finite_numbers(value: object) -> bool:
    """Return whether the server can write a value as JSON; 1e999 was read as infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _is_conversation(details: Mapping[str, Any], cloud_id: str) -> bool:
    return (
        _is_id(details.get("id"))
        and details.get("cloudId") == cloud_id
        and _are_texts(details, "name", "topic")
        and details.get("type") in _TYPES
        and details.get("privacy") in _PRIVACIES
        and isinstance(details.get("isArchived"), bool)
        and _is_time(details.get("created"))
        and _is_time(details.get("modified"))
    )


def _is_message(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    sender, body = message.get("sender"), message.get("body")
    return (
        _is_id(message.get("id"))
        and isinstance(sender, dict)
        and _is_id(sender.get("id"))
        and isinstance(body, dict)
        and body.get("type") == "doc"
        and isinstance(message.get("text"), str)
        and _is_time(message.get("ts"))
    )


def _are_texts(value: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(value.get(name), str) for name in names)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and _TIME.fullmatch(value) is not None and parse_nanoseconds(value) in _TIMES
    except (ValueError, IndexError):
        return False
