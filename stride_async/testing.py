"""A pytest plugin with fixtures for testing a bot: a local server, and a client connected to it.

Every run of pytest loads this module if the package is installed. So everything that is slow to import or needs an
extra is imported only by the fixtures. If it is missing, no other test is affected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stride_async import StrideClient
    from stride_async.server import LocalServer

try:
    from pytest_asyncio import fixture as _fixture
except ImportError:  # also raised if an uninstalled pytest-asyncio left an empty folder
    _fixture = pytest.fixture  # type: ignore[assignment]  # unusable, and _stride_server_class says what to install

__all__ = ["stride_client", "stride_server", "stride_server_options"]

_WHAT_TO_INSTALL = "pip install 'stride-async[testing]'"
_SCOPE_OF_THE_FIXTURE = {None, "", "fixture-scope"}  # values that select the event loop of the fixture's own scope


@pytest.fixture
def stride_server_options() -> Mapping[str, Any]:
    """The keyword arguments that `stride_server` passes to `LocalServer`.

    Override this fixture to change them. `rate_limit` defaults to None.
    """
    return {}


@_fixture
async def stride_server(
    _stride_server_class: type[LocalServer], stride_server_options: Mapping[str, Any]
) -> AsyncIterator[LocalServer]:
    """A running `LocalServer` for one test. It is empty unless `stride_server_options` contains a seed.

    It runs in the event loop of the test.
    """
    async with _stride_server_class(**{"rate_limit": None, **stride_server_options}) as server:
        yield server


@_fixture
async def stride_client(stride_server: LocalServer) -> AsyncIterator[StrideClient]:
    """A `StrideClient` connected to `stride_server`, closed after the test.

    It has no rate limit and never waits: it retries at once, and raises `RateLimited` if the server asks it to wait.
    """
    from stride_async import ClientCredentials, Settings, StrideClient  # noqa: PLC0415 -- see the module docstring

    settings = Settings(base_url=stride_server.url, backoff=0.0, longest_wait=0.0, calls_per_minute=None)
    app = ClientCredentials(stride_server.client_id, stride_server.client_secret)
    async with StrideClient(app, cloud_id=stride_server.cloud_id, settings=settings) as client:
        yield client


@pytest.fixture
def _stride_server_class(request: pytest.FixtureRequest) -> type[LocalServer]:
    """The class of the server, or a failed test if it is not installed or could not respond in this test."""
    if not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(f"stride_server needs pytest-asyncio: {_WHAT_TO_INSTALL}", pytrace=False)
    try:
        from stride_async.server import LocalServer  # noqa: PLC0415 -- see the module docstring
    except ImportError as error:
        pytest.fail(f"stride_server needs {error.name}: {_WHAT_TO_INSTALL}", pytrace=False)
    if (problem := _loop_problem(request)) is not None:
        pytest.fail(problem, pytrace=False)
    return LocalServer


def _loop_problem(request: pytest.FixtureRequest) -> str | None:
    """Return why the server's event loop would not run during the test, so that every call would hang, or None."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:
        return (
            "stride_server runs in the event loop of the test, but this test has none: "
            "use `async def`, and mark it `pytest.mark.asyncio` unless asyncio_mode is auto"
        )
    test = marker.kwargs.get("loop_scope") or request.config.getini("asyncio_default_test_loop_scope")
    own = request.config.getini("asyncio_default_fixture_loop_scope")
    if test != ("function" if own in _SCOPE_OF_THE_FIXTURE else own):
        return (
            f"stride_server would not run in the {test}'s event loop, in which this test runs: "
            f"set asyncio_default_fixture_loop_scope = {test}"
        )
    return None
