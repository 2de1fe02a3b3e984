"""Fixtures for the tests of a bot: a local server, and a client of it. pytest finds them by itself.

Every pytest loads this module where the package is installed. What takes time or an extra is therefore imported when a
test asks for it, and its absence harms no other test.
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
except ImportError:  # also where an uninstalled package left a folder behind
    _fixture = pytest.fixture  # type: ignore[assignment]  # of no use: _stride_server_class says what to install

__all__ = ["stride_client", "stride_server", "stride_server_options"]

_WHAT_TO_INSTALL = "pip install 'stride-async[testing]'"
_OF_THE_FIXTURE = {None, "", "fixture-scope"}
"""With these, the loop of a fixture is the one of its scope."""


@pytest.fixture
def stride_server_options() -> Mapping[str, Any]:
    """Keyword arguments of `LocalServer` for `stride_server`; define a fixture of this name to choose others.

    `rate_limit` is None unless named.
    """
    return {}


@_fixture
async def stride_server(
    _stride_server_class: type[LocalServer], stride_server_options: Mapping[str, Any]
) -> AsyncIterator[LocalServer]:
    """A `LocalServer` of this test alone, empty unless `stride_server_options` says otherwise.

    It answers in the event loop of the test.
    """
    async with _stride_server_class(**{"rate_limit": None, **stride_server_options}) as server:
        yield server


@_fixture
async def stride_client(stride_server: LocalServer) -> AsyncIterator[StrideClient]:
    """A `StrideClient` of `stride_server`, closed after the test.

    It keeps no limit of its own and never waits: what failed is repeated at once, and a wait that the server states is
    raised as `RateLimited`.
    """
    from stride_async import ClientCredentials, Settings, StrideClient  # noqa: PLC0415 -- as the module says

    settings = Settings(base_url=stride_server.url, backoff=0.0, longest_wait=0.0, calls_per_minute=None)
    app = ClientCredentials(stride_server.client_id, stride_server.client_secret)
    async with StrideClient(app, cloud_id=stride_server.cloud_id, settings=settings) as client:
        yield client


@pytest.fixture
def _stride_server_class(request: pytest.FixtureRequest) -> type[LocalServer]:
    """The class, where it is installed and the test lets it answer."""
    if not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(f"stride_server needs pytest-asyncio: {_WHAT_TO_INSTALL}", pytrace=False)
    try:
        from stride_async.server import LocalServer  # noqa: PLC0415 -- as the module says
    except ImportError as error:
        pytest.fail(f"stride_server needs {error.name}: {_WHAT_TO_INSTALL}", pytrace=False)
    if (problem := _of_another_loop(request)) is not None:
        pytest.fail(problem, pytrace=False)
    return LocalServer


def _of_another_loop(request: pytest.FixtureRequest) -> str | None:
    """Why the server's event loop would stand still while the test runs, so that each call hangs; None: it runs."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:
        return (
            "stride_server answers in the event loop of the test, which this one does not have: "
            "write `async def`, and mark it `pytest.mark.asyncio` unless asyncio_mode is auto"
        )
    test = marker.kwargs.get("loop_scope") or request.config.getini("asyncio_default_test_loop_scope")
    own = request.config.getini("asyncio_default_fixture_loop_scope")
    if test != ("function" if own in _OF_THE_FIXTURE else own):
        return (
            f"stride_server would not answer in the {test}'s event loop, in which this test runs: "
            f"set asyncio_default_fixture_loop_scope = {test}"
        )
    return None
