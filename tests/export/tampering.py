"""Alter single values of an archive, and watch which files are touched."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from stride_async.export._archive.layout import CONVERSATIONS

WATCHED = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.rmdir",
}

Place = tuple[str | int, ...]
"""Where in a JSON value another one is: the names and numbers that lead to it."""

_watching: list[str] | None = None


def _note(event: str, args: tuple[object, ...]) -> None:
    does_not_follow = event == "open" and isinstance(args[2], int) and args[2] & os.O_NOFOLLOW
    if _watching is not None and event in WATCHED and not does_not_follow:
        _watching.extend(os.path.realpath(os.fsdecode(arg)) for arg in args[:2] if isinstance(arg, str | bytes | Path))


sys.addaudithook(_note)


@contextmanager
def touched() -> Iterator[list[str]]:
    """Collect the resolved path of everything that is opened, listed, created, renamed or removed."""
    global _watching  # noqa: PLW0603 -- an audit hook cannot be removed
    _watching = paths = []
    try:
        yield paths
    finally:
        _watching = None


def places(value: object, at: Place = ()) -> Iterator[Place]:
    """Yield the place of every value within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        yield (*at, step)
        yield from places(each, (*at, step))


def mutated(commit: dict, place: Place, value: object) -> dict:
    """Return a copy of a commit with another value at a place."""
    copy = json.loads(json.dumps(commit))
    parent = copy
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    return copy


def rewrite(folder: Path, number: int, commit: dict) -> None:
    """Replace a commit, and the digests in those after it, so that the chain itself is sound."""
    commits = sorted(folder.iterdir())
    commits[number].write_text(json.dumps(commit))
    for before, after in zip(commits[number:], commits[number + 1 :], strict=False):
        content = json.loads(after.read_bytes())
        content["prev"] = hashlib.sha256(before.read_bytes()).hexdigest()
        after.write_text(json.dumps(content))


def values_for(outside: Path) -> list[object]:
    """Return what a value can be replaced with: paths to a folder outside, numbers out of range, other types."""
    return [
        *("", "..", "../outside/secret", "../../../../outside/secret", str(outside / "secret"), "a\0b", "x" * 70_000),
        *(f"{CONVERSATIONS}/../../../outside/secret", "data/users/../../../outside/secret", "raw", "archive.json"),
        *(None, True, -1, 0, 2**62, 2**64, 1e300, -1e300, 0.5, [], {}, ["x"], [[0, ""]], {"id": "other"}),
        *("2018-13", "9999-99", "..-..", "0" * 64, "F" * 64, "0" * 63, "\u202e", "\ud83d"),
    ]


def mutate(folder: Path, rng: Random, values: list[object]) -> object:
    """Replace one value in a commit, in the record of a run, or in archive.json; return what and where."""
    files = [*folder.rglob("commit/*.json")] * 3 + [*folder.glob("runs/*/*.json*"), folder / "archive.json"]
    file = rng.choice(sorted(files))
    content = json.loads(file.read_bytes().splitlines()[0])
    place, value = rng.choice(list(places(content))), rng.choice(values)
    if file.parent.name == "commit":
        rewrite(file.parent, sorted(file.parent.iterdir()).index(file), mutated(content, place, value))
    else:
        file.write_text(json.dumps(mutated(content, place, value)))
    return file.relative_to(folder), place, value
