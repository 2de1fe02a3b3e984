"""A call as the routes see it: where it goes, what it says, and on whose behalf.

Whatever a caller may send, reading it here gives a value of the type wanted, or a `Refusal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NoReturn

from attrs import define, field

from stride_async.server._answers import Refusal
from stride_async.server._limits import Grant
from stride_async.server._store import Room
from stride_async.server._world import World

PAGE = 75
"""Most items a listing gives at once, and how many it gives unless told (protocol 5)."""

_BODY_BYTES = 1_048_576
_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
_LARGEST = (1 << 63) - 1


@define(eq=False)
class Ask:
    """One call. `places` are the named parts of its path, `query` the first value of each parameter.

    `grant` and `room` are set before a route that needs them runs. `chunks` gives the body; asking for more than the
    size it is told raises a 413.
    """

    world: World
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    chunks: Callable[[int], AsyncIterator[bytes]]
    places: dict[str, str] = field(factory=dict)
    answer_headers: dict[str, str] = field(factory=dict)
    _grant: Grant | None = None
    _room: Room | None = None

    @property
    def grant(self) -> Grant:
        """What the caller's token allows."""
        assert self._grant is not None
        return self._grant

    @grant.setter
    def grant(self, grant: Grant) -> None:
        self._grant = grant

    @property
    def room(self) -> Room:
        """The conversation the path names."""
        assert self._room is not None
        return self._room

    @room.setter
    def room(self, room: Room) -> None:
        self._room = room

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return an integer from the query, or refuse one out of range (protocol 3.3)."""
        text = self.query.get(name)
        if text is None:
            return default
        # Twenty digits are beyond any range here, and int() refuses thousands of them.
        value = int(text[:20]) if _NUMBER.fullmatch(text) else None
        if value is not None and low <= value <= high:
            return value
        raise Refusal(400, f"{name}: expected a whole number from {low} to {high}, found {shortened(text)}")

    def offset(self, name: str) -> int:
        """An offset from the query; garbage counts as none given."""
        text = self.query.get(name, "")
        return min(int(text[:20]), _LARGEST) if _NUMBER.fullmatch(text) and not text.startswith("-") else 0

    def flag(self, name: str, *, default: bool) -> bool:
        """One of the words true and false from the query."""
        text = self.query.get(name, "").lower()
        if text in {"true", "false"}:
            return text == "true"
        return default if not text else refuse_parameter(name, "true or false", text)

    async def body(self, limit: int = _BODY_BYTES) -> bytes:
        """The body, of at most `limit` bytes."""
        return b"".join([chunk async for chunk in self.chunks(limit)])

    async def json_object(self) -> dict[str, object]:
        """The body as a JSON object; an empty body is an empty object."""
        raw = await self.body()
        value = parse_json(raw) if raw.strip() else {}
        if not isinstance(value, dict):
            raise Refusal(400, f"expected a JSON object, found {type(value).__name__}")
        return value


def parse_json(raw: bytes) -> object:
    """The JSON value, with nothing in it that could not be sent again as UTF-8."""
    try:
        text = raw.decode()
        value: object = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else shortened(str(error), 120)
        raise Refusal(400, f"the body is not JSON: {reason}") from None
    return value


def text_field(content: Mapping[str, object], name: str, default: str | None = None) -> str:
    """A text of the object; refused if it is missing without a default, or is no text."""
    value = content.get(name, default)
    if isinstance(value, str):
        return value
    raise Refusal(400, f"{name}: expected a text, found {'nothing' if value is None else type(value).__name__}")


def optional_text(content: Mapping[str, object], name: str) -> str:
    """A text of the object; empty when it is missing or null."""
    return "" if content.get(name) is None else text_field(content, name)


def refuse_parameter(name: str, expected: str, found: str) -> NoReturn:
    """Refuse the call for one of its parameters."""
    raise Refusal(400, f"{name}: expected {expected}, found {shortened(found)}")


def shortened(text: str, most: int = 60) -> str:
    """The text, cut when it is long, for an error message."""
    return text if len(text) <= most else f"{text[:most]}…"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
