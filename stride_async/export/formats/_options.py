"""What a conversion is asked for."""

from __future__ import annotations

import re
from typing import Literal

import attrs

from stride_async._arguments import of_type
from stride_async.export._selection import Selection

_FILES = ("uploads", "beside")
_URL = re.compile(r"https?://[^\s<>|]+")
_TEAM = re.compile(r"[a-z0-9][a-z0-9-]{0,62}[a-z0-9]")
# Mattermost uses these as the beginnings of its own addresses.
_NOT_TEAMS = (
    *("admin", "api", "boards", "channel", "claim", "error", "files", "help", "landing", "login", "mfa", "oauth"),
    *("playbooks", "plug", "post", "signup"),
)


def _is_selection(_: object, __: attrs.Attribute[Selection], selection: Selection) -> None:
    of_type(selection, "selection", Selection)


def _is_flag(_: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    of_type(value, attribute.name, bool)


def _is_url(_: object, __: attrs.Attribute[str], url: str) -> None:
    if not _URL.fullmatch(of_type(url, "files_base_url", str)):
        raise ValueError(f"files_base_url: expected an http or https URL, not {url!r}")


def _is_team(_: object, __: attrs.Attribute[str], name: str) -> None:
    if not _TEAM.fullmatch(of_type(name, "team", str)) or name.startswith(_NOT_TEAMS):
        raise ValueError(
            f"team: expected 2 to 64 lower-case letters, digits and hyphens, with a hyphen at neither end, and not "
            f"beginning like an address of the server (such as admin, api or help), not {name!r}"
        )


def selection_in_report(selection: Selection) -> dict[str, object]:
    """Return a selection as the options of a report have it."""
    return {"selectors": list(selection.selectors), "kinds": sorted(selection.kinds)}


@attrs.frozen(kw_only=True)
class ConvertOptions:
    """Which part of an archive to convert, and how. Options that a format does not use have no effect.

    Raises:
        ValueError: `files` has another value, `files_base_url` is not an http or https URL, or Mattermost would refuse
            the name of the team.
    """

    selection: Selection = attrs.field(factory=Selection, validator=_is_selection)
    """The conversations to convert."""
    force: bool = attrs.field(default=False, validator=_is_flag)
    """Replace the output even if something else is there."""
    files: Literal["uploads", "beside"] = attrs.field(default="uploads", validator=attrs.validators.in_(_FILES))
    """Slack: where the files are: in `__uploads`, or in the folder `attachments` of each conversation."""
    files_base_url: str = attrs.field(default="https://files.invalid/", validator=_is_url)
    """Slack: what the URLs of files begin with."""
    team: str | None = attrs.field(default=None, validator=attrs.validators.optional(_is_team))
    """Mattermost: the name of the team; `None` makes one from the id of the site."""
