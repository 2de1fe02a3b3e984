"""Uploads and downloads: complete, verified, and resumed where they break off."""

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
    """Return bytes in which no two offsets look alike."""
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
    """Return the name, size and digest of a file on the server."""
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
async def test_every_kind_of_source_is_uploaded_completely(room, server, room_id, tmp_path, kind):
    """The server has the same digest; the length is sent first if it is known."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)

    media = await room.upload(SOURCES[kind](path), name="big.bin")

    assert sha256(BIG) == stored(server, room_id, media.id).sha256
    (call,) = server.calls.matching("POST", UPLOADS)
    measured = kind not in {"stream", "factory of streams"}
    assert call.headers.get("Content-Length") == (str(len(BIG)) if measured else None)
    assert (call.headers.get("Transfer-Encoding") == "chunked") is not measured


@pytest.mark.parametrize("kind", ["bytes", "path", "factory of files", "factory of streams"])
async def test_an_upload_that_was_rejected_is_retried_completely(room, server, room_id, tmp_path, kind):
    """After a 429, the source is opened again."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)
    server.faults.add("POST", UPLOADS, status=429, times=2)

    media = await room.upload(SOURCES[kind](path), name="big.bin")

    assert sha256(BIG) == stored(server, room_id, media.id).sha256
    assert len(server.calls.matching("POST", UPLOADS)) == 3


@pytest.mark.parametrize("kind", ["bytes", "path", "factory of files", "factory of streams"])
async def test_an_upload_that_broke_off_is_retried_completely(room, server, room_id, tmp_path, kind):
    """The body exceeds the buffers of the system, so the service certainly did not receive all of it."""
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


async def test_an_upload_from_a_one_time_source_is_not_retried(room, server):
    """The error says why."""
    server.faults.add("POST", UPLOADS, status=429, times=1)

    with pytest.raises(NotReplayable, match="read only once"):
        await room.upload(Body.once(in_pieces(BIG)), name="big.bin")

    assert len(server.calls.matching("POST", UPLOADS)) == 1


@pytest.mark.parametrize(
    ("claimed", "message"), [(len(BIG) - 7, "grew beyond"), (len(BIG) + 7, "its measured size is")]
)
async def test_a_source_that_is_longer_or_shorter_than_measured_fails_at_once(room, server, room_id, claimed, message):
    """The service stores nothing."""
    with pytest.raises(SourceChanged, match=message):
        await room.upload(Body.from_factory(lambda: io.BytesIO(BIG), size=claimed), name="big.bin")

    assert {} == server.truth().conversations[room_id].media


async def test_an_error_of_a_source_is_raised_unchanged(room):
    """An error of the disk is not a failure of the network, so the upload is not retried."""

    async def failing():
        yield b"x" * 100_000
        raise PermissionError("the tape is locked")

    with pytest.raises(PermissionError, match="the tape is locked"):
        await room.upload(Body.from_factory(failing), name="big.bin")


async def test_an_error_of_a_progress_callback_is_raised_unchanged(room, server, tmp_path):
    """The upload is not retried."""

    def refuse(_):
        raise LookupError("no such bar")

    with pytest.raises(LookupError, match="no such bar"):
        await room.upload(BIG, name="big.bin", progress=refuse)

    assert len(server.calls.matching("POST", UPLOADS)) <= 1


async def test_an_upload_from_a_source_that_stalls_fails(server, room_id):
    """`idle_timeout` applies to the source as well as to the network."""

    async def silent():
        yield b"x"
        await asyncio.Event().wait()

    async with client_of(server, idle_timeout=0.05) as client:
        with pytest.raises(MediaError, match="returned nothing"):
            await client.conversation(room_id).upload(Body.from_factory(silent), name="x")


async def test_a_file_above_the_size_limit_is_too_large():
    """The service responds before it has received everything."""
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
async def test_any_file_name_reaches_the_service_unchanged(room, server, room_id, name):
    """The name is percent-encoded on the wire only."""
    media = await room.upload(b"x", name=name)

    assert name == stored(server, room_id, media.id).name


async def test_a_source_without_a_name_requires_one(room, server, tmp_path):
    """The name of a path is used."""
    path = tmp_path / "own.txt"
    path.write_text("x")

    assert (await room.upload(path)).name == "own.txt"
    with pytest.raises(ValueError, match="no name"):
        await room.upload(b"x")
    with pytest.raises(FileNotFoundError):
        await room.upload(tmp_path / "missing.txt")
    assert len(server.calls.matching("POST", UPLOADS)) == 1


async def test_an_uploaded_file_can_be_shown_in_a_message(room):
    """`media_group` takes what `upload` returned, and the message contains the id to download."""
    media = await room.upload(b"x", name="x.txt")

    message = await room.message(await room.send(doc(media_group(media))))

    assert (media.id,) == tuple(message.body.media())


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, len(BIG)])
@pytest.mark.parametrize("redirect", [False, True])
async def test_a_download_is_complete_and_verified(tmp_path, size, redirect):
    """The body comes from the service or, by a redirect, from another origin."""
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
async def test_a_download_that_breaks_off_is_resumed(tmp_path, redirect):
    """After nine cuts the file is correct, and only missing bytes were requested."""
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


async def test_a_stream_that_breaks_off_is_resumed(room, server, room_id):
    """A consumer of chunks sees every byte once."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, cut_after=1_000_000, times=2)

    async with room.open_media(media_id) as media:
        facts = (media.name, media.size)
        data = b"".join([chunk async for chunk in media.chunks(50_000)])

    assert ("a.bin", len(BIG)) == facts
    assert data == BIG
    assert media.interruptions == 2


async def test_a_stream_can_be_read_once_and_inside_its_context(room, server, room_id):
    """To continue after a pause, use the same iterator; a new one would miss what that one holds."""
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
    """The service sends it in two forms, of which the ASCII form is only a fallback."""
    sent = await room.upload(b"...", name='Übersicht "1".png')

    async with room.open_media(sent.id) as media:
        name = media.name

    assert 'Übersicht "1".png' == name


async def test_a_download_without_progress_fails_and_is_resumed_by_the_next_call(room, server, room_id, tmp_path):
    """The `.part` is kept, and the next call requests only the rest."""
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
    """The beginning of one file is never joined to the end of another."""
    first, second = (server.add_media(room_id, "a.bin", noise(900_000, seed)) for seed in (1, 2))
    server.faults.add("GET", MEDIA, cut_after=300_000, times=1)
    stuck = server.faults.add("GET", MEDIA, cut_after=0)
    with pytest.raises(BodyInterrupted):
        await room.download(first, tmp_path / "a.bin")
    stuck.remove()

    got = await room.download(second, tmp_path / "a.bin")

    assert sha256(noise(900_000, 2)) == got.sha256


async def test_parts_of_two_versions_are_never_joined(room, server, room_id, tmp_path):
    """If a service ignores `If-Range` and returns a range of the new version, the complete body is requested."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, cut_after=1_000_000, times=1, headers={"ETag": '"older"'})
    server.faults.add("GET", MEDIA, status=206, times=1, body=b"newer", headers={
        "ETag": '"newer"', "Content-Range": f"bytes 1000000-{len(BIG) - 1}/{len(BIG)}", "Content-Type": "text/plain"
    })  # fmt: skip

    got = await room.download(media_id, tmp_path / "a.bin")

    assert sha256(BIG) == got.sha256 == sha256((tmp_path / "a.bin").read_bytes())
    ranges = [call.headers.get("Range") for call in server.calls.matching("GET", MEDIA)]
    assert [None, "bytes=1000000-", None] == ranges


async def test_a_complete_part_needs_no_more_bytes(room, server, room_id, tmp_path):
    """A 416 with the right length means that nothing is missing."""
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


async def test_a_body_shorter_than_stated_does_not_become_a_file(server, room_id, tmp_path):
    """It has no validator, so the missing part cannot be requested."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, content_length=len(BIG) + 10, headers={"ETag": None, "Last-Modified": None})

    async with client_of(server, idle_timeout=0.2, attempts=2) as client:
        with pytest.raises(BodyInterrupted) as caught:
            await client.conversation(room_id).download(media_id, tmp_path / "a.bin")

    assert (len(BIG), len(BIG) + 10) == (caught.value.received, caught.value.expected)
    assert [] == names_in(tmp_path)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity, gzip"])
async def test_a_compressed_body_does_not_become_a_file(server, room, room_id, tmp_path, encoding):
    """The client asks for no encoding, because it could not verify the length and digest of an encoded body."""
    media_id = server.add_media(room_id, "a.txt", b"hello " * 1000)
    packed = gzip.compress(b"hello " * 1000)
    server.faults.add("GET", MEDIA, body=packed, headers={"Content-Encoding": encoding, "Content-Type": "text/plain"})

    with pytest.raises(EncodedBody, match=f"came encoded as '{encoding}'") as caught:
        await room.download(media_id, tmp_path / "a.txt")

    [call] = server.calls.matching("GET", MEDIA)
    assert ("identity", encoding) == (call.headers["Accept-Encoding"], caught.value.encoding)
    assert [] == names_in(tmp_path)


async def test_a_body_with_the_encoding_identity_becomes_a_file(server, room, room_id, tmp_path):
    """`identity` means that the body is not encoded."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, headers={"Content-Encoding": "identity"})

    got = await room.download(media_id, tmp_path / "a.bin")

    assert (sha256(BIG), True) == (got.sha256, got.verified)


async def test_a_download_that_stalls_fails(server, room_id, tmp_path):
    """`idle_timeout` bounds how long a body may stall, and nothing bounds one that keeps arriving."""
    media_id = server.add_media(room_id, "a.bin", BIG)
    server.faults.add("GET", MEDIA, stall="body")

    async with client_of(server, idle_timeout=0.1, attempts=2) as client:
        with pytest.raises(BodyInterrupted):
            await client.conversation(room_id).download(media_id, tmp_path / "a.bin")


async def test_downloads_into_the_same_file_are_all_complete(room, server, room_id, tmp_path):
    """Each of them has a `.part` of its own."""
    media_id = server.add_media(room_id, "a.bin", BIG)

    got = await asyncio.gather(*(room.download(media_id, tmp_path / "a.bin") for _ in range(4)))

    assert {sha256(BIG)} == {one.sha256 for one in got}
    assert ["a.bin"] == names_in(tmp_path)


async def test_a_target_that_cannot_be_written_is_an_error(room, server, room_id, tmp_path):
    """No partial file remains."""
    media_id = server.add_media(room_id, "a.bin", b"x")

    with pytest.raises(IsADirectoryError, match="is a folder"):
        await room.download(media_id, tmp_path)
    with pytest.raises(FileNotFoundError):
        await room.download(media_id, tmp_path / "missing" / "a.bin")
    with pytest.raises(NotFound, match="no-such-id"):
        await room.download("no-such-id", tmp_path / "a.bin")
    assert [] == names_in(tmp_path)


async def test_many_downloads_have_safe_and_unique_names(room, server, room_id, tmp_path):
    """A file that does not exist is a result with an error."""
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


async def test_a_file_with_the_name_of_a_part_does_not_replace_that_part(room, server, room_id, tmp_path):
    """Names are chosen by people who upload, and must not reach the unfinished file of another download."""
    film, trap = server.add_media(room_id, "a.bin", BIG), server.add_media(room_id, "a.bin.part", b"trap")
    trap_arrived = asyncio.Event()
    server.faults.add("GET", f"*/media/{film}", cut_after=1_000_000, times=1)
    server.faults.add("GET", f"*/media/{film}", do=lambda _: trap_arrived.wait(), times=1)
    arrived = {}

    async for result in room.download_many([film, trap], to=tmp_path):
        arrived[result.media_id] = result.download.path
        trap_arrived.set()

    assert (BIG, b"trap") == (arrived[film].read_bytes(), arrived[trap].read_bytes())


async def test_a_part_that_was_replaced_never_becomes_the_file(room, server, room_id, tmp_path):
    """Another process's file with that name is an error, not a download."""
    media_id = server.add_media(room_id, "a.bin", BIG)

    def replace(_):
        (tmp_path / "other").write_bytes(b"other")
        (tmp_path / "other").replace(tmp_path / "a.bin.part")

    server.faults.add("GET", MEDIA, do=replace, times=1)

    with pytest.raises(FileExistsError, match="replaced by another"):
        await room.download(media_id, tmp_path / "a.bin")

    assert ["a.bin.part"] == [name for name in names_in(tmp_path) if not name.endswith(".json")]
    assert b"other" == (tmp_path / "a.bin.part").read_bytes()


async def test_an_invalid_media_id_is_an_error_before_anything_is_sent(room, server, room_id, tmp_path):
    """It is a mistake of the caller and affects no other file."""
    media_id = server.add_media(room_id, "a.bin", b"x")

    with pytest.raises(ValueError, match="media id is empty"):
        room.download_many([media_id, ""], to=tmp_path)


async def test_leaving_many_downloads_early_cancels_them(room, server, room_id, tmp_path):
    """No task keeps running."""
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
async def test_a_pipe_is_rejected_as_source_and_target(room, server, tmp_path):
    """Opening it would block, and its length is unknown."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(ValueError, match=r"pipe is not a regular file.*Body\.once"):
        await room.upload(pipe)
    with pytest.raises(FileExistsError, match="pipe is not a regular file"):
        await room.download("some-id", pipe)

    assert 0 == len(server.calls)
    assert pipe.is_fifo()


async def test_media_do_not_delay_calls(server, room_id, tmp_path):
    """Media have slots of their own: while all of them are in use, an API call does not wait."""
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


async def test_the_service_rejects_an_upload_without_a_name(client, server, room_id):
    """The client checks the name first (protocol 9.1)."""
    with pytest.raises(BadRequest):
        await client.request("POST", f"/site/{server.cloud_id}/conversation/{room_id}/media")


def test_the_repr_of_a_body_does_not_contain_its_bytes(tmp_path):
    """It shows the name and the size."""
    path = Path(tmp_path / "x.txt")
    path.write_bytes(b"12345")

    assert "Body(x.txt, 5 bytes)" == repr(Body.from_path(path))
    assert "Body(unnamed, unknown size, once)" == repr(Body.once(in_pieces(b"")))
