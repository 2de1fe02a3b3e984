"""An archive in an object store is the one that a folder would hold, and can be copied either way."""

from __future__ import annotations

import asyncio
import re
import resource
import tempfile

import pytest

from stride_async.export import ArchiveBusy, NotAnArchive, Shard, StoreRefused, Summary, read, status, verify
from stride_async.export._archive import object_lease
from stride_async.export._archive.archive import Archive
from tests.export.exporting import events_of, exported, show_file
from tests.export.stores import download, objects_of, put_foreign, upload


@pytest.fixture
def site(server):
    """Fill a server: rooms with messages of several months, and files, one of them empty and one large."""
    for number in range(3):
        room = server.add_conversation(f"room {number}")
        server.fill(room, 160)
        show_file(server, room, "file.bin", room.encode())
    show_file(server, room, "empty.bin", b"")
    show_file(server, room, "large.bin", b"0123456789abcdef" * 655_360)
    return server


async def test_an_export_to_a_store_has_the_digest_of_one_to_a_folder(site, client, bucket, tmp_path):
    """It verifies, and everything in it can be read."""
    url = f"s3://{bucket}/some/site"

    there = await exported(client, url)

    here = await exported(client, tmp_path / "a")
    assert here.content_digest == there.content_digest
    report = await verify(url)
    assert () == report.findings
    assert [] == [clause for clause in report.not_known if "not part of an archive" in clause]
    assert status(tmp_path / "a").messages == status(url).messages
    assert {file.sha256 for file in read(tmp_path / "a").media()} == {file.sha256 for file in read(url).media()}
    for file in read(url).media():
        with file.open() as body, file.local_copy() as copy:
            assert file.size == len(body.read()) == copy.stat().st_size
        with pytest.raises(ValueError, match="has no path"):
            file.path  # noqa: B018 -- a property
    for room in read(url).conversations():
        expected = list(read(tmp_path / "a").raw_messages(room.id))
        assert expected == list(read(url).raw_messages(room.id))


async def test_a_second_run_fetches_what_is_new(site, client, bucket, tmp_path):
    """The digest is that of a fresh export, and only the new messages count as new."""
    url = f"s3://{bucket}"
    await exported(client, url)
    site.fill(site.add_conversation("new"), 3)

    second = await exported(client, url)

    assert 3 == second.new
    assert (await exported(client, tmp_path / "a")).content_digest == second.content_digest
    assert (await verify(url)).ok


async def test_a_copy_in_either_direction_verifies_and_can_be_continued(site, client, bucket, tmp_path):
    """Any tool that copies files carries an archive into a bucket and back."""
    here = await exported(client, tmp_path / "here")
    upload(tmp_path / "here", bucket, "copied")
    there = await exported(client, f"s3://{bucket}/made")

    download(bucket, "made", tmp_path / "back")

    assert (await verify(tmp_path / "back")).ok
    assert (await verify(f"s3://{bucket}/copied")).ok
    for archive in (tmp_path / "back", f"s3://{bucket}/copied"):
        again = await exported(client, archive)
        assert (0, here.content_digest) == (again.new, again.content_digest)
    assert here.content_digest == there.content_digest


async def test_nothing_is_left_of_the_work(site, client, bucket, s3, tmp_path, monkeypatch):
    """Temporary files are removed, the probe is deleted, and a store never sees a local name."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    await exported(client, f"s3://{bucket}/site")
    for file in read(f"s3://{bucket}/site").media():
        with file.local_copy() as copy:
            assert file.size == copy.stat().st_size

    assert [] == list(tmp_path.iterdir())
    names = objects_of(s3, bucket, "site")
    assert [] == [name for name in names if "probe" in name or "part/" in name or "tmp" in name]


async def test_an_object_that_marks_a_folder_is_not_in_the_way(server, client, bucket, s3):
    """Consoles create `FOLDER/` when someone makes a folder. The place of the archive is free even then."""
    server.fill(server.add_conversation("room"), 3)
    await put_foreign(s3, bucket, "site/")

    assert 0 == (await exported(client, f"s3://{bucket}/site")).failures

    report = await verify(f"s3://{bucket}/site")
    assert report.ok
    assert [] == [clause for clause in report.not_known if "not part of an archive" in clause]


@pytest.mark.parametrize("name", ["a//b", "a/%2E%2E/b", "./a", "a%00b", "data/conversations//a"])
async def test_a_name_that_leads_outside_is_refused_in_one_sentence(server, client, bucket, s3, name):
    """Others may write to the bucket, too. What is next to the archive does not matter."""
    await put_foreign(s3, bucket, f"other/{name}")
    await put_foreign(s3, bucket, f"other{name}")
    await put_foreign(s3, bucket, "other2/file")

    with pytest.raises(StoreRefused, match=f"s3://{bucket}/other has an object with .* in its name: remove it"):
        await exported(client, f"s3://{bucket}/other")
    with pytest.raises(NotAnArchive, match="is not an archive"):
        status(f"s3://{bucket}/other")


async def test_a_file_url_is_a_folder(site, client, tmp_path):
    """It is the same archive as with the path."""
    digest = (await exported(client, (tmp_path / "with space").as_uri())).content_digest

    assert digest == (await exported(client, tmp_path / "with space")).content_digest
    assert (await verify((tmp_path / "with space").as_uri())).ok


async def test_shards_make_the_archive_of_a_single_process(site, client, bucket, tmp_path):
    """Both write to the same bucket at the same time, each with a lease of its own."""
    url = f"s3://{bucket}/site"

    await asyncio.gather(*(exported(client, url, shard=Shard(index, 2)) for index in range(2)))

    assert (await verify(url)).ok
    both = await exported(client, url)
    assert (0, (await exported(client, tmp_path / "a")).content_digest) == (both.new, both.content_digest)


async def test_workers_make_the_archive_of_a_single_process(site, client, cluster, bucket, tmp_path):
    """They take the variables of the store from their own environment."""
    url = f"s3://{bucket}/site"

    events = await events_of(client, url, cluster)

    assert isinstance(events[-1], Summary)
    assert (await exported(client, tmp_path / "a")).content_digest == events[-1].content_digest
    assert 0 == events[-1].failures
    assert status(url).finished
    assert (await verify(url)).ok


async def test_two_exports_into_one_archive_keep_out_each_other(site, client, bucket):
    """The second one watches the lease, sees it renewed, and gives up."""
    url = f"s3://{bucket}/site"
    await exported(client, url)
    first, second = Archive.open(url), Archive.open(url)
    first.acquire_lease()
    try:
        first.files._lease.renew()
        second.files._watched["runs/lease"] = watching = second.files._watch("runs/lease")
        watching._watched = ("another version", 0.0)

        with pytest.raises(ArchiveBusy, match="another export"):
            second.acquire_lease()
    finally:
        first.release()
    second.acquire_lease()
    second.release()
    assert not second.files.has_lost_lines


async def test_reading_after_a_kill_says_that_it_waits(site, client, bucket, monkeypatch, caplog):
    """What keeps exports out, such as a conversion, watches the lease of one that was killed until it expires."""
    url = f"s3://{bucket}/site"
    await exported(client, url)
    killed = Archive.open(url)
    killed.acquire_lease()
    killed.files._lease._ended.set()
    monkeypatch.setattr(object_lease, "EXPIRES", 0.2)

    with Archive.open(url).kept_unchanged():
        pass

    (record,) = caplog.records
    assert record.getMessage().endswith(f"an export of {url} was killed, or is working on it")


async def test_a_full_temporary_folder_is_not_taken_for_a_full_store(room, client, bucket):
    """The error names the file, and the next export completes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(tempfile.gettempdir())):
            await exported(client, f"s3://{bucket}/site")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert 300 < (await exported(client, f"s3://{bucket}/site")).messages
