"""The conversations that the service lists, and those of them that are selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._errors import DecodeError
from stride_async.export._events import Failure
from stride_async.export._selection import Selection


class NothingSelected(Exception):
    """No conversation matches the selectors. `nearest` has the names that are similar to them."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.nearest = nearest


@attrs.frozen
class Listing:
    """All conversations of a site."""

    conversations: dict[str, dict[str, Any]]
    """Each as the service listed it, by id."""
    failures: list[Failure]
    """The elements of the list that cannot be decoded."""


async def list_site(client: StrideClient, *, fail_fast: bool = False) -> Listing:
    """Return every conversation that the service lists.

    One that cannot be decoded is kept as received and is a failure; with `fail_fast` its `DecodeError` is raised.
    """
    listing = Listing({}, [])

    def add_failure(error: DecodeError) -> None:
        raw = msgspec.json.decode(error.raw)
        id = raw.get("id") if isinstance(raw, dict) else None
        if isinstance(id, str):
            hint = "it is stored as received, and its messages are exported"
            listing.failures.append(Failure(id, "conversation", "", str(error), hint))
        else:
            hint = "it has no id, so it cannot be exported"
            listing.failures.append(Failure("", "conversation", "", str(error), hint))

    pager = client.conversations(include_archived=True)
    async for page in pager.pages(on_undecodable=None if fail_fast else add_failure):
        for each in msgspec.json.decode(page.raw).get("values") or []:
            if isinstance(each, dict) and isinstance(each.get("id"), str):
                listing.conversations.setdefault(each["id"], each)
    return listing


def select(listed: Mapping[str, dict[str, Any]], selection: Selection) -> list[dict[str, Any]]:
    """Return the conversations that are selected.

    Raises:
        NothingSelected: There are none.
    """
    selected = [each for each in listed.values() if selection.picks(each["id"], name_of(each), _kinds_of(each))]
    if selected:
        return selected
    if not listed:
        raise NothingSelected("the site has no conversations that this app may see", [])
    nearest = selection.nearest({id: name_of(each) for id, each in listed.items()})
    kinds = f"of type {' or '.join(sorted(selection.kinds))}" if selection.kinds else ""
    wanted = " ".join(filter(None, (*map(repr, selection.selectors), kinds)))
    raise NothingSelected(f"no conversation matches {wanted} ({len(listed):,} available)", nearest)


def name_of(listed: Mapping[str, Any]) -> str:
    """Return the name of a conversation, empty if it has none."""
    return str(listed.get("name") or "")


def _kinds_of(listed: Mapping[str, Any]) -> set[str]:
    kind = str(listed.get("type"))
    return {kind} if kind == "direct" else {kind, str(listed.get("privacy"))}
