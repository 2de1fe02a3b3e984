"""What of a site is wanted, and how."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs

from stride_async.export._selection import Selection

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
