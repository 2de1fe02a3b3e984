"""Convert an archive: the table of formats, and the steps that all of them share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Protocol

import attrs

from stride_async._arguments import function, of_type, path
from stride_async.export._archive.address import parse_address
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.layout import DERIVED
from stride_async.export._engine import Dask, Engine, Processes, import_for_engine
from stride_async.export.formats._options import ConvertOptions, selection_in_report
from stride_async.export.formats._output import OutInTheWay, Output, Place
from stride_async.export.formats._report import ConvertProgress, Report, Tally
from stride_async.export.formats._source import Source


class Writer(Protocol):
    """Write a source to an output. Counts what it writes, and what it cannot carry over, in the tally."""

    def __call__(self, source: Source, output: Output, options: ConvertOptions, tally: Tally, /) -> None:
        """Write it."""


@attrs.frozen
class Format:
    """One format: the module that has its `write`, and what is needed for it."""

    is_folder: bool
    """Whether the output is a folder; otherwise it is a file."""
    extra: str = "export"
    """The extra with the packages that it requires."""
    options: tuple[str, ...] = ()
    """The options that the output depends on, in addition to the selection."""
    in_parts: bool = False
    """Whether the workers of an engine can share the work."""


FORMATS: Mapping[str, Format] = {
    "mattermost": Format(is_folder=False, options=("team",)),
    "slack": Format(is_folder=False, options=("files", "files_base_url")),
    "html": Format(is_folder=True, extra="view"),
    "sqlite": Format(is_folder=False),
    "parquet": Format(is_folder=True, extra="tables", in_parts=True),
    "seed": Format(is_folder=True),
}
"""All formats by name. Each is a module of this package with the same name, which is imported when it is needed."""


def convert(
    archive: str | PathLike[str],
    format: str,
    out: str | PathLike[str],
    *,
    options: ConvertOptions | None = None,
    progress: Callable[[ConvertProgress], object] | None = None,
    engine: Engine | None = None,
) -> Report:
    """Convert an archive to a file or folder, and return what was written and what is lost.

    The same archive and options give the same bytes. The output is complete or absent at every moment; a folder of an
    earlier conversion is brought up to date. The report is also written next to the output, as `OUT.report.json`. An
    exception that `progress` raises ends the conversion. In a coroutine, use `asyncio.to_thread`.

    Args:
        archive: The folder or URL of the archive. It is not changed. No export can run meanwhile in a folder; in an
            object store, one that starts meanwhile may end the conversion with `DamagedArchive`.
        format: The name of the format.
        out: The file or folder to write.
        options: The conversations to convert, and how; `None` means all with the defaults.
        progress: Called now and then with how far the conversion is.
        engine: The workers that share the work, for `parquet` only; `None` means this process alone. Archive and output
            must be at the same path for all of them.

    Raises:
        NotAnArchive, NewerArchive, ArchiveBusy, DamagedArchive: The archive cannot be converted; nothing is written.
        NothingSelected: No conversation matches the selection, or one of its selectors.
        OutInTheWay: `out` exists and was not written by a conversion to this format.
        ModuleNotFoundError: The format requires a package that is not installed. The message names the extra.
        OSError: The output cannot be written.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: There is no such format, it has no use for an engine, or the URL is not one of an archive.
        EngineError: A worker cannot do its part, or processes cannot be started. `EngineUnavailable`: the scheduler
            cannot be reached or was lost.
    """
    options = of_type(ConvertOptions() if options is None else options, "options", ConvertOptions)
    function(progress, "progress")
    out = _with_name(path(out, "out"))
    write = writer_of(format, engine)
    used = {name: getattr(options, name) for name in FORMATS[format].options} | selection_in_report(options.selection)
    opened = Archive.open(archive)
    address = parse_address(archive)
    if isinstance(address, Path):
        _check_apart(out, address)
    tally = Tally(progress)
    with opened.kept_unchanged(), Place(out, format, FORMATS[format].is_folder, used, options.force).opened() as place:
        output, finish = place
        source = Source(opened, options.selection, tally)
        tally.step()
        write(source, output, options, tally)
        report = source.report(format, used, digest=output.final_digest(), parts=output.parts, basis=output.basis)
        finish(report)
    return report


def writer_of(format: str, engine: Engine | None = None) -> Writer:
    """Return the function that writes a format, in the workers of an engine if there is one.

    Raises:
        ValueError: There is no such format, or it has no use for an engine.
        ModuleNotFoundError: It requires a package that is not installed.
    """
    of_type(engine, "engine", Processes, Dask, NoneType)
    if of_type(format, "format", str) not in FORMATS:
        raise ValueError(f"{format!r} is not a format: expected {', '.join(FORMATS)}")
    if engine is not None and not FORMATS[format].in_parts:
        divided = ", ".join(name for name, each in FORMATS.items() if each.in_parts)
        raise ValueError(f"{format} is converted by one process: an engine is for {divided}")
    try:
        module = importlib.import_module(f"{__package__}.{format}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stride_async"):
            raise
        extra = FORMATS[format].extra
        message = f"the format {format} requires {error.name}: pip install 'stride-async[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    if engine is not None:
        import_for_engine("stride_async.export._cluster")
        return partial(module.write, engine=engine)
    write: Writer = module.write
    return write


def _with_name(out: Path) -> Path:
    """Return a path with the name of its last part: `.` and `..` have none that other files can be named after."""
    return out.resolve() if out.name in {"", ".."} else out


def _check_apart(out: Path, archive: Path) -> None:
    """Refuse an output in the archive, except below its folder for what is derived, and one around the archive."""
    place, root = out.resolve(), archive.resolve()
    if place.is_relative_to(root) and not (place.is_relative_to(root / DERIVED) and place != root / DERIVED):
        raise OutInTheWay(f"{out} is in the archive, which a conversion does not change")
    if root.is_relative_to(place):
        raise OutInTheWay(f"{out} contains the archive")
