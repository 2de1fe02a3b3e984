"""What README.md says of the source is true, also for someone who reads it on PyPI."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINKS = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", README, flags=re.DOTALL))

FOR_CONTRIBUTORS = {"bench", "dev", "docs", "imports", "lint", "types"}


def test_links_lead_to_files_of_the_source_distribution():
    """Every link is a path that exists and is distributed; the project has no home to which a URL could lead."""
    distributed = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    wrong = [
        link
        for link in LINKS
        if not (ROOT / link).exists() or not any(f"/{link}/".startswith(f"{path}/") for path in distributed)
    ]

    assert len(LINKS) > 30
    assert [] == wrong
    assert "urls" not in PROJECT["project"]


def test_every_extra_for_users_is_in_the_table():
    """The table of extras lists what `pyproject.toml` defines, and nothing else."""
    listed = re.findall(r"^\| `'\.\[(\w+)\]'` \|", README, re.MULTILINE)

    assert sorted(PROJECT["project"]["optional-dependencies"].keys() - FOR_CONTRIBUTORS) == sorted(listed)


def test_every_guide_and_example_is_linked():
    """A reader of README.md finds each guide, each page that explains why, and each program of `examples/`."""
    folders = (ROOT / "docs/howto", ROOT / "docs/why", ROOT / "examples")
    pages = {path.relative_to(ROOT).as_posix() for folder in folders for path in folder.iterdir() if path.is_file()}

    assert set() == pages - set(LINKS)
