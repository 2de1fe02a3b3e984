"""Neither token nor secret is ever told: not by any error, log, event or repr, whatever the service does."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable

import attrs
import pytest

from stride_async import AccessToken, Body, StaticToken, StrideClient, StrideError
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.telling import everything_told

Faults = dict[str, Callable[[str], dict[str, object]]]

STATUSES: Faults = {
    f"{status} {form}": lambda words, status=status, body=body: {"status": status, "body": body(words)}
    for status in (200, 400, 401, 403, 404, 500)
    for form, body in {
        "gateway": lambda words: json.dumps({"code": words, "message": words}),
        "oauth": lambda words: json.dumps({"error": words, "error_description": words, "access_token": [words]}),
        "html": lambda words: f"<html><pre>{words}</pre></html>",
        "cut": lambda words: "x" * 65_500 + words,
    }.items()
}
HEADERS: Faults = {
    "request id": lambda words: {"status": 500, "headers": {"X-Request-Id": words}},
    "429": lambda words: {"status": 429, "headers": {"Retry-After": words, "X-RateLimit-Reset": words}},
    "429 for long": lambda words: {"status": 429, "body": words, "headers": {"Retry-After": "86400"}},
    "redirect": lambda words: {"status": 307, "headers": {"Location": f"/{words}"}},
    "redirect elsewhere": lambda words: {"status": 307, "headers": {"Location": f"http://127.0.0.1:1/{words}"}},
    "redirect to a name": lambda words: {
        "status": 307,
        "headers": {"Location": f"http://{words.split()[-1]}.invalid/"},
    },
    "redirect to nothing": lambda words: {"status": 307, "headers": {"Location": f"http://[{words}"}},
    "redirect to a scheme": lambda words: {"status": 307, "headers": {"Location": f"ftp://x/{words}"}},
    "redirect with a user": lambda words: {"status": 307, "headers": {"Location": f"http://{words.split()[-1]}@x/"}},
    "wrong coding": lambda words: {"body": words, "headers": {"Content-Encoding": "gzip"}},
    "unknown coding": lambda words: {"body": words, "headers": {"Content-Encoding": words.split()[-1]}},
    "wrong type": lambda words: {"body": words, "headers": {"Content-Type": words}},
    "no length": lambda words: {"body": words, "headers": {"Content-Length": None}, "cut_after": 30},
    "content range": lambda words: {"body": words, "headers": {"Content-Range": words, "ETag": f'"{words}"'}},
}
CONNECTIONS: Faults = {
    "drop before": lambda _: {"drop": "before"},
    "drop after": lambda _: {"drop": "after"},
    "cut": lambda words: {"body": words * 10, "cut_after": 200},
    "cut error": lambda words: {"status": 500, "body": words * 10, "cut_after": 200},
    "too long": lambda words: {"body": words, "content_length": 3},
    "too short": lambda words: {"body": words, "content_length": 100_000, "stall": "body"},
    "silence": lambda words: {"body": words, "stall": "headers"},
    "half": lambda words: {"body": words, "stall": "body"},
    "endless": lambda words: {"body": words * 2000},
    "deep": lambda words: {"body": "[" * 100_000 + words},
}
FAULTS: Faults = STATUSES | HEADERS | CONNECTIONS


async def send(client: StrideClient) -> None:
    await client.conversation("r").send("hello")


async def read(client: StrideClient) -> None:
    await client.me()


async def page(client: StrideClient) -> None:
    await client.conversation("r").history().collect(limit=10)


async def upload(client: StrideClient) -> None:
    await client.conversation("r").upload(Body.from_bytes(b"data"), name="a")


async def download(client: StrideClient) -> None:
    async with client.conversation("r").open_media("m") as media:
        async for _ in media.chunks():
            pass


async def anything(client: StrideClient) -> None:
    await client.request("PATCH", "/site/x", json={"a": 1})


OPERATIONS = (send, read, page, upload, download, anything)


@attrs.define
class Overheard:
    """Everything a client has told, and what must not be in it."""

    server: LocalServer
    client: StrideClient
    events: list[object]
    log: pytest.LogCaptureFixture
    told: list[str] = attrs.field(factory=list)

    async def during(self, call: Awaitable[object]) -> None:
        """Note what the error of a call tells."""
        try:
            await call
        except StrideError as error:
            self.told.append(everything_told(error))

    @property
    def tokens(self) -> list[str]:
        """Every token the service was shown."""
        seen = {call.headers.get("Authorization", "") for call in self.server.calls}
        return [header.removeprefix("Bearer ") for header in seen if header]

    def must_hold_no_secret(self) -> None:
        """Nor the beginning of one, nor as bytes."""
        client = self.client
        shown = [repr(value) + repr(vars(value)) for value in (client, client._session, client._session.tokens)]
        told = [*self.told, *shown, self.log.text, *map(repr, self.events)]
        told += [repr(record) + repr(vars(record)) for record in self.log.records]
        lines = [line for text in told for line in text.splitlines()]
        secrets = [*self.tokens, self.server.client_secret]
        hints = {part for secret in secrets for part in (secret[:12], repr(secret.encode())[2:14])}
        assert [] == [line for line in lines if any(hint in line for hint in hints)]
        assert [] == [line for line in lines if re.search(r"Bearer (?!\*\*\*)\S", line)]


@pytest.fixture
async def overheard(server, caplog):
    """A client that has a token already, listened to on every channel, with the loop's own debug log."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    events: list[object] = []
    options = {"attempts": 2, "attempt_timeout": 0.2, "idle_timeout": 0.2, "longest_answer_bytes": 65_536 * 2}
    async with client_of(server, on_event=events.append, **options) as client:
        await client.me()
        yield Overheard(server, client, events, caplog)


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_secret_is_told_by_any_call(overheard, fault):
    """Of each kind, at a service that says the Authorization header and the secret back wherever it can."""
    [token] = overheard.tokens
    words = f"Authorization: Bearer {token} {overheard.server.client_secret} {token}"
    overheard.server.faults.add("*", "/[!o]*", **FAULTS[fault](words))

    for operation in OPERATIONS:
        await overheard.during(operation(overheard.client))

    assert len(overheard.told) >= 3 or fault in {"wrong type", "200 gateway", "200 oauth", "content range"}
    overheard.must_hold_no_secret()


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_secret_is_told_by_the_token_call(overheard, fault):
    """It holds the secret itself, and its answer a token; every call waits for it."""
    [token] = overheard.tokens
    words = f"Authorization: Bearer {token} {overheard.server.client_secret} {token}"
    await overheard.server.expire_tokens()
    overheard.server.faults.add("POST", "/oauth/token", **FAULTS[fault](words))

    await asyncio.gather(*(overheard.during(operation(overheard.client)) for operation in OPERATIONS))

    assert len(OPERATIONS) == len(overheard.told) or fault == "wrong type"
    overheard.must_hold_no_secret()


@pytest.mark.parametrize("body", [{"access_token": "%s"}, {"access_token": "%s", "expires_in": "%s"}, ["%s"], "%s"])
@pytest.mark.parametrize("after", ["", "\r\n", "ü", "\x00"])
async def test_a_token_nobody_can_use_is_not_told(overheard, body, after):
    """Even one that was never sent anywhere."""
    fresh = "a-fresh-token-that-no-call-has-carried"
    text = json.dumps(body).replace("%s", json.dumps(fresh + after)[1:-1])
    await overheard.server.expire_tokens()
    overheard.server.faults.add("POST", "/oauth/token", status=200, body=text)

    await overheard.during(overheard.client.me())

    overheard.must_hold_no_secret()
    assert fresh[:12] not in "".join(overheard.told) + overheard.log.text + repr(overheard.events)


async def test_no_secret_is_told_when_nobody_listens_at_the_port(overheard):
    """Connection errors quote hosts and ports, and nothing that was to be sent."""
    await overheard.server.close()

    for operation in OPERATIONS:
        await overheard.during(operation(overheard.client))

    assert len(OPERATIONS) == len(overheard.told)


async def test_no_secret_is_told_by_calls_that_are_cut_short(overheard):
    """Closed, cancelled, late."""
    overheard.server.faults.add("*", "*", stall="headers")
    client = overheard.client
    hasty = client.with_settings(attrs.evolve(client.settings, deadline=0.05))
    for operation in OPERATIONS:
        await overheard.during(operation(hasty))
    calls = [asyncio.create_task(overheard.during(operation(client))) for operation in OPERATIONS]
    await asyncio.wait(calls, timeout=0.05)
    await client.close()
    await asyncio.gather(*calls)

    assert len(OPERATIONS) * 2 <= len(overheard.told) + 2
    overheard.must_hold_no_secret()


async def test_values_that_hold_secrets_hide_them(server):
    """Wherever they are shown by accident."""
    secret = "a-secret-nobody-may-see"
    values = [AccessToken(secret), StaticToken(secret), client_of(server), client_of(server).settings]

    assert secret not in repr(values) + str(values) + f"{values!s:s}"
    assert server.client_secret not in repr(values)
