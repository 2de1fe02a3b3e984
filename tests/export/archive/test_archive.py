"""What an archive does with its files: staging, committing, checking."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async.export import DamagedArchive
from stride_async.export._archive.archive import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.open_or_create(tmp_path / "archive", "site")


@settings(max_examples=40)
@given(lines=st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line), min_size=1, max_size=700))
def test_lines_are_read_back_as_they_were_written(tmp_path_factory, lines):
    """Their digest is that of the lines, compressed or not."""
    archive = Archive.open_or_create(tmp_path_factory.mktemp("archive"), "site")

    stored = archive.stage_lines("folder/name", lines)
    other = archive.stage_blocks("folder/name", [(1, line + b"\n") for line in lines], compressed=False)
    archive.commit("folder", 1, b"", [stored.path, other.path])

    assert lines == list(archive.lines(stored.path)) == list(archive.lines(other.path))
    assert (len(lines), stored.sha256) == (stored.rows, other.sha256)


def test_equal_content_is_one_file(archive: Archive):
    """It is found whether it has its name yet or not."""
    first = archive.stage_lines("folder/sealed/name", [b"a"])
    second = archive.stage_lines("folder/sealed/name", [b"a"])
    archive.commit("folder", 1, b"", [first.path])
    third = archive.stage_lines("folder/sealed/name", [b"a"])

    assert first == second == third
    assert 1 == len(list((archive.files.root / "folder/sealed").iterdir()))


def test_a_file_gets_its_name_with_the_first_commit_that_names_it(archive: Archive):
    """Files that no commit names are removed when the archive is released."""
    named, unnamed = (archive.stage_lines(f"folder/sealed/{name}", [b"a"]) for name in ("named", "unnamed"))
    before = archive.files.list("folder/sealed").files
    archive.commit("folder", 1, b"", [named.path])
    archive.release()

    assert [] == before
    names = [f"folder/sealed/{file.name}" for file in (archive.files.root / "folder/sealed").iterdir()]
    assert [named.path] == names
    assert not archive.files.exists(unnamed.path)


def test_a_commit_fails_if_another_writer_compressed_the_same_lines_differently(archive: Archive):
    """It would name a digest that is not that of the file, so what the other writer committed must be read first."""
    ours = archive.stage_lines("folder/sealed/name", [b"a"])
    (archive.files.root / ours.path).write_bytes(b"compressed by another version")

    assert not archive.commit("folder", 1, b"", [ours.path])
    assert [] == archive.files.list("folder/commit").files


def test_lines_can_be_staged_again_after_a_commit_failed(archive: Archive, monkeypatch):
    """The commit uses up its files, whether the other writer's was different or the disk was full."""
    ours = archive.stage_lines("folder/sealed/name", [b"a"])
    (archive.files.root / ours.path).write_bytes(b"compressed by another version")
    assert not archive.commit("folder", 1, b"", [ours.path])
    assert archive.stage_lines("folder/sealed/name", [b"a"]) == ours
    assert archive.commit("folder", 1, b"", [ours.path])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = archive.stage_lines("folder/sealed/other", [b"b"])
    with monkeypatch.context() as patched:
        patched.setattr("os.link", full)
        with pytest.raises(OSError, match="No space left"):
            archive.commit("folder", 2, b"", [other.path])

    assert archive.stage_lines("folder/sealed/other", [b"b"]) == other
    assert archive.commit("folder", 2, b"", [other.path])
    assert archive.is_sound(other)


def test_a_damaged_file_is_named(archive: Archive):
    """The error has its path in the archive."""
    stored = archive.stage_lines("folder/name", [bytes(range(14, 200))] * 100)
    archive.commit("folder", 1, b"", [stored.path])
    file = archive.files.root / stored.path
    file.write_bytes(file.read_bytes()[:20])

    with pytest.raises(DamagedArchive, match=stored.path):
        list(archive.lines(stored.path))
    with pytest.raises(DamagedArchive, match="elsewhere is missing"):
        list(archive.lines("elsewhere"))


def test_equal_media_bodies_are_one_file(archive: Archive):
    """Two conversations may show the same file."""
    for name in ("a", "b"):
        (archive.files.root / name).write_bytes(b"body")
        path = archive.adopt_media(archive.files.root / name, "ab" * 32)

    assert b"body" == archive.files.read(path)
    assert not (archive.files.root / "b").exists()
