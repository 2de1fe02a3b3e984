"""Files are whole under their name or not there; names of theirs are safe on any system."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export import ArchiveBusy, DamagedArchive
from stride_async.export._archive.files import Archive, folder_name


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.open_or_create(tmp_path / "archive", "site")


@given(st.lists(st.text(), unique=True, max_size=6))
def test_no_two_ids_share_a_folder_on_any_file_system(ids):
    """Not where case is ignored either; nothing leads out of the folder or is a name with a meaning of its own."""
    folders = [folder_name(id) for id in ids]

    assert len(ids) == len({folder.casefold() for folder in folders})
    for folder in folders:
        assert folder
        assert folder.isascii()
        assert len(folder) < 255
        assert not set(folder) & set('/\\:*?"<>| .')


def test_of_many_writers_of_one_name_one_wins_and_the_file_is_whole(archive: Archive):
    """Losing is told, and leaves nothing behind."""
    won: list[int] = []
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        won.extend(name for name in range(20) if archive.put(f"data/{name}", bytes([number]) * 10_000))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(20)) == sorted(won)
    assert all(len(set(archive.read(f"data/{name}"))) == 1 for name in range(20))
    assert [str(name) for name in sorted(range(20), key=str)] == archive.names("data")
    assert [] == list(archive.root.rglob(".tmp-*"))


@given(lines=st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line), min_size=1, max_size=700))
def test_lines_come_back_as_they_went_in(tmp_path_factory, lines):
    """In order, whatever is in them; the digest is that of the lines, not of their packing."""
    archive = Archive.open_or_create(tmp_path_factory.mktemp("archive"), "site")

    stored = archive.stage_lines("folder", "name", lines)
    other = archive.stage_blocks("folder", "name", [line + b"\n" for line in lines], packed=False)
    archive.commit("folder", "1", b"", [stored.path, other.path])

    assert lines == list(archive.lines(stored.path)) == list(archive.lines(other.path))
    assert (len(lines), stored.sha256) == (stored.rows, other.sha256)


def test_equal_content_is_one_file(archive: Archive):
    """A second writer of the same finds it there, whether it has its name yet or not."""
    first = archive.stage_lines("folder/sealed", "name", [b"a"])
    second = archive.stage_lines("folder/sealed", "name", [b"a"])
    archive.commit("folder", "1", b"", [first.path])
    third = archive.stage_lines("folder/sealed", "name", [b"a"])

    assert first == second == third
    assert 1 == len(list((archive.root / "folder/sealed").iterdir()))


def test_a_file_has_its_name_from_the_first_commit_that_names_it(archive: Archive):
    """Before, nobody can come by it; what no commit names is gone when the archive is released."""
    named, unnamed = (archive.stage_lines("folder/sealed", name, [b"a"]) for name in ("named", "unnamed"))
    before = archive.names("folder/sealed")
    archive.commit("folder", "1", b"", [named.path])
    archive.release()

    assert [] == before
    assert [named.path] == [f"folder/sealed/{file.name}" for file in (archive.root / "folder/sealed").iterdir()]
    assert not archive.holds(unnamed.path)


def test_a_commit_does_not_name_lines_that_somebody_else_packed_otherwise(archive: Archive):
    """It would tell a digest that is not the file's; whoever was faster must be read first."""
    ours = archive.stage_lines("folder/sealed", "name", [b"a"])
    (archive.root / ours.path).write_bytes(b"packed by another version")

    assert not archive.commit("folder", "1", b"", [ours.path])
    assert [] == archive.names("folder/commit")


def test_a_writer_that_fails_leaves_nothing(archive: Archive):
    """What feeds the lines may break off."""

    def lines():
        yield b"a"
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        archive.stage_lines("folder", "name", lines())

    assert [] == list((archive.root / "folder").iterdir())


def test_what_is_missing_or_damaged_is_named(archive: Archive):
    """By its path in the archive."""
    stored = archive.stage_lines("folder", "name", [bytes(range(14, 200))] * 100)
    archive.commit("folder", "1", b"", [stored.path])
    file = archive.root / stored.path
    file.write_bytes(file.read_bytes()[:20])

    with pytest.raises(DamagedArchive, match=stored.path):
        list(archive.lines(stored.path))
    for look in (archive.read, archive.size_of, archive.sha256_of, lambda path: list(archive.lines(path))):
        with pytest.raises(DamagedArchive, match="elsewhere is missing"):
            look("elsewhere")


def test_an_archive_is_held_by_one_and_free_again_afterwards(archive: Archive):
    """Whoever comes second is turned away."""
    other = Archive.open(archive.root)
    archive.hold()

    with pytest.raises(ArchiveBusy):
        other.hold()
    archive.release()
    other.hold()
    other.release()


def test_the_end_of_a_log_is_read_without_the_rest(archive: Archive):
    """A run of weeks has a long one."""
    with archive.log("runs/log") as log:
        log.write(b"0123456789")

    assert b"789" == archive.end_of("runs/log", 3)
    assert b"0123456789" == archive.end_of("runs/log", 99)


def test_a_body_is_adopted_once(archive: Archive, tmp_path):
    """Two conversations may show the same file."""
    for name in ("a", "b"):
        (archive.root / name).write_bytes(b"body")
        path = archive.adopt_media(archive.root / name, "ab" * 32)

    assert b"body" == archive.read(path)
    assert not (archive.root / "b").exists()
