"""`stride migrate`: move an archive to a system that is running."""

from __future__ import annotations

import click

from stride_async._cli.lazy import LazyGroup


@click.group(name="migrate", cls=LazyGroup, modules={"matrix": "migrate_matrix"}, otherwise="export")
def command() -> None:
    """Move an archive to a system that is running.

    \b
    Examples:
        stride migrate matrix site --dry-run
    """
