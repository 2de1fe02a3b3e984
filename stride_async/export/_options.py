"""What an export is asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import NoneType
from typing import Literal

import attrs

from stride_async._arguments import number, of_type
from stride_async.export._selection import Selection
from stride_async.export._shard import Shard

LONGEST_RESCAN = timedelta(days=36_525)
"""A hundred years. To read more than that again, read everything."""


@attrs.frozen(kw_only=True)
class ExportOptions:
    """Which part of a site to export, and how.

    Raises:
        TypeError: An option is of another type.
        ValueError: A number is out of range, a datetime has no time zone, or `since` is later than `until`.
    """

    selection: Selection = attrs.field(factory=Selection)
    """The conversations to export."""
    shard: Shard | None = None
    """The part of them that this export is for. Exports of the other shards can run at the same time, anywhere."""
    since: datetime | None = None
    """Only messages sent at or after this moment, an aware datetime."""
    until: datetime | None = None
    """Only messages sent before this moment, an aware datetime."""
    media: Literal["all", "none"] | int = "all"
    """Media bodies to download: all, none, or those of at most this many bytes."""
    rescan: timedelta | Literal["all"] | None = None
    """How far back messages that are already held are read again. `None` reads back to the first page that matches what
    is held."""
    concurrency: int = 32
    """The number of conversations exported at the same time. The calls within one follow each other."""
    retry_failed: bool = False
    """Also retry what the service refused for good, such as a file that was missing, and read undecodable messages
    again. Without it, only failures that may be temporary are retried."""
    fail_fast: bool = False
    """Raise the first failure instead of recording it."""

    def __attrs_post_init__(self) -> None:
        of_type(self.selection, "selection", Selection)
        of_type(self.shard, "shard", Shard, NoneType)
        for name in ("since", "until"):
            moment = of_type(getattr(self, name), name, datetime, NoneType)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name}={moment.isoformat()} has no time zone; use an aware datetime")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError(f"since={self.since.isoformat()} is later than until={self.until.isoformat()}")
        number(self.concurrency, "concurrency", 1)
        of_type(self.retry_failed, "retry_failed", bool)
        of_type(self.fail_fast, "fail_fast", bool)
        if self.media not in ("all", "none"):
            number(self.media, "media", 0)
        if self.rescan != "all":
            of_type(self.rescan, "rescan", timedelta, NoneType)
        if isinstance(self.rescan, timedelta) and not timedelta() <= self.rescan <= LONGEST_RESCAN:
            most = LONGEST_RESCAN.days
            raise ValueError(f"rescan={self.rescan.days} days is out of range: expected 0 to {most} days, or all")
