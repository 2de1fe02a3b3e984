from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from pathlib import Path

import aiohttp
import pytest

from stride_async.server import Choices, LocalServer, SeedError

from .calling import ended, ids, log_in, seen

MEETUP = Path(__file__).parents[2].parent / "shared/data/meetup"
SITE = {"type": "site", "cloudId": "c", "name": "Here"}
ROOM = {"type": "conversation", "roster": []} | {
    "conversation": {
        "cloudId": "c",
        "id": "r",
        "name": "general",
        "topic": "",
        "type": "group",
        "privacy": "public",
        "isArchived": False,
        "created": "2018-01-01T00:00:00.000Z",
        "modified": "2018-01-01T00:00:00.000Z",
        "avatarUrl": "",
        "motto": "kept",
    }
}


def seed_file(folder, *lines):
    path = folder / "site.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.skipif(not MEETUP.is_dir(), reason="the meet-up's data is not here")
async def test_the_meetup_is_served_as_it_was_written():
    """Counts, rosters and digests of every conversation, and every file by its sha256."""
    expected = json.loads((MEETUP / "expected.json").read_text())

    async with LocalServer(seed=MEETUP / "site.jsonl") as server:
        truth = server.truth()

    assert (expected["cloudId"], expected["users"]) == (truth.cloud_id, len(truth.users))
    assert expected["by_conversation"] == {
        found.id: {
            "name": found.name,
            "messages": found.messages,
            "roster": len(found.roster),
            "archived": found.archived,
            "media": len(found.media),
            "sha256": found.sha256,
        }
        for found in truth.conversations.values()
    }
    files = {media: file for found in truth.conversations.values() for media, file in found.media.items()}
    assert expected["media"] == len(files)
    assert {media: hashlib.sha256((MEETUP / "media" / media).read_bytes()).hexdigest() for media in files} == {
        media: file.sha256 for media, file in files.items()
    }


async def test_a_seeded_conversation_keeps_fields_of_its_own(start, tmp_path):
    """What the server does not know of is served all the same."""
    api = await start(seed=seed_file(tmp_path, SITE, ROOM))

    found = (await api.get("/site/c/conversation/r")).json

    assert ("kept", "c") == (found["motto"], found["cloudId"])


async def test_a_broken_seed_leaves_nothing(tmp_path):
    """No database, no folder of media, and the seed's line in the message."""
    seed = seed_file(tmp_path, SITE, ROOM, {"type": "message", "conversationId": "elsewhere", "message": {}})
    db = tmp_path / "site.db"

    with pytest.raises(SeedError, match="3"):
        await LocalServer(seed=seed, db=db).start()

    assert [seed] == list(tmp_path.iterdir())


async def test_media_that_is_not_what_the_seed_says_is_refused(tmp_path):
    """The bytes are digested as they are loaded; nothing is left of the ones before either."""
    (tmp_path / "good").write_bytes(b"abc")
    (tmp_path / "bad").write_bytes(b"abd")
    digest = hashlib.sha256(b"abc").hexdigest()
    media = [
        {"type": "media", "conversationId": "r", "id": name, "name": name, "mimeType": "text/plain"}
        | {"size": 3, "sha256": digest, "path": name}
        for name in ("good", "bad")
    ]
    seed = seed_file(tmp_path, SITE, ROOM, *media)

    with pytest.raises(ValueError, match="bad"):
        await LocalServer(seed=seed, db=tmp_path / "site.db").start()

    assert {"good", "bad", seed.name} == {path.name for path in tmp_path.iterdir()}


async def test_a_database_in_no_folder_is_said_plainly(tmp_path):
    """The error names the file."""
    with pytest.raises(ValueError, match=r"cannot open .*site\.db"):
        await LocalServer(db=tmp_path / "nowhere" / "site.db").start()


async def test_a_database_is_served_again_as_it_is(start, tmp_path):
    """Messages, media and the app's credentials outlive the server; tokens do not."""
    db = tmp_path / "site.db"
    async with LocalServer(db=db, generate="conversations=3,messages=20,media=4,media_max=1000") as server:
        room = server.add_conversation("later")
        server.add_media(room, "a.bin", b"bytes")
        message = server.add_message(room, "hello")
        before, credentials = server.truth(), (server.client_id, server.client_secret)

    api = await start(db=db)

    assert (before, credentials) == (api.server.truth(), (api.server.client_id, api.server.client_secret))
    assert [message] == ids(await api.get(f"{api.room(room)}/message"))
    (media,) = before.conversations[room].media
    assert b"bytes" == (await api.get(f"{api.room(room)}/media/{media}")).body


async def test_a_seed_needs_a_new_database(tmp_path):
    """An existing site is neither mixed nor overwritten."""
    db = tmp_path / "site.db"
    async with LocalServer(db=db):
        pass

    with pytest.raises(ValueError, match="already contains a site"):
        await LocalServer(db=db, generate="conversations=1").start()

    async with LocalServer(db=db) as server:
        assert {} == server.truth().conversations


async def test_a_database_serves_one_server_at_a_time(tmp_path):
    """The second one says so, and the first goes on."""
    db = tmp_path / "site.db"
    async with LocalServer(db=db) as server:
        with pytest.raises(ValueError, match="in use"):
            await LocalServer(db=db).start()

        assert () == server.truth().users


@pytest.mark.parametrize("content", [b"this is no database, though it is long enough" * 50, b""])
async def test_a_file_that_is_no_database_is_left_alone(tmp_path, content):
    """It is named in the message; an empty one is as good as none."""
    db = tmp_path / "site.db"
    db.write_bytes(content)

    if content:
        with pytest.raises(ValueError, match=r"site\.db"):
            await LocalServer(db=db).start()
        assert content == db.read_bytes()
    else:
        async with LocalServer(db=db) as server:
            assert "local" == server.truth().name


async def test_a_taken_port_is_said_plainly(server):
    """The error names the port, and is the kind the system raised."""
    port = int(server.url.rpartition(":")[2])

    with pytest.raises(OSError, match=f"port {port} is taken"):
        await LocalServer(port=port).start()


def test_a_site_comes_from_one_place_only():
    """A seed and a plan together make no sense."""
    with pytest.raises(ValueError, match="not from both"):
        LocalServer(seed="a", generate="conversations=1")


async def test_a_closed_server_may_be_started_again(tmp_path):
    """Closing twice is fine; a server that is not running says so."""
    server = LocalServer()
    async with server:
        first = server.cloud_id
    await server.close()

    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    async with server:
        assert first != server.cloud_id


@pytest.mark.parametrize(
    "part", [b"GET /me HTT", b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc"]
)
async def test_a_client_that_leaves_midway_leaves_nothing_behind(server, part, caplog):
    """No task, no warning, no word in the log."""
    asyncio.get_running_loop().set_debug(True)
    tasks = asyncio.all_tasks()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(part)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await ended(tasks)

    assert [] == [record for record in caplog.records if record.name.startswith("stride_async")]


async def test_closing_does_not_wait_for_slow_readers(start):
    """A reader that takes nothing is cut off; the close is a matter of less than a second or two."""
    api = await start()
    room = api.server.add_conversation("general")
    media = api.server.add_media(room, "a.bin", bytes(50_000_000))
    headers = {"Authorization": f"Bearer {api.token}"}

    async with (
        asyncio.timeout(5),
        api.http.get(f"{api.server.url}{api.room(room)}/media/{media}", headers=headers) as answer,
    ):
        await answer.content.readexactly(1)
        await api.server.close()

        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_latency_ends_when_the_server_closes(start):
    """Nobody waits for an answer that will not come."""
    server = LocalServer(latency=600.0)
    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        await server.start()
        waiting = asyncio.create_task(http.get(f"{server.url}/me"))
        await seen(server)
        await server.close()

        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_calls_tell_what_was_asked(api, server, room):
    """Decoded path, query in order, headers in any case, body, status; the oldest are forgotten beyond the bound."""
    server.calls.clear()
    await api.call("PUT", f"{api.room(room)}/app/module/chat%3Abot/k?a=1&b=2&a=3", json={"url": "/x"})

    (call,) = server.calls.matching("P*", "*/chat:bot/*")

    assert [("a", "1"), ("b", "2"), ("a", "3")] == call.query
    assert (f"Bearer {api.token}", 204) == (call.headers["authorization"], call.status)
    assert {"url": "/x"} == json.loads(call.body)
    assert api.token not in repr(call)


async def test_old_calls_are_forgotten(start):
    """A server that runs for long does not grow."""
    api = await start(calls_kept=3)

    for number in range(5):
        await api.get(f"/me?{number}=")

    assert [[("2", "")], [("3", "")], [("4", "")]] == [call.query for call in api.server.calls]


async def test_the_site_can_be_changed_from_outside(api, server, room):
    """What scripts change is what callers see next."""
    ann = server.add_user("Ann")
    sent = server.add_message(room, "first", sender_id=ann, ts="2018-01-01T00:00:00.5Z")
    server.edit_message(room, sent, "second")
    server.set_roster(room, [ann])
    server.archive(room)

    message = (await api.get(f"{api.room(room)}/message/{sent}")).json

    assert ("second", {"id": ann}, "2018-01-01T00:00:00.5Z") == (message["text"], message["sender"], message["ts"])
    assert (True, (ann,)) == (server.truth().conversations[room].archived, server.truth().conversations[room].roster)
    server.delete_message(room, sent)
    assert 0 == server.truth().conversations[room].messages
    with pytest.raises(KeyError):
        server.delete_message(room, sent)


async def test_json_can_go_out_chunked(start):
    """As it did behind the gateway: no length, the same body."""
    api = await start(choices=Choices(chunked_json=True))

    reply = await api.get("/me")

    assert "chunked" == reply.headers["Transfer-Encoding"]
    assert api.server.app_account_id == reply.json["account_id"]


async def test_answers_carry_the_gateways_headers(api):
    """JSON by its content type, not to be sniffed, with a Date."""
    reply = await api.get("/me")

    assert ("application/json", "nosniff") == (reply.headers["Content-Type"], reply.headers["X-Content-Type-Options"])
    assert "Date" in reply.headers


async def test_apps_do_not_see_each_others_direct_conversations(api, server):
    """One conversation for each app and person."""
    path = f"{api.site}/user/{server.add_user('Ann')}"
    other = await log_in(api.http, server, *server.add_app())

    assert (await api.get(path)).json["id"] != (await other.get(path)).json["id"]
