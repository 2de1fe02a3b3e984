"""`stride restore`: run the local server with the site of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from stride_async._cli import show
from stride_async._cli.archives import archive_errors, local_archive_argument
from stride_async._cli.escape import printable
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.server import Loading, ServerOptions, run_server, server_options
from stride_async.export.formats._report import Tally
from stride_async.export.formats.seed import NOT_HELD, seed_lines


@click.command(name="restore")
@local_archive_argument
@server_options
def command(archive: Path, **options: Any) -> None:
    """Run a local server with the site of an archive.

    Clients, bots and the other commands find the site as it was: every conversation, message, person and file. The
    server takes files from ARCHIVE and copies nothing, so keep the archive where it is. What is sent to the site is not
    written to the archive.

    Options are those of `stride server`. What the server cannot hold, such as malformed messages, is listed.

    \b
    Examples:
        stride restore site
        stride restore site --env-file .env --rate-limit 0
        stride restore site --db site.sqlite --port 8080
    """
    tally = Tally()

    def lines() -> Iterator[bytes]:
        yield from seed_lines(archive, tally)
        for loss in tally.losses():
            if loss.kind in NOT_HELD:
                examples = ", ".join(loss.examples)
                show.message(printable(f"Not restored: {show.counted(loss.count, NOT_HELD[loss.kind])} ({examples})"))

    with archive_errors(archive):
        try:
            run_server(ServerOptions(**options), Loading(f"Loading {archive}."), seed=lines(), media_root=archive)
        except ValueError as error:
            raise CommandError(Exit.USAGE, str(error)) from error
