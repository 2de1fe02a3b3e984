"""The index of the search, as scripts that a page loads when it needs them.

All messages are numbered by time. Each 51,200 of them are a *segment* with an index of its own: its words in order,
each with the numbers of the messages that it occurs in, cut into files of about 32 kB. What the results show is in
`t/`, 200 messages a file. `index.js` has the first word of every file of words, and the first day of every file of
texts. So a query loads one file a word from each segment, newest first, until it has enough results; and messages that
are added later change the last segment only.

Numbers and days are written as differences in base 64 (`_base64`), as source maps do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async._models import Key
from stride_async.export.formats._database import temporary_database
from stride_async.export.formats.html._words import words_in

TEXTS_PER_FILE = 200
SEGMENT = 256 * TEXTS_PER_FILE
"""Messages in a segment. Within it, numbers count from its first message."""

_INDEX_NAME = "search/index"
INDEX = f"{_INDEX_NAME}.js"

_WORD_FILE_CHARACTERS = 32_000
_EXCERPT = 160  # characters
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_MINUTES_PER_DAY = 24 * 60


class Found(msgspec.Struct, array_like=True):
    """A message as the search shows it."""

    page: str
    """The path of its page."""
    anchor: str
    conversation: str
    person: str
    minute: int
    """Minutes since the epoch; 0 without a time."""
    excerpt: str
    words: str
    """All words that find it, separated by blanks."""


class Head(msgspec.Struct):
    """The content of `index.js`."""

    messages: int = 0
    days: str = ""
    """The day of the first message of each file of texts, in days since the epoch."""
    segments: list[list[str]] = []
    """The first word of each file of words, for each segment."""


def found(*, page: str, anchor: str, conversation: str, person: str, minute: int, text: str) -> Found:
    """Return a message for the search, with the words of its text and of the sender's name."""
    excerpt = " ".join(text[: 2 * _EXCERPT].split())
    if len(excerpt) > _EXCERPT:
        excerpt = excerpt[: _EXCERPT - 1] + "…"
    elif len(text) > 2 * _EXCERPT:
        excerpt += "…"
    return Found(page, anchor, conversation, person, minute, excerpt, " ".join(words_in(f"{person} {text}")))


class Sorted:
    """Messages that are added by conversation and come out by time. They are kept in a temporary file."""

    def __init__(self) -> None:
        self._database = temporary_database("CREATE TABLE message (ts, conversation, id, found)")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Found).decode

    def add(self, conversation: int, messages: Iterable[tuple[Key, Found]]) -> None:
        """Add messages of a conversation, each with its key. Each conversation has a number."""
        rows = ((ts, conversation, id, self._encode(one)) for (ts, id), one in messages)
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO message VALUES (?, ?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def __iter__(self) -> Iterator[Found]:
        for (encoded,) in self._database.execute("SELECT found FROM message ORDER BY ts, conversation, id"):
            yield self._decode(encoded)

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()


@attrs.define
class _Segment:
    """The index of one segment, while its messages are read."""

    postings: dict[str, list[int]] = attrs.field(factory=dict)
    size: int = 0

    def add(self, words: str) -> None:
        number = self.size
        self.size += 1
        postings = self.postings
        for word in words.split(" "):
            known = postings.get(word)
            if known is None:
                postings[word] = [number]
            else:
                known.append(number)

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the first word and the lines of each file of words."""
        lines: list[str] = []
        first, length = "", 0
        self.postings.pop("", None)
        for word in sorted(self.postings):
            line = f"{word} {differences(self.postings[word])}"
            if lines and length + len(line) > _WORD_FILE_CHARACTERS:
                yield first, "\n".join(lines)
                lines, length = [], 0
            if not lines:
                first = word
            lines.append(line)
            length += len(line) + 1
        if lines:
            yield first, "\n".join(lines)


def search_files(messages: Iterable[Found], first: int, before: Head) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files of the search.

    `messages` begins with the message of the number `first`. The segments that are complete before it are those of
    `before`, and their files are not made again. The files from the segment of `first` on are; that segment must begin
    at `first` or later.
    """
    kept = -(-first // SEGMENT)
    segments = before.segments[:kept]
    days = numbers(before.days)[: kept * (SEGMENT // TEXTS_PER_FILE)]
    number = first
    segment = _Segment()
    batch: list[Found] = []
    for message in messages:
        if number >= kept * SEGMENT:
            segment.add(message.words)
            batch.append(message)
        number += 1
        if len(batch) == TEXTS_PER_FILE:
            yield _texts(len(days), batch)
            days.append(max(_day(batch), days[-1] if days else 0))
            batch = []
            if segment.size == SEGMENT:
                yield from _words(segments, segment)
                segment = _Segment()
    if batch:
        yield _texts(len(days), batch)
        days.append(max(_day(batch), days[-1] if days else 0))
    if segment.size:
        yield from _words(segments, segment)
    yield INDEX, script(_INDEX_NAME, Head(number, differences(days), segments))


def _day(batch: Sequence[Found]) -> int:
    return batch[0].minute // _MINUTES_PER_DAY


def _words(segments: list[list[str]], segment: _Segment) -> Iterator[tuple[str, bytes]]:
    firsts: list[str] = []
    for first, lines in segment.files():
        name = f"search/w/{len(segments)}-{len(firsts)}"
        firsts.append(first)
        yield f"{name}.js", script(name, lines)
    segments.append(firsts)


def _texts(number: int, batch: Sequence[Found]) -> tuple[str, bytes]:
    """Return a file of texts. Pages and people are listed once, and named by their number."""
    pages: dict[tuple[str, str], int] = {}
    people: dict[str, int] = {}
    rows = [
        [
            pages.setdefault((one.page, one.conversation), len(pages)),
            people.setdefault(one.person, len(people)),
            one.minute,
            one.anchor,
            one.excerpt,
        ]
        for one in batch
    ]
    name = f"search/t/{number}"
    return f"{name}.js", script(name, {"pages": [*pages], "people": [*people], "rows": rows})


def script(name: str, value: object) -> bytes:
    """Return a script that hands a value to the page under a name."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
    return f'stride.put("{name}",{text});\n'.encode(errors="replace")


def kept_files(head: Head, messages: int) -> Iterator[str]:
    """Yield the names of the files that stay as they are when the messages from a number on change."""
    complete = messages == head.messages
    segments = len(head.segments) if complete else -(-messages // SEGMENT)
    for segment, firsts in enumerate(head.segments[:segments]):
        for number in range(len(firsts)):
            yield f"search/w/{segment}-{number}.js"
    texts = messages if complete else segments * SEGMENT
    for number in range(-(-texts // TEXTS_PER_FILE)):
        yield f"search/t/{number}.js"
    if complete:
        yield INDEX


def read_head(content: bytes) -> Head | None:
    """Return the head in `index.js`; None if the file is not as this version writes it."""
    prefix, suffix = script(_INDEX_NAME, 0).split(b"0")
    if not (content.startswith(prefix) and content.endswith(suffix)):
        return None
    try:
        return msgspec.json.decode(content[len(prefix) : -len(suffix)], type=Head)
    except NOT_DECODABLE:
        return None


def differences(values: Sequence[int]) -> str:
    """Return numbers that do not fall, as their differences in base 64."""
    if not values:
        return ""
    small = len(_SMALL)
    rest = [_SMALL[b - a] if b - a < small else _base64(b - a) for a, b in pairwise(values)]
    return _base64(values[0]) + "".join(rest)


def numbers(text: str) -> list[int]:
    """Return the numbers that `differences` has written."""
    values: list[int] = []
    total = shift = value = 0
    for digit in text:
        code = _DIGITS.index(digit)
        value += (code & 31) << shift
        shift += 5
        if code < 32:
            total += value
            values.append(total)
            value = shift = 0
    return values


def _base64(number: int) -> str:
    """Return a number as digits of five bits, lowest first; a sixth bit says that more follow."""
    digits = ""
    while number > 31:
        digits += _DIGITS[32 | number & 31]
        number >>= 5
    return digits + _DIGITS[number]


_SMALL = [_base64(number) for number in range(1 << 10)]
