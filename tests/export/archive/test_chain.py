"""The commit chain: each commit names the one before, none is overwritten, and a missing one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stride_async.export import DamagedArchive
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, CommitConflict
from stride_async.export._archive.commits import Details, Done
from stride_async.export._archive.files import Folder

FOLDER = "data/conversations/c"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive with five commits in one folder."""
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    chain = Chain(archive, FOLDER)
    for number in range(1, 6):
        chain.commit(f"run-{number}", [Details({"id": "c", "name": str(number)})])
    return archive


def commit(archive: Archive, number: int) -> Path:
    return archive.files.root / f"{FOLDER}/commit/{number:08d}.json"


def test_what_was_committed_is_read_back(archive: Archive):
    """The commits are applied in order."""
    chain = Chain(archive, FOLDER)
    chain.require_sound()

    assert {"id": "c", "name": "5"} == chain.state.details
    assert 5 == chain.head[0]


def test_the_second_of_two_writers_gets_a_conflict(archive: Archive):
    """Two writers that have read the same state cannot both commit, and nothing is overwritten."""
    one, other = Chain(archive, FOLDER), Chain(archive, FOLDER)
    one.commit("one", [Done("one")])

    with pytest.raises(CommitConflict):
        other.commit("other", [Done("other")])

    assert other.has_conflict()
    assert not one.has_conflict()
    assert "one" == Chain(archive, FOLDER).state.done_by


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["removed", "cut", "altered", "exchanged"])
def test_a_missing_or_damaged_commit_is_noticed(archive: Archive, number, how):
    """Nothing can be added to the commits above it."""
    path = commit(archive, number)
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "exchanged":
        path.write_bytes(commit(archive, number + 1).read_bytes())
    else:
        path.write_bytes(data[:-9] if how == "cut" else data.replace(b'"id":"', b'"id":"9'))

    chain = Chain(archive, FOLDER)

    assert chain.broken
    with pytest.raises(DamagedArchive):
        chain.require_sound()


def test_a_list_that_misses_a_commit_made_meanwhile_is_read_again(archive: Archive, monkeypatch):
    """A folder that changes while it is listed may show only the later of two new files."""
    listed, lists = Folder.list, []

    def list_of_large_folder(files: Folder, folder: str):
        contents = listed(files, folder)
        lists.append(folder)
        if len(lists) == 1:
            contents.files.remove("00000004.json")
        return contents

    monkeypatch.setattr(Folder, "list", list_of_large_folder)
    chain = Chain(archive, FOLDER)

    assert (5, []) == (chain.head[0], chain.broken)
    assert 2 == len(lists)


def test_a_number_is_never_used_twice(archive: Archive):
    """This holds even if the commit with that number belongs to no chain."""
    commit(archive, 5).write_bytes(b"torn")
    chain = Chain(archive, FOLDER)

    chain.commit("run", [Done("run")])

    assert commit(archive, 6).exists()
    assert b"torn" == commit(archive, 5).read_bytes()
