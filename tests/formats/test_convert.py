"""Rules that hold for every format: where it writes, what it refuses, and what its report says."""

from __future__ import annotations

import fcntl
import json

import pytest

from stride_async.export import ArchiveBusy, DamagedArchive, NothingSelected, Selection, read
from stride_async.export.formats import ConvertOptions, OutInTheWay, convert
from stride_async.export.formats._convert import FORMATS
from tests.export.exporting import exported, files_of
from tests.formats.archives import snapshot

EVERY_FORMAT = sorted(FORMATS)


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_the_same_archive_gives_the_same_bytes_and_report(archive, tmp_path, format):
    """A second conversion to the same place changes no file of a folder."""
    first = convert(archive, format, tmp_path / "one" / "out")
    before = snapshot(tmp_path / "one")
    again = convert(archive, format, tmp_path / "one" / "out")
    other = convert(archive, format, tmp_path / "two" / "out")

    assert first == again == other
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert (3, 127) == (first.conversations, first.messages)
    assert json.loads((tmp_path / "one/out.report.json").read_bytes())["digest"] == first.digest
    if FORMATS[format].is_folder:
        assert before == snapshot(tmp_path / "one")


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_what_is_not_ours_is_left_alone(archive, tmp_path, format):
    """A file or folder without a report of the same format is in the way, unless its replacement is forced."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("precious")
    before = snapshot(tmp_path)

    with pytest.raises(OutInTheWay, match="exists and was not written by a conversion"):
        convert(archive, format, out)

    assert before == snapshot(tmp_path)
    convert(archive, format, out, options=ConvertOptions(force=True))
    assert not (out / "precious").exists()
    assert ["out", "out.report.json", "site"] == sorted(
        path.name for path in tmp_path.iterdir() if not path.name.endswith(".ids.jsonl")
    )


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_nothing_is_written_if_the_archive_is_damaged(archive, tmp_path, format):
    """The error names the file, and no output is there."""
    [segment] = archive.rglob("sealed/2018-05/r*.zst")
    segment.write_bytes(segment.read_bytes()[:-5])

    with pytest.raises(DamagedArchive, match=segment.name):
        convert(archive, format, tmp_path / "out")

    assert ["site"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("format", ["html", "parquet", "seed"])
async def test_an_update_from_a_damaged_archive_changes_nothing(server, client, archive, tmp_path, format):
    """That is so even if it would not read the damaged file again."""
    convert(archive, format, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    server.fill(next(iter(read(archive).conversations())).id, 2, ts="2018-09-01T00:00:00Z")
    await exported(client, archive)
    [segment] = archive.rglob("sealed/2018-05/r*.zst")
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes() + b"\0")

    with pytest.raises(DamagedArchive, match=f"{segment.name} is not what was committed"):
        convert(archive, format, tmp_path / "out")

    assert before == snapshot(tmp_path / "out")


@pytest.mark.parametrize("format", sorted({"html", "mattermost", "seed", "slack"}))
async def test_a_body_that_differs_is_refused(archive, tmp_path, format):
    """Every format that carries bodies compares them with their digests."""
    [body] = [path for path in (archive / "media/sha256").rglob("*") if path.is_file()]
    body.chmod(0o644)
    body.write_bytes(b"BODY")

    with pytest.raises(DamagedArchive, match=f"{body.name} is not what was committed"):
        convert(archive, format, tmp_path / "out")

    assert ["site"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("format", EVERY_FORMAT)
@pytest.mark.parametrize("name", [".", "..", "inner/.."])
async def test_a_path_without_a_name_is_that_of_the_folder(archive, tmp_path, monkeypatch, name, format):
    """The folder is in the way like any other that no conversion has written."""
    (tmp_path / "work/inner/innermost").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / ("work/inner" if name == ".." else "work"))

    with pytest.raises(OutInTheWay, match="exists and was not written by a conversion"):
        convert(archive, format, name)

    assert ["site", "work"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("format", ["html", "parquet", "seed"])
async def test_strays_are_removed_from_a_folder(archive, tmp_path, format):
    """A link among them is removed, and what it leads to stays."""
    convert(archive, format, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    (tmp_path / "out/new").mkdir()
    (tmp_path / "out/new/file").write_text("stray")
    (tmp_path / "out/link").symlink_to(archive)

    convert(archive, format, tmp_path / "out")

    assert before == snapshot(tmp_path / "out")
    assert not (tmp_path / "out/new").exists()
    assert not (tmp_path / "out/link").is_symlink()
    assert archive.is_dir()


@pytest.mark.parametrize("place", ["out", "derived", ""])
async def test_the_archive_is_never_written_to(archive, place):
    """Only a place below its folder for what is derived is accepted."""
    before = snapshot(archive)

    with pytest.raises(OutInTheWay, match="the archive"):
        convert(archive, "seed", archive / place, options=ConvertOptions(force=True))

    assert before == snapshot(archive)
    convert(archive, "seed", archive / "derived/seed")
    assert before.items() <= snapshot(archive).items()


async def test_an_archive_in_use_is_refused(archive, tmp_path):
    """An export that runs at the same time would change what is read."""
    with (archive / "runs/lease").open("r+b") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)

        with pytest.raises(ArchiveBusy):
            convert(archive, "seed", tmp_path / "out")


async def test_only_selected_conversations_are_converted(archive, tmp_path):
    """People who are in none of them are left out; a selector that matches nothing is an error."""
    options = ConvertOptions(selection=Selection(kinds=frozenset({"private"})))
    report = convert(archive, "seed", tmp_path / "private", options=options)

    assert (1, 5, 2) == (report.conversations, report.messages, report.people)
    with pytest.raises(NothingSelected) as error:
        convert(archive, "seed", tmp_path / "none", options=ConvertOptions(selection=Selection(("generl",))))
    assert "general" in error.value.nearest[0].lower()


async def test_strays_of_a_killed_conversion_are_removed(archive, tmp_path):
    """Those that are locked belong to one that is running."""
    stray, running = tmp_path / ".out.tmp-00", tmp_path / ".out.tmp-01"
    stray.mkdir()
    running.touch()
    with running.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        convert(archive, "seed", tmp_path / "out")

    assert not stray.exists()
    assert running.exists()


def test_an_unknown_format_is_an_error(tmp_path):
    """The message lists those that exist."""
    with pytest.raises(ValueError, match=r"'pdf' is not a format: expected .*seed"):
        convert(tmp_path, "pdf", tmp_path / "out")
