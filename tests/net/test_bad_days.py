"""Media on bad days: malformed headers, heads that never end, lengths that shrink, file systems without locks."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from io import BytesIO
from random import Random

import attrs
import pytest

from stride_async import Ambiguous, Body, ClientCredentials, MediaError, Settings, StaticToken, StrideClient
from stride_async._files import NamedFile, run_to_completion
from stride_async._media import _WriteBehind
from stride_async._wire.secrets import redacted
from tests.conftest import client_of
from tests.net.cancelling import cancelled_often

BODY = Random(1).randbytes(300_000)


@pytest.fixture
def media(server):
    """A conversation and a file in it."""
    room = server.add_conversation("files")
    return room, server.add_media(room, "a.bin", BODY)


MALFORMED_HEADERS = [
    ("Content-Disposition", "attachment; filename*=undefined''%ff"),
    ("Content-Disposition", "attachment; filename*=utf-16''%d8%3d"),
    ("Content-Disposition", "attachment; filename*0*=x; filename*x=y"),
    ("Content-Disposition", 'attachment; filename="' + "x" * 4000),
    ("Content-Range", "bytes 0-" + "9" * 4500 + "/" + "9" * 100),
    ("Content-Type", "x/y; charset=klingon"),
    ("ETag", '"\u00fc"'),
    ("ETag", '"' + "e" * 5000 + '"'),
    ("Last-Modified", "never"),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED_HEADERS)
async def test_a_malformed_header_does_not_cost_the_body(client, server, media, tmp_path, name, value):
    """A download takes its name from the service only where that is readable."""
    room, file = media
    server.faults.add("GET", "*/media/*", headers={name: value})

    one = await client.conversation(room).download(file, tmp_path / "a")
    [many] = [result async for result in client.conversation(room).download_many([file], to=tmp_path)]

    assert BODY == one.path.read_bytes()
    assert many.error is None


@pytest.mark.parametrize("total", [100_000, 299_999])
@pytest.mark.parametrize("status", [206, 416])
async def test_a_body_that_became_shorter_under_the_same_validator_is_read_again(
    client, server, media, tmp_path, status, total
):
    """Otherwise a truncated file would count as verified."""
    room, file = media
    server.faults.add("GET", "*/media/*", cut_after=100_000, times=1)
    at = f"100000-{total - 1}" if status == 206 and total > 100_000 else "*"
    server.faults.add(
        "GET", "*/media/*", status=status, body=b"", headers={"Content-Range": f"bytes {at}/{total}"}, times=1
    )

    done = await client.conversation(room).download(file, tmp_path / "a")

    assert (BODY, True) == (done.path.read_bytes(), done.verified)


async def test_the_length_of_a_part_is_remembered(client, server, media, tmp_path):
    """A later call does not take a 416 at the end of a truncated part for the end of the body."""
    room, file = media
    server.faults.add("GET", "*/media/*", cut_after=100_000, times=1)
    server.faults.add("GET", "*/media/*", status=503)
    with pytest.raises(Exception, match="503"):
        await client.conversation(room).download(file, tmp_path / "a")
    held = (tmp_path / "a.part").stat().st_size
    server.faults.clear()
    server.faults.add("GET", "*/media/*", status=416, headers={"Content-Range": f"bytes */{held}"}, times=1)

    done = await client.conversation(room).download(file, tmp_path / "a")

    assert BODY == done.path.read_bytes()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin a response and add to its head for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    try:
        while True:
            writer.write(b"X-More: x\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("call", ["download", "upload", "upload nothing"])
async def test_a_head_that_never_ends_is_not_waited_for(tmp_path, call):
    """`attempt_timeout` bounds it, although a media body has no total time."""
    server = await asyncio.start_server(dripping, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = Settings(base_url=f"http://127.0.0.1:{port}", attempt_timeout=0.1, attempts=1)
    async with server, StrideClient(StaticToken("token-of-a-room"), cloud_id="site", settings=settings) as client:
        room = client.conversation("room")
        async with asyncio.timeout(10):
            with pytest.raises(Ambiguous, match="no response in time"):
                if call == "download":
                    await room.download("file", tmp_path / "a")
                else:
                    await room.upload(b"x" * 1000 if call == "upload" else b"", name="x")


@pytest.mark.parametrize("start", [0, 1, 100_000, 299_999])
async def test_a_body_can_be_read_from_a_byte_on(client, server, media, start):
    """A browser's Range request can be passed through, with or without a validator."""
    room, file = media
    async with client.conversation(room).open_media(file) as whole:
        validator = whole.validator

    for known in (None, validator):
        async with client.conversation(room).open_media(file, start=start, validator=known) as part:
            assert BODY[start:] == b"".join([chunk async for chunk in part.chunks()])
            assert len(BODY) == part.size
    assert f"bytes={start}-" == server.calls[-1].headers.get("Range", f"bytes={start}-")


async def test_a_file_that_changed_is_not_read_from_the_middle(client, media):
    """The validator of the caller belongs to another file."""
    room, file = media

    with pytest.raises(MediaError, match="changed"):
        async with client.conversation(room).open_media(file, start=5, validator='"other"'):
            pass


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
async def test_a_download_needs_no_locks(client, media, tmp_path, monkeypatch, code):
    """It uses a part of its own, and leaves none behind."""
    room, file = media

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)

    await client.conversation(room).download(file, tmp_path / "a")

    assert ["a"] == [path.name for path in tmp_path.iterdir()]


async def test_a_broken_disk_is_not_taken_for_one_without_locks(client, media, tmp_path, monkeypatch):
    """EIO is an error."""
    room, file = media

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", broken)

    with pytest.raises(OSError, match=r"broken: '.*a\.part'"):
        await client.conversation(room).download(file, tmp_path / "a")

    assert [] == list(tmp_path.iterdir())


async def test_a_download_never_needs_to_cut_off_a_new_file(client, media, tmp_path, monkeypatch):
    """Some file systems cannot do that."""
    room, file = media

    def refused(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(NamedFile, "truncate", refused)

    await client.conversation(room).download(file, tmp_path / "a")

    assert ["a"] == [path.name for path in tmp_path.iterdir()]


async def test_the_names_of_files_fit_the_file_system(client, server, tmp_path, monkeypatch):
    """Encrypted folders of eCryptfs have names of at most 143 bytes, also those of unfinished downloads."""
    room = server.add_conversation("files")
    files = [server.add_media(room, f"{'ü' * 120}.txt", name) for name in (b"first", b"second")]
    monkeypatch.setattr(os, "pathconf", lambda *_: 143)

    results = [result async for result in client.conversation(room).download_many(files, to=tmp_path)]

    names = sorted(path.name for path in tmp_path.iterdir())
    assert {b"first", b"second"} == {result.download.path.read_bytes() for result in results}
    assert all(name.endswith(".txt") and 120 < len(name.encode()) <= 143 - len(".01234567.part") for name in names)


def test_a_short_token_does_not_hide_ordinary_text():
    """Nothing below eight characters is searched for."""
    assert "that token" == redacted("that token", ["t", "", "token"])
    assert "that ***" == redacted("that token-of-eight", ["token-of-eight"])


@pytest.mark.parametrize("expires_in", ['"3600"', "3600", "3600.5", "null", '"soon"', "-1", "1e400", "[]", "true"])
async def test_any_lifetime_of_a_token_is_accepted(server, expires_in):
    """Where it cannot be read, the token is used until it is refused."""
    async with client_of(server) as client:
        await client.me()
    token = next(call.headers["Authorization"].split()[1] for call in server.calls if "Authorization" in call.headers)
    body = f'{{"access_token":"{token}","expires_in":{expires_in}}}'
    server.faults.add("POST", "/oauth/token", status=200, body=body)
    app = ClientCredentials(server.client_id, server.client_secret)
    async with StrideClient(app, cloud_id=server.cloud_id, settings=Settings(base_url=server.url)) as client:
        assert server.app_account_id == (await client.me()).account_id


@pytest.mark.parametrize("times", [1, 2, 5, 1000])
async def test_work_on_a_file_ends_before_its_caller(times):
    """However often the caller is cancelled, no thread is left behind with a closed file."""
    began, may_end, ended = asyncio.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result()
        ended.append(True)

    task = asyncio.create_task(run_to_completion(work))
    await began.wait()
    cancelling = asyncio.create_task(cancelled_often(task, times))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    await cancelling

    assert task.cancelled()
    assert [True] == ended


@pytest.mark.parametrize("times", [1, 2, 5, 1000])
async def test_an_upload_ends_when_its_source_is_no_longer_read(client, media, times):
    """The source is closed after that, however often the caller is cancelled."""
    room, _ = media
    began, loop, may_end = asyncio.Event(), asyncio.get_running_loop(), threading.Event()
    seen: list[str] = []

    class Source(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            loop.call_soon_threadsafe(began.set)
            may_end.wait(60)
            seen.append("read")
            return super().read(size)

        def close(self) -> None:
            seen.append("closed")
            super().close()

    task = asyncio.create_task(client.conversation(room).upload(Body.from_factory(lambda: Source(BODY)), name="x"))
    await began.wait()
    cancelling = asyncio.create_task(cancelled_often(task, times))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    await cancelling

    assert task.cancelled()
    assert ["read", "closed"] == seen


@attrs.define
class Part:
    """The part of a download on a disk that has no room for one block."""

    full_at: int
    written: list[bytes] = attrs.field(factory=list)

    def write(self, pieces: list[bytes]) -> None:
        if len(self.written) == self.full_at:
            self.full_at = -1
            raise OSError(errno.ENOSPC, "full")
        self.written.append(b"".join(pieces))


async def test_nothing_follows_a_block_that_could_not_be_written():
    """The disk has room again later. The next call would take the part for the beginning of the file."""
    part = Part(full_at=1)
    blocks = [bytes([number]) * 1_048_576 for number in range(4)]

    with pytest.raises(OSError, match="full"), _WriteBehind(part) as writing:
        for block in blocks:
            await writing.add(block)

    assert blocks[:1] == part.written


async def test_a_cancellation_takes_no_block_out_of_a_part():
    """The thread has not begun to write it yet."""
    part, may_begin = Part(full_at=-1), threading.Event()
    blocks = [bytes([number]) * 1_048_576 for number in range(2)]

    async def write() -> None:
        with _WriteBehind(part) as writing:
            writing._thread.submit(may_begin.wait)
            for block in blocks:
                await writing.add(block)

    task = asyncio.create_task(write())
    await asyncio.sleep(0)
    cancelling = asyncio.create_task(cancelled_often(task, 3))
    for _ in range(5):
        await asyncio.sleep(0)
    may_begin.set()
    await cancelling

    assert task.cancelled()
    assert blocks == part.written


@pytest.mark.parametrize("seed", range(25))
async def test_a_transfer_can_be_cancelled_several_times_at_any_step(client, server, media, tmp_path, seed):
    """The loop reports nothing, the client goes on, and the same download completes afterwards."""
    rng = Random(seed)
    room, file = media
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    handle = client.conversation(room)
    work = handle.download(file, tmp_path / "a") if rng.random() < 0.5 else handle.upload(BODY, name="b")
    task = asyncio.create_task(work)
    for _ in range(rng.randrange(60)):
        await asyncio.sleep(0)

    await cancelled_often(task, rng.randint(1, 5))
    done = await handle.download(file, tmp_path / "a")

    assert BODY == done.path.read_bytes()
    assert [] == reported
