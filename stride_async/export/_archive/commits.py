"""The commits of a conversation: the operations they consist of, and how they are stored. Pure.

A commit is one JSON object. Its tags and field names are those of format 1; where an attribute has a clearer name here,
`field(name=…)` gives the one on disk. An archive may come from someone else, so nothing in a commit is used before it
is checked: numbers and digests by the types below, paths by `decode_commit`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, field

from stride_async._json import NOT_DECODABLE
from stride_async._models import Key
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import RUN_NAME, can_be_stored, conversation_folder

BEGINNING: Key = (-(2**63), "")
"""Below every message: an empty page proved that there is none older. Commits store times as 64-bit integers."""
HIGHEST: Key = (2**63 - 1, "\U0010ffff")
"""Above every message."""
VERSION = 1
"""The version of the commits that this package writes."""


Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
LARGEST_COUNT = 2**53
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Moment = Annotated[float, Meta(ge=0, le=253_402_300_799)]
"""Seconds since the epoch, up to the end of the year 9999."""
Month = Annotated[str, Meta(pattern=r"\A[0-9]{4}-(0[1-9]|1[0-2])\Z")]
RunId = Annotated[str, Meta(pattern=rf"\A{RUN_NAME}\Z")]
Nanoseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
StoredKey = tuple[Nanoseconds, str]
"""A key as commits store it: its time has 64 bits."""


class Stored(msgspec.Struct, frozen=True):
    """A file of the archive: its path, the digests of its content and of the file itself, and its number of lines."""

    path: str
    sha256: Digest
    """Digest of the content before compression."""
    rows: Count
    file_sha256: Digest = field(name="packed")
    """Digest of the file as it is stored."""


class Details(msgspec.Struct, frozen=True, tag="details"):
    """The conversation as the service listed it."""

    conversation: dict[str, object]


class Unlisted(msgspec.Struct, frozen=True, tag="unlisted"):
    """The service no longer lists the conversation. What is held of it stays."""


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """The roster at `taken_at`, in seconds since the epoch."""

    file: Stored
    taken_at: Moment


class LegStarted(msgspec.Struct, frozen=True, tag="leg"):
    """A leg starts below `upper`, or at the newest message if that is None."""

    number: Count
    upper: StoredKey | None
    from_newest: bool = field(name="looks")
    """Whether the leg starts at the newest message that the run asked for."""


class RawGroup(msgspec.Struct, frozen=True, tag="raw"):
    """Consecutive pages of a leg, from the one requested below `upper` down to the message `low`."""

    leg: Count
    file: Stored
    upper: StoredKey | None = field(name="asked")
    high: StoredKey
    low: StoredKey
    pages: Count


class WalkEnded(msgspec.Struct, frozen=True, tag="walked"):
    """The walk of a leg reached its end, so its months can be sealed. `bottom` is the lowest key that it read.

    Once they are sealed, everything from `low` on is held.
    """

    leg: Count
    bottom: StoredKey
    low: StoredKey
    reason: str = field(name="why")


class Sealed(msgspec.Struct, frozen=True, tag="sealed"):
    """A revision of a month. `changed` and `gone` are the differences from the revision before.

    The leg read everything from `low` (inclusive) to `high` (exclusive).
    """

    month: Month
    revision: Count = field(name="rev")
    file: Stored | None
    """None if the month has no messages any more."""
    leg: Count
    low: StoredKey
    high: StoredKey
    changed: tuple[StoredKey, ...] = ()
    gone: tuple[StoredKey, ...] = ()


class LegEnded(msgspec.Struct, frozen=True, tag="ended"):
    """The months of the leg are sealed: everything from `low` (inclusive) to `high` (exclusive) is held."""

    leg: Count
    low: StoredKey
    high: StoredKey
    reason: str = field(name="why")


class Unplaced(msgspec.Struct, frozen=True, tag="unplaced"):
    """Elements of the history that have no readable key, as received. `digests` tell them apart."""

    file: Stored
    digests: tuple[str, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """A damaged file that is no longer needed: it was fetched again, or a later revision replaces it."""

    path: str


class MediaStored(msgspec.Struct, frozen=True, tag="media"):
    """The body of a media file is held."""

    id: str
    sha256: Digest
    size: Count
    name: str | None = None
    mime_type: str | None = None


class MediaSkipped(msgspec.Struct, frozen=True, tag="passed"):
    """The body of a media file was not fetched because it is larger than the run asked for."""

    id: str
    size: Count | None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Something could not be fetched. `what` is roster, history, media, message or user; `final` if a retry is useless.

    For a message, `leg` is the leg that read it and `ts` its time, if that is readable. For a history, `ts` is the
    upper bound that the run asked for, None for the newest message.
    """

    what: str
    id: str
    error: str
    final: bool
    ts: Nanoseconds | None = None
    leg: Count = 0


class Resolved(msgspec.Struct, frozen=True, tag="mended"):
    """An earlier failure no longer applies."""

    what: str
    id: str


class Profiles(msgspec.Struct, frozen=True, tag="people"):
    """Profiles of the people `ids`, one a line. The latest profile of a person counts."""

    file: Stored
    ids: tuple[str, ...]


class Referenced(msgspec.Struct, frozen=True, tag="met"):
    """Users and media that messages or the roster reference, each named once in a chain."""

    users: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Everything that the run asked for is held or recorded as failed."""

    run: RunId


Op = (
    Details
    | Unlisted
    | Roster
    | LegStarted
    | RawGroup
    | WalkEnded
    | Sealed
    | LegEnded
    | Unplaced
    | Lost
    | MediaStored
    | MediaSkipped
    | Failed
    | Resolved
    | Profiles
    | Referenced
    | Done
)
"""What one commit can say."""


class Commit(msgspec.Struct, frozen=True):
    """One step of a conversation: what changed, and which commit it follows."""

    version: Count = field(name="v")
    number: Count = field(name="n")
    previous: Count = field(name="after")
    """The number of the commit before it, 0 for the first."""
    previous_sha256: str = field(name="prev")
    """The digest of that commit, empty for the first."""
    run: RunId
    at: Moment
    """When it was made, in seconds since the epoch."""
    ops: tuple[Op, ...]


encode_commit = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Commit).decode


def decode_commit(data: bytes, folder: str) -> Commit:
    """Return a commit of a folder.

    Raises:
        DamagedArchive: It is not a commit, a number in it is out of range, or it names a file that the folder cannot
            have.
    """
    try:
        commit = _decode(data)
    except NOT_DECODABLE as error:
        raise DamagedArchive(f"a commit of {folder} cannot be decoded: {error}") from error
    named = [file.path for file in files_named_by(commit.ops)]
    for path in [*named, *(op.path for op in commit.ops if isinstance(op, Lost))]:
        if not can_be_stored(path, folder):
            raise DamagedArchive(f"a commit of {folder} names {path!r}, which is not a file of that folder")
    for op in commit.ops:
        if isinstance(op, Details) and not _belongs_to(op.conversation, folder):
            raise DamagedArchive(f"a commit of {folder} describes another conversation")
        if isinstance(op, Profiles) and len(op.ids) != op.file.rows:
            raise DamagedArchive(f"a commit of {folder} names {len(op.ids)} people for {op.file.rows} profiles")
    return commit


def _belongs_to(conversation: dict[str, object], folder: str) -> bool:
    id = conversation.get("id")
    return isinstance(id, str) and conversation_folder(id) == folder


def files_named_by(ops: Iterable[Op]) -> list[Stored]:
    """Return the files that operations name."""
    return [op.file for op in ops if isinstance(op, Roster | RawGroup | Sealed | Unplaced | Profiles) and op.file]
