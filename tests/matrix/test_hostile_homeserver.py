"""Whatever a homeserver answers, the migration ends with one sentence, which never contains the token."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from stride_async.export.matrix import HomeserverRefusal, HomeserverUnavailable, Waiting, _homeserver, migrate
from tests.matrix.fake import FakeHomeserver, Fault
from tests.matrix.moving import expected, moved, there


@asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """Run a server that answers every connection with bytes, and yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "whoami failed: Server disconnected"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "whoami failed: the response is not valid HTTP: Bad status line"),
        (b"HTTP/1.1 200 OK\r\nBroken\r\n\r\n", "whoami failed: the response is not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "whoami failed: Response payload is not completed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff", "whoami answered with an invalid body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "whoami answered with an invalid body"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b'{"x":' + b"[" * 20_000, "whoami answered with an invalid body"),
    ],
)
async def test_what_is_not_an_answer_of_matrix_is_reported_without_the_token(archive, registration, answer, message):
    """Neither the message nor a traceback shows it, although errors of aiohttp quote the headers of requests."""
    async with answering(lambda writer: writer.write(answer)) as url:
        with pytest.raises(HomeserverUnavailable, match=message) as raised:
            async with aclosing(migrate(archive, url, registration)) as events:
                assert all([isinstance(event, Waiting) async for event in events])

    assert url in str(raised.value)
    assert registration.token not in "".join(traceback.format_exception(raised.value))


async def test_an_answer_without_end_does_not_fill_the_memory(archive, homeserver, registration, monkeypatch):
    """It is refused when it is longer than any that a migration reads."""
    monkeypatch.setattr(_homeserver, "_LONGEST_REPLY", 1_000)
    homeserver.faults.append(Fault("whoami", 200, b" " * 1_001))

    with pytest.raises(HomeserverUnavailable, match="whoami answered with more than 1,000 bytes"):
        await moved(archive, homeserver, registration)


async def test_a_url_for_another_protocol_is_not_tried_for_minutes(archive, homeserver, registration):
    """A server without TLS at an https URL does not get it by waiting."""
    with pytest.raises(HomeserverUnavailable, match="whoami failed: Cannot connect to host"):
        await anext(migrate(archive, homeserver.url.replace("http:", "https:"), registration))
    assert [] == homeserver.calls


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (403, HomeserverRefusal, "register answered 403 M_FORBIDDEN: no users today"),
        (400, HomeserverUnavailable, "does not respond like a Matrix homeserver: .*register answered 400"),
    ],
)
async def test_a_homeserver_that_refuses_the_first_user_ends_the_migration(
    archive, homeserver, registration, status, error, message
):
    """Without the owner of the rooms, nothing can be moved."""
    homeserver.faults.append(Fault("register", status, b'{"errcode":"M_FORBIDDEN","error":"no users today"}'))

    with pytest.raises(error, match=message):
        await moved(archive, homeserver, registration)
    assert {} == homeserver.rooms


async def test_a_password_in_the_url_is_refused_and_not_shown(archive, registration):
    """A migration needs the token of its registration only."""
    with pytest.raises(ValueError, match="contains a user or password") as raised:
        await anext(migrate(archive, "http://ann:hunter2@a.invalid", registration))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-5}',
        b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":null}',
        b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":"soon"}',
        b'{"errcode":7}',
        b"<html>slow down</html>",
        b"",
    ],
)
async def test_throttling_in_any_words_is_obeyed(archive, homeserver, registration, body):
    """A wait that cannot be read is the usual one, also if the header that repeats it cannot be read."""
    homeserver.faults += [Fault("PUT", 429, body, first=number, headers={"Retry-After": "soon"}) for number in (1, 7)]

    await moved(archive, homeserver, registration)

    assert expected(archive) == there(homeserver)


@pytest.mark.parametrize("answer", [b"<html>no such page</html>", b'{"errcode":"M_UNRECOGNIZED","error":"no"}'])
async def test_a_proxy_that_does_not_know_a_path_is_no_proof_of_absence(archive, homeserver, registration, answer):
    """No alias is deleted, no room and no user created a second time."""
    await moved(archive, homeserver, registration)
    aliases, users = dict(homeserver.aliases), dict(homeserver.users)
    for hidden in ("/state", "/directory/", "/profile/", "/messages"):
        homeserver.faults = [Fault(hidden, 404, answer, times=9_999)]

        with suppress(HomeserverUnavailable):
            assert 5 == (await moved(archive, homeserver, registration)).failed

    homeserver.faults = []
    assert (aliases, users) == (homeserver.aliases, homeserver.users)
    assert 0 == (await moved(archive, homeserver, registration)).sent


async def test_a_homeserver_that_throttles_for_ever_is_given_up(archive, registration):
    """The number of attempts is bounded, and what was moved stays."""
    async with FakeHomeserver(registration.token) as homeserver:
        homeserver.faults.append(Fault("/send/", 429, b"{}", first=5, times=99))
        with pytest.raises(HomeserverUnavailable, match=r"is throttled \(12 attempts\)"):
            await moved(archive, homeserver, registration)
        homeserver.faults.clear()
        homeserver.restart()

        await moved(archive, homeserver, registration)

        assert expected(archive) == there(homeserver)
