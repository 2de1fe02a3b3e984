"""What commands on archives have in common: how their failures end, and how JSON tells of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import click

from stride_async._cli.exits import Ended, Exit
from stride_async.export import ArchiveError, DamagedArchive, NothingSelected

archive_argument = click.argument("archive", type=click.Path(path_type=Path))


@contextmanager
def archive_failures() -> Iterator[None]:
    """Turn what can be wrong with an archive or a selection into a sentence and an exit code."""
    try:
        yield
    except DamagedArchive as error:
        raise Ended(Exit.VERIFICATION_FAILED, f"{error}; `stride verify` names all that is damaged") from error
    except ArchiveError as error:
        raise Ended(Exit.ARCHIVE_UNUSABLE, str(error)) from error
    except NothingSelected as error:
        near = ", ".join(map(repr, error.nearest))
        raise Ended(Exit.NOTHING_SELECTED, f"{error}; near to it: {near}" if near else str(error)) from error


def in_json(value: Any) -> dict[str, object]:
    """A value's fields, in the camel case of the service's own words."""
    return {_camel(name): _plain(part) for name, part in attrs.asdict(value, recurse=False).items()}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [in_json(part) if attrs.has(type(part)) else part for part in value]
    return value


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
