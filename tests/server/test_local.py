from __future__ import annotations

import asyncio
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import NoneType

import aiohttp
import attrs
import pytest

from stride_async.server import Choices, LocalServer, Plan, SeedError
from stride_async.server._loading import Loading
from stride_async.server._store.store import Store
from tests.wrong_arguments import Argument, complaints

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


@pytest.mark.skipif(not MEETUP.is_dir(), reason="the meet-up's data is not available")
async def test_a_real_site_is_served_as_it_was_seeded():
    """Counts, rosters and digests of all conversations agree, and the digests of all files."""
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


async def test_a_seeded_conversation_keeps_unknown_fields(start, tmp_path):
    """Fields that the server does not know are returned unchanged."""
    api = await start(seed=seed_file(tmp_path, SITE, ROOM))

    found = (await api.get("/site/c/conversation/r")).json

    assert ("kept", "c") == (found["motto"], found["cloudId"])


async def test_an_invalid_seed_leaves_nothing_on_disk(tmp_path):
    """There is no database and no folder of media, and the error names the line."""
    seed = seed_file(tmp_path, SITE, ROOM, {"type": "message", "conversationId": "elsewhere", "message": {}})
    db = tmp_path / "site.db"

    with pytest.raises(SeedError, match="3"):
        await LocalServer(seed=seed, db=db).start()

    assert [seed] == list(tmp_path.iterdir())


async def test_media_with_a_wrong_digest_is_rejected(tmp_path):
    """The digest is checked while the body is stored, and nothing is left of the files before it."""
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


async def test_a_database_in_a_missing_folder_is_rejected(tmp_path):
    """The error names the file."""
    with pytest.raises(ValueError, match=r"cannot open .*site\.db"):
        await LocalServer(db=tmp_path / "nowhere" / "site.db").start()


async def test_a_restarted_server_continues_its_database(start, tmp_path):
    """Messages, media and credentials are the same as before."""
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


@pytest.mark.parametrize("from_seed", [True, False], ids=["seed", "plan"])
async def test_a_database_with_the_same_site_is_used_as_it_is(tmp_path, from_seed):
    """A second start with the same seed or plan keeps what has changed since the first."""
    origin = (
        {"seed": seed_file(tmp_path, SITE, ROOM)} if from_seed else {"generate": "conversations=1,messages=3,media=1"}
    )
    async with LocalServer(db=tmp_path / "site.db", **origin) as server:
        (room,) = server.truth().conversations
        server.add_message(room, "later")
        before = server.truth()

    async with LocalServer(db=tmp_path / "site.db", **origin) as server:
        after = server.truth()

    assert before == after


@pytest.mark.parametrize("first", ["empty", "seed", "plan"])
async def test_a_database_with_another_site_is_refused(tmp_path, first):
    """The site in it is neither mixed with another one nor overwritten."""
    seed = seed_file(tmp_path, SITE, ROOM)
    origins = {"empty": {}, "seed": {"seed": seed}, "plan": {"generate": "conversations=1"}}
    async with LocalServer(db=tmp_path / "site.db", **origins[first]) as server:
        before = server.truth()
    seed.write_text(seed.read_text() + "\n")

    for other in ({"seed": seed}, {"generate": "conversations=1,seed=8"}):
        with pytest.raises(ValueError, match=r"site\.db already contains a site from elsewhere"):
            await LocalServer(db=tmp_path / "site.db", **other).start()

    async with LocalServer(db=tmp_path / "site.db") as server:
        assert before == server.truth()


async def test_a_seed_may_be_a_pipe(tmp_path):
    """It is read once, and the database remembers which site it was."""
    seed, pipe = seed_file(tmp_path, SITE, ROOM), tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_bytes, seed.read_bytes()))

    async with LocalServer(db=tmp_path / "site.db", seed=pipe):
        await writing

    async with LocalServer(db=tmp_path / "site.db", seed=seed) as server:
        assert {"r"} == set(server.truth().conversations)


async def test_loading_is_reported(tmp_path):
    """The first report comes when loading begins; a site that is already there is not loaded."""
    first, second = [], []
    async with LocalServer(db=tmp_path / "site.db", generate="conversations=3", on_loading=first.append):
        pass
    async with LocalServer(db=tmp_path / "site.db", generate="conversations=3", on_loading=second.append):
        pass

    assert ((0, 0, 0, 0), []) == (attrs.astuple(first[0]), second)


@pytest.mark.parametrize("cancellations", [1, 5])
@pytest.mark.parametrize(
    "plan",
    [
        "users=100000,conversations=1",
        "conversations=1000000,messages=100,media=0",
        "conversations=1,messages=100000000,media=0",
        "conversations=1,messages=1000000,bytes=65536,media=0",
        "conversations=1,messages=0,media=1,media_max=17179869184",
    ],
    ids=["users", "conversations", "messages", "long messages", "a large file"],
)
async def test_loading_ends_when_the_start_is_cancelled(tmp_path, plan, cancellations):
    """Nothing is left of the database, and further cancellations change nothing."""
    begun = asyncio.Event()
    server = LocalServer(db=tmp_path / "site.db", generate=plan, on_loading=lambda _: begun.set())
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(10):
        await begun.wait()
        for _ in range(cancellations):
            starting.cancel()
            await asyncio.sleep(0)

        with pytest.raises(asyncio.CancelledError):
            await starting

    assert [] == list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


async def test_a_seed_may_be_a_folder(tmp_path):
    """It contains the lines as `site.jsonl`, as the conversion of an archive to a seed writes them."""
    seed_file(tmp_path, SITE, ROOM)

    async with LocalServer(seed=tmp_path) as server:
        assert ["r"] == list(server.truth().conversations)


@pytest.mark.parametrize("existed", [False, True])
async def test_a_site_that_is_loaded_too_late_is_discarded(tmp_path, existed):
    """The start may be cancelled when the thread has just ended. A database that existed before stays."""
    database = tmp_path / "site.db"
    if existed:
        async with LocalServer(db=database):
            pass
    before = list(tmp_path.iterdir())

    Store.open(database, None, Loading()).discard()

    assert before == list(tmp_path.iterdir())


async def test_the_loop_is_free_while_a_site_is_loaded(tmp_path):
    """Another server in the same loop responds meanwhile."""
    begun = asyncio.Event()
    loading = LocalServer(generate="conversations=100000,media=0", on_loading=lambda _: begun.set())
    async with asyncio.timeout(10), LocalServer() as server, aiohttp.ClientSession() as http:
        starting = asyncio.create_task(loading.start())
        await begun.wait()
        api = await log_in(http, server, server.client_id, server.client_secret)
        reply = await api.get("/me")
        still_loading = not starting.done()
        starting.cancel()
        await asyncio.wait([starting])

    assert (200, True) == (reply.status, still_loading)


@pytest.mark.parametrize("option", ["seed", "db", "faults"])
@pytest.mark.parametrize("kind", ["long", "loop", "folder", "in a file"])
async def test_a_name_that_the_system_refuses_is_an_error_with_the_name(tmp_path, option, kind):
    """It is too long, a loop of links, a folder, or below a file."""
    path = {"long": tmp_path / ("n" * 300), "loop": tmp_path / "loop", "folder": tmp_path / "folder"}.get(kind)
    path = path or tmp_path / "file" / "name"
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises((ValueError, OSError)) as caught:
        await LocalServer(**{option: path}).start()

    assert path.name in str(caught.value)
    assert {"loop", "folder", "file"} == {found.name for found in tmp_path.iterdir()}


@pytest.mark.parametrize("length", range(240, 256))
async def test_a_database_name_near_the_limit_works_or_is_refused(tmp_path, length):
    """The files next to the database have longer names; if one of them is too long, nothing is left."""
    path, works = tmp_path / ("n" * length), False

    with suppress(ValueError):
        async with LocalServer(db=path) as server:
            server.add_media(server.add_conversation("general"), "a.txt", b"a")
        works = True

    assert works == path.exists()
    assert works or [] == list(tmp_path.iterdir())


async def test_a_database_can_be_used_by_one_server_at_a_time(tmp_path):
    """The second server fails to start, and the first is not affected."""
    db = tmp_path / "site.db"
    async with LocalServer(db=db) as server:
        message = r"site\.db is in use by another server, or its file system offers no locks"
        with pytest.raises(ValueError, match=message):
            await LocalServer(db=db).start()

        assert () == server.truth().users


async def test_a_full_disk_is_an_answer_in_one_sentence(tmp_path, caplog):
    """The server goes on, and stores what comes when there is room again."""
    document = {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": []}]}
    document["content"][0]["content"] = [{"type": "text", "text": "x" * 20_000}]
    async with LocalServer(db=tmp_path / "site.db", rate_limit=None) as server, aiohttp.ClientSession() as http:
        api = await log_in(http, server, server.client_id, server.client_secret)
        path = f"{api.room(server.add_conversation('general'))}/message"
        server._world.store._db.execute("PRAGMA max_page_count = 1")  # It cannot grow.
        while (reply := await api.call("POST", path, json={"body": document})).status < 500:
            continue
        server._world.store._db.execute("PRAGMA max_page_count = 100000")
        later = await api.call("POST", path, json={"body": document})

    assert (500, 201) == (reply.status, later.status)
    assert "database or disk is full" in reply.json["message"]
    assert ["the site cannot be stored: database or disk is full"] == caplog.messages
    assert [None] == [record.exc_info for record in caplog.records]


@pytest.mark.parametrize("content", [b"this is not a database, but it is long enough" * 50, b""])
async def test_a_file_that_is_not_a_database_is_not_changed(tmp_path, content):
    """The error names the file. An empty file becomes a new database."""
    db = tmp_path / "site.db"
    db.write_bytes(content)

    if content:
        with pytest.raises(ValueError, match=r"site\.db"):
            await LocalServer(db=db).start()
        assert content == db.read_bytes()
    else:
        async with LocalServer(db=db) as server:
            assert "local" == server.truth().name


async def test_a_port_in_use_is_an_oserror_that_names_it(server):
    """It is the class of error that the system raised."""
    port = int(server.url.rpartition(":")[2])

    with pytest.raises(OSError, match=f"port {port} is taken"):
        await LocalServer(port=port).start()


def test_a_seed_and_a_plan_exclude_each_other():
    """The constructor raises ValueError."""
    with pytest.raises(ValueError, match="not from both"):
        LocalServer(seed="a", generate="conversations=1")


async def test_a_closed_server_can_be_started_again(tmp_path):
    """Closing twice is allowed, and a server that is not running says so."""
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
async def test_a_client_that_disconnects_during_a_request_leaves_nothing_behind(server, part, caplog):
    """There is no task, no warning and no log record."""
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
    """A response to a client that reads nothing is cut off."""
    api = await start()
    room = api.server.add_conversation("general")
    media = api.server.add_media(room, "a.bin", bytes(50_000_000))
    headers = {"Authorization": f"Bearer {api.token}"}

    async with (
        asyncio.timeout(5),
        api.http.get(f"{api.server.url}{api.room(room)}/media/{media}", headers=headers) as response,
    ):
        await response.content.readexactly(1)
        await api.server.close()

        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_latency_ends_when_the_server_closes(start):
    """A request that is still being delayed is cut off."""
    server = LocalServer(latency=600.0)
    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        await server.start()
        waiting = asyncio.create_task(http.get(f"{server.url}/me"))
        await seen(server)
        await server.close()

        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_a_call_records_its_request(api, server, room):
    """Path, query, headers, body and status are recorded; the token is not part of the repr."""
    server.calls.clear()
    await api.call("PUT", f"{api.room(room)}/app/module/chat%3Abot/k?a=1&b=2&a=3", json={"url": "/x"})

    (call,) = server.calls.matching("P*", "*/chat:bot/*")

    assert [("a", "1"), ("b", "2"), ("a", "3")] == call.query
    assert (f"Bearer {api.token}", 204) == (call.headers["authorization"], call.status)
    assert {"url": "/x"} == json.loads(call.body)
    assert api.token not in repr(call)


async def test_the_oldest_calls_are_forgotten(start):
    """The server remembers the last `calls_kept` calls."""
    api = await start(calls_kept=3)

    for number in range(5):
        await api.get(f"/me?{number}=")

    assert [[("2", "")], [("3", "")], [("4", "")]] == [call.query for call in api.server.calls]


async def test_the_site_can_be_changed_from_outside(api, server, room):
    """The next call shows the change."""
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


async def test_json_can_be_sent_chunked(start):
    """The gateway sent it without a length; the body is the same."""
    api = await start(choices=Choices(chunked_json=True))

    reply = await api.get("/me")

    assert "chunked" == reply.headers["Transfer-Encoding"]
    assert api.server.app_account_id == reply.json["account_id"]


async def test_responses_have_the_headers_of_the_gateway(api):
    """Among them are the content type, a ban on sniffing it, and a date."""
    reply = await api.get("/me")

    assert ("application/json", "nosniff") == (reply.headers["Content-Type"], reply.headers["X-Content-Type-Options"])
    assert "Date" in reply.headers


async def test_each_app_has_its_own_direct_conversation_with_a_person(api, server):
    """Two apps get different conversations for the same person."""
    path = f"{api.site}/user/{server.add_user('Ann')}"
    other = await log_in(api.http, server, *server.add_app())

    assert (await api.get(path)).json["id"] != (await other.get(path)).json["id"]


WRONG_TYPES: dict[str, Callable[[LocalServer, str], object]] = {
    "an int as a name": lambda server, room: server.add_user(5),
    "a list as an email address": lambda server, room: server.add_user("Ann", email=["a"]),
    "an int as the name of a room": lambda server, room: server.add_conversation(5),
    "text as a flag": lambda server, room: server.add_conversation("a", archived="no"),
    "one text as a roster": lambda server, room: server.add_conversation("a", roster="ann"),
    "an int as a room": lambda server, room: server.add_message(5, "hi"),
    "an int as content": lambda server, room: server.add_message(room, 5),
    "a list as a sender": lambda server, room: server.add_message(room, "hi", sender_id=["ann"]),
    "a float as a time": lambda server, room: server.add_message(room, "hi", ts=1.5),
    "text as a count": lambda server, room: server.fill(room, "5"),
    "an int as a message": lambda server, room: server.delete_message(room, 5),
    "text as archived": lambda server, room: server.archive(room, archived="no"),
    "one text as members": lambda server, room: server.set_roster(room, "ann"),
    "an int as a body": lambda server, room: server.add_media(room, "a.txt", 5),
    "a list as the name of a file": lambda server, room: server.add_media(room, ["a"], b"x"),
    "an int as a module": lambda server, room: server.module_state("chat:glance", 5),
    "one text as scopes": lambda server, room: server.add_app(scopes="participate:conversation"),
    "an int as a plan": lambda server, room: Plan.parse(5),
    "an int as a file": lambda server, room: LocalServer(db=5),
    "a list as faults": lambda server, room: LocalServer(faults=[]),
    "a dict as choices": lambda server, room: LocalServer(choices={}),
    "text as a function": lambda server, room: LocalServer(on_loading="print"),
}


@pytest.mark.parametrize("call", WRONG_TYPES.values(), ids=WRONG_TYPES)
async def test_an_argument_of_the_wrong_type_is_one_sentence_at_once(call):
    """It says what was expected and what was found."""
    async with LocalServer() as server:
        room = server.add_conversation("general")

        with pytest.raises(TypeError, match=r"must be .*, not \w+: ") as caught:
            call(server, room)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ts", [2**63, -(2**70), "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "tomorrow"])
async def test_a_time_that_cannot_be_stored_is_refused(server, ts):
    """The error says what was expected."""
    room = server.add_conversation("general")

    for add in (server.add_message, server.fill):
        with pytest.raises(ValueError, match=r"^ts: expected a(n RFC 3339)? time .*, found '?[-\dt]"):
            add(room, *(["hi"] if add == server.add_message else [1]), ts=ts)


OPTIONAL_TEXT = (str, NoneType)
ARGUMENTS = [
    Argument("display_name", lambda server, value: server.add_user(value), (str,)),
    Argument("email", lambda server, value: server.add_user("Ann", email=value), OPTIONAL_TEXT),
    Argument("name", lambda server, value: server.add_conversation(value), (str,)),
    Argument("archived", lambda server, value: server.add_conversation("a", archived=value), (bool,)),
    Argument("app_is_member", lambda server, value: server.add_conversation("a", app_is_member=value), (bool,)),
    Argument("roster", lambda server, value: server.add_conversation("a", roster=value), (list, dict)),
    Argument("roster", lambda server, value: server.add_conversation("a", roster=[value]), (str,)),
    Argument("conversation_id", lambda server, value: server.add_message(value, "hi"), (str,)),
    Argument("content", lambda server, value: server.add_message("room", {"x": {1}, "y": value}), ()),
    Argument("ts", lambda server, value: server.add_message("room", "hi", ts=value), (int, str, NoneType)),
    Argument("mention_app", lambda server, value: server.add_message("room", "hi", mention_app=value), (bool,)),
    Argument("messages", lambda server, value: server.fill("room", value), (int,)),
    Argument("same_ts", lambda server, value: server.fill("room", 1, same_ts=value), (bool,)),
    Argument("message_id", lambda server, value: server.edit_message("room", value, "hi"), (str,)),
    Argument("user_ids", lambda server, value: server.set_roster("room", value), (list, dict)),
    Argument("user_ids", lambda server, value: server.set_roster("room", [value]), (str,)),
    Argument("name", lambda server, value: server.add_media("room", value, b"x"), (str,)),
    Argument("data", lambda server, value: server.add_media("room", "a", value), (bytes,)),
    Argument("data", lambda server, value: server.add_media("room", "a", [value]), (bytes,)),
    Argument("scopes", lambda server, value: server.add_app(scopes=value), (list, dict)),
    Argument("scopes", lambda server, value: server.add_app(scopes=[value]), (str,)),
    Argument("conversations", lambda server, value: server.add_app(conversations=[value]), (str,)),
    Argument("descriptor_url", lambda server, value: server.register_app(value), (str,)),
    Argument("client_id", lambda server, value: server.register_app("http://h", client_id=value), OPTIONAL_TEXT),
    Argument("by", lambda server, value: server.install("room", by=value), (str,)),
    Argument("by", lambda server, value: server.uninstall("room", by=value), (str,)),
    Argument("key", lambda server, value: server.press(value, "room", "m", by="ann"), (str,)),
    Argument("by", lambda server, value: server.press("k", "room", "m", by=value), (str,)),
    Argument(
        "parameters",
        lambda server, value: server.press("k", "room", "m", by="ann", parameters=value),
        (dict, NoneType),
    ),
    Argument("key", lambda server, value: server.ask_glance(value, "room", by="ann"), (str,)),
    Argument("by", lambda server, value: server.ask_glance("k", "room", by=value), (str,)),
    Argument("by", lambda server, value: server.ask_configuration("k", "room", by=value), (str,)),
    Argument("method", lambda server, value: server.calls.matching(value, "*"), (str,)),
    Argument("path_glob", lambda server, value: server.calls.matching("GET", value), (str,)),
    Argument("path", lambda server, value: server.faults.load(value), (str,)),
    Argument("rule", lambda server, value: server.faults.remove(value), ()),
    Argument("times", lambda server, value: server.faults.add("GET", "*", times=value), (int, NoneType)),
    Argument("seed", lambda server, value: server.faults.add("GET", "*", seed=value), (int,)),
    Argument("delay", lambda server, value: server.faults.add("GET", "*", delay=value), (int, float)),
    Argument("headers", lambda server, value: server.faults.add("GET", "*", headers=value), (dict, NoneType)),
    Argument("do", lambda server, value: server.faults.add("GET", "*", do=value), (NoneType,)),
]


async def test_a_wrong_argument_is_named_before_anything_changes():
    """The site, the faults and the calls stay as they are."""
    async with LocalServer() as server:
        server.add_conversation("general", id="room", roster=[server.add_user("Ann", id="ann")])
        server.add_message("room", "hi", id="m")
        before = server.truth()

        for argument in ARGUMENTS:
            assert [] == await complaints(argument, server)
        assert before == server.truth()
        assert not server.faults._faults


OPTIONS = [
    Argument(name, lambda value, name=name: LocalServer(**{name: value}), kinds)
    for name, kinds in {
        "seed": (str, list, dict, set, NoneType),
        "media_root": OPTIONAL_TEXT,
        "db": OPTIONAL_TEXT,
        "host": (str,),
        "port": (int,),
        "rate_limit": (int, NoneType),
        "window": (int, float),
        "latency": (int, float),
        "media_redirect": (bool,),
        "faults": OPTIONAL_TEXT,
        "choices": (),
        "calls_kept": (int,),
        "on_loading": (NoneType,),
    }.items()
]
SAME_AS_THE_DEFAULT = {
    "token_limit": (int, NoneType),
    "rate_limit_elsewhere": (int, NoneType),
    "audiences": (list, set, dict, NoneType),
    "redelivery_spans": (set,),
    **dict.fromkeys(("install_delay", "media_url_seconds", "delivery_seconds"), (int, float)),
}
OPTIONS += [
    Argument(
        option.name,
        lambda value, name=option.name: Choices(**{name: value}),
        SAME_AS_THE_DEFAULT.get(option.name, (type(option.default),)),
    )
    for option in attrs.fields(Choices)
]


@pytest.mark.parametrize("argument", OPTIONS, ids=lambda argument: argument.name)
async def test_an_option_of_the_wrong_type_is_named_at_once(argument):
    """Not when the server meets it in a call."""
    assert [] == await complaints(argument)


async def test_an_unknown_choice_is_refused_with_those_that_are_known():
    """As in the signature."""
    with pytest.raises(ValueError, match="last_cursor is 'none'; expected empty, null, absent or same"):
        Choices(last_cursor="none")


async def test_a_line_of_a_seed_must_be_bytes():
    """Text is refused with what it should be."""
    with pytest.raises(TypeError, match="a line of the seed must be of type bytes, not str: 'x'"):
        await LocalServer(seed=["x"]).start()


async def test_an_unknown_id_is_named_with_what_it_should_be_the_id_of():
    """Not only the id."""
    async with LocalServer() as server:
        with pytest.raises(KeyError, match="no conversation 'lost'"):
            server.messages("lost")
