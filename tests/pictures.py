"""Make the pictures of the documentation from real runs.

`python -m tests.pictures` makes all of them in `docs/pictures`, and `python -m tests.pictures demo.svg` only this one.
What a command shows on a terminal becomes an SVG, and a page in a headless Chromium a PNG. Nothing in a picture is
written by hand, so a picture shows what the reader will see.
"""

from __future__ import annotations

import asyncio
import html
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stride_async.document import (
    bullet_list,
    code_block,
    decision_item,
    decision_list,
    doc,
    emoji,
    link,
    media,
    media_group,
    mention,
    paragraph,
    strong,
    text,
)
from stride_async.export.formats import convert
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported
from tests.formats.html.browser import QUIETLY, installed_browser

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"
ROWS, COLUMNS = 24, 80
_SECONDS = 240  # after which a browser is taken to hang
_ENOUGH_FOR_A_PAGE = "5000"  # milliseconds of the page's own time
# The font that rich names comes from another host. Without it, the usual fonts of terminals are tried.
_FOREIGN_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_REDRAWING = "\r\x1b[2K"  # how rich begins to draw anew
_CONTROL = re.compile(r"(\r?\n|\r|\x1b\[2K|\x1b\[\d*A|\x1b\[\?25[lh])")

Lines = Sequence[str]


def demo() -> str:
    """Return the picture of `stride demo`, up to its verdict."""
    with tempfile.TemporaryDirectory() as folder:
        shown = on_terminal("demo", folder=Path(folder), variables={"TMPDIR": folder})
    lines = screen(shown)
    end = next(number for number, line in enumerate(lines) if line.startswith("Everything matches"))
    verdict, _, _ = lines[end].partition(". ")
    return svg("demo", "stride demo", [*lines[:end], f"{verdict}."])


def export() -> str:
    """Return the picture of an export about halfway."""
    generated = "conversations=30,messages=200,seed=7"
    with tempfile.TemporaryDirectory() as folder, running_server(generated, "--latency", "0.2") as variables:
        shown = on_terminal("export", "-o", "site", folder=Path(folder), variables=variables)
    halfway = min(drawings(shown), key=_distance_from_half)
    return svg("export", "stride export -o site", screen(halfway))


def bot_try() -> str:
    """Return the picture of a talk with the bot in `examples/bot_answers.py`."""
    typed = ("todo Water the plants", "todo Order the cake", "/press done 2", "list", "file")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "examples/bot_answers.py", folder)
        shown = on_terminal("bot", "try", "bot_answers:bot", folder=Path(folder), typed=typed, prompt="Ann Adler> ")
    lines = screen(shown)
    return svg("bot-try", "stride bot try bot_answers:bot", lines[:-1] if lines[-1] == "Ann Adler> " else lines)


def view_light() -> bytes:
    """Return the picture of a page that `stride view` makes, on a light screen."""
    return asyncio.run(_viewed(is_dark=False))


def view_dark() -> bytes:
    """Return the picture of the same page on a dark screen."""
    return asyncio.run(_viewed(is_dark=True))


TERMINALS: Mapping[str, Callable[[], str]] = {"demo.svg": demo, "export.svg": export, "bot-try.svg": bot_try}
PAGES: Mapping[str, Callable[[], bytes]] = {"view-light.png": view_light, "view-dark.png": view_dark}


def on_terminal(
    *args: str, folder: Path, variables: Mapping[str, str] = {}, typed: Sequence[str] = (), prompt: str = ""
) -> str:
    """Run the command on a terminal and return what it shows; a line is `typed` at each `prompt`, at last Ctrl-D."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("STRIDE_", "COLUMNS", "NO_COLOR"))
    }
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    command = [sys.executable, "-m", "stride_async", *args]
    environment = kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | variables
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            shown = _conversation(terminal.fileno(), [*(f"{line}\n" for line in typed), "\x04"], prompt)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(args)} ended with {process.returncode}: {shown}")
    return shown


def _conversation(terminal: int, typed: list[str], prompt: str) -> str:
    """Read until the last process has closed the terminal, which Linux reports as EIO."""
    shown = b""
    try:
        while block := os.read(terminal, 65_536):
            shown += block
            if prompt and typed and shown.endswith(prompt.encode()):
                os.write(terminal, typed.pop(0).encode())
    except OSError:
        pass
    return shown.decode()


@contextmanager
def running_server(plan: str, *options: str) -> Iterator[dict[str, str]]:
    """Run `stride server` with a generated site, and return the variables that its clients read."""
    command = [sys.executable, "-m", "stride_async", "server", "--generate", plan, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            facts = json.loads(server.stdout.readline())
            names = {"url": "BASE_URL"} | {name: name.upper() for name in ("cloud_id", "client_id", "client_secret")}
            yield {f"STRIDE_{variable}": facts[name] for name, variable in names.items()}
        finally:
            server.send_signal(signal.SIGTERM)


def drawings(shown: str) -> list[str]:
    """Return everything that was shown before each time that the progress was drawn anew."""
    return [shown[: match.start()] for match in re.finditer(re.escape(_REDRAWING), shown)]


def _distance_from_half(shown: str) -> float:
    counts = re.findall(r"(\d+) of (\d+) conversations", shown)
    return abs(int(counts[-1][0]) / int(counts[-1][1]) - 0.5) if counts else 1.0


def screen(shown: str) -> list[str]:
    """Return the lines that are on a terminal in the end, with their colors.

    Of all that moves a cursor, this understands what rich uses to draw progress: a new line, the start of the line, the
    line above, and the removal of a line.
    """
    lines = [""]
    row = 0
    for part in _CONTROL.split(shown):
        if part.endswith("\n"):
            row += 1
            if row == len(lines):
                lines.append("")
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1] or 1)
        elif part != "\r" and not part.startswith("\x1b[?25"):
            lines[row] += part
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def svg(name: str, command: str, lines: Lines) -> str:
    """Return a picture of a terminal that shows a command and its lines."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", highlight=False
    )
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    console.print(Text.from_ansi("\n".join(lines)))
    return _FOREIGN_FONT.sub("", console.export_svg(title=command, unique_id=name))


async def _viewed(*, is_dark: bool) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with LocalServer(rate_limit=None) as server, client_of(server) as client:
            _let_people_talk(server)
            await exported(client, folder / "site")
        convert(folder / "site", "html", folder / "pages")
        page = max((folder / "pages/c").glob("*/2018-*.html"))
        return photograph(page, folder / "profile", is_dark=is_dark)


def _let_people_talk(server: LocalServer) -> None:
    ann, bob, chloe = (server.add_user(name, id=name) for name in ("Ann Adler", "Bob Brown", "Chloé Dubois"))
    room = server.add_conversation("release", roster=[ann, bob, chloe])
    notes = server.add_media(room, "release-notes.md", b"# 4.2\n\n- Faster search\n")
    said = (
        (ann, 0, doc(paragraph("Good morning! Is ", strong("4.2"), " ready?"))),
        (bob, 2, doc(paragraph("Nearly. Two things are left:"), bullet_list("the notes", "a last run of the tests"))),
        (chloe, 5, doc(paragraph("The notes are here:"), media_group(media(notes, collection=room)))),
        (bob, 9, doc(paragraph("And the tests:"), code_block("1692 passed in 213.40s"))),
        (ann, 11, doc(decision_list(decision_item("We release at 11:00", local_id="d1"), local_id="d")).to_json()),
        (
            ann,
            12,
            doc(
                paragraph(
                    mention(bob, "@Bob Brown"), text(" can you tell "), link("the list", "https://example.org"), "?"
                )
            ),
        ),
        (bob, 13, doc(paragraph("Done ", emoji(":tada:", text="🎉")))),
    )
    for sender, minute, document in said:
        content = document if isinstance(document, dict) else document.to_json()
        server.add_message(room, content, sender_id=sender, ts=f"2018-06-14T08:{minute:02}:00Z")


def photograph(page: Path, profile: Path, *, is_dark: bool) -> bytes:
    """Return a picture of a page as PNG.

    Raises:
        RuntimeError: No Chromium is installed.
    """
    browser = installed_browser()
    if browser is None:
        raise RuntimeError("no Chromium is installed: see CONTRIBUTING.md")
    picture = profile.with_suffix(".png")
    subprocess.run(
        [
            *(browser, *QUIETLY, f"--user-data-dir={profile}", f"--virtual-time-budget={_ENOUGH_FOR_A_PAGE}"),
            *(
                "--hide-scrollbars",
                "--window-size=860,720",
                f"--blink-settings=preferredColorScheme={int(not is_dark)}",
            ),
            *(f"--screenshot={picture}", page.absolute().as_uri()),
        ],
        capture_output=True,
        timeout=_SECONDS,
        check=True,
    )
    return picture.read_bytes()


def words(picture: str) -> set[str]:
    """Return the words in a picture of a terminal, without what differs between runs.

    That is numbers and their units, digests, the time that is left, and the names of conversations in progress, which
    stand before their counts.
    """
    shown = html.unescape("\n".join(re.findall(r"<text[^>]*>(.*?)</text>", picture))).replace("\xa0", " ")
    for differing in (
        r"[0-9a-f]+\.\.\.",
        r"^  .* · (?=[\d,]+ messages)",
        r"· about\s[\d:]+\sleft",
        r"\b(bytes|kB|MB)\b",
    ):
        shown = re.sub(differing, "", shown, flags=re.MULTILINE)
    return set(re.findall(r"[^\W\d_]+", shown))


def main(names: Sequence[str]) -> None:
    """Make the named pictures, or all of them."""
    makers: Mapping[str, Callable[[], str | bytes]] = {**TERMINALS, **PAGES}
    for name in names or makers:
        made = makers[name]()
        (PICTURES / name).write_bytes(made.encode() if isinstance(made, str) else made)


if __name__ == "__main__":
    main(sys.argv[1:])
