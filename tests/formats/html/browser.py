"""A headless Chromium that opens pages from the disk."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 240  # after which a browser is taken to hang
QUIETLY = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
)
_BUDGET = "20000"  # milliseconds of the page's own time, which passes at once when nothing happens


@attrs.frozen
class Page:
    """A page after its scripts ran."""

    html: str
    complaints: tuple[str, ...]
    """Lines of the console: errors, warnings and violations of the policy."""

    def text(self, id: str) -> str:
        """Return the text of an element that has no element of the same name in it."""
        match = re.search(rf'<(\w+)[^>]* id="{id}"[^>]*>(.*?)</\1>', self.html, re.DOTALL)
        assert match is not None, f"no element {id}"
        return html.unescape(re.sub(r"<[^>]*>", " ", match[2])).strip()

    def results(self) -> list[str]:
        """Return the text of each result of a search."""
        found = re.findall(r'<a class="result".*?<span class="said"[^>]*>(.*?)</span>', self.html, re.DOTALL)
        return [html.unescape(re.sub(r"<[^>]*>", "", one)) for one in found]

    def loaded(self) -> list[str]:
        """Return the scripts of data that the page has loaded."""
        return re.findall(r'<script src="((?:search|\.\./|c/)[^"]*)"', self.html)


def installed_browser() -> str | None:
    """Return the path of a Chromium, or None if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def open_page(profile: Path, path: Path, fragment: str = "") -> Page:
    """Return a page as it is after all that it does by itself. Skips the test if no Chromium is installed."""
    browser = installed_browser()
    if browser is None:
        pytest.skip("no Chromium is installed: see CONTRIBUTING.md")
    done = subprocess.run(
        [
            *(browser, *QUIETLY),
            *("--enable-logging=stderr", f"--user-data-dir={profile}", f"--virtual-time-budget={_BUDGET}"),
            *("--dump-dom", path.absolute().as_uri() + fragment),
        ],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    lines = [line.split("CONSOLE", 1)[1] for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Page(done.stdout, tuple(lines))
