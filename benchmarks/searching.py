"""P22: measure what a search of two words loads, in a headless Chromium that opens the pages from the disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_LONGEST = 300.0  # seconds
_BUDGET = "60000"  # milliseconds of the page's own time


def most_loaded(pages: Path) -> int | None:
    """Return the most bytes that a search of two words loads; None without a browser.

    The words are two frequent ones, a frequent and a rare one, and two rare ones, which occur in no message together.
    """
    rare = _words_of(pages / "search/w/0-0.js")
    queries = ("build tests", f"build {rare[0]}", f"{rare[0]} {rare[-1]}")
    found = [loaded for query in queries if (loaded := _loaded(pages, query)) is not None]
    return max(found, default=None)


def _words_of(file: Path) -> list[str]:
    """Return the words in a file of the search."""
    return re.findall(r"(?:\"|\\n)(\w+) ", file.read_text())


def _loaded(pages: Path, query: str) -> int | None:
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                *(f"--user-data-dir={profile}", f"--virtual-time-budget={_BUDGET}"),
                *("--dump-dom", f"{(pages / 'index.html').absolute().as_uri()}#q={quote(query)}"),
            ],
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=True,
        )
    if "Searching" in done.stdout:
        raise RuntimeError(f"the search for {query!r} did not end")
    return sum((pages / name).stat().st_size for name in re.findall(r'<script src="(search/[^"]+)"', done.stdout))
