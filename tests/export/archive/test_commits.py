"""Commits as they are stored."""

from __future__ import annotations

import json

import pytest

from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Commit,
    Details,
    Done,
    Failed,
    LegEnded,
    LegStarted,
    Lost,
    MediaSkipped,
    MediaStored,
    Profiles,
    RawGroup,
    Referenced,
    Resolved,
    Roster,
    Sealed,
    Stored,
    Unlisted,
    Unplaced,
    WalkEnded,
    decode_commit,
    encode_commit,
)

FOLDER = "data/conversations/c"
PATH = f"{FOLDER}/sealed/2018-03/r2-0123456789ab.jsonl.zst"
CONTENT, WHOLE = "0" * 64, "f" * 64
FILE = Stored(PATH, CONTENT, 3, WHOLE)
FILE_ON_DISK = {"path": PATH, "sha256": CONTENT, "rows": 3, "packed": WHOLE}
LOW, HIGH = (5, "a"), (9, "b")
FORMAT_1 = [
    (Details({"id": "c"}), {"type": "details", "conversation": {"id": "c"}}),
    (Unlisted(), {"type": "unlisted"}),
    (Roster(FILE, 1.5), {"type": "roster", "file": FILE_ON_DISK, "taken_at": 1.5}),
    (LegStarted(1, None, True), {"type": "leg", "number": 1, "upper": None, "looks": True}),
    (
        RawGroup(1, FILE, None, HIGH, LOW, 2),
        {"type": "raw", "leg": 1, "file": FILE_ON_DISK, "asked": None, "high": [9, "b"], "low": [5, "a"], "pages": 2},
    ),
    (WalkEnded(1, LOW, LOW, "why"), {"type": "walked", "leg": 1, "bottom": [5, "a"], "low": [5, "a"], "why": "why"}),
    (
        Sealed("2018-03", 2, FILE, 1, LOW, HIGH, (LOW,), (HIGH,)),
        {"type": "sealed", "month": "2018-03", "rev": 2, "file": FILE_ON_DISK, "leg": 1, "low": [5, "a"]}
        | {"high": [9, "b"], "changed": [[5, "a"]], "gone": [[9, "b"]]},
    ),
    (LegEnded(1, LOW, HIGH, "why"), {"type": "ended", "leg": 1, "low": [5, "a"], "high": [9, "b"], "why": "why"}),
    (Unplaced(FILE, ("d",)), {"type": "unplaced", "file": FILE_ON_DISK, "digests": ["d"]}),
    (Lost(PATH), {"type": "lost", "path": PATH}),
    (
        MediaStored("m", CONTENT, 7, "n", "t"),
        {"type": "media", "id": "m", "sha256": CONTENT, "size": 7, "name": "n", "mime_type": "t"},
    ),
    (MediaSkipped("m", 7), {"type": "passed", "id": "m", "size": 7}),
    (
        Failed("message", "m", "e", True, 5, 1),
        {"type": "failed", "what": "message", "id": "m", "error": "e", "final": True, "ts": 5, "leg": 1},
    ),
    (Resolved("message", "m"), {"type": "mended", "what": "message", "id": "m"}),
    (Profiles(FILE, ("u", "v", "w")), {"type": "people", "file": FILE_ON_DISK, "ids": ["u", "v", "w"]}),
    (Referenced(("u",), ("m",)), {"type": "met", "users": ["u"], "media": ["m"]}),
    (Done("run"), {"type": "done", "run": "run"}),
]


@pytest.mark.parametrize(
    ("op", "on_disk"), FORMAT_1, ids=lambda value: value["type"] if isinstance(value, dict) else ""
)
def test_operations_have_the_names_of_format_1_on_disk(op, on_disk):
    """An archive that an earlier version wrote is read, and one that this version writes is read by it."""
    data = encode_commit(Commit(1, 2, 1, "digest", "run", 1.5, (op,)))

    assert {"v": 1, "n": 2, "after": 1, "prev": "digest", "run": "run", "at": 1.5, "ops": [on_disk]} == json.loads(data)
    assert (op,) == decode_commit(data, FOLDER).ops


def test_a_commit_is_read_back_as_it_was_written():
    """Its keys may have ids of any kind."""
    commit = Commit(1, 2, 1, "digest", "run", 1.5, (LegEnded(1, BEGINNING, (5, "ü\0"), "why"), Unlisted()))

    assert commit == decode_commit(encode_commit(commit), FOLDER)


def test_the_lowest_and_the_highest_key_can_be_stored():
    """Times have 64 bits in commits."""
    commit = Commit(1, 1, 0, "", "run", 1.5, (LegEnded(1, BEGINNING, HIGHEST, "why"),))

    assert commit == decode_commit(encode_commit(commit), FOLDER)
