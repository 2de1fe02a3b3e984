"""Divide the conversations of a site among exports that run at the same time. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Self

import attrs

from stride_async._arguments import number, of_type

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@attrs.frozen
class Shard:
    """One of `count` parts of a site: the conversations whose id has a SHA-256 that is `index` modulo `count`.

    Each conversation is in exactly one of them, whatever the others do. The first `index` is 0.

    Raises:
        TypeError: A number is of another type.
        ValueError: A number is out of range.
    """

    index: int
    """Which part it is, counted from 0."""
    count: int
    """The number of parts."""

    def __attrs_post_init__(self) -> None:
        number(self.count, "count", 1)
        number(self.index, "index", 0)
        if self.index >= self.count:
            raise ValueError(f"shard {self} does not exist: the shards of {self.count} are {_named(self.count)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return a shard that is written as `INDEX/COUNT`, such as `0/4`.

        Args:
            text: `INDEX/COUNT`, such as `0/4`.

        Raises:
            ValueError: It is not a shard.
        """
        match = _SHARD.fullmatch(of_type(text, "a shard", str))
        if match is None:
            raise ValueError(f"{text!r} is not a shard such as 0/4, the first of four")
        return cls(int(match[1]), int(match[2]))

    def includes(self, conversation_id: str) -> bool:
        """Return whether a conversation is in this shard.

        Args:
            conversation_id: The id of the conversation.
        """
        id = of_type(conversation_id, "the conversation id", str)
        digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def _named(count: int) -> str:
    return "0/1 only" if count == 1 else f"0/{count} to {count - 1}/{count}"
