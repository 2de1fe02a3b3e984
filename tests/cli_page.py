"""Write `docs/cli.md` from the help of each command, and `docs/stride.1` with it.

Run it with `python -m tests.cli_page`; tests compare the files with the help.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stride_async._cli.main import stride
from tests import man_page
from tests.cli_help import ENVIRONMENT, EXIT_CODES, context_of, helps

__all__ = ["PAGE", "context_of", "rendered", "stride"]

PAGE = Path(__file__).parents[1] / "docs/cli.md"

OPENING = """\
# The command

The command `stride` requires the extra `cli`, and its local server the extra `server`: `pip install '.[all]'` installs
both. This page shows what `--help` prints. With the extra `speed`, the command runs on
[uvloop](https://uvloop.readthedocs.io/), which makes calls cheaper; `-v` says which event loop is used.

`stride completion` prints a script with which bash, zsh or fish completes commands, and `man stride` shows what is on
this page. The wheel installs the man page in `share/man`, where `man` finds it while the environment is active.

Data goes to stdout: tables on a terminal, JSON lines elsewhere. Everything else goes to stderr.

If stdout is closed (`>&-`), a command fails before it does anything. If stderr is closed, it runs silently. If the
reader of stdout ends early, as in `stride history general | head -1`, the command ends silently too; `export`, `verify`
and `status` do their work nevertheless, and keep their exit code.

Text that people read contains no control characters, no invisible formatting characters and nothing that the encoding
of the terminal lacks: a replacement character stands for each of them. JSON is UTF-8 and has every value unchanged; on
a terminal, such characters are escaped in it (`\\u009b`).
"""


def rendered() -> str:
    """Return the page, with a heading for each command, and for a group before its commands."""
    tables = [
        _table("Environment variables", "variable", {f"`{name}`": text for name, text in ENVIRONMENT.items()}),
        _table("Exit codes", "code", {str(int(code)): text for code, text in EXIT_CODES.items()}),
    ]
    return "\n".join(
        [OPENING, *tables, *(f"## {path}\n\n```text\n{text}\n```\n" for path, text in helps(stride, "stride"))]
    )


def _table(heading: str, column: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join([f"## {heading}\n", f"| {column} | meaning |", "| --- | --- |", *lines, ""])


if __name__ == "__main__":
    PAGE.write_text(rendered())
    man_page.PAGE.write_text(man_page.rendered())
