"""Commits follow each other: each names the one before, nobody overwrites one, a lost one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stride_async.export import DamagedArchive
from stride_async.export._archive.chain import Chain, Overtaken
from stride_async.export._archive.commits import Details, Done
from stride_async.export._archive.files import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    chain = Chain(archive, "data")
    for number in range(1, 6):
        chain.commit(f"run {number}", [Details({"id": str(number)})])
    return archive


def commit(archive: Archive, number: int) -> Path:
    return archive.root / f"data/commit/{number:08d}.json"


def test_what_was_committed_is_read_back(archive: Archive):
    """All of it, in order."""
    chain = Chain(archive, "data")
    chain.must_be_sound()

    assert {"id": "5"} == chain.state.details
    assert 5 == chain.head[0]


def test_whoever_is_late_is_told_and_nothing_is_overwritten(archive: Archive):
    """Two that read the same state cannot both commit."""
    one, other = Chain(archive, "data"), Chain(archive, "data")
    one.commit("one", [Done("one")])

    with pytest.raises(Overtaken):
        other.commit("other", [Done("other")])

    assert other.is_overtaken()
    assert not one.is_overtaken()
    assert "one" == Chain(archive, "data").state.done


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["removed", "cut", "altered", "exchanged"])
def test_a_lost_or_damaged_commit_is_noticed(archive: Archive, number, how):
    """Nothing is built on what stands above it."""
    path = commit(archive, number)
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "exchanged":
        path.write_bytes(commit(archive, number + 1).read_bytes())
    else:
        path.write_bytes(data[:-9] if how == "cut" else data.replace(b'"id":"', b'"id":"9'))

    chain = Chain(archive, "data")

    assert chain.broken
    with pytest.raises(DamagedArchive):
        chain.must_be_sound()


def test_a_number_that_was_ever_used_is_not_used_again(archive: Archive):
    """Even where the commit of that number belongs to no chain."""
    commit(archive, 5).write_bytes(b"torn")
    chain = Chain(archive, "data")

    chain.commit("run", [Done("run")])

    assert commit(archive, 6).exists()
    assert b"torn" == commit(archive, 5).read_bytes()
