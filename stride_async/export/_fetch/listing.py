"""The conversations that the service lists, and those of them that are selected."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs

from stride_async._client import StrideClient
from stride_async._errors import (
    ApiError,
    AuthError,
    DecodeError,
    PaginationError,
    RateLimited,
    ServerError,
    StrideError,
)
from stride_async._json import NOT_DECODABLE, decoder, members
from stride_async._wire.pages import split_values
from stride_async.export._events import Failure
from stride_async.export._fetch.nesting import is_too_nested
from stride_async.export._selection import Selection, kinds_of, name_of, nothing_selected
from stride_async.export._shard import Shard

_decode_value = decoder(Any)


@attrs.define
class Listing:
    """All conversations of a site, as far as the list can be read."""

    conversations: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """Each as the service listed it, by id."""
    failures: list[Failure] = attrs.field(factory=list)
    """What is malformed in the list."""
    complete: bool = True
    """Whether a conversation that is missing here is not listed by the service."""

    def add(self, raw: bytes) -> None:
        """Add an element of the list that is a conversation."""
        details = _details_of(raw)
        if details is not None:
            self.conversations.setdefault(details["id"], details)

    def add_undecodable(self, error: DecodeError) -> None:
        """Add an element of the list that is not a valid conversation. If it has an id, it can be exported."""
        details = _details_of(error.raw)
        if details is None:
            hint = "it has no id, so it cannot be exported"
            self.failures.append(Failure("", "conversation", "", str(error), hint))
            self.complete = False
        else:
            self.conversations.setdefault(details["id"], details)
            hint = "what can be decoded of it is stored as received, and its messages are exported"
            self.failures.append(Failure(details["id"], "conversation", "", str(error), hint))

    def add_end(self, error: StrideError) -> None:
        """Add that the list could not be read to its end."""
        hint = f"conversations after the first {len(self.conversations):,} were not exported; run again"
        self.failures.append(Failure("", "conversation", "", str(error), hint))
        self.complete = False


async def list_site(client: StrideClient, *, fail_fast: bool = False) -> Listing:
    """Return every conversation that the service lists.

    A malformed part of the list is a failure, and the conversations before it are returned; with `fail_fast` its error
    is raised.

    Raises:
        StrideError: The list is unavailable.
    """
    listing = Listing()
    received_any = False
    pager = client.conversations(include_archived=True)
    try:
        async for page in pager.pages(on_undecodable=None if fail_fast else listing.add_undecodable):
            received_any = True
            for raw in split_values(page.raw)[0]:
                listing.add(bytes(raw))
    except (DecodeError, PaginationError, ApiError) as error:
        # The service may refuse a malformed cursor, but not the first page of a list.
        is_unavailable = isinstance(error, (AuthError, RateLimited, ServerError))
        is_unavailable |= isinstance(error, ApiError) and not (received_any or listing.failures)
        if fail_fast or is_unavailable:
            raise
        listing.add_end(error)
    return listing


def select(listing: Listing, selection: Selection, shard: Shard | None = None) -> list[dict[str, Any]]:
    """Return the conversations that are selected, of a shard if there is one.

    There may be none in the shard.

    Raises:
        NothingSelected: There are none, although the list is not malformed.
    """
    listed = listing.conversations
    selected = [each for each in listed.values() if selection.picks(each["id"], name_of(each), kinds_of(each))]
    if not selected and listing.complete:
        raise nothing_selected(selection, {id: name_of(each) for id, each in listed.items()})
    return selected if shard is None else [each for each in selected if shard.includes(each["id"])]


def _details_of(raw: bytes) -> dict[str, Any] | None:
    """Return the members of a conversation that can be decoded and stored, None if its id is not among them."""
    details: dict[str, Any] = {}
    with suppress(ValueError):  # It is not an object.
        for name, value in members(raw).items():
            with suppress(*NOT_DECODABLE):
                details[name] = _decode_value(value)
    storable = {name: value for name, value in details.items() if not is_too_nested(value)}
    return storable if isinstance(id := storable.get("id"), str) and id else None
