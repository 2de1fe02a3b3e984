"""Fixtures for nearly all tests: a local server and a client connected to it."""

from __future__ import annotations

import copyreg
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from stride_async import ClientCredentials, Settings, StrideClient, StrideError
from stride_async.server import LocalServer

# Continuous integration always tries the same examples. Elsewhere they are random, and Hypothesis keeps the failing
# ones in `.hypothesis`. Neither fails because the machine is busy.
_UNHURRIED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("ci", _UNHURRIED, derandomize=True, database=None, print_blob=True)
hypothesis.settings.register_profile("random", _UNHURRIED, derandomize=False)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "random")

# A shell starts a background job with SIGINT ignored, and so would every command that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEETUP = Path(__file__).parents[1].parent / "shared/data/meetup"  # a real chat history, if it is next to the checkout


def pytest_sessionstart(session: pytest.Session) -> None:
    """Name the test files in the output; on a terminal, pytest-sugar does it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not sys.stdout.isatty():
        session.config.pluginmanager.register(FilesBegun(reporter))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting the objects of all tests again and again, a seventh of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape unpaired surrogates in the log and output of a test, which pytest-xdist cannot send."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


class FilesBegun:
    """Writes the name of each test file when its first test begins. With pytest-xdist, two files run side by side."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._begun: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take the beginning of a test."""
        file = nodeid.partition("::")[0]
        if file not in self._begun:
            self._begun.add(file)
            self._reporter.write(f"\n{file} ")


@pytest.fixture(autouse=True)
def pickles_as_without_dask() -> None:
    """Forget how Dask pickles errors: with their causes. It registers that for all programs that import it."""
    for kind in _kinds_of(StrideError):
        copyreg.dispatch_table.pop(kind, None)


def _kinds_of(error: type[StrideError]) -> Iterator[type[StrideError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds_of(kind)


@pytest.fixture
def meetup() -> Path:
    """Return the folder of the meet-up's seed, or skip the test if there is none."""
    if not MEETUP.is_dir():
        pytest.skip("the meet-up's chat history is not here")
    return MEETUP


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer(rate_limit=None) as server:
        yield server


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[StrideClient]:
    """Yield a client that retries without waiting."""
    async with client_of(server) as client:
        yield client


def variables_of(server: LocalServer) -> dict[str, str]:
    """Return the environment variables that a user of a server sets."""
    return {
        "STRIDE_BASE_URL": server.url,
        "STRIDE_CLOUD_ID": server.cloud_id,
        "STRIDE_CLIENT_ID": server.client_id,
        "STRIDE_CLIENT_SECRET": server.client_secret,
    }


def client_of(server: LocalServer, **options: object) -> StrideClient:
    """Return a client of a server with other options."""
    settings = Settings(base_url=server.url, **{"backoff": 0.0, "calls_per_minute": None, **options})
    return StrideClient(
        ClientCredentials(server.client_id, server.client_secret), cloud_id=server.cloud_id, settings=settings
    )
