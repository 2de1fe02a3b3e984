"""What a conversion is asked for."""

from __future__ import annotations

from typing import Literal

import attrs

from stride_async.export._selection import Selection


@attrs.frozen(kw_only=True)
class ConvertOptions:
    """Which part of an archive to convert, and how. Options that a format does not use have no effect."""

    selection: Selection = attrs.field(factory=Selection)
    """The conversations to convert."""
    force: bool = False
    """Replace the output even if something else is there."""
    files: Literal["uploads", "attachments"] = "uploads"
    """Slack: where the files are: in `__uploads`, or in the `attachments` of the folder of each conversation."""
    files_base_url: str = "https://files.invalid/"
    """Slack: what the URLs of files begin with."""
    team: str | None = None
    """Mattermost: the name of the team; `None` makes one from the id of the site."""
