"""The conversations of a site, and those of them that are meant."""

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
    """No conversation is meant by the selectors; `nearest` are names that look like them."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message)
        self.nearest = nearest


@attrs.frozen
class Site:
    """What the service lists."""

    conversations: dict[str, dict[str, Any]]
    """As listed, by id."""
    odd: list[Failure]
    """What of it is no conversation."""


async def chosen(client: StrideClient, selection: Selection) -> list[dict[str, Any]]:
    """The conversations that are meant, each as the service listed it.

    Raises:
        NothingSelected: there are none.
    """
    return meant((await listed(client)).conversations, selection)


async def listed(client: StrideClient, *, fail_fast: bool = False) -> Site:
    """Every conversation the service tells of; those that cannot be decoded are taken as they are, or raised."""
    site = Site({}, [])

    def odd(error: DecodeError) -> None:
        raw = msgspec.json.decode(error.raw)
        id = raw.get("id") if isinstance(raw, dict) else None
        if isinstance(id, str):
            site.odd.append(
                Failure(id, "conversation", "", str(error), "it is kept as it came, and so are its messages")
            )
        else:
            site.odd.append(Failure("", "conversation", "", str(error), "it has no id to ask for"))

    async for page in client.conversations(include_archived=True).pages(on_undecodable=None if fail_fast else odd):
        for each in msgspec.json.decode(page.raw).get("values") or []:
            if isinstance(each, dict) and isinstance(each.get("id"), str):
                site.conversations.setdefault(each["id"], each)
    return site


def meant(found: Mapping[str, dict[str, Any]], selection: Selection) -> list[dict[str, Any]]:
    """Those of them that are selected.

    Raises:
        NothingSelected: there are none.
    """
    picked = [each for each in found.values() if selection.picks(each["id"], name_of(each), _kinds_of(each))]
    if not picked:
        if not found:
            raise NothingSelected("the site has no conversation that this app may see", [])
        near = selection.nearest({id: name_of(each) for id, each in found.items()})
        of_kind = f"of type {' or '.join(sorted(selection.kinds))}" if selection.kinds else ""
        asked = " ".join(filter(None, (*map(repr, selection.selectors), of_kind)))
        raise NothingSelected(f"none of {len(found)} conversations is meant by {asked}", near)
    return picked


def name_of(listed: Mapping[str, Any]) -> str:
    """What people call a conversation."""
    return str(listed.get("name") or "")


def _kinds_of(listed: Mapping[str, Any]) -> set[str]:
    kind = str(listed.get("type"))
    return {kind} if kind == "direct" else {kind, str(listed.get("privacy"))}
