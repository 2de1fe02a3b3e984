"""What a conversion has written, and what it could not carry over.

The report is a file next to the output, `OUT.report.json`. It marks the output as one of ours, says what is lost, and
holds the digests by which a later conversion finds out what has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.document._text import without_surrogates

_KINDS = frozenset(
    {
        *("time moved", "name changed", "name cut", "message split", "message merged with its files"),
        *("person without a profile", "file not held", "file not shown inline", "link left out", "creator unknown"),
        *("undecodable message", "message carried as its text", "earlier revision", "deleted message"),
        *(
            "empty message",
            "character left out",
            "day larger than importers read",
            "conversation unfinished",
            "conversation no longer listed",
        ),
        *("file too large", "message too large", "formatting left out", "message older than those moved before"),
        *("message changed after it was moved", "message deleted after it was moved"),
        "message removed at the homeserver",
        *("undecodable conversation", "message with a repeated id", "message that a seed cannot hold"),
        *("file that a seed cannot hold", "person that a seed cannot hold", "conversation that a seed cannot hold"),
    }
)
_KINDS_WITH_DETAIL = ("node without equivalent: ", "mark without equivalent: ")
MOST_EXAMPLES = 5
"""The most ids that are kept of one kind of loss."""
_MESSAGES_PER_STEP = 1000

Parts = Mapping[str, Mapping[str, str]]
"""For each conversation id, its months with the digests of what they were made from."""


@attrs.frozen
class Loss:
    """Something that could not be carried over."""

    kind: str
    """One of a fixed set of words."""
    count: int
    """How often it happened."""
    examples: tuple[str, ...]
    """Up to five ids."""


@attrs.frozen(kw_only=True)
class Report:
    """The result of a conversion. The same archive and options give the same report."""

    format: str
    """The name of the format."""
    archive: Mapping[str, str]
    """The `id` of the archive and its content `digest`."""
    options: Mapping[str, object]
    """The options that the output depends on."""
    conversations: int
    """Conversations that were written."""
    messages: int
    """Messages that were written."""
    people: int
    """People who were written."""
    files: int
    """Files that were written."""
    file_bytes: int
    """The total length of these files."""
    digest: str
    """SHA-256 over the names and uncompressed contents of the output."""
    parts: Mapping[str, Mapping[str, str]]
    """The digests by which the next conversion of this kind finds what has changed; empty if it starts anew."""
    basis: str
    """The digest of what all parts depend on; empty if there are none."""
    verdicts: Mapping[str, str]
    """What the archive proves about each conversation, by conversation id."""
    lost: tuple[Loss, ...]
    """What could not be carried over, by kind."""


@attrs.frozen
class ConvertProgress:
    """How far a conversion is."""

    conversations: int
    """Conversations that are complete."""
    total_conversations: int
    """Conversations to convert."""
    messages: int
    """Messages that were written so far."""
    total_messages: int
    """Messages to convert."""


@attrs.define
class Tally:
    """What a conversion has written so far, and what it could not carry over. Writers count here."""

    on_progress: Callable[[ConvertProgress], object] | None = None
    total_conversations: int = 0
    total_messages: int = 0
    conversations: int = attrs.field(default=0, init=False)
    messages: int = attrs.field(default=0, init=False)
    people: int = attrs.field(default=0, init=False)
    files: int = attrs.field(default=0, init=False)
    file_bytes: int = attrs.field(default=0, init=False)
    _lost: dict[str, tuple[int, list[str]]] = attrs.field(factory=dict, init=False)

    def conversation(self) -> None:
        """Count a conversation that is complete, and report progress."""
        self.conversations += 1
        self.step()

    def message(self, count: int = 1) -> None:
        """Count messages."""
        before = self.messages // _MESSAGES_PER_STEP
        self.messages += count
        if self.messages // _MESSAGES_PER_STEP != before:
            self.step()

    def person(self) -> None:
        """Count a person."""
        self.people += 1

    def file(self, size: int) -> None:
        """Count a file with its size in bytes."""
        self.files += 1
        self.file_bytes += size

    def lose(self, kind: str, example: str, count: int = 1) -> None:
        """Count what could not be carried over, with the id of an example.

        Raises:
            ValueError: The kind is not one of the fixed words.
        """
        found, examples = self._lost.get(kind) or self._new_kind(kind)
        if example and example not in examples and len(examples) < MOST_EXAMPLES:
            examples.append(example)
        self._lost[kind] = (found + count, examples)

    def add_losses(self, losses: Iterable[Loss]) -> None:
        """Count the losses of a part that was counted apart."""
        for loss in losses:
            self.lose(loss.kind, "", 0)
            count, examples = self._lost[loss.kind]
            examples += [each for each in loss.examples if each not in examples]
            self._lost[loss.kind] = (count + loss.count, examples[:MOST_EXAMPLES])

    def losses(self) -> tuple[Loss, ...]:
        """Return what was lost so far, by kind."""
        return tuple(Loss(kind, count, tuple(examples)) for kind, (count, examples) in sorted(self._lost.items()))

    def step(self) -> None:
        """Report progress. Writers call this in long work that counts nothing."""
        if self.on_progress is not None:
            done = self.conversations, self.total_conversations, self.messages, self.total_messages
            self.on_progress(ConvertProgress(*done))

    def _new_kind(self, kind: str) -> tuple[int, list[str]]:
        if kind not in _KINDS and not kind.startswith(_KINDS_WITH_DETAIL):
            raise ValueError(f"{kind!r} is not a kind of loss")
        return 0, []


def report_path(out: Path) -> Path:
    """Return where the report of an output is."""
    return out.with_name(f"{out.name}.report.json")


def encoded(report: Report) -> bytes:
    """Return a report as JSON with sorted keys. Half a surrogate pair in an id becomes U+FFFD."""
    text = json.dumps(attrs.asdict(report), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return without_surrogates(text).encode() + b"\n"


class Previous(msgspec.Struct):
    """What a conversion needs of the report of the one before it."""

    format: str
    options: dict[str, object]
    parts: dict[str, dict[str, str]]
    basis: str


def previous_report(out: Path) -> Previous | None:
    """Return what the report next to an output says, None if there is none that can be read."""
    try:
        return msgspec.json.decode(report_path(out).read_bytes(), type=Previous)
    except (FileNotFoundError, IsADirectoryError, *NOT_DECODABLE):
        return None
