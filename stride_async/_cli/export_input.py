"""Parse the options and selectors of `stride export`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import click

from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import check_path, read_text
from stride_async._files import errors_about
from stride_async.export import Shard

_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,9})([dhm])")
_SPAN_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def parse_media(_: click.Context, __: click.Parameter, value: str) -> Literal["all", "none"] | int:
    """Parse `--media`: `all`, `none`, or the largest number of bytes below `<SIZE`."""
    if value == "all":
        return "all"
    if value == "none":
        return "none"
    match = _SIZE.fullmatch(value.removeprefix("<"))
    if not value.startswith("<") or match is None:
        raise click.BadParameter(f"{value!r} is not all, none or a size such as '<10MB'.")
    number, unit, binary = match.groups()
    power = " kmgt".index(unit.lower() or " ")
    return max(0, int(float(number) * (1024 if binary else 1000) ** power) - 1)


def parse_rescan(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | Literal["all"] | None:
    """Parse `--rescan`: `all`, or a time span."""
    if value is None:
        return None
    if value == "all":
        return "all"
    match = _SPAN.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not all or a time span such as 30d, 12h or 90m.")
    return int(match[1]) * _SPAN_UNITS[match[2]]


def parse_shard(_: click.Context, __: click.Parameter, value: str | None) -> Shard | None:
    """Parse `--shard`: `INDEX/COUNT`."""
    try:
        return None if value is None else Shard.parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def parse_zone(_: click.Context, __: click.Parameter, value: str | None) -> ZoneInfo | None:
    """Parse `--tz`."""
    try:
        return None if value is None else ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise click.BadParameter(f"{value!r} is not a time zone such as Europe/Berlin.") from error


def read_selectors(given: Sequence[str]) -> Iterator[str]:
    """Yield the selectors, with those of each `@FILE` in its place.

    Raises:
        CommandError: A file cannot be used, or all files that were to select something are empty.
    """
    expanded = {each: [each] if not each.removeprefix("^").startswith("@") else _in_file(each) for each in given}
    including = [each for each in expanded if not each.startswith("^")]
    if including and not any(expanded[each] for each in including):
        files = ", ".join(each[1:] for each in including)
        raise CommandError(Exit.NOTHING_SELECTED, f"There are no selectors in {files}.")
    for each in given:
        yield from expanded[each]


def _in_file(given: str) -> list[str]:
    """Return the selectors of an `@FILE` or `^@FILE`, the latter each with its `^`."""
    sign, _, file = given.partition("@")
    check_path(file)
    with errors_about(file):
        content = Path(file).read_bytes()
    lines = read_text(content, f"{file} is not a UTF-8 text file").splitlines()
    selectors = list(filter(None, map(str.strip, lines)))
    if sign and (excluding := next((each for each in selectors if each.startswith("^")), None)):
        message = f"{given} excludes everything in {file}, so no selector in it can begin with ^, as {excluding} does."
        raise CommandError(Exit.USAGE, message)
    return [sign + selector for selector in selectors]


def parse_time(option: str, value: str | None, zone: ZoneInfo | None) -> datetime | None:
    """Parse a TIME, which is in this zone if it has none of its own.

    Raises:
        BadParameter: It is not a time, or no zone is given.
    """
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        message = f"{value!r} is not a valid time, such as 2018-06-01T08:00:00Z."
        raise click.BadParameter(message, param_hint=repr(option)) from None
    if time.tzinfo is not None:
        return time
    if zone is None:
        message = f"{value!r} has no time zone. Write {time.isoformat()}Z, or add --tz."
        raise click.BadParameter(message, param_hint=repr(option))
    return time.replace(tzinfo=zone)
