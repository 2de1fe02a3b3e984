"""Why a call to the bot is refused, as an HTTP status and one sentence. Pure."""

from __future__ import annotations


class Refusal(Exception):
    """A refused call. `why` states what was expected and never quotes a token."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
