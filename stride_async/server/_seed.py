"""Read a site from JSON lines, one line at a time.

Each line is checked, and so are the ids by which it refers to earlier lines, before it becomes a record. Only ids are
kept in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from attrs import Factory, define

from stride_async.server._arguments import check_types
from stride_async.server._bodies import CHUNK_BYTES
from stride_async.server._loading import Checkpoint
from stride_async.server._records import Conversation, Media, Message, Record, Site, User
from stride_async.server._times import parse_ts

FILE_IN_FOLDER = "site.jsonl"
"""The name of the seed in a folder with its media."""

_LONGEST_QUOTE = 60  # characters of a value that an error quotes
_SHA256_DIGITS = 64
_BLANKS = " \t\n\r"
_BLANK = frozenset(_BLANKS)
_LINES = Path("the seed")  # what errors call a seed that is not a file


class SeedError(ValueError):
    """A line of a seed is invalid."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        """The file."""
        self.line = line
        """The number of the line, counted from 1."""
        self.problem = problem
        """What was expected, and what was found."""

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.problem}"


class SeedFile:
    """The origin of a seeded site; a file that can be read only once, such as a pipe, is enough to fill a site."""

    def __init__(self, path: Path, media_root: Path | None = None) -> None:
        self._path = path
        self._media_root = media_root
        self._read: str | None = None

    def records(self, _: Checkpoint) -> Iterator[Record]:
        """Yield the records that `read_seed` reads."""
        sha256 = hashlib.sha256()
        yield from read_seed(self._path, sha256.update, media_root=self._media_root)
        self._read = sha256.hexdigest()

    def digest(self, checkpoint: Checkpoint) -> str:
        """Return a digest of the file, which contains the digests of the media."""
        read, self._read = self._read, None
        return f"seed {read or self._digest(checkpoint)}"

    def _digest(self, checkpoint: Checkpoint) -> str:
        sha256 = hashlib.sha256()
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
                checkpoint()
        return sha256.hexdigest()


class SeedLines:
    """The origin of a site whose seed comes as lines, which are iterated over once."""

    def __init__(self, lines: Iterable[bytes], media_root: Path | None) -> None:
        self._lines = lines
        self._media_root = media_root
        self._sha256 = hashlib.sha256()
        self._was_read = False

    def records(self, _: Checkpoint) -> Iterator[Record]:
        """Yield the records of the lines."""
        yield from _records(self._hashed(), _LINES, self._media_root or Path(), stays=self._media_root is not None)

    def digest(self, checkpoint: Checkpoint) -> str:
        """Return a digest of the lines."""
        if not self._was_read:
            for _ in self._hashed():
                checkpoint()
        return f"seed {self._sha256.hexdigest()}"

    def _hashed(self) -> Iterator[bytes]:
        for line in self._lines:
            check_types(**{"a line of the seed": (line, bytes)})
            self._sha256.update(line.rstrip(b"\n") + b"\n")
            yield line
        self._was_read = True


def read_seed(
    path: str | Path, on_line: Callable[[bytes], object] = lambda _: None, *, media_root: Path | None = None
) -> Iterator[Record]:
    """Yield the records of a seed in the order of its lines, the site first. Empty lines are skipped.

    Paths of media are relative to the seed and must stay within its folder. The size of a file is checked here; its
    SHA-256 is checked when the body is stored. With a `media_root`, paths are relative to it, and the bodies stay where
    they are. `on_line` is called with each line before it is checked.

    Raises:
        SeedError: A line is invalid, or the file ends before the site.
        OSError: The file cannot be read.
    """
    path = Path(path)

    def watched(lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            on_line(line)
            yield line

    with path.open("rb") as lines:
        folder = media_root if media_root is not None else _resolved(path).parent
        yield from _records(watched(lines), path, folder, stays=media_root is not None)


def _records(lines: Iterable[bytes], path: Path, folder: Path, *, stays: bool) -> Iterator[Record]:
    """Yield the records of lines; errors name the path. Media are in the folder, where their bodies may stay."""
    checks = _Checks(_resolved(folder), bodies_stay=stays)
    number = 0
    for number, line in enumerate(lines, start=1):
        if not line or line.isspace():
            continue
        try:
            record = checks.take(_object(line))
        except _UnexpectedError as error:
            raise SeedError(path, number, str(error)) from None
        yield record
    if checks.cloud_id is None:
        raise SeedError(path, number + 1, "expected the site, found the end of the file")


class _UnexpectedError(ValueError):
    """What was expected and what was found; `read_seed` adds the line."""


@define
class _Checks:
    """The ids in the lines read so far, and the checks of the next line."""

    folder: Path
    bodies_stay: bool
    cloud_id: str | None = None
    users: set[str] = Factory(set)
    conversations: set[str] = Factory(set)
    messages: dict[str, set[str]] = Factory(lambda: defaultdict(set))
    media: dict[str, set[str]] = Factory(lambda: defaultdict(set))

    def take(self, line: _Line) -> Record:
        kind = _one_of(line, "type", *_READERS)
        if (kind == "site") != (self.cloud_id is None):
            _unexpected("exactly one site, on the first line", f"a {kind}")
        return _READERS[kind](self, line)

    def site(self, line: dict[str, Any]) -> Site:
        site = Site(_id(line, "cloudId"), _storable(line, "name"))
        self.cloud_id = site.cloud_id
        return site

    def user(self, line: dict[str, Any]) -> User:
        user = _part(line, "user")
        _string(user, "user.displayName")
        return User(
            id=_new(self.users, _id(user, "user.id"), "user.id"),
            email=_storable(user, "user.userName"),
            json=_compact(user),
        )

    def conversation(self, line: dict[str, Any]) -> Conversation:
        conversation = _part(line, "conversation")
        if conversation.get("cloudId") != self.cloud_id:
            _unexpected(f"the site's {self.cloud_id!r} as conversation.cloudId", conversation.get("cloudId"))
        for moment in ("conversation.created", "conversation.modified"):
            _moment(conversation, moment)
        _string(conversation, "conversation.topic")
        return Conversation(
            id=_new(self.conversations, _id(conversation, "conversation.id"), "conversation.id"),
            name=_storable(conversation, "conversation.name"),
            type=_one_of(conversation, "conversation.type", "group", "direct"),
            privacy=_one_of(conversation, "conversation.privacy", "public", "private"),
            archived=_boolean(conversation, "conversation.isArchived"),
            json=_compact(conversation),
            roster=_roster(line),
        )

    def message(self, line: _Line) -> Message:
        conversation_id = self._known_conversation(line)
        message = _part(line, "message")
        body = _part(message, "message.body")
        _one_of(body, "message.body.type", "doc")
        _string(message, "message.text")
        return Message(
            conversation_id=conversation_id,
            id=_new(self.messages[conversation_id], _id(message, "message.id"), "message.id"),
            sender_id=_id(_part(message, "message.sender"), "message.sender.id"),
            ts=_moment(message, "message.ts"),
            json=line.text_of_message,
        )

    def medium(self, line: dict[str, Any]) -> Media:
        conversation_id = self._known_conversation(line)
        size = _size(line)
        file = self._file(line, size)
        return Media(
            conversation_id=conversation_id,
            id=_new(self.media[conversation_id], _id(line, "id"), "id"),
            name=_storable(line, "name"),
            mime_type=_storable(line, "mimeType"),
            size=size,
            sha256=_sha256(line),
            open=lambda: file.open("rb"),
            path=file if self.bodies_stay else None,
        )

    def _known_conversation(self, line: dict[str, Any]) -> str:
        conversation_id = _id(line, "conversationId")
        if conversation_id not in self.conversations:
            _unexpected("the id of an earlier conversation as conversationId", conversation_id)
        return conversation_id

    def _file(self, line: dict[str, Any], size: int) -> Path:
        relative = _id(line, "path")
        try:
            file = _resolved(self.folder / relative)
            found = file.stat().st_size if file.is_file() else None
        except (OSError, ValueError):  # The name is too long, or contains a null character.
            _unexpected("a path", relative)
        if not file.is_relative_to(self.folder):
            _unexpected("a path within the seed's folder", relative)
        if found is None:
            _unexpected("a path to a file", relative)
        if found != size:
            _unexpected(f"a file of {size} bytes at {relative!r}", f"{found} bytes")
        return file


_SURROGATE = re.compile("[\ud800-\udfff]")

_READERS: dict[str, Callable[[_Checks, _Line], Record]] = {
    "site": _Checks.site,
    "user": _Checks.user,
    "conversation": _Checks.conversation,
    "message": _Checks.message,
    "media": _Checks.medium,
}


def _resolved(path: Path) -> Path:
    # Unlike Path.resolve(), this does not fail if links form a loop; opening the file does.
    return Path(os.path.realpath(path))


def _unexpected(expected: str, found: object) -> NoReturn:
    text = found if isinstance(found, str) and " " in found else repr(found)
    short = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    raise _UnexpectedError(f"expected {expected}, found {short}")


class _Line(dict[str, Any]):
    """The members of a line, and the text of its member `message` as it was given."""

    text_of_message = ""


def _object(line: bytes) -> _Line:
    try:
        text = line.decode().strip(_BLANKS)
        members = _members(text) if text.startswith("{") else _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _UnexpectedError(f"expected a JSON object in UTF-8, found something else: {error}") from None
    if not isinstance(members, _Line):
        _unexpected("a JSON object", members)
    return members


def _members(text: str) -> _Line:
    """Return the members of an object. The standard decoder does not say where a member begins and ends."""
    members = _Line()
    position = _after_blanks(text, 1)
    while text[position : position + 1] != "}":
        name, position = _DECODER.raw_decode(text, position)
        position = _after_blanks(text, position)
        if not isinstance(name, str) or text[position : position + 1] != ":":
            raise json.JSONDecodeError("Expecting property name and ':'", text, position)
        begin = _after_blanks(text, position + 1)
        members[name], end = _DECODER.raw_decode(text, begin)
        if name == "message":
            members.text_of_message = text[begin:end]
        position = _after_blanks(text, end)
        if text[position : position + 1] == ",":
            position = _after_blanks(text, position + 1)
            if text[position : position + 1] != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        elif text[position : position + 1] != "}":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    if position + 1 != len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)
    return members


def _after_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in _BLANK:
        position += 1
    return position


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _compact(value: dict[str, Any]) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # 1e999 is read as infinity.
        _unexpected("numbers within the range of a float", "a larger one")
    try:
        text.encode()
    except UnicodeEncodeError:  # Half a surrogate pair can only be written as an escape.
        return json.dumps(value, separators=(",", ":"))
    return text


# Names of fields are given in full ("message.sender.id"); the last part is the key.


def _value(parent: dict[str, Any], name: str) -> Any:
    return parent.get(name.rpartition(".")[2])


def _part(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = _value(parent, name)
    if not isinstance(value, dict):
        _unexpected(f"an object as {name}", value)
    return value


def _string(parent: dict[str, Any], name: str) -> str:
    value = _value(parent, name)
    if not isinstance(value, str):
        _unexpected(f"a string as {name}", value)
    return value


def _storable(parent: dict[str, Any], name: str) -> str:
    """Return a string with U+FFFD for halves of surrogate pairs, which the JSON of the object may keep as escapes."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _string(parent, name))


def _id(parent: dict[str, Any], name: str) -> str:
    value = _string(parent, name)
    if not value or not value.isprintable():
        _unexpected(f"a non-empty string of printable characters as {name}", value)
    return value


def _boolean(parent: dict[str, Any], name: str) -> bool:
    value = _value(parent, name)
    if not isinstance(value, bool):
        _unexpected(f"true or false as {name}", value)
    return value


def _one_of(parent: dict[str, Any], name: str, *words: str) -> str:
    value = _value(parent, name)
    if value not in words:
        _unexpected(f"{' or '.join(words)} as {name}", value)
    return str(value)


def _moment(parent: dict[str, Any], name: str) -> int:
    text = _string(parent, name)
    try:
        ts = parse_ts(text)
    except ValueError:
        _unexpected(f"an RFC 3339 time as {name}", text)
    if not -(2**63) <= ts < 2**63:
        _unexpected(f"a time between 1678 and 2261 as {name}", text)
    return ts


def _roster(line: dict[str, Any]) -> tuple[str, ...]:
    roster = line.get("roster")
    if not isinstance(roster, list) or not all(map(_is_member, roster)):
        _unexpected("a list of user ids as roster", roster)
    if len(set(roster)) < len(roster):
        _unexpected("each user only once in roster", Counter(roster).most_common(1)[0][0])
    return tuple(roster)


def _is_member(value: object) -> bool:
    return isinstance(value, str) and value != "" and _SURROGATE.search(value) is None


def _size(line: dict[str, Any]) -> int:
    size = line.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        _unexpected("a number of bytes as size", size)
    return size


def _sha256(line: dict[str, Any]) -> str:
    text = _string(line, "sha256")
    if len(text) != _SHA256_DIGITS or set(text) - set("0123456789abcdef"):
        _unexpected("64 lowercase hexadecimal digits as sha256", text)
    return text


def _new(known: set[str], id: str, name: str) -> str:
    if id in known:
        _unexpected(f"a unique {name}", f"{id} again")
    known.add(id)
    return id
