"""Every scripted fault for every kind of call: once, twice, and always.

`expected` derives the result from the written rule, independently of the client.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest

from stride_async import (
    Ambiguous,
    ApiError,
    AttemptStarted,
    AuthError,
    BadRequest,
    BodyInterrupted,
    DecodeError,
    Forbidden,
    NotFound,
    RateLimited,
    ServerError,
    StrideClient,
    StrideError,
    TooLarge,
    Unauthorized,
    UnsupportedContent,
)
from stride_async.server import LocalServer
from tests.conftest import client_of

ATTEMPTS = 3
# The size of the file that is downloaded: less than what counts as progress.
SIZE = 1_000
TOO_LONG = 86_400
ERRORS = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    415: UnsupportedContent,
    429: RateLimited,
}


@attrs.frozen
class Fault:
    """What the server does, and what that means to a caller: a status, or another kind of end."""

    does: dict[str, object]
    means: int | str
    """A status; or `silence`, `garbage`, `interrupted`, `unreadable`, `foreign`, `short`, `long`: see `expected`."""
    asks: float | None = None
    """The wait that it states, in seconds."""


def status(code: int, asks: float | None = None, **does: object) -> Fault:
    return Fault({"status": code, **does}, code, asks)


PAST = "Thu, 01 Jan 2015 00:00:00 GMT"
FAULTS = {
    "400": status(400),
    "401": status(401),
    "403": status(403),
    "404": status(404),
    "405": status(405),
    "413": status(413),
    "415": status(415),
    "418": status(418, body=b"\xff" * 100_000),
    "429 alone": status(429),
    "429 reset": status(429, 0.0, headers={"X-RateLimit-Reset": "2015-01-01T00:00:00Z"}),
    "429 reset epoch": status(429, 0.0, headers={"X-RateLimit-Reset": "1420070400"}),
    "429 seconds": status(429, 0.0, headers={"Retry-After": "0"}),
    "429 date": status(429, 0.0, headers={"Retry-After": PAST}),
    "429 unreadable": status(429, headers={"Retry-After": "soon", "X-RateLimit-Reset": "later"}),
    "429 tomorrow": status(429, TOO_LONG, headers={"Retry-After": str(TOO_LONG)}),
    "500": status(500),
    "501": status(501),
    "502": status(502),
    "502 page": status(502, body="<html><h1>Bad Gateway</h1></html>", headers={"Content-Type": "text/html"}),
    "503": status(503),
    "503 seconds": status(503, 0.0, headers={"Retry-After": "0"}),
    "503 tomorrow": status(503, TOO_LONG, headers={"Retry-After": str(TOO_LONG)}),
    "503 empty": status(503, body=b"", headers={"Content-Type": "text/plain"}),
    "504": status(504),
    "507": status(507),
    "dropped before": Fault({"drop": "before"}, "silence"),
    "dropped after": Fault({"drop": "after"}, "silence"),
    "delayed": Fault({"delay": 30.0}, "silence"),
    "stalled head": Fault({"stall": "headers"}, "silence"),
    "stalled body": Fault({"stall": "body"}, "stalled"),
    "huge header": Fault({"headers": {"X-Long": "x" * 100_000}}, "garbage"),
    "cut at once": Fault({"cut_after": 0}, "interrupted"),
    "cut later": Fault({"cut_after": 5}, "interrupted"),
    "too long": Fault({"content_length": 5_000}, "long"),
    "malformed": Fault({"body": '{"id": '}, "unreadable"),
    "page": Fault({"body": "<html>", "headers": {"Content-Type": "text/html"}}, "unreadable"),
    "empty": Fault({"body": b""}, "unreadable"),
    "other json": Fault({"body": "[null]"}, "unreadable"),
}
TIMED = {"delayed", "stalled head", "stalled body"}


@attrs.frozen
class Kind:
    """One kind of call: how to make it, what the server sees of it, and whether it may be repeated."""

    method: str
    path: str
    call: Callable[[Site], Awaitable[object]]
    repeatable: bool = True
    reads_response: bool = True
    token: bool = True
    """Whether it carries a token that can be renewed."""


@attrs.define
class Site:
    client: StrideClient
    server: LocalServer
    room: str
    message: str
    media: str
    folder: Path

    @property
    def handle(self):
        return self.client.conversation(self.room)


DATA = bytes(range(250)) * (SIZE // 250)
KINDS = {
    "read": Kind("GET", "*/message/*", lambda site: site.handle.message(site.message)),
    "write": Kind("PUT", "*/message/*", lambda site: site.handle.edit(site.message, "new"), reads_response=False),
    "send": Kind("POST", "*/message", lambda site: site.handle.send("hello"), repeatable=False),
    "upload": Kind("POST", "*/media", lambda site: site.handle.upload(DATA, name="a.bin"), repeatable=False),
    "download": Kind("GET", "*/media/*", lambda site: site.handle.download(site.media, site.folder / "a.bin")),
    "token": Kind("POST", "/oauth/token", lambda site: site.client.me(), token=False),
}


@attrs.frozen
class Outcome:
    """What the caller gets, and after how many requests."""

    error: type[StrideError] | None
    requests: int
    maybe_processed: bool = False
    retryable: bool = False
    retry_after: float | None = None
    rule: str | None = None


def expected(kind: Kind, fault: Fault, times: int | None) -> Outcome:
    """Apply the written rule: count the requests until the call succeeds or gives up."""
    always = times is None
    download = kind is KINDS["download"]
    if isinstance(fault.means, int):
        return of_status(kind, fault, times)
    if fault.means == "unreadable":
        if download or not kind.reads_response:
            return Outcome(None, 1)  # Any bytes will do, or the body is not read.
        return Outcome(DecodeError, 1, maybe_processed=not kind.repeatable)
    if fault.means == "long" and download:
        # A request for the rest states another length, so the body is read again from the start, as often as it breaks.
        if always:
            return Outcome(BodyInterrupted, 2 * ATTEMPTS - 1, retryable=True, rule=f"all {ATTEMPTS} attempts")
        return Outcome(None, 3)
    error = {"silence": Ambiguous, "garbage": Ambiguous, "stalled": Ambiguous}.get(fault.means, BodyInterrupted)
    if fault.means == "stalled" and download:
        error = BodyInterrupted
    if not kind.repeatable:
        return Outcome(error, 1, maybe_processed=True, rule="may not be repeated")
    if always:
        return Outcome(error, ATTEMPTS, retryable=True, rule=f"all {ATTEMPTS} attempts")
    return Outcome(None, times + 1)


def of_status(kind: Kind, fault: Fault, times: int | None) -> Outcome:
    assert isinstance(fault.means, int)
    code = fault.means
    error = ERRORS.get(code, ServerError if code >= 500 else ApiError)
    too_long = fault.asks == TOO_LONG
    if code == 401 and kind.token:
        return Outcome(None, 2) if times == 1 else Outcome(error, 2, rule="renewed token was refused")
    if not kind.token and code in {400, 401, 403}:
        return Outcome(AuthError, 1)
    if code == 429:
        again, retryable, maybe = True, True, False
    elif code in {500, 502, 503, 504}:
        again, retryable, maybe = kind.repeatable, kind.repeatable, not kind.repeatable
    else:
        again, retryable, maybe = False, False, code in range(500, 505) and not kind.repeatable
    if not again or too_long:
        rule = "longest_wait" if again else "not be repeated" if maybe and code != 501 else f"{code} is not retried"
        return Outcome(error, 1, maybe, retryable, fault.asks, rule)
    if times is None:
        return Outcome(error, ATTEMPTS, maybe, retryable, fault.asks, f"all {ATTEMPTS} attempts")
    return Outcome(None, times + 1)


@pytest.mark.parametrize("times", [1, 2, None], ids=["once", "twice", "always"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_ends_a_call_as_the_rule_says(server, tmp_path, kind, fault, times):
    """The error has the expected class and facts, and the server saw as many requests as the client reports."""
    called, injected = KINDS[kind], FAULTS[fault]
    patience = 0.4 if fault in TIMED else 20.0
    events: list[object] = []
    room = server.add_conversation("general")
    message = server.add_message(room, "old")
    media = server.add_media(room, "a.bin", DATA)
    server.faults.add(called.method, called.path, times=times, **injected.does)

    async with client_of(
        server, attempts=ATTEMPTS, attempt_timeout=patience, idle_timeout=patience, on_event=events.append
    ) as client:
        site = Site(client, server, room, message, media, tmp_path)
        error = await error_of(called.call(site))

    want = expected(called, injected, times)
    requests = server.calls.matching(called.method, called.path)
    attempts = [event for event in events if isinstance(event, AttemptStarted)]
    assert (want.error, want.requests) == (error and type(error), len(requests))
    assert len(server.calls) == len(attempts)
    if error is not None:
        assert want.requests == len(error.attempts)
        assert want.maybe_processed is error.maybe_processed
        assert want.retryable is error.retryable
        assert want.retry_after == error.retry_after
        assert (want.rule or "") in (error.rule or "")
    check_effect(site, called, injected, want, done=error is None)


async def error_of(call: Awaitable[object]) -> StrideError | None:
    try:
        async with asyncio.timeout(30):
            await call
    except StrideError as error:
        return error
    return None


def check_effect(site: Site, kind: Kind, fault: Fault, want: Outcome, *, done: bool) -> None:
    """Check what exists: a message or file once if the call succeeded, at most once if it may have."""
    made = {"send": site.server.truth().conversations[site.room].messages - 1, "upload": stored_files(site) - 1}
    for name, count in made.items():
        if kind is not KINDS[name]:
            assert 0 == count
        elif want.maybe_processed:
            assert count in {0, 1}
        else:
            assert done == count
    if kind is KINDS["download"]:
        file = site.folder / "a.bin"
        assert done == file.exists()
        if done and fault.means != "unreadable":
            assert hashlib.sha256(DATA).digest() == hashlib.sha256(file.read_bytes()).digest()


def stored_files(site: Site) -> int:
    return len(site.server.truth().conversations[site.room].media)
