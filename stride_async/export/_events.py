"""What an export tells of its work, as values; and what it is asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs

from stride_async.export._select import Selection

LONGEST_RESCAN = timedelta(days=36_525)
"""A hundred years; whoever wants more wants all."""


@attrs.frozen(kw_only=True)
class ExportOptions:
    """What of a site is wanted, and how.

    Raises:
        ValueError: a number is out of range, or a moment has no zone.
    """

    selection: Selection = attrs.field(factory=Selection)
    since: datetime | None = None
    """Only messages sent at or after this aware moment."""
    until: datetime | None = None
    """Only messages sent before this aware moment."""
    media: Literal["all", "none"] | int = "all"
    """Media bodies to fetch: all, none, or those of at most so many bytes."""
    rescan: timedelta | Literal["all"] | None = None
    """How far back messages that are held are read again; None: to the first page that agrees."""
    concurrency: int = attrs.field(default=32, validator=attrs.validators.ge(1))
    """Conversations that are worked on at once; within one, calls follow each other."""
    retry_failed: bool = False
    """Only what earlier runs could not get, or did not reach."""
    fail_fast: bool = False
    """Raise the first failure instead of listing it."""

    def __attrs_post_init__(self) -> None:
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name}={moment.isoformat()} has no time zone: give an aware datetime")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError(f"since={self.since.isoformat()} is later than until={self.until.isoformat()}")
        if isinstance(self.rescan, timedelta) and not timedelta() <= self.rescan <= LONGEST_RESCAN:
            most = LONGEST_RESCAN.days
            raise ValueError(f"rescan={self.rescan.days} days is out of range: 0 to {most} days, or all")


@attrs.frozen
class RunStarted:
    """A run begins, or one that was interrupted goes on (`continued`)."""

    run: str
    continued: bool


@attrs.frozen
class ConversationsFound:
    """So many conversations are to be worked on."""

    count: int


@attrs.frozen
class ConversationStarted:
    """A conversation is being worked on."""

    conversation_id: str
    name: str


@attrs.frozen
class PagesFetched:
    """A page of a conversation's history came in."""

    conversation_id: str
    messages: int
    size_bytes: int


@attrs.frozen
class MediaFetched:
    """A media body is held."""

    conversation_id: str
    media_id: str
    size_bytes: int


@attrs.frozen
class ConversationDone:
    """Everything asked of a conversation is held, or listed as failed: `new`, `changed` and `gone` messages."""

    conversation_id: str
    name: str
    messages: int
    new: int
    changed: int
    gone: int
    failures: int


@attrs.frozen
class Failure:
    """Something that could not be had; it is listed in the run's failures.jsonl."""

    conversation_id: str
    what: str
    id: str
    error: str
    hint: str


@attrs.frozen
class Summary:
    """A run is over."""

    run: str
    conversations: int
    messages: int
    """Held in all, of the conversations of this run."""
    new: int
    changed: int
    gone: int
    media: int
    media_bytes: int
    users: int
    failures: int
    """Things that are missing and listed, those of earlier runs that are missing still among them."""
    no_longer_listed: int
    """Conversations the service told of once and does not now; what is held of them stays."""
    seconds: float
    content_digest: str
    """Of every conversation the archive holds and the service lists."""


ExportEvent = (
    RunStarted
    | ConversationsFound
    | ConversationStarted
    | PagesFetched
    | MediaFetched
    | ConversationDone
    | Failure
    | Summary
)
