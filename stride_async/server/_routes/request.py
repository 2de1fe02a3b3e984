"""A request as the routes see it: its path parameters, its content, and the app that sent it.

The functions here return a value of the expected type for whatever a caller may send, or raise an `HttpError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NoReturn

from attrs import define, field

from stride_async.server._limits import Allowance, App, Grant
from stride_async.server._responses import HttpError
from stride_async.server._store import StoredConversation
from stride_async.server._world import World

# Largest `limit` of a listing, and its default in most of them (protocol 5).
PAGE_LIMIT = 75

_BODY_BYTES = 1_048_576  # of a body that is neither a message nor an upload
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_LARGEST_OFFSET = (1 << 63) - 1


@define(eq=False)
class Request:
    """One request.

    `query` has the first value of each parameter. `chunks` yields the body, and raises a 413 beyond the size that it
    is called with. `response_headers` are added to the response, whatever it is. `grant` is what the caller's token
    allows, and `conversation` is the one in the path; they are set before a route that needs them runs.
    """

    world: World
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    chunks: Callable[[int], AsyncIterator[bytes]]
    path_params: dict[str, str] = field(factory=dict)
    response_headers: dict[str, str] = field(factory=dict)
    grant: Grant = field(init=False, repr=False)
    conversation: StoredConversation = field(init=False, repr=False)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return an integer from the query; one out of range is refused (protocol 3.3)."""
        text = self.query.get(name)
        if text is None:
            return default
        # Twenty digits are beyond every range, and int() refuses several thousand.
        value = int(text[:20]) if _INTEGER.fullmatch(text) else None
        if value is not None and low <= value <= high:
            return value
        return refuse_parameter(name, f"an integer from {low} to {high}", text)

    def offset(self, name: str) -> int:
        """Return an offset from the query; anything but an offset counts as 0 (protocol 5.7)."""
        text = self.query.get(name, "")
        return min(int(text[:20]), _LARGEST_OFFSET) if _INTEGER.fullmatch(text) and not text.startswith("-") else 0

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return true or false from the query."""
        text = self.query.get(name, "").lower()
        if text in {"true", "false"}:
            return text == "true"
        return default if not text else refuse_parameter(name, "true or false", text)

    async def body(self, limit: int = _BODY_BYTES) -> bytes:
        """Return the body, which has at most `limit` bytes."""
        return b"".join([chunk async for chunk in self.chunks(limit)])

    async def json_object(self) -> dict[str, object]:
        """Return the JSON object in the body; an empty body is an empty object."""
        raw = await self.body()
        value = parse_json(raw) if raw.strip() else {}
        if not isinstance(value, dict):
            raise HttpError(400, f"expected a JSON object, found {type(value).__name__}")
        return value

    def rate_limit_headers(
        self, allowance: Allowance, error_content: Mapping[str, object], *, epoch: bool = False
    ) -> dict[str, str]:
        """Return the rate-limit headers of this call, or refuse it with 429 if it is over the limit."""
        headers = allowance.headers(epoch=epoch)
        if not allowance.allowed:
            headers |= allowance.retry_after(self.world.choices.retry_after)
            raise HttpError(429, "over the rate limit", content=error_content, headers=headers)
        return headers

    def check_site(self, cloud_id: str) -> None:
        """Refuse the call if this is not the id of the site."""
        if cloud_id != self.world.store.cloud_id:
            raise HttpError(404, f"no such site: {cloud_id}")

    def usable_conversation(self, app: App, conversation_id: str) -> StoredConversation:
        """Return a conversation that the app is a member of."""
        conversation = self.world.store.conversations.find(conversation_id)
        if conversation is None:
            raise HttpError(404, f"no such conversation: {conversation_id}")
        if not self.world.store.conversations.is_member(app.client_id, conversation.number):
            raise HttpError(403, f"the app is not installed in the conversation {conversation_id}")
        return conversation

    def refuse_room_token(self) -> None:
        """Refuse the call if its token is a room token (protocol 2.4)."""
        if self.grant.conversation_id is not None:
            raise HttpError(403, "a room token is only valid for its own conversation")


def parse_json(raw: bytes) -> object:
    """Return the JSON value; it contains nothing that could not be encoded as UTF-8."""
    try:
        text = raw.decode()
        value: object = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else shortened(str(error), 120)
        raise HttpError(400, f"the body is not JSON: {reason}") from None
    return value


def string_field(content: Mapping[str, object], name: str, default: str | None = None) -> str:
    """Return a string of the object, or the default if there is no such field."""
    value = content.get(name, default)
    if isinstance(value, str):
        return value
    raise HttpError(400, f"{name}: expected a string, found {'nothing' if value is None else type(value).__name__}")


def optional_string(content: Mapping[str, object], name: str) -> str:
    """Return a string of the object, or an empty one if it is missing or null."""
    return "" if content.get(name) is None else string_field(content, name)


def refuse_parameter(name: str, expected: str, found: str) -> NoReturn:
    """Refuse the call because of one of its parameters."""
    raise HttpError(400, f"{name}: expected {expected}, found {shortened(found)}")


def shortened(text: str, most: int = 60) -> str:
    """Return the text for an error message, shortened to `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
