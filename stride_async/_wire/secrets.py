"""Secrets kept out of what people read: errors, their facts, and the words of attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from stride_async._errors import StrideError

E = TypeVar("E", bound=StrideError)

_TELLING_CHARACTERS = 8
"""The start of a secret by which one that was cut short is still known."""


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` in place of each secret, and of what is left of one that was cut off."""
    for secret in filter(None, secrets):
        text = _without(secret, text)
    return text


def redact(error: E, secrets: Iterable[str]) -> E:
    """The error with no secret in its words and facts."""
    hidden = tuple(secrets)
    hidden_bytes = [secret.encode().decode("latin-1") for secret in hidden]
    error.args = tuple(redacted(part, hidden) if isinstance(part, str) else part for part in error.args)
    for name, fact in error.__dict__.items():
        if isinstance(fact, str):
            error.__dict__[name] = redacted(fact, hidden)
        elif isinstance(fact, bytes):
            # Latin-1 is one character a byte, whatever the bytes are.
            error.__dict__[name] = redacted(fact.decode("latin-1"), hidden_bytes).encode("latin-1")
    return error


def forget_frames(error: BaseException | None) -> None:
    """Forget where an error and those behind it were raised: what was sent and what came stand there as locals."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _without(secret: str, text: str) -> str:
    start, kept, behind = secret[:_TELLING_CHARACTERS], [], 0
    while (at := text.find(start, behind)) >= 0:
        kept += [text[behind:at], "***"]
        behind = at + len(start)
        while behind < at + len(secret) and text[behind : behind + 1] == secret[behind - at]:
            behind += 1
    return "".join([*kept, text[behind:]]) if kept else text
