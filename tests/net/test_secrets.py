"""No error, log, event or repr contains a token or a secret, whatever the service does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable

import attrs
import pytest

from stride_async import AccessToken, Body, StaticToken, StrideClient, StrideError
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.exposed import everything_shown

Faults = dict[str, Callable[[str], dict[str, object]]]

STATUSES: Faults = {
    f"{status} {form}": lambda text, status=status, body=body: {"status": status, "body": body(text)}
    for status in (200, 400, 401, 403, 404, 500)
    for form, body in {
        "gateway": lambda text: json.dumps({"code": text, "message": text}),
        "oauth": lambda text: json.dumps({"error": text, "error_description": text, "access_token": [text]}),
        "html": lambda text: f"<html><pre>{text}</pre></html>",
        "cut": lambda text: "x" * 65_500 + text,
    }.items()
}
HEADERS: Faults = {
    "request id": lambda text: {"status": 500, "headers": {"X-Request-Id": text}},
    "429": lambda text: {"status": 429, "headers": {"Retry-After": text, "X-RateLimit-Reset": text}},
    "429 for long": lambda text: {"status": 429, "body": text, "headers": {"Retry-After": "86400"}},
    "redirect": lambda text: {"status": 307, "headers": {"Location": f"/{text}"}},
    "redirect elsewhere": lambda text: {"status": 307, "headers": {"Location": f"http://127.0.0.1:1/{text}"}},
    "redirect to a name": lambda text: {
        "status": 307,
        "headers": {"Location": f"http://{text.split()[-1]}.invalid/"},
    },
    "redirect to nothing": lambda text: {"status": 307, "headers": {"Location": f"http://[{text}"}},
    "redirect to a scheme": lambda text: {"status": 307, "headers": {"Location": f"ftp://x/{text}"}},
    "redirect with a user": lambda text: {"status": 307, "headers": {"Location": f"http://{text.split()[-1]}@x/"}},
    "wrong coding": lambda text: {"body": text, "headers": {"Content-Encoding": "gzip"}},
    "unknown coding": lambda text: {"body": text, "headers": {"Content-Encoding": text.split()[-1]}},
    "wrong type": lambda text: {"body": text, "headers": {"Content-Type": text}},
    "no length": lambda text: {"body": text, "headers": {"Content-Length": None}, "cut_after": 30},
    "content range": lambda text: {"body": text, "headers": {"Content-Range": text, "ETag": f'"{text}"'}},
}
CONNECTIONS: Faults = {
    "drop before": lambda _: {"drop": "before"},
    "drop after": lambda _: {"drop": "after"},
    "cut": lambda text: {"body": text * 10, "cut_after": 200},
    "cut error": lambda text: {"status": 500, "body": text * 10, "cut_after": 200},
    "too long": lambda text: {"body": text, "content_length": 3},
    "too short": lambda text: {"body": text, "content_length": 100_000, "stall": "body"},
    "silence": lambda text: {"body": text, "stall": "headers"},
    "half": lambda text: {"body": text, "stall": "body"},
    "endless": lambda text: {"body": text * 2000},
    "deep": lambda text: {"body": "[" * 100_000 + text},
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
class Observed:
    """A client, everything it has shown, and a check that this contains no secret."""

    server: LocalServer
    client: StrideClient
    events: list[object]
    log: pytest.LogCaptureFixture
    shown: list[str] = attrs.field(factory=list)

    async def during(self, call: Awaitable[object]) -> None:
        """Make a call and record what its error shows."""
        try:
            await call
        except StrideError as error:
            self.shown.append(everything_shown(error))

    @property
    def tokens(self) -> list[str]:
        """Every token that the service received."""
        seen = {call.headers.get("Authorization", "") for call in self.server.calls}
        return [header.removeprefix("Bearer ") for header in seen if header]

    def check(self) -> None:
        """Check that nothing contains a secret, the beginning of one, or its bytes."""
        client = self.client
        reprs = [repr(value) + repr(vars(value)) for value in (client, client._session, client._session.tokens)]
        shown = [*self.shown, *reprs, self.log.text, *map(repr, self.events)]
        shown += [repr(record) + repr(vars(record)) for record in self.log.records]
        lines = [line for text in shown for line in text.splitlines()]
        secrets = [*self.tokens, self.server.client_secret]
        hints = {part for secret in secrets for part in (secret[:12], repr(secret.encode())[2:14])}
        assert [] == [line for line in lines if any(hint in line for hint in hints)]
        assert [] == [line for line in lines if re.search(r"Bearer (?!\*\*\*)\S", line)]


@pytest.fixture
async def observed(server, caplog):
    """A client that has a token, with its events, its log and the debug log of the loop."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    events: list[object] = []
    options = {"attempts": 2, "attempt_timeout": 0.2, "idle_timeout": 0.2, "longest_answer_bytes": 65_536 * 2}
    async with client_of(server, on_event=events.append, **options) as client:
        while True:
            with contextlib.suppress(StrideError):  # A busy machine may take longer than an attempt may take here.
                await client.me()
                break
        yield Observed(server, client, events, caplog)


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_call_shows_a_secret(observed, fault):
    """The service repeats the Authorization header and the secret wherever it can."""
    [token] = observed.tokens
    text = f"Authorization: Bearer {token} {observed.server.client_secret} {token}"
    observed.server.faults.add("*", "/[!o]*", **FAULTS[fault](text))

    for operation in OPERATIONS:
        await observed.during(operation(observed.client))

    assert len(observed.shown) >= 3 or fault in {"wrong type", "200 gateway", "200 oauth", "content range"}
    observed.check()


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_token_call_shows_no_secret(observed, fault):
    """It contains the secret, and its response a token; every call waits for it."""
    [token] = observed.tokens
    text = f"Authorization: Bearer {token} {observed.server.client_secret} {token}"
    await observed.server.expire_tokens()
    observed.server.faults.add("POST", "/oauth/token", **FAULTS[fault](text))

    await asyncio.gather(*(observed.during(operation(observed.client)) for operation in OPERATIONS))

    assert len(OPERATIONS) == len(observed.shown) or fault == "wrong type"
    observed.check()


@pytest.mark.parametrize("body", [{"access_token": "%s"}, {"access_token": "%s", "expires_in": "%s"}, ["%s"], "%s"])
@pytest.mark.parametrize("after", ["", "\r\n", "ü", "\x00"])
async def test_an_unusable_token_is_not_shown(observed, body, after):
    """Not even if it was never sent."""
    fresh = "a-fresh-token-that-no-call-has-carried"
    text = json.dumps(body).replace("%s", json.dumps(fresh + after)[1:-1])
    await observed.server.expire_tokens()
    observed.server.faults.add("POST", "/oauth/token", status=200, body=text)

    await observed.during(observed.client.me())

    observed.check()
    assert fresh[:12] not in "".join(observed.shown) + observed.log.text + repr(observed.events)


@pytest.mark.parametrize("status", [302, 401, 500])
@pytest.mark.parametrize("cut_off", [0, 3])
async def test_a_token_in_a_refusal_is_not_shown(observed, status, cut_off):
    """A service that sends a token with an error status gave one that no call has carried."""
    fresh = "a-fresh-token-that-no-call-has-carried"
    text = json.dumps({"id_token": f'\\"{fresh}', "error": "no", "access_token": fresh}, indent=1)
    await observed.server.expire_tokens()
    observed.server.faults.add("POST", "/oauth/token", status=status, body=text[: len(text) - cut_off])

    await observed.during(observed.client.me())

    observed.check()
    assert 1 == len(observed.shown)
    assert fresh[:12] not in "".join(observed.shown) + observed.log.text + repr(observed.events)


async def test_a_failed_connection_shows_no_secret(observed):
    """Connection errors quote hosts and ports, but nothing of the request."""
    await observed.server.close()

    for operation in OPERATIONS:
        await observed.during(operation(observed.client))

    assert len(OPERATIONS) == len(observed.shown)


async def test_an_interrupted_call_shows_no_secret(observed):
    """The calls exceed their deadline, or the client is closed."""
    observed.server.faults.add("*", "*", stall="headers")
    client = observed.client
    hasty = client.with_settings(attrs.evolve(client.settings, deadline=0.05))
    for operation in OPERATIONS:
        await observed.during(operation(hasty))
    calls = [asyncio.create_task(observed.during(operation(client))) for operation in OPERATIONS]
    await asyncio.wait(calls, timeout=0.05)
    await client.close()
    await asyncio.gather(*calls)

    assert len(OPERATIONS) * 2 <= len(observed.shown) + 2
    observed.check()


async def test_the_repr_of_a_value_hides_its_secret(server):
    """This applies to credentials, tokens, clients and settings."""
    secret = "a-secret-that-must-not-show"
    values = [AccessToken(secret), StaticToken(secret), client_of(server), client_of(server).settings]

    assert secret not in repr(values) + str(values) + f"{values!s:s}"
    assert server.client_secret not in repr(values)
