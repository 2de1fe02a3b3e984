from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from stride_async.server import Faults

from .calling import ended, seen

SAY = {"data": "hello", "headers": {"Content-Type": "text/plain"}}


async def test_a_status_fault_comes_as_often_as_told(api, server, room):
    """After the first n pass, so many times; the calls that were faulted are seen too."""
    fault = server.faults.add("GET", "/site/*/conversation/*", status=503, after=1, times=2)

    replies = [await api.get(api.room(room)) for _ in range(4)]

    assert [200, 503, 503, 200] == [reply.status for reply in replies]
    assert 503 == replies[1].json["code"]
    assert (4, 2) == (fault.seen, fault.hits)
    assert [200, 503, 503, 200] == [call.status for call in server.calls.matching("GET", f"*/{room}")]


async def test_a_faulted_call_is_not_acted_on_but_its_body_is_seen(api, server, room):
    """A 503 means nothing was stored."""
    server.faults.add("POST", "*/message", status=503, times=1)

    reply = await api.call("POST", f"{api.room(room)}/message", **SAY)

    assert 503 == reply.status
    assert 0 == server.truth().conversations[room].messages
    assert (b"hello", 5) == (server.calls[-1].body, server.calls[-1].body_bytes)


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection_may_or_may_not_have_been_acted_on(api, server, room, moment, stored):
    """The caller cannot tell; the truth can."""
    server.faults.add("POST", "*/message", drop=moment)

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.call("POST", f"{api.room(room)}/message", **SAY)

    assert stored == server.truth().conversations[room].messages
    assert server.calls[-1].status is None


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_body_is_cut_after_so_many_bytes(api, server, room, size):
    """Its length was promised whole; what came is exactly what the fault let through."""
    media = server.add_media(room, "a.bin", bytes(size))
    server.faults.add("GET", "*/media/*", cut_after=7)

    async with api.http.get(
        f"{server.url}{api.room(room)}/media/{media}", headers={"Authorization": f"Bearer {api.token}"}
    ) as answer:
        got = await answer.content.readexactly(7)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readexactly(1)

    assert (bytes(7), str(size)) == (got, answer.headers["Content-Length"])


@pytest.mark.parametrize("stated", [5_000, 2])
async def test_a_length_can_be_a_lie(api, server, stated):
    """Longer than the body it ends too soon; shorter, more comes than was promised."""
    server.faults.add("GET", "/me", content_length=stated)

    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await api.get("/me")


async def test_a_body_and_headers_can_be_replaced(api, server):
    """Malformed JSON, an HTML page, extra headers, and headers taken away."""
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
async def test_a_stall_lasts_until_the_server_closes(api, server, where):
    """And the server does not wait for those it keeps waiting."""
    server.faults.add("GET", "/me", stall=where)
    async with asyncio.timeout(5):
        waiting = asyncio.create_task(api.get("/me"))
        await seen(server)
        await server.close()

        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_a_stall_ends_when_the_client_leaves(api, server):
    """Nothing is left behind on the server's side."""
    server.faults.add("GET", "/me", stall="headers")
    tasks = asyncio.all_tasks()

    with pytest.raises(TimeoutError):
        await api.get("/me", timeout=aiohttp.ClientTimeout(total=0.05))
    await ended(tasks)

    assert 1 == len(server.calls.matching("GET", "/me"))


async def test_a_fault_can_change_the_site_before_the_call_is_acted_on(api, server, room):
    """Scripted change: what the call sees is the site after it; coroutines are awaited."""
    server.faults.add("GET", "*/message", do=lambda site: site.add_message(room, "just now"), times=1)
    server.faults.add("GET", "/me", do=lambda site: site.expire_tokens(), times=1)

    messages = (await api.get(f"{api.room(room)}/message")).json["messages"]
    expired = await api.get("/me")

    assert ["just now"] == [message["text"] for message in messages]
    assert 401 == expired.status


async def test_chance_is_the_same_each_time(api, server):
    """A seed makes a flaky service repeatable."""
    runs = []
    for _ in range(2):
        fault = server.faults.add("GET", "/me", status=500, probability=0.5, seed=3)
        runs.append([(await api.get("/me")).status for _ in range(20)])
        fault.remove()

    assert runs[0] == runs[1]
    assert {200, 500} == set(runs[0])


async def test_a_delay_holds_the_answer_back(api, server):
    """The call is seen at once and answered later."""
    server.faults.add("GET", "/me", delay=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()

    reply = await api.get("/me")

    assert 200 == reply.status
    assert loop.time() - began >= 0.05


async def test_faults_reach_the_second_origin(start):
    """Media bodies fail there as anywhere."""
    api = await start(media_redirect=True)
    room = api.server.add_conversation("general")
    media = api.server.add_media(room, "a.bin", b"x")
    api.server.faults.add("GET", "/file/*", status=503)

    reply = await api.get(f"{api.room(room)}/media/{media}", allow_redirects=True)

    assert 503 == reply.status


async def test_faults_are_read_from_a_file(tmp_path, start):
    """A JSON list of the same words; the method in any case."""
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
        ('[{"headers": {"X": "a\\r\\nY: b"}}]', "entry 1: header 'X': a line break"),
    ],
)
def test_a_broken_script_says_where(tmp_path, text, reason):
    """Entry and word; and no rule of it is in force."""
    script = tmp_path / "faults.json"
    script.write_text(text)
    faults = Faults()

    with pytest.raises(ValueError, match=reason):
        faults.load(script)

    assert faults._choose("GET", "/me") is None
