"""Keep secrets out of what people read: the messages and facts of errors and attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from stride_async._errors import StrideError

E = TypeVar("E", bound=StrideError)

# A secret that was cut short is still recognized by this many of its first characters. A shorter secret is not searched
# for: it would hide ordinary text, and hide little itself.
_RECOGNIZED_CHARACTERS = 8


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return the text with `***` in place of each secret, including a secret of which only the start is there."""
    for secret in secrets:
        if len(secret) >= _RECOGNIZED_CHARACTERS:
            text = _without(secret, text)
    return text


def redact(error: E, secrets: Iterable[str]) -> E:
    """Replace every secret in the message and the facts of an error, in place, and return the error.

    This is the one place where an error is changed after it was made: a service may repeat a secret anywhere in a
    response, so every error passes through here on its way out.
    """
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
    """Drop the tracebacks of an error and of its causes, because their frames hold requests and responses as locals."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _without(secret: str, text: str) -> str:
    start, kept, behind = secret[:_RECOGNIZED_CHARACTERS], [], 0
    while (at := text.find(start, behind)) >= 0:
        kept += [text[behind:at], "***"]
        behind = at + len(start)
        while behind < at + len(secret) and text[behind : behind + 1] == secret[behind - at]:
            behind += 1
    return "".join([*kept, text[behind:]]) if kept else text
