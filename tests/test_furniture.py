"""Test that the files around the package agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from stride_async import __version__

ROOT = Path(__file__).parents[1]


def sessions() -> set[str]:
    """Return the names of all sessions in noxfile.py."""
    found = re.findall(r'@nox\.session(?:\((?:name="([\w-]+)")?[^)]*\))?\ndef (\w+)', (ROOT / "noxfile.py").read_text())
    return {given or name for given, name in found}


@pytest.mark.parametrize("name", [".ci/run", ".github/workflows/ci.yml", ".pre-commit-config.yaml", "CONTRIBUTING.md"])
def test_every_session_that_is_run_exists(name: str):
    """CI, the hooks and the guide name sessions of noxfile.py."""
    text = re.sub(r"\$\{\{ matrix\.session \}\}", "tests-slow lowest", (ROOT / name).read_text())
    runs = re.findall(r"nox -s ([a-z -]+?)(?= -- |[`\n]|$)", text, re.MULTILINE)

    assert runs
    assert set() == {session for run in runs for session in run.split()} - sessions()


def test_ci_on_github_runs_what_the_other_ci_runs():
    """No check is left out on one of them."""
    ours, theirs = ((ROOT / name).read_text() for name in (".ci/run", ".github/workflows/ci.yml"))

    for run in re.findall(r"nox -s ([a-z -]+)$", ours, re.MULTILINE):
        assert all(re.search(rf"\b{session}\b", theirs) for session in run.split())


def test_ci_tests_every_python_of_the_classifiers():
    """A Python that the package claims is one that CI runs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))

    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())

    assert matrix is not None
    assert claimed == re.findall(r'"([\d.]+)"', matrix[1])
    assert project["requires-python"] == f">={claimed[0]}"


def test_changelog_has_a_dated_section_for_the_version():
    """Unless something newer is being worked on, it is the first section."""
    headings = re.findall(r"^## \[(.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased]"]

    assert re.fullmatch(rf"{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", released[0])
