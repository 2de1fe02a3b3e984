from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from stride_async.server import Faults

from .calling import ended, seen

SAY = {"data": "hello", "headers": {"Content-Type": "text/plain"}}


async def test_a_status_fault_applies_as_often_as_requested(api, server, room):
    """The first `after` requests pass, then `times` requests fail; `calls` has all of them."""
    fault = server.faults.add("GET", "/site/*/conversation/*", status=503, after=1, times=2)

    replies = [await api.get(api.room(room)) for _ in range(4)]

    assert [200, 503, 503, 200] == [reply.status for reply in replies]
    assert 503 == replies[1].json["code"]
    assert (4, 2) == (fault.seen, fault.hits)
    assert [200, 503, 503, 200] == [call.status for call in server.calls.matching("GET", f"*/{room}")]


async def test_a_request_with_a_status_fault_is_recorded_but_not_processed(api, server, room):
    """After a 503, no message is stored, but `calls` has the body."""
    server.faults.add("POST", "*/message", status=503, times=1)

    reply = await api.call("POST", f"{api.room(room)}/message", **SAY)

    assert 503 == reply.status
    assert 0 == server.truth().conversations[room].messages
    assert (b"hello", 5) == (server.calls[-1].body, server.calls[-1].body_bytes)


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 1)])
async def test_a_request_is_dropped_before_or_after_it_is_processed(api, server, room, when, stored):
    """The caller cannot tell which; the site shows it."""
    server.faults.add("POST", "*/message", drop=when)

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.call("POST", f"{api.room(room)}/message", **SAY)

    assert stored == server.truth().conversations[room].messages
    assert server.calls[-1].status is None


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_body_is_cut_after_a_given_number_of_bytes(api, server, room, size):
    """The headers state the full length, and exactly the given number of bytes arrives."""
    media = server.add_media(room, "a.bin", bytes(size))
    server.faults.add("GET", "*/media/*", cut_after=7)

    async with api.http.get(
        f"{server.url}{api.room(room)}/media/{media}", headers={"Authorization": f"Bearer {api.token}"}
    ) as response:
        got = await response.content.readexactly(7)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readexactly(1)

    assert (bytes(7), str(size)) == (got, response.headers["Content-Length"])


@pytest.mark.parametrize("stated", [5_000, 2])
async def test_a_stated_length_can_be_wrong(api, server, stated):
    """A length above the true one makes the body end too early; a length below it leaves extra bytes."""
    server.faults.add("GET", "/me", content_length=stated)

    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await api.get("/me")


async def test_a_fault_can_replace_the_body_and_the_headers(api, server):
    """The body may be malformed JSON or HTML, and headers are added and removed."""
    server.faults.add("GET", "/me", body='{"account', times=1)
    server.faults.add("GET", "/me", status=502, body=b"<html>", headers={"Content-Type": "text/html"}, times=1)
    server.faults.add("GET", "/me", headers={"Date": None, "Content-Length": None, "Retry-After": "3"}, times=1)

    malformed, page, bare = [await api.get("/me") for _ in range(3)]

    assert (200, b'{"account') == (malformed.status, malformed.body)
    assert (502, b"<html>", "text/html") == (page.status, page.body, page.headers["Content-Type"])
    assert server.app_account_id == bare.json["account_id"]
    assert "3" == bare.headers["Retry-After"]
    assert not {"Date", "Content-Length"} & set(bare.headers)


@pytest.mark.parametrize("where", ["headers", "body"])
async def test_a_stall_ends_when_the_server_closes(api, server, where):
    """The server does not wait for stalled requests when it closes."""
    server.faults.add("GET", "/me", stall=where)
    async with asyncio.timeout(5):
        waiting = asyncio.create_task(api.get("/me"))
        await seen(server)
        await server.close()

        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_a_stall_ends_when_the_client_disconnects(api, server):
    """No task is left on the side of the server."""
    server.faults.add("GET", "/me", stall="headers")
    tasks = asyncio.all_tasks()

    with pytest.raises(TimeoutError):
        await api.get("/me", timeout=aiohttp.ClientTimeout(total=0.05))
    await ended(tasks)

    assert 1 == len(server.calls.matching("GET", "/me"))


async def test_a_fault_can_change_the_site_before_the_request_is_processed(api, server, room):
    """The response shows the changed site; an awaitable result is awaited."""
    server.faults.add("GET", "*/message", do=lambda site: site.add_message(room, "just now"), times=1)
    server.faults.add("GET", "/me", do=lambda site: site.expire_tokens(), times=1)

    messages = (await api.get(f"{api.room(room)}/message")).json["messages"]
    expired = await api.get("/me")

    assert ["just now"] == [message["text"] for message in messages]
    assert 401 == expired.status


async def test_a_fault_with_a_probability_is_repeatable(api, server):
    """The same seed gives the same sequence of failures."""
    runs = []
    for _ in range(2):
        fault = server.faults.add("GET", "/me", status=500, probability=0.5, seed=3)
        runs.append([(await api.get("/me")).status for _ in range(20)])
        fault.remove()

    assert runs[0] == runs[1]
    assert {200, 500} == set(runs[0])


async def test_a_delay_postpones_the_response(api, server):
    """The response arrives no earlier than the delay."""
    server.faults.add("GET", "/me", delay=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()

    reply = await api.get("/me")

    assert 200 == reply.status
    assert loop.time() - began >= 0.05


async def test_faults_apply_at_the_second_origin(start):
    """A fault for the path of a media body applies there."""
    api = await start(media_redirect=True)
    room = api.server.add_conversation("general")
    media = api.server.add_media(room, "a.bin", b"x")
    api.server.faults.add("GET", "/file/*", status=503)

    reply = await api.get(f"{api.room(room)}/media/{media}", allow_redirects=True)

    assert 503 == reply.status


async def test_faults_can_be_loaded_from_a_file(tmp_path, start):
    """The file is a JSON list with the options of `add`; the method is case-insensitive."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"method": "get", "path": "/me", "status": 500, "times": 1}]))

    api = await start(faults=script)

    assert [500, 200] == [(await api.get("/me")).status for _ in range(2)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "expected a JSON list"),
        ("{}", "found dict"),
        ("[5]", "entry 1: expected an object"),
        ('[{"status": 500}, {"statsu": 500}]', "entry 2: unknown option 'statsu'"),
        ('[{"status": 99}]', "entry 1: 'status'"),
        ('[{"drop": "sometimes"}]', "entry 1: 'drop'"),
        ('[{"do": "something"}]', "entry 1: unknown option 'do'; expected one of after, .* path, "),
        ('[{"probability": 30}]', "entry 1: 'probability'"),
        ('[{"headers": {"Retry-After": 5}}]', "entry 1: header Retry-After: expected a string or null, found 5"),
        ('[{"headers": [["X", "a"]]}]', "entry 1: headers: expected an object"),
        ("[" * 100_000, "expected a JSON list"),
        ("\\ud800", "expected a JSON list"),
        ('[{"headers": {"X": "a\\r\\nY: b"}}]', "entry 1: header 'X': a line break"),
    ],
    ids=lambda value: value[:30],
)
def test_an_invalid_file_of_faults_is_rejected_with_its_location(tmp_path, text, reason):
    """The error names the entry and the option, and no fault of the file is added."""
    script = tmp_path / "faults.json"
    script.write_text(text)
    faults = Faults()

    with pytest.raises(ValueError, match=reason):
        faults.load(script)

    assert faults._choose("GET", "/me") is None
