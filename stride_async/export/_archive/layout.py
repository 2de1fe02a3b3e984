"""The paths of an archive: each folder and file name, and how an id becomes a name. Pure.

Paths are relative to the archive and use `/`. A *stem* is the path of a stored file without the digest and the
extension that its content adds.

    archive.json                                    ARCHIVE_JSON
    data/conversations/<name>/                      conversation_folder
        commit/00000042.json                        commit_path
        sealed/2018-03/r1-<digest>.jsonl.zst        month_stem
        roster/r-<digest>.jsonl.zst                 roster_stem
        unplaced/u-<digest>.jsonl.zst               unplaced_stem
        raw/0001-000000-<digest>.jsonl              raw_stem
    data/users/                                     PEOPLE
        commit/00000042.json                        commit_path
        sealed/r000001-<digest>.jsonl.zst           profiles_stem
    media/sha256/ab/cd/<digest>                     media_path
    media/part/<name>/<name>                        media_part
    runs/lease, runs/lease-0-4                      lease_path
    runs/<run>/settings.json …                      run_file
    runs/<run>/calls-000001.log …                   log_part, in object stores
    runs/probe-<token>                              PROBE, in object stores
    derived/                                        DERIVED
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from stride_async._arguments import of_type
from stride_async.export._shard import Shard

ARCHIVE_JSON = "archive.json"
CONVERSATIONS = "data/conversations"
"""The folder that has a folder for each conversation."""
PEOPLE = "data/users"
"""The folder of profiles and of their commits."""
RUNS = "runs"
"""The folder that has a folder for each run."""
LEASE = "lease"
"""The lease of an export that is not for a shard only."""
PROBE = "probe-"
"""The beginning of the names of objects in that folder that an export creates and deletes, to see what a store offers.
"""
DERIVED = "derived"
"""The folder of what is made from the archive and can be deleted."""

RUN_NAME = r"[0-9A-Za-z][0-9A-Za-z.-]{0,99}"
"""The pattern of the name of a run."""
LAST_COMMIT = 99_999_999
"""The highest number that the name of a commit can have."""
MOST_FOLDERS = 5
"""In how many folders a file of an archive lies at most, apart from the derived ones."""

RunFile = Literal["settings.json", "picked.json", "calls.log", "failures.jsonl", "heads.json", "finished.json"]
SETTINGS: RunFile = "settings.json"
"""What the run was asked for."""
PICKED: RunFile = "picked.json"
"""The conversations that it selected: id to name."""
CALLS: RunFile = "calls.log"
"""When it called each conversation."""
FAILURES: RunFile = "failures.jsonl"
"""What it could not fetch."""
HEADS: RunFile = "heads.json"
"""The newest commit of each folder when it finished."""
FINISHED: RunFile = "finished.json"
"""Its summary, and the digests of the files above."""
RUN_FILES: frozenset[RunFile] = frozenset((SETTINGS, PICKED, CALLS, FAILURES, HEADS, FINISHED))

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_NAME = 150
# Digits of the content digest that a file name has.
_DIGEST_DIGITS = 12
_MEDIA = "media/sha256"
_MEDIA_PARTS = "media/part"
_COMMIT = re.compile(r"(\d{8})\.json", re.ASCII)
_SHARD = re.compile(r"-(\d{1,9})-(\d{1,9})$", re.ASCII)


def folder_name(id: str) -> str:
    """Return a folder name for an id: valid on any file system, and different for any two ids."""
    name = "".join(
        c if c in _PLAIN else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass")) for c in id
    )
    if not name or len(name) > _LONGEST_NAME:
        name = f"%{name[:100]}%{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return name


def conversation_folder(id: str) -> str:
    """Return the folder of a conversation."""
    return f"{CONVERSATIONS}/{folder_name(of_type(id, 'the conversation id', str))}"


def commit_folder(folder: str) -> str:
    """Return the folder of the commits of a conversation, or of the people."""
    return f"{folder}/commit"


def commit_path(folder: str, number: int) -> str:
    """Return the path of one commit."""
    return f"{commit_folder(folder)}/{number:08d}.json"


def commit_number(name: str) -> int | None:
    """Return the number in the name of a commit, None if the name is not one of a commit."""
    match = _COMMIT.fullmatch(name)
    return int(match[1]) if match is not None else None


def month_stem(folder: str, month: str, revision: int) -> str:
    """Return the stem of one revision of a sealed month."""
    return f"{folder}/sealed/{month}/r{revision}"


def roster_stem(folder: str) -> str:
    """Return the stem of a roster."""
    return f"{folder}/roster/r"


def unplaced_stem(folder: str) -> str:
    """Return the stem of elements that have no readable key."""
    return f"{folder}/unplaced/u"


def raw_folder(folder: str) -> str:
    """Return the folder of the raw groups of a conversation."""
    return f"{folder}/raw"


def raw_stem(folder: str, leg: int, number: int) -> str:
    """Return the stem of one raw group of a leg."""
    return f"{raw_folder(folder)}/{leg:04d}-{number:06d}"


def leg_of_raw(name: str) -> int | None:
    """Return the leg in the name of a raw group, None if the name is not one of a raw group."""
    number = name.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else None


def profiles_stem(number: int) -> str:
    """Return the stem of a group of profiles."""
    return f"{PEOPLE}/sealed/r{number:06d}"


def lines_path(stem: str, sha256: str, *, compressed: bool) -> str:
    """Return the path of a file of lines with this content digest."""
    return f"{stem}-{sha256[:_DIGEST_DIGITS]}.jsonl{'.zst' if compressed else ''}"


def is_compressed(path: str) -> bool:
    """Return whether a file of lines is compressed."""
    return path.endswith(".zst")


def media_path(sha256: str) -> str:
    """Return the path of a media body with this digest."""
    return f"{_MEDIA}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def media_part(conversation_id: str, media_id: str) -> str:
    """Return the path of a media body while it is downloaded."""
    return f"{_MEDIA_PARTS}/{folder_name(conversation_id)}/{folder_name(media_id)}"


def lease_path(shard: Shard | None) -> str:
    """Return the path of the lease that an export takes."""
    return f"{RUNS}/{LEASE}" if shard is None else f"{RUNS}/{LEASE}-{shard.index}-{shard.count}"


def shard_of_lease(name: str) -> Shard | None:
    """Return the shard in the name of a lease, None if there is none."""
    return _shard(name) if name.startswith(f"{LEASE}-") else None


def run_name(stem: str, part: Shard | Literal["all"] | None) -> str:
    """Return the name of a run: of a shard, of all shards together, or without shards.

    The stem is unique, and the stems of later runs are greater. Of the runs with one stem, that of all shards is last.
    """
    if part is None or part == "all":
        return f"{stem}-all" if part else stem
    return f"{stem}-{part.index}-{part.count}"


def stem_of_run(run: str) -> str:
    """Return the stem in the name of a run."""
    return "-".join(run.split("-")[:2])


def shard_of_run(run: str) -> Shard | None:
    """Return the shard in the name of a run, None if there is none."""
    return _shard(run)


def _shard(name: str) -> Shard | None:
    match = _SHARD.search(name)
    if match is None:
        return None
    index, count = int(match[1]), int(match[2])
    return Shard(index, count) if index < count else None


def run_folder(run: str) -> str:
    """Return the folder of the files of a run."""
    return f"{RUNS}/{run}"


def run_file(run: str, name: RunFile) -> str:
    """Return the path of a file of a run."""
    return f"{run_folder(run)}/{name}"


def log_part(path: str, number: int) -> str:
    """Return the path of one object of the log that would be the file `path` in a folder."""
    stem, dot, extension = path.rpartition(".")
    return f"{stem}-{number:06d}{dot}{extension}"


def log_number(name: str, log: str) -> int | None:
    """Return the number of an object of a log by its name, None if it is not one of this log."""
    stem, _, extension = log.rpartition(".")
    match = re.fullmatch(rf"{stem}-(\d{{6,9}})\.{extension}", name, re.ASCII)
    return int(match[1]) if match is not None else None


def is_known(path: str) -> bool:
    """Return whether an archive can have a file with this path."""
    return _KNOWN.fullmatch(path) is not None


def can_be_stored(path: str, folder: str) -> bool:
    """Return whether a path is one of a file of lines that a commit in this folder can name."""
    return path.startswith(f"{folder}/") and _LINES.fullmatch(path) is not None


def is_folder_name(name: str) -> bool:
    """Return whether a name can be one that `folder_name` returns."""
    return _NAME.fullmatch(name) is not None


def is_run_name(name: str) -> bool:
    """Return whether a name can be one of a run."""
    return _RUN.fullmatch(name) is not None


_NAME = re.compile(r"[a-zA-Z0-9%-]+", re.ASCII)
_RUN = re.compile(RUN_NAME)
_ROOM, _DIGEST = rf"{CONVERSATIONS}/{_NAME.pattern}", rf"[0-9a-f]{{{_DIGEST_DIGITS}}}"
_LINES = re.compile(
    rf"""({_ROOM}/(sealed/\d{{4}}-\d\d/r\d+ | roster/r | unplaced/u) | {PEOPLE}/sealed/r\d+)-{_DIGEST}\.jsonl\.zst
    | {_ROOM}/raw/\d+-\d+-{_DIGEST}\.jsonl""",
    re.ASCII | re.VERBOSE,
)
_KNOWN = re.compile(
    rf"""{re.escape(ARCHIVE_JSON)}
    | ({_ROOM} | {PEOPLE})/commit/{_COMMIT.pattern}
    | {_LINES.pattern}
    | {_MEDIA}/[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{64}} | {_MEDIA_PARTS}/.+
    | {RUNS}/{LEASE}(-\d+-\d+)? | {RUNS}/{PROBE}[0-9a-f]+
    | {RUNS}/{RUN_NAME}/({"|".join(map(re.escape, sorted(RUN_FILES)))})
    | {RUNS}/{RUN_NAME}/(calls-\d{{6,9}}\.log | failures-\d{{6,9}}\.jsonl)""",
    re.ASCII | re.VERBOSE,
)
