"""Who may call, and how often.

Tokens live in memory: a server started again knows none of those it gave before.
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

# Beyond this many windows, those that have ended are dropped before another is begun.
_WINDOWS_KEPT = 10_000


@frozen
class App:
    """An app as the site knows it: `account_id` is its own user, the sender of its messages."""

    client_id: str
    client_secret: str
    account_id: str
    name: str
    scopes: frozenset[str]


@frozen
class Grant:
    """What a token allows. `room` is the one conversation of a room token; `expires_at` is on the monotonic clock."""

    app: App
    expires_at: float
    room: str | None = None


class Grants:
    """The tokens given and what they are good for (protocol 2)."""

    def __init__(self) -> None:
        self._by_token: dict[str, Grant] = {}

    def give(self, app: App, seconds: float) -> str:
        """A new token for the app; the earlier ones stay good until they expire."""
        token = secrets.token_urlsafe(48)
        self._by_token[token] = Grant(app, time.monotonic() + seconds)
        return token

    def give_room_token(self, app: App, conversation_id: str) -> str:
        """A token without expiry for one conversation: 20 letters and digits (protocol 2.4)."""
        token = secrets.token_hex(10)
        self._by_token[token] = Grant(app, math.inf, conversation_id)
        return token

    def find(self, authorization: str | None) -> Grant | None:
        """What the `Authorization` header allows; None when its token is missing, unknown or expired."""
        scheme, _, token = (authorization or "").partition(" ")
        grant = self._by_token.get(token.strip()) if scheme.lower() == "bearer" else None
        return grant if grant is not None and time.monotonic() < grant.expires_at else None

    def expire_all(self) -> None:
        """Forget every token given so far, room tokens included."""
        self._by_token.clear()


@define
class _Window:
    ends_at: float
    count: int


@frozen
class Standing:
    """How a caller stands after this call: `ends_at` is the instant, in seconds since 1970, of the next full limit."""

    allowed: bool
    limit: int
    remaining: int
    ends_at: float

    def headers(self, *, epoch: bool = False) -> dict[str, str]:
        """The `X-RateLimit` headers; the reset is rounded up to whole seconds, RFC 3339 or epoch (protocol 3.4)."""
        second = math.ceil(self.ends_at)
        reset = str(second) if epoch else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": reset,
        }

    def retry_after(self, form: str) -> dict[str, str]:
        """The `Retry-After` header in the form chosen, which may be none."""
        if form == "seconds":
            return {"Retry-After": str(max(1, math.ceil(self.ends_at - time.time())))}
        if form == "date":
            return {"Retry-After": format_datetime(datetime.fromtimestamp(math.ceil(self.ends_at), UTC), usegmt=True)}
        return {}


class RateLimit:
    """A fixed window for each caller: its first call begins one, and after it the whole limit is free again."""

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self._seconds = window
        self._windows: dict[tuple[str, ...], _Window] = {}

    def count(self, *caller: str) -> Standing | None:
        """Count one call of this caller; None when there is no limit."""
        if self.limit is None:
            return None
        now = time.time()
        window = self._windows.get(caller)
        if window is None or now >= window.ends_at:
            window = self._begin(caller, now)
        allowed = window.count < self.limit
        window.count += allowed
        return Standing(allowed, self.limit, self.limit - window.count, window.ends_at)

    def _begin(self, caller: tuple[str, ...], now: float) -> _Window:
        if len(self._windows) >= _WINDOWS_KEPT:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends_at}
        window = self._windows[caller] = _Window(now + self._seconds, 0)
        return window
