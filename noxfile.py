"""Sessions for every check. CONTRIBUTING.md describes them, and .ci/run runs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"  # uv, which `nox[uv]` has, installs in seconds

# The last version under the Apache license, with what was current then.
SYNAPSE = (
    *("matrix-synapse==1.98.0", "twisted==23.10.0", "prometheus-client<0.20", "pydantic<2.6", "treq<25"),
    "setuptools<81",  # Synapse imports pkg_resources
)
SITE = ("docs/_docstrings.py", "docs/_links.py", "docs/conf.py")
CODE = ("stride_async", "tests", "benchmarks", "examples", *SITE, "noxfile.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests except the slow ones on the current Python, on all cores."""
    _run_tests(session, "-m", "not slow")


@nox.session(name="tests-slow")
def tests_slow(session: nox.Session) -> None:
    """Run the tests that take more than ten seconds each."""
    _run_tests(session, "-m", "slow", "--verbose")


@nox.session(name="tests-all", python=["3.11", "3.12", "3.13"])
def tests_all(session: nox.Session) -> None:
    """Run every test on every supported Python that is installed."""
    _run_tests(session)


@nox.session(venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the same tests with the lowest versions that pyproject.toml allows, and check the branch coverage."""
    session.install("--resolution", "lowest-direct", "-e", ".[dev]")
    # Coverage takes about two thirds more time. It is measured here, so that the ordinary run is quick.
    _run_installed_tests(session, "-m", "not slow", "--cov", "--cov-report=term:skip-covered")


def _run_tests(session: nox.Session, *options: str) -> None:
    session.install("-e", ".[dev]")
    _run_installed_tests(session, *options)


def _run_installed_tests(session: nox.Session, *options: str) -> None:
    env = {
        "PYTEST_TIMEOUT": "600",  # seconds; a test that waits forever fails with a traceback of where it waits
        "PYTHONDONTWRITEBYTECODE": "",  # Many tests start Python, which should compile each module once only.
    }
    workers = max(4, os.cpu_count() or 1)  # More than two cores need, because tests also wait.
    session.run("pytest", *(session.posargs or [f"--numprocesses={workers}", *options, "tests"]), env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the rules and the format with Ruff, the spelling with codespell, and the prose with a test."""
    session.install(".[lint,testing]")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("codespell", *CODE, "docs", *map(str, sorted(Path().glob("*.md"))))
    session.run("pytest", "--noconftest", "tests/test_prose.py")


@nox.session
def types(session: nox.Session) -> None:
    """Check the package and the typing tests with strict mypy, and that every public name has a complete type."""
    session.install("-e", ".[all,testing,types]")
    session.run("mypy")
    session.run("basedpyright", "--verifytypes", "stride_async", "--ignoreexternal")  # fails below 100 %


@nox.session
def imports(session: nox.Session) -> None:
    """Check which module may import which."""
    session.install("-e", ".[all,imports]")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in docs/_build/html; a warning, such as a link that leads nowhere, is an error."""
    session.install("-e", ".[all,testing,docs]")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--fresh-env", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks that finish within six minutes, or only named rows (`-- P1 P16 --record`)."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks.run", *session.posargs)


@nox.session(name="bench-long")
def bench_long(session: nox.Session) -> None:
    """Run the benchmarks that take longer; the options are those of `bench`."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks.run", "--long", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Make 100 000 calls through random faults; nothing is lost or duplicated, memory stays flat (`-- --calls N`)."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """Move a real chat history into Synapse through kills and restarts, if the history is next to the checkout."""
    session.install("-e", ".[dev]")
    home = Path(session.create_tmp()) / "synapse"
    session.run("python", "-m", "venv", str(home))
    python = str(home / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", *SYNAPSE, external=True)
    session.run("pytest", "--capture=no", "tests/matrix/test_synapse.py", env={"STRIDE_SYNAPSE": python})


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel, and run the wheel in a clean environment."""
    session.install("build", "twine")
    made = Path(session.create_tmp()) / "dist"
    for old in made.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(made))
    packages = sorted(str(path) for path in made.iterdir())
    session.run("twine", "check", "--strict", *packages)
    clean = Path(session.create_tmp()) / "clean"
    session.run("python", "-m", "venv", "--clear", str(clean))
    programs = clean / ("Scripts" if sys.platform == "win32" else "bin")
    wheel = next(path for path in packages if path.endswith(".whl"))
    session.run(str(programs / "python"), "-m", "pip", "install", "--quiet", f"{wheel}[all]", external=True)
    session.run(str(programs / "stride"), "--version", external=True)
    session.run(str(programs / "python"), "-c", "from stride_async import *; import stride_async.server", external=True)
