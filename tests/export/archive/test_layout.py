"""The names in an archive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async.export import Shard
from stride_async.export._archive import layout

DIGEST = "0123456789abcdef" * 4
ROOM = layout.conversation_folder("General/1")


@given(st.lists(st.text(), unique=True, max_size=6))
def test_no_two_ids_have_the_same_folder_name_on_any_file_system(ids):
    """They differ even if case is ignored. None leaves its folder or has a special meaning."""
    names = [layout.folder_name(id) for id in ids]

    assert len(ids) == len({name.casefold() for name in names})
    for name in names:
        assert name
        assert name.isascii()
        assert len(name) < 255
        assert not set(name) & set('/\\:*?"<>| .')


@pytest.mark.parametrize(
    "path",
    [
        layout.ARCHIVE_JSON,
        layout.lease_path(None),
        layout.lease_path(Shard(0, 4)),
        layout.commit_path(ROOM, 42),
        layout.commit_path(layout.PEOPLE, 1),
        layout.lines_path(layout.month_stem(ROOM, "2018-03", 2), DIGEST, compressed=True),
        layout.lines_path(layout.roster_stem(ROOM), DIGEST, compressed=True),
        layout.lines_path(layout.unplaced_stem(ROOM), DIGEST, compressed=True),
        layout.lines_path(layout.raw_stem(ROOM, 1, 0), DIGEST, compressed=False),
        layout.lines_path(layout.profiles_stem(3), DIGEST, compressed=True),
        layout.media_path(DIGEST),
        layout.media_part("room", "media"),
        *(layout.run_file("run", name) for name in sorted(layout.RUN_FILES)),
    ],
)
def test_every_path_of_an_archive_is_known(path):
    """A path that is a little different is not."""
    assert layout.is_known(path)
    assert not layout.is_known(f"{path}/x".replace("media/part", "media/parts"))
    assert not layout.is_known(f"x{path}")


@given(st.integers(1, 999), st.data())
def test_shards_are_read_back_from_names(count, data):
    """Other leases and runs have none, whatever digits are in them."""
    shard = Shard(data.draw(st.integers(0, count - 1)), count)
    stem = data.draw(st.from_regex(r"\A2018\d{4}T\d{6}\.\d{6}-[0-9a-f]{6}\Z"))

    assert shard == layout.shard_of_lease(layout.lease_path(shard).rpartition("/")[2])
    assert shard == layout.shard_of_run(layout.run_name(stem, shard))
    assert stem < layout.run_name(stem, shard)
    assert [None] * 3 == [layout.shard_of_run(stem), *map(layout.shard_of_lease, ("lease", f"lease-{count}-{count}"))]


def test_numbers_are_read_back_from_names():
    """A name of another form has none."""
    assert 42 == layout.commit_number(layout.commit_path(ROOM, 42).rpartition("/")[2])
    assert 7 == layout.leg_of_raw(layout.raw_stem(ROOM, 7, 3).rpartition("/")[2])
    assert [None] * 3 == [layout.commit_number(name) for name in ("1.json", "00000001 (1).json", "٠٠٠٠٠٠٠١.json")]
    assert None is layout.leg_of_raw("Thumbs.db")
