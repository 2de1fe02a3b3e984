"""Files in a folder: complete under their names, or absent."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stride_async.export import DamagedArchive
from stride_async.export._archive.files import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "folder")
    folder.prepare()
    return folder


def test_of_many_writers_of_one_name_one_wins_and_the_file_is_complete(folder: Folder):
    """The others get False, and leave nothing behind."""
    won: list[int] = []
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        won.extend(name for name in range(20) if folder.create(f"data/{name}", bytes([number]) * 10_000))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(20)) == sorted(won)
    assert all(len(set(folder.read(f"data/{name}"))) == 1 for name in range(20))
    assert [str(name) for name in sorted(range(20), key=str)] == folder.list("data").files
    assert [] == list(folder.root.rglob(".tmp-*"))


def test_a_file_is_read_completely_in_parts_and_as_a_stream(folder: Folder):
    """All of these give the same bytes."""
    data = bytes(range(256)) * 1000
    folder.create("a/b", data)

    assert data == folder.read("a/b") == b"".join(folder.stream("a/b"))
    assert (data[-5:], data, len(data)) == (
        folder.read_end("a/b", 5),
        folder.read_end("a/b", len(data) + 1),
        folder.size("a/b"),
    )
    with folder.open("a/b") as file:
        assert data == file.read()


def test_a_local_file_is_moved_to_its_name_once(folder: Folder):
    """Where the name is taken, the local file goes and the existing one stays."""
    results = []
    for content in (b"first", b"second"):
        file = folder.local_path("part")
        file.write_bytes(content)
        results.append(folder.create_from_file("data/a", file))

        assert not file.exists()

    assert ([True, False], b"first") == (results, folder.read("data/a"))


def test_names_in_a_folder_are_listed_in_order(folder: Folder):
    """Files and folders apart; names that begin with a dot are left out."""
    for path in ("b/c", "d", "a", ".hidden", ".git/x"):
        folder.create(path, b"")
    folder.delete(["d", "missing"])

    contents = folder.list("")

    assert (["a"], ["b"]) == (contents.files, contents.folders)
    assert ([], []) == (folder.list("elsewhere").files, folder.list("a").folders)


def test_a_missing_file_is_named(folder: Folder):
    """Each way to read one says which."""
    for read in (folder.read, folder.size, folder.sha256, folder.open, lambda path: list(folder.stream(path))):
        with pytest.raises(DamagedArchive, match="elsewhere is missing"):
            read("elsewhere")


def test_a_write_that_fails_leaves_nothing(folder: Folder):
    """What produces the content may raise."""

    def pieces():
        yield b"a"
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        folder.gather("data/a", pieces())

    assert [] == list((folder.root / "data").iterdir())


def test_the_lease_keeps_others_out_until_it_is_released(folder: Folder):
    """Then the next one can take it. Another lease is kept out as it says itself."""
    first, second = Folder(folder.root), Folder(folder.root)
    first.acquire_lease("runs/lease", lambda _: "none")

    assert "lease" == second.acquire_lease("runs/lease", lambda _: "none")
    assert "lease" == second.acquire_lease("runs/other", lambda _: "excluding")
    assert None is second.acquire_lease("runs/other", lambda _: "compatible")
    first.release_lease()
    assert None is first.acquire_lease("runs/lease", lambda _: "compatible")
    first.release_lease()
    second.release_lease()


def test_a_line_that_a_kill_cut_off_is_ended_before_the_next_is_written(folder: Folder):
    """The end of a log can be read without the rest."""
    for line in (b"one\n", b"tw", b"three\n"):
        with folder.open_log("log") as log:
            log.write(line)

    assert b"one\ntw\nthree\n" == folder.read("log")
    assert b"ree\n" == folder.read_end("log", 4)
    assert folder.read("log") == folder.read_end("log", 99)
