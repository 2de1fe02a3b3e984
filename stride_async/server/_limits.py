"""Tokens and rate limits.

Tokens are kept in memory: a restarted server does not know the tokens it issued before.
"""

from __future__ import annotations

import math
import secrets
import time
from datetime import UTC, datetime
from email.utils import format_datetime

from attrs import define, frozen

PARTICIPATE = "participate:conversation"
MANAGE = "manage:conversation"
USER_PROFILE = "view:userprofile"
ALL_SCOPES = (PARTICIPATE, MANAGE, USER_PROFILE)

# With this many windows, those that have ended are dropped before another one starts.
_WINDOWS_KEPT = 10_000


@frozen
class App:
    """An app of the site; `account_id` is its own account, the sender of its messages."""

    client_id: str
    client_secret: str
    account_id: str
    name: str
    scopes: frozenset[str]


@frozen
class Grant:
    """What a token allows.

    `expires_at` is a time of the monotonic clock. `conversation_id` is the only conversation of a room token, and None
    for other tokens.
    """

    app: App
    expires_at: float
    conversation_id: str | None = None


class Grants:
    """The issued tokens, and what each allows (protocol 2)."""

    def __init__(self) -> None:
        self._by_token: dict[str, Grant] = {}

    def issue(self, app: App, seconds: float) -> str:
        """Return a new token for the app; its earlier tokens stay valid until they expire."""
        token = secrets.token_urlsafe(48)
        self._by_token[token] = Grant(app, time.monotonic() + seconds)
        return token

    def issue_room_token(self, app: App, conversation_id: str) -> str:
        """Return a token of 20 letters and digits for one conversation, which does not expire (protocol 2.4)."""
        token = secrets.token_hex(10)
        self._by_token[token] = Grant(app, math.inf, conversation_id)
        return token

    def find(self, authorization: str | None) -> Grant | None:
        """Return what an `Authorization` header allows, or None for a missing, unknown or expired token."""
        scheme, _, token = (authorization or "").partition(" ")
        grant = self._by_token.get(token.strip()) if scheme.lower() == "bearer" else None
        return grant if grant is not None and time.monotonic() < grant.expires_at else None

    def expire_all(self) -> None:
        """Invalidate all issued tokens, room tokens included."""
        self._by_token.clear()


@define
class _Window:
    ends_at: float
    count: int


@frozen
class Allowance:
    """What a caller may still do after a call; `ends_at` is when the window ends, in seconds since 1970."""

    allowed: bool
    limit: int
    remaining: int
    ends_at: float

    def headers(self, *, epoch: bool = False) -> dict[str, str]:
        """Return the `X-RateLimit` headers (protocol 3.4).

        The reset is rounded up to whole seconds and written as an RFC 3339 time, or as epoch seconds.
        """
        second = math.ceil(self.ends_at)
        reset = str(second) if epoch else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": reset,
        }

    def retry_after(self, form: str) -> dict[str, str]:
        """Return the `Retry-After` header in the form of `Choices.retry_after`; "none" gives no header."""
        if form == "seconds":
            return {"Retry-After": str(max(1, math.ceil(self.ends_at - time.time())))}
        if form == "date":
            return {"Retry-After": format_datetime(datetime.fromtimestamp(math.ceil(self.ends_at), UTC), usegmt=True)}
        return {}


class RateLimit:
    """A limit per fixed window and caller: the first call starts a window, and after it the full limit is back."""

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self._seconds = window
        self._windows: dict[tuple[str, ...], _Window] = {}

    def count(self, *caller: str) -> Allowance | None:
        """Count a call of this caller, or return None if calls are not limited."""
        if self.limit is None:
            return None
        now = time.time()
        window = self._windows.get(caller)
        if window is None or now >= window.ends_at:
            window = self._start_window(caller, now)
        allowed = window.count < self.limit
        window.count += allowed
        return Allowance(allowed, self.limit, self.limit - window.count, window.ends_at)

    def _start_window(self, caller: tuple[str, ...], now: float) -> _Window:
        if len(self._windows) >= _WINDOWS_KEPT:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends_at}
        window = self._windows[caller] = _Window(now + self._seconds, 0)
        return window
