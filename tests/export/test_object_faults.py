"""Object stores that fail, refuse, lie or go away: the export completes, or ends with one sentence."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from aiohttp import web

from stride_async.export import (
    DamagedArchive,
    NotAnArchive,
    RunWaiting,
    StoreRefused,
    StoreUnavailable,
    Summary,
    read,
    status,
    verify,
)
from stride_async.export._archive import object_lease, object_store
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.layout import RUNS
from tests.export.conftest import SECRET_KEY, use_endpoint
from tests.export.exporting import events_of, exported
from tests.export.stores import Proxy, objects_of, reset

NO_BUCKET = "there is no bucket"


@pytest.fixture
def quick(monkeypatch):
    """Shorten the waits between attempts."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2}
    monkeypatch.setattr(object_store, "_RETRIES", {**object_store._RETRIES, "backoff": backoff})
    monkeypatch.setattr(object_store, "_WAITS", (0.0,) * len(object_store._WAITS))


@pytest.fixture
def proxy(s3, bucket, monkeypatch):
    """Return a proxy in front of the server that the environment names."""
    proxy = Proxy(s3)
    with proxy.running() as address:
        use_endpoint(monkeypatch, address)
        yield proxy


async def test_a_store_that_fails_one_request_in_ten_gets_the_whole_site(
    server, client, proxy, bucket, room, quick, tmp_path
):
    """503s, connections cut before and after the work, and slow answers change nothing in the result."""
    rng, faults = random.Random(7), Counter()

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        fault = rng.choice(["503", "cut before", "cut after", "slow"]) if rng.random() < 0.1 else "none"
        faults[fault] += 1
        if fault == "503":
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")
        if fault == "cut before":
            return reset(request)
        response = await proxy.passed_on(request, body)
        if fault == "slow":
            await asyncio.sleep(0.05)
        return reset(request) if fault == "cut after" else response

    for number in range(4):
        server.fill(server.add_conversation(f"more {number}"), 200)
    proxy.answer = answer

    there = await exported(client, f"s3://{bucket}/site")

    assert (await exported(client, tmp_path / "a")).content_digest == there.content_digest
    assert there.failures == 0
    assert (await verify(f"s3://{bucket}/site")).ok
    assert {"none", "503", "cut before", "cut after", "slow"} == faults.keys()


async def test_a_store_without_conditional_create_is_refused(client, proxy, bucket, room):
    """Two exports could overwrite each other's commits. Nothing but the deleted probe was written."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        if "If-None-Match" not in request.headers:
            return await proxy.passed_on(request, body)
        return web.Response(headers={"ETag": '"same"'})

    proxy.answer = answer

    with pytest.raises(StoreRefused, match=rf"s3://{bucket}/site cannot hold an archive: .* created again"):
        await exported(client, f"s3://{bucket}/site")

    assert {} == objects_of(proxy.target, bucket)


async def test_a_probe_that_a_kill_left_is_not_in_the_way(client, proxy, bucket, room):
    """The first export was killed before it made an archive. Anything else in its place is left alone."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        is_deletion = request.method in {"DELETE", "POST"}
        return web.Response(status=403) if is_deletion else await proxy.passed_on(request, body)

    url, proxy.answer = f"s3://{bucket}/site", answer
    with pytest.raises(StoreRefused, match="refuses access"):
        await exported(client, url)
    assert ["site/runs/probe-"] == [name.rstrip("0123456789abcdef") for name in objects_of(proxy.target, bucket)]
    proxy.answer = proxy.passed_on

    assert 0 == (await exported(client, url)).failures

    with pytest.raises(NotAnArchive, match="is not empty and is not an archive"):
        await exported(client, f"s3://{bucket}")


@pytest.mark.parametrize(
    ("code", "sentence"), [(501, "refuses a request"), (400, "refuses a request"), (403, "access")]
)
async def test_a_store_that_refuses_conditional_create_is_not_asked_again(client, proxy, bucket, room, code, sentence):
    """One that does not know the condition, and one that may not be written to."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.method != "PUT":
            return await proxy.passed_on(request, body)
        return web.Response(status=code, text="<Error><Code>AnyCode</Code></Error>")

    proxy.answer = answer

    with pytest.raises(StoreRefused, match=rf"{sentence}.*{code} AnyCode"):
        await exported(client, f"s3://{bucket}/site")

    puts = [method for method, _ in proxy.requests].count("PUT")
    assert puts == (1 if code != 501 else 1 + object_store._RETRIES["max_retries"])


ODD_ANSWERS = [
    ({"status": 301}, StoreRefused, "cannot be requested; check the endpoint and the region"),
    ({"status": 302, "headers": {"Location": "/"}}, StoreRefused, "cannot be requested"),
    ({"status": 416}, DamagedArchive, "has become shorter while it was read"),
    ({"status": 403}, StoreRefused, "refuses access: it answers 403"),
    ({"status": 503}, StoreUnavailable, "is unavailable: it answers 503"),
    ({"text": "Log in"}, StoreUnavailable, "its answer is not one of an object store"),
]


async def test_what_answers_in_place_of_a_store_is_named(client, proxy, bucket, room, quick):
    """It may be a portal, another region, or an object that was replaced meanwhile."""
    await exported(client, f"s3://{bucket}/site")
    for answer, error, sentence in ODD_ANSWERS:

        async def odd(request: web.Request, body: bytes, answer: dict[str, object] = answer) -> web.StreamResponse:
            is_head = request.path.endswith("archive.json")
            return await proxy.passed_on(request, body) if is_head else web.Response(**answer)

        proxy.answer = odd

        with pytest.raises(error, match=sentence):
            status(f"s3://{bucket}/site")


def conversations_of(url: str) -> int:
    return len(list(read(url).conversations()))


@pytest.mark.parametrize("work", [status, verify, conversations_of])
async def test_what_is_far_away_is_read_side_by_side(server, client, proxy, bucket, room, work):
    """The first commit arrives only after the second one was asked for, too."""
    server.add_conversation("other")
    await exported(client, f"s3://{bucket}/site")
    asked, both = 0, asyncio.Event()

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        nonlocal asked
        if "/commit/" in request.path:
            asked += 1
            if asked == 2:
                both.set()
            async with asyncio.timeout(30):
                await both.wait()
        return await proxy.passed_on(request, body)

    proxy.answer = answer

    result = await asyncio.to_thread(work, f"s3://{bucket}/site")

    assert await result if asyncio.iscoroutine(result) else result
    assert asked > 2


@pytest.mark.parametrize("ahead", [timedelta(days=-1), timedelta(days=1)])
async def test_ages_are_those_by_the_clock_of_the_store(client, proxy, bucket, room, ahead):
    """It may differ from the clock of this machine. What was put just now is young by any clock."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await proxy.passed_on(request, body)
        if "Last-Modified" in response.headers:
            put_at = parsedate_to_datetime(response.headers["Last-Modified"]) + ahead
            response.headers["Last-Modified"] = format_datetime(put_at, usegmt=True)
        return response

    await exported(client, f"s3://{bucket}/site")
    proxy.answer = answer
    archive = Archive.open(f"s3://{bucket}/site")
    archive.acquire_lease()
    try:
        age = archive.files.age("archive.json")
    finally:
        archive.release()

    assert age is not None
    assert age < 3600
    assert archive.files._ahead.total_seconds() == pytest.approx(ahead.total_seconds(), abs=600)


async def test_a_bucket_that_does_not_exist_is_named(server, client, bucket, room):
    """The service is not called before that is known."""
    calls = len(server.calls)
    for work in (exported(client, "s3://missing-bucket/site"), verify("s3://missing-bucket/site")):
        with pytest.raises(StoreRefused, match=f"{NO_BUCKET} missing-bucket"):
            await work
    with pytest.raises(StoreRefused, match=f"{NO_BUCKET} missing-bucket"):
        status("s3://missing-bucket/site")

    assert calls == len(server.calls)


async def test_a_store_that_is_not_there_is_named_after_a_bounded_wait(client, bucket, room, quick, monkeypatch):
    """The message has no secret, and no traceback of the library in it."""
    use_endpoint(monkeypatch, "http://127.0.0.1:1")

    with pytest.raises(StoreUnavailable, match=rf"s3://{bucket}/site is unavailable: it does not answer") as raised:
        await exported(client, f"s3://{bucket}/site")

    assert SECRET_KEY not in str(raised.value)
    assert raised.value.__suppress_context__


async def test_a_store_that_goes_away_in_the_middle_ends_the_run_and_the_next_one_completes_it(
    server, client, proxy, bucket, room, quick, monkeypatch, tmp_path
):
    """What was committed is kept, and the lease that could not be given back expires."""
    monkeypatch.setattr(object_lease, "EXPIRES", 0.2)
    url, is_away = f"s3://{bucket}/site", False

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        nonlocal is_away
        is_away = is_away or (request.method == "PUT" and "/commit/00000002" in request.path)
        return web.Response(status=503) if is_away else await proxy.passed_on(request, body)

    proxy.answer = answer
    server.fill(server.add_conversation("other"), 900)

    with pytest.raises(StoreUnavailable, match="503"):
        await exported(client, url)
    proxy.answer = proxy.passed_on
    events = await events_of(client, url)

    waiting = [event for event in events if isinstance(event, RunWaiting)]
    assert [f"another export was killed, or is working on {url}"] == [event.why for event in waiting]
    assert isinstance(events[-1], Summary)
    assert (await exported(client, tmp_path / "a")).content_digest == events[-1].content_digest
    assert (await verify(url)).ok


async def test_no_secret_reaches_the_store(server, client, proxy, bucket, room):
    """Neither the credentials of the service nor those of the store are in an object or its name."""
    await exported(client, f"s3://{bucket}/site")

    objects = objects_of(proxy.target, bucket)
    everything = b"\n".join([name.encode() + data for name, data in objects.items()])
    assert b"settings.json" in everything
    for secret in (SECRET_KEY, server.client_secret, "Bearer"):
        assert secret.encode() not in everything


async def test_objects_have_the_names_that_files_have(client, proxy, bucket, room, tmp_path):
    """Every object is one that an archive can have, so it can be copied."""
    await exported(client, f"s3://{bucket}/site")
    await exported(client, tmp_path / "a")

    there = {name.removeprefix("site/") for name in objects_of(proxy.target, bucket)}
    here = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    data = {name for name in there if name.startswith(("data/", "media/"))}
    assert {name for name in here if name.startswith(("data/", "media/"))} == data
    runs = {name.rpartition("/")[2] for name in there if name.startswith(f"{RUNS}/2")}
    assert runs == {"settings.json", "picked.json", "calls-000001.log", "heads.json", "finished.json"}
    assert Archive.open(f"s3://{bucket}/site").files.total_size() > 0
