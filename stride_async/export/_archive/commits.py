"""The steps of a conversation, as commits store them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stride_async._models import Key

BEGINNING: Key = (-(2**63), "")
"""Below every message: an empty page proved that nothing is older. Moments in nanoseconds have 64 bits in commits."""
HIGHEST: Key = (2**63 - 1, "\U0010ffff")
"""Above every message."""


class Held(msgspec.Struct, frozen=True):
    """A file of the archive as a commit names it."""

    path: str
    sha256: str
    """Of the content before compression."""
    rows: int
    packed: str
    """The digest of the file as it lies there."""


class Details(msgspec.Struct, frozen=True, tag="details"):
    """The conversation itself, as the service listed it."""

    conversation: dict[str, object]


class Unlisted(msgspec.Struct, frozen=True, tag="unlisted"):
    """The service lists it no longer; what is held stays."""


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """Who was in it, `taken_at` seconds since the epoch."""

    file: Held
    taken_at: float


class LegBegun(msgspec.Struct, frozen=True, tag="leg"):
    """A walk begins: from the newest message, or from below `upper`.

    It `looks` when it begins at the newest of what was asked for.
    """

    number: int
    upper: Key | None
    looks: bool


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    """Pages of the leg as they came, newest first, from the one asked for below `asked` down to `low`."""

    leg: int
    file: Held
    asked: Key | None
    high: Key
    low: Key
    pages: int


class Walked(msgspec.Struct, frozen=True, tag="walked"):
    """The leg's walk is at its end, and `bottom` the least key it read; what is left is to seal its months.

    When they are, everything from `low` is held; `why` says what let the walk end.
    """

    leg: int
    bottom: Key
    low: Key
    why: str


class Sealed(msgspec.Struct, frozen=True, tag="sealed"):
    """A month's messages, sorted, each once; `changed` and `gone` are what differs from the revision before.

    The leg had read everything from `low` (included) to `high` (excluded).
    """

    month: str
    rev: int
    file: Held | None
    """None: nothing is left of the month."""
    leg: int
    low: Key
    high: Key
    changed: tuple[Key, ...] = ()
    gone: tuple[Key, ...] = ()


class LegEnded(msgspec.Struct, frozen=True, tag="ended"):
    """The leg's months are sealed: from `low` (included) to `high` (excluded) everything is held.

    `why` says what let the walk end there.
    """

    leg: int
    low: Key
    high: Key
    why: str


class Unplaced(msgspec.Struct, frozen=True, tag="unplaced"):
    """Elements of the history that have no readable time or id, as they came; `digests` tell them apart."""

    file: Held
    digests: tuple[str, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """A file that was found damaged and is needed no more: its content was fetched again, or there is a later one."""

    path: str


class MediaHeld(msgspec.Struct, frozen=True, tag="media"):
    """A media body, by content."""

    id: str
    sha256: str
    size: int
    name: str | None = None
    mime_type: str | None = None


class MediaPassed(msgspec.Struct, frozen=True, tag="passed"):
    """A media body that was not wanted, being larger than asked for."""

    id: str
    size: int | None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """What could not be had: `what` (roster, history, media, message, user), which, why, and whether for good.

    A message was met by the leg `leg` and was sent at `ts`, where that can be read. A history failed when it was looked
    at below `ts`, None: from its newest message.
    """

    what: str
    id: str
    error: str
    final: bool
    ts: int | None = None
    leg: int = 0


class Mended(msgspec.Struct, frozen=True, tag="mended"):
    """What had failed is as it should be."""

    what: str
    id: str


class People(msgspec.Struct, frozen=True, tag="people"):
    """Profiles, one a line; of several of one person the last counts."""

    file: Held
    ids: tuple[str, ...]


class Met(msgspec.Struct, frozen=True, tag="met"):
    """Users and media that messages or rosters speak of, each told once."""

    users: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Everything that run asked for is held or listed as failed."""

    run: str


Op = (
    Details
    | Unlisted
    | Roster
    | LegBegun
    | Raw
    | Walked
    | Sealed
    | LegEnded
    | Unplaced
    | Lost
    | MediaHeld
    | MediaPassed
    | Failed
    | Mended
    | People
    | Met
    | Done
)


def files_of(ops: Iterable[Op]) -> list[Held]:
    """The files that they name."""
    return [op.file for op in ops if isinstance(op, Roster | Raw | Sealed | Unplaced | People) and op.file]


class Commit(msgspec.Struct, frozen=True):
    """One step of a conversation: what changed, and the digest of the step before it."""

    v: int
    n: int
    after: int
    """The number of the step before it; 0 at the first."""
    prev: str
    """That step's digest; empty at the first."""
    run: str
    at: float
    ops: tuple[Op, ...]


read_commit = msgspec.json.Decoder(Commit).decode
