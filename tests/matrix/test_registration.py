"""The registration of the application service is secret, and only a good one is read."""

from __future__ import annotations

import json
import re
import resource

import pytest

from stride_async.export.matrix import BadRegistration, new_registration, read_registration
from stride_async.export.matrix._content import alias, user_id


def test_a_new_registration_reserves_the_names_of_a_migration_and_no_others(tmp_path):
    """It is JSON, which homeservers read as YAML."""
    new_registration(tmp_path / "stride.yaml", "a.example")

    content = json.loads((tmp_path / "stride.yaml").read_bytes())
    users, aliases = (content["namespaces"][kind] for kind in ("users", "aliases"))
    assert (True, True) == (users[0]["exclusive"], aliases[0]["exclusive"])
    assert re.fullmatch(users[0]["regex"], user_id("557058:ann", "a.example"))
    assert re.fullmatch(aliases[0]["regex"], alias("room", "a.example"))
    assert not re.fullmatch(users[0]["regex"], "@stride_bot:a.example")
    assert not re.fullmatch(users[0]["regex"], user_id("557058:ann", "aXexample"))
    assert content["rate_limited"] is False


def test_only_its_owner_can_read_it_and_its_tokens_are_random(tmp_path):
    """The token is not in its repr."""
    first, second = (new_registration(tmp_path / name, "a.example") for name in "ab")

    assert 0o600 == first.path.stat().st_mode & 0o777
    assert not first.is_readable_by_others
    assert first.token != second.token
    assert first.token not in repr(first)
    assert first == read_registration(tmp_path / "a")


def test_a_registration_that_the_disk_has_no_room_for_is_not_left_cut_off(tmp_path):
    """The error names it, and the next attempt is not refused because it exists."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"stride\.yaml"):
            new_registration(tmp_path / "stride.yaml", "a.example")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert new_registration(tmp_path / "stride.yaml", "a.example") == read_registration(tmp_path / "stride.yaml")


@pytest.mark.parametrize("name", ["", "a b", "@ann:a.example", "https://a.example", "a.example/"])
def test_a_server_name_has_no_address_in_it(tmp_path, name):
    """Nothing is written."""
    with pytest.raises(BadRegistration, match="is not the name of a homeserver"):
        new_registration(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"id: stride\nas_token: abc\n",
        b"[]",
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b"\xff",
        {"as_token": ""},
        {"as_token": "a\nb"},
        {"as_token": 7},
        {"sender_localpart": "other"},
        {"com.atlassian.stride": {"server_name": "a/b"}},
        {"com.atlassian.stride": {}},
    ],
)
def test_a_file_that_is_not_a_registration_is_refused(tmp_path, change):
    """The message names the file."""
    file = new_registration(tmp_path / "stride.yaml", "a.example").path
    content = change if isinstance(change, bytes) else json.dumps(json.loads(file.read_bytes()) | change).encode()
    file.write_bytes(content)

    with pytest.raises(BadRegistration, match=r"stride\.yaml"):
        read_registration(file)
