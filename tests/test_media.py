"""Files up and down: whole, checked, healed where they break."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
from pathlib import Path

import pytest

from stride_async import (
    BadRequest,
    Body,
    BodyInterrupted,
    EncodedBody,
    MediaError,
    NotFound,
    NotReplayable,
    Progress,
    SourceChanged,
    TooLarge,
)
from stride_async.document import doc, media_group
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of

MEDIA = "*/media/*"
UPLOADS = "*/media"


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no two offsets share for long."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


BIG = noise(3_000_001)


@pytest.fixture
def room_id(server):
    return server.add_conversation("files")


@pytest.fixture
def room(client, room_id):
    return client.conversation(room_id)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored(server, room_id, media_id):
    """What the server holds: name, size and digest."""
    return server.truth().conversations[room_id].media[media_id]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def in_pieces(data: bytes, size: int = 70_000):
    for at in range(0, len(data), size):
        yield data[at : at + size]


SOURCES = {
    "bytes": lambda _: BIG,
    "path": lambda path: path,
    "text path": str,
    "factory of files": lambda path: Body.from_factory(lambda: path.open("rb"), size=len(BIG)),
    "factory of streams": lambda _: Body.from_factory(lambda: in_pieces(BIG)),
    "measured stream": lambda _: Body.once(in_pieces(BIG), size=len(BIG)),
    "stream": lambda _: Body.once(in_pieces(BIG)),
}


@pytest.mark.parametrize("kind", SOURCES)
async def test_every_kind_of_source_arrives_whole(room, server, room_id, tmp_path, kind):
    """By digest at the server; its length is announced whenever it is known."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)

    media = await room.upload(SOURCES[kind](path), name="big.bin")

    assert sha256(BIG) == stored(server, room_id, media.id).sha256
    (call,) = server.calls.matching("POST", UPLOADS)
    measured = kind not in {"stream", "factory of streams"}
    assert call.headers.get("Content-Length") == (str(len(BIG)) if measured else None)
    assert (call.headers.get("Transfer-Encoding") == "chunked") is not measured


@pytest.mark.parametrize("kind", ["bytes", "path", "factory of files", "factory of streams"])
async def test_an_upload_that_was_not_acted_on_is_sent_again_whole(room, server, room_id, tmp_path, kind):
    """After a 429 the source is opened anew."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)
    server.faults.add("POST", UPLOADS, status=429, times=2)

    media = await room.upload(SOURCES[kind](path), name="big.bin")

    assert sha256(BIG) == stored(server, room_id, media.id).sha256
    assert len(server.calls.matching("POST", UPLOADS)) == 3


@pytest.mark.parametrize("kind", ["bytes", "path", "factory of files", "factory of streams"])
async def test_an_upload_that_was_cut_on_its_way_is_sent_again_whole(room, server, room_id, tmp_path, kind):
    """More than the system takes ahead of the service, so that it surely was not all there."""
    huge = BIG * 8
    path = tmp_path / "huge.bin"
    path.write_bytes(huge)
    sources = {
        "bytes": huge,
        "path": path,
        "factory of files": Body.from_factory(lambda: path.open("rb"), size=len(huge)),
        "factory of streams": Body.from_factory(lambda: in_pieces(huge)),
    }
    server.faults.add("POST", UPLOADS, drop="before", times=2)

    media = await room.upload(sources[kind], name="huge.bin")

    assert sha256(huge) == stored(server, room_id, media.id).sha256
    assert 3 == len(server.calls.matching("POST", UPLOADS))


async def test_a_stream_that_was_used_up_is_not_sent_again(room, server):
    """The error says why, and what had gone wrong."""
    server.faults.add("POST", UPLOADS, status=429, times=1)

    with pytest.raises(NotReplayable, match="read only once"):
        await room.upload(Body.once(in_pieces(BIG)), name="big.bin")

    assert len(server.calls.matching("POST", UPLOADS)) == 1


@pytest.mark.parametrize(("claimed", "words"), [(len(BIG) - 7, "grew beyond"), (len(BIG) + 7, "its measured size is")])
async def test_a_source_of_another_length_than_measured_fails_at_once(room, server, room_id, claimed, words):
    """Nothing of it stays at the service."""
    with pytest.raises(SourceChanged, match=words):
        await room.upload(Body.from_factory(lambda: io.BytesIO(BIG), size=claimed), name="big.bin")

    assert {} == server.truth().conversations[room_id].media


async def test_the_error_of_a_source_comes_out_as_it_is(room):
    """A disk's error is no network fault, and is not repeated."""

    async def failing():
        yield b"x" * 100_000
        raise PermissionError("the tape is locked")

    with pytest.raises(PermissionError, match="the tape is locked"):
        await room.upload(Body.from_factory(failing), name="big.bin")


async def test_the_error_of_a_progress_callback_comes_out_as_it_is(room, server, tmp_path):
    """It is no fault of the network either: nothing is sent again."""

    def refuse(_):
        raise LookupError("no such bar")

    with pytest.raises(LookupError, match="no such bar"):
        await room.upload(BIG, name="big.bin", progress=refuse)

    assert len(server.calls.matching("POST", UPLOADS)) <= 1


async def test_a_silent_source_is_given_up(server, room_id):
    """`idle_timeout` bounds the source as it bounds the network."""

    async def silent():
        yield b"x"
        await asyncio.Event().wait()

    async with client_of(server, idle_timeout=0.05) as client:
        with pytest.raises(MediaError, match="returned nothing"):
            await client.conversation(room_id).upload(Body.from_factory(silent), name="x")


async def test_a_file_above_the_limit_is_too_large():
    """The service answers before it has everything."""
    async with LocalServer(choices=Choices(upload_bytes=1_000_000)) as server, client_of(server) as client:
        room = client.conversation(server.add_conversation("files"))

        with pytest.raises(TooLarge):
            await room.upload(BIG, name="big.bin")

        assert len(server.calls.matching("POST", UPLOADS)) == 1


NAMES = [
    "plain.txt",
    "mit Leerzeichen.txt",
    'quo"te.txt',
    "a/b\\c.txt",
    "new\nline.txt",
    "名前 🎉.png",
    "%41+&=?#.txt",
    "n" * 300,
]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_reaches_the_service_as_it_is(room, server, room_id, name):
    """Percent-encoded on the wire, the same at the server."""
    media = await room.upload(b"x", name=name)

    assert name == stored(server, room_id, media.id).name


async def test_a_source_without_a_name_needs_one(room, server, tmp_path):
    """A path brings its own."""
    path = tmp_path / "own.txt"
    path.write_text("x")

    assert (await room.upload(path)).name == "own.txt"
    with pytest.raises(ValueError, match="no name"):
        await room.upload(b"x")
    with pytest.raises(FileNotFoundError):
        await room.upload(tmp_path / "missing.txt")
    assert len(server.calls.matching("POST", UPLOADS)) == 1


async def test_an_uploaded_file_can_be_shown_in_a_message(room):
    """`media_group` takes what `upload` gave, and the message tells the id to download."""
    media = await room.upload(b"x", name="x.txt")

    message = await room.message(await room.send(doc(media_group(media))))

    assert (media.id,) == tuple(message.body.media())


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, len(BIG)])
@pytest.mark.parametrize("redirect", [False, True])
async def test_a_download_is_whole_and_checked(tmp_path, size, redirect):
    """From the service itself or by way of another origin."""
    data = noise(size)
    async with LocalServer(media_redirect=redirect) as server, client_of(server) as client:
        room_id = server.add_conversation("files")
        media_id = server.add_media(room_id, "a.bin", data)
        seen: list[Progress] = []

        got = await client.conversation(room_id).download(media_id, tmp_path / "a.bin", progress=seen.append)

        assert (tmp_path / "a.bin", size, sha256(data), True) == (got.path, got.size, got.sha256, got.verified)
        assert data == (tmp_path / "a.bin").read_bytes()
        assert ["a.bin"] == names_in(tmp_path)
        assert not size or seen[-1] == Progress(size, size, 1)
        assert all("Authorization" not in call.headers for call in server.calls if call.origin == "media")


@pytest.mark.parametrize("redirect", [False, True])
async def test_a_body_that_breaks_off_is_healed(tmp_path, redirect):
    """Cut nine times at odd places: byte-exact, asking only for what is missing."""
    async with LocalServer(media_redirect=redirect) as server, client_of(server) as client:
        room_id = server.add_conversation("files")
        media_id = server.add_media(room_id, "a.bin", BIG)
        bodies = "/file/*" if redirect else "*/media/*"
        cuts = [server.faults.add("GET", bodies, cut_after=200_003 + cut, times=1) for cut in range(9)]

        got = await client.conversation(room_id).download(media_id, tmp_path / "a.bin")

        assert sha256(BIG) == got.sha256 == sha256((tmp_path / "a.bin").read_bytes())
        assert [1] * 9 == [cut.hits for cut in cuts]
        ranges = [call.headers.get("Range") for call in server.calls.matching("GET", bodies)]
        assert [None, "bytes=200003-", "bytes=400007-"] == ranges[:3]
        assert 10 == len(ranges)


async def test_a_stream_is_healed_too(room, server, room_id):
    """A consumer of chunks sees every byte once."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, cut_after=1_000_000, times=2)

    async with room.open_media(media_id) as media:
        facts = (media.name, media.size)
        data = b"".join([chunk async for chunk in media.chunks(50_000)])

    assert ("a.bin", len(BIG)) == facts
    assert data == BIG
    assert media.interruptions == 2


async def test_a_stream_is_read_once_and_inside(room, server, room_id):
    """Reading on after a stop takes the iterator that was stopped; a new one would miss what that one held."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    media = room.open_media(media_id)
    with pytest.raises(RuntimeError, match="inside its `async with`"):
        await anext(media.chunks())

    async with media:
        chunks = media.chunks(10)
        head = await anext(chunks)
        with pytest.raises(RuntimeError, match="read only once"):
            await anext(media.chunks())
        data = head + b"".join([chunk async for chunk in chunks])

    assert BIG == data


async def test_a_file_keeps_its_name_in_any_script(room, tmp_path):
    """The service tells it twice; the spelling in ASCII is only a stand-in."""
    sent = await room.upload(b"...", name='Übersicht "1".png')

    async with room.open_media(sent.id) as media:
        name = media.name

    assert 'Übersicht "1".png' == name


async def test_a_body_that_never_gets_further_is_given_up_and_resumed_later(room, server, room_id, tmp_path):
    """The `.part` is kept, and the next call asks only for the rest."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    target = tmp_path / "a.bin"
    server.faults.add("GET", MEDIA, cut_after=500_000, times=1)
    stuck = server.faults.add("GET", MEDIA, cut_after=0)

    with pytest.raises(BodyInterrupted) as caught:
        await room.download(media_id, target)
    kept = names_in(tmp_path)
    stuck.remove()
    server.calls.clear()
    got = await room.download(media_id, target)

    assert (500_000, len(BIG)) == (caught.value.received, caught.value.expected)
    assert ["a.bin.part", "a.bin.part.json"] == kept
    assert ["a.bin"] == names_in(tmp_path)
    assert sha256(BIG) == got.sha256 == sha256(target.read_bytes())
    (call,) = server.calls.matching("GET", MEDIA)
    assert call.headers["Range"] == "bytes=500000-"
    assert "If-Range" in call.headers


async def test_a_part_of_another_file_starts_over(room, server, room_id, tmp_path):
    """The head of one is never joined to the tail of another."""
    first, second = (server.add_media(room_id, "a.bin", noise(900_000, seed)) for seed in (1, 2))
    server.faults.add("GET", MEDIA, cut_after=300_000, times=1)
    stuck = server.faults.add("GET", MEDIA, cut_after=0)
    with pytest.raises(BodyInterrupted):
        await room.download(first, tmp_path / "a.bin")
    stuck.remove()

    got = await room.download(second, tmp_path / "a.bin")

    assert sha256(noise(900_000, 2)) == got.sha256


async def test_parts_of_two_versions_are_never_joined(room, server, room_id, tmp_path):
    """A service that gives a range of whatever is there now, If-Range or not, is asked for the whole."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, cut_after=1_000_000, times=1, headers={"ETag": '"older"'})
    server.faults.add("GET", MEDIA, status=206, times=1, body=b"newer", headers={
        "ETag": '"newer"', "Content-Range": f"bytes 1000000-{len(BIG) - 1}/{len(BIG)}", "Content-Type": "text/plain"
    })  # fmt: skip

    got = await room.download(media_id, tmp_path / "a.bin")

    assert sha256(BIG) == got.sha256 == sha256((tmp_path / "a.bin").read_bytes())
    ranges = [call.headers.get("Range") for call in server.calls.matching("GET", MEDIA)]
    assert [None, "bytes=1000000-", None] == ranges


async def test_a_whole_part_needs_no_more_bytes(room, server, room_id, tmp_path):
    """416 with the right length means that nothing is missing."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, cut_after=2_000_000, times=1)
    stuck = server.faults.add("GET", MEDIA, cut_after=0)
    with pytest.raises(BodyInterrupted):
        await room.download(media_id, tmp_path / "a.bin")
    stuck.remove()
    with (tmp_path / "a.bin.part").open("ab") as part:
        part.write(BIG[2_000_000:])

    got = await room.download(media_id, tmp_path / "a.bin")

    assert sha256(BIG) == got.sha256


async def test_a_body_of_a_wrong_length_is_no_file(server, room_id, tmp_path):
    """Shorter than was told, and without a validator that a part of it could be asked for with."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, content_length=len(BIG) + 10, headers={"ETag": None, "Last-Modified": None})

    async with client_of(server, idle_timeout=0.2, attempts=2) as client:
        with pytest.raises(BodyInterrupted) as caught:
            await client.conversation(room_id).download(media_id, tmp_path / "a.bin")

    assert (len(BIG), len(BIG) + 10) == (caught.value.received, caught.value.expected)
    assert [] == names_in(tmp_path)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity, gzip"])
async def test_a_body_that_is_compressed_unasked_is_no_file(server, room, room_id, tmp_path, encoding):
    """It is asked for as it is; of anything else neither length nor digest could be checked."""
    media_id = server.add_media(room_id, "a.txt", b"hello " * 1000)
    packed = gzip.compress(b"hello " * 1000)
    server.faults.add("GET", MEDIA, body=packed, headers={"Content-Encoding": encoding, "Content-Type": "text/plain"})

    with pytest.raises(EncodedBody, match=f"came encoded as '{encoding}'") as caught:
        await room.download(media_id, tmp_path / "a.txt")

    [call] = server.calls.matching("GET", MEDIA)
    assert ("identity", encoding) == (call.headers["Accept-Encoding"], caught.value.encoding)
    assert [] == names_in(tmp_path)


async def test_a_body_said_to_be_encoded_as_itself_is_a_file(server, room, room_id, tmp_path):
    """`identity` is no encoding."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, headers={"Content-Encoding": "identity"})

    got = await room.download(media_id, tmp_path / "a.bin")

    assert (sha256(BIG), True) == (got.sha256, got.verified)


async def test_a_stalled_body_is_given_up(server, room_id, tmp_path):
    """`idle_timeout` bounds silence; nothing bounds a body that keeps coming."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, stall="body")

    async with client_of(server, idle_timeout=0.1, attempts=2) as client:
        with pytest.raises(BodyInterrupted):
            await client.conversation(room_id).download(media_id, tmp_path / "a.bin")


async def test_two_downloads_into_one_file_are_both_whole(room, server, room_id, tmp_path):
    """Whoever comes second has a part of its own."""
    media_id = server.add_media(room_id, "a.bin", BIG)

    got = await asyncio.gather(*(room.download(media_id, tmp_path / "a.bin") for _ in range(4)))

    assert {sha256(BIG)} == {one.sha256 for one in got}
    assert ["a.bin"] == names_in(tmp_path)


async def test_targets_that_cannot_be_written_are_plain_errors(room, server, room_id, tmp_path):
    """Nothing half-named is left."""
    media_id = server.add_media(room_id, "a.bin", b"x")

    with pytest.raises(IsADirectoryError, match="is a folder"):
        await room.download(media_id, tmp_path)
    with pytest.raises(FileNotFoundError):
        await room.download(media_id, tmp_path / "missing" / "a.bin")
    with pytest.raises(NotFound, match="no-such-id"):
        await room.download("no-such-id", tmp_path / "a.bin")
    assert [] == names_in(tmp_path)


async def test_many_come_under_safe_and_different_names(room, server, room_id, tmp_path):
    """Results as they come; what cannot be had is a result, too."""
    bodies = {
        server.add_media(room_id, name, noise(1000, seed)): noise(1000, seed)
        for seed, name in enumerate(["a.txt", "A.TXT", "../../a.txt", "con", "x\n.txt"])
    }

    results = [result async for result in room.download_many([*bodies, "no-such-id"], to=tmp_path, concurrency=3)]

    failed = [result for result in results if result.error is not None]
    assert ["no-such-id"] == [result.media_id for result in failed]
    assert isinstance(failed[0].error, NotFound)
    arrived = {result.media_id: result.download for result in results if result.download is not None}
    assert bodies.keys() == arrived.keys()
    for media_id, download in arrived.items():
        assert download.path.parent == tmp_path
        assert bodies[media_id] == download.path.read_bytes()
    assert len(bodies) == len({path.name.casefold() for path in tmp_path.iterdir()})


async def test_a_file_named_like_an_unfinished_one_takes_no_other_s_place(room, server, room_id, tmp_path):
    """Whoever uploads chooses the name; the unfinished file of another is not to be had by it."""
    film, trap = server.add_media(room_id, "a.bin", BIG), server.add_media(room_id, "a.bin.part", b"trap")
    trap_is_there = asyncio.Event()
    server.faults.add("GET", f"*/media/{film}", cut_after=1_000_000, times=1)
    server.faults.add("GET", f"*/media/{film}", do=lambda _: trap_is_there.wait(), times=1)
    arrived = {}

    async for result in room.download_many([film, trap], to=tmp_path):
        arrived[result.media_id] = result.download.path
        trap_is_there.set()

    assert (BIG, b"trap") == (arrived[film].read_bytes(), arrived[trap].read_bytes())


async def test_a_part_that_was_replaced_never_becomes_the_file(room, server, room_id, tmp_path):
    """Somebody else's file under that name is an error, not a download."""
    media_id = server.add_media(room_id, "a.bin", BIG)

    def replace(_):
        (tmp_path / "other").write_bytes(b"other")
        (tmp_path / "other").replace(tmp_path / "a.bin.part")

    server.faults.add("GET", MEDIA, do=replace, times=1)

    with pytest.raises(FileExistsError, match="replaced by another"):
        await room.download(media_id, tmp_path / "a.bin")

    assert ["a.bin.part"] == [name for name in names_in(tmp_path) if not name.endswith(".json")]
    assert b"other" == (tmp_path / "a.bin.part").read_bytes()


async def test_one_bad_id_is_told_before_anything_is_sent(room, server, room_id, tmp_path):
    """It is a mistake of the caller's, and costs no other file."""
    media_id = server.add_media(room_id, "a.bin", b"x")

    with pytest.raises(ValueError, match="media id is empty"):
        room.download_many([media_id, ""], to=tmp_path)


async def test_many_can_be_left_early(room, server, room_id, tmp_path):
    """What was under way is cancelled; nothing is left running."""
    ids = [server.add_media(room_id, f"{n}.bin", noise(200_000, n)) for n in range(8)]

    results = room.download_many(ids, to=tmp_path, concurrency=2)
    async for _ in results:
        break
    await results.aclose()

    assert not [task for task in asyncio.all_tasks() if "download" in task.get_name()]
    with pytest.raises(NotADirectoryError):
        room.download_many(ids, to=tmp_path / "missing")
    with pytest.raises(ValueError, match="concurrency"):
        room.download_many(ids, to=tmp_path, concurrency=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
async def test_a_pipe_is_refused_rather_than_waited_for(room, server, tmp_path):
    """Opening one blocks until somebody writes, and its length cannot be told first."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(ValueError, match=r"pipe is not a regular file.*Body\.once"):
        await room.upload(pipe)
    with pytest.raises(FileExistsError, match="pipe is not a regular file"):
        await room.download("some-id", pipe)

    assert 0 == len(server.calls)
    assert pipe.is_fifo()


async def test_media_do_not_starve_calls(server, room_id, tmp_path):
    """Bodies have a lane of their own: while all of it is stuck, an API call goes at once."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, stall="body")
    async with client_of(server, media_concurrency=1, concurrency=1) as client:
        room = client.conversation(room_id)
        stuck = [asyncio.create_task(room.download(media_id, tmp_path / f"{n}.bin")) for n in range(3)]

        name = (await asyncio.wait_for(room.get(), 5)).name

        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        assert name == "files"


async def test_a_missing_name_is_refused_by_the_service_too(client, server, room_id):
    """The client's own check is not all that stands between (protocol 9.1)."""
    with pytest.raises(BadRequest):
        await client.request("POST", f"/site/{server.cloud_id}/conversation/{room_id}/media")


def test_a_body_is_described_without_its_bytes(tmp_path):
    """A repr is for people."""
    path = Path(tmp_path / "x.txt")
    path.write_bytes(b"12345")

    assert "Body(x.txt, 5 bytes)" == repr(Body.from_path(path))
    assert "Body(unnamed, unknown size, once)" == repr(Body.once(in_pieces(b"")))
