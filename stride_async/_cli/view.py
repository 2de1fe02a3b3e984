"""`stride view`: make pages from an archive and open them in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click

from stride_async._cli import show
from stride_async._cli.archives import archive_errors, local_archive_argument
from stride_async._cli.convert import converted, show_report
from stride_async._cli.exits import CommandError, os_exit_code, os_message
from stride_async._cli.export_input import read_selectors
from stride_async._cli.options import json_option, kinds_option, verbose_option
from stride_async.export import Selection
from stride_async.export.formats import ConvertOptions
from stride_async.export.formats._derived import pages_of


@click.command(name="view")
@local_archive_argument
@click.argument("selectors", nargs=-1)
@kinds_option
@click.option("--print", "only_print", is_flag=True, help="Print the address of the pages instead of opening them.")
@json_option
@verbose_option
def command(*, archive: Path, selectors: Sequence[str], kinds: Sequence[str], only_print: bool, as_json: bool) -> None:
    """Open an archive as pages in the browser.

    The pages are in the folder derived/html of ARCHIVE and work without a server, also from a USB stick. They show
    every message, with a search. After an export, only what is new is made. SELECTORS choose conversations, as for
    `stride export`. To write the pages to another folder, use `stride convert html`.

    JSON lines report the progress; the last one, with the event Summary, is the report.

    \b
    Examples:
        stride view site
        stride view site --type public
        stride view site --print
    """
    selection = Selection(tuple(read_selectors(selectors)), frozenset(kinds))
    writes_json = as_json or not (only_print or show.for_people(as_json=as_json))
    options = ConvertOptions(selection=selection, force=True)
    try:
        with archive_errors(archive), pages_of(archive) as place:
            report = converted(archive, "html", place, options, writes_json=writes_json)
    except OSError as error:
        message = f"Cannot write the pages into the archive: {os_message(error)}. Use `stride convert html`."
        raise CommandError(os_exit_code(error), message) from error
    address = (place / "index.html").absolute().as_uri()
    if writes_json or not only_print:
        show_report(report, place, writes_json=writes_json)
    if only_print:
        if not as_json:
            show.line(address)
    elif not webbrowser.open(address):
        show.message(f"No browser could be started. Open this address: {address}")
