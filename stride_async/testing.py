"""A pytest plugin with fixtures for testing a bot: a local server, a client connected to it, and a bot that it calls.

Every run of pytest loads this module if the package is installed. So everything that is slow to import or needs an
extra is imported only by the fixtures. If it is missing, no other test is affected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ModuleNotFoundError as _error:
    _message = f"stride_async.testing requires {_error.name}: pip install 'stride-async[testing]'"
    raise ModuleNotFoundError(_message, name=_error.name) from _error

from stride_async._arguments import of_type, optional_text

if TYPE_CHECKING:
    from stride_async import Document, Json, Message, StrideClient
    from stride_async._rehearsal import Rehearsal
    from stride_async.bot import ActionAnswer, Bot, RunningBot
    from stride_async.server import LocalServer

try:
    from pytest_asyncio import fixture as _fixture
except ImportError:  # also raised if an uninstalled pytest-asyncio left an empty folder
    _fixture = pytest.fixture  # type: ignore[assignment]  # unusable, and _stride_server_class says what to install

__all__ = [
    "BotKit",
    "stride_bot",
    "stride_bot_kit",
    "stride_bot_settings",
    "stride_client",
    "stride_server",
    "stride_server_options",
]

_WHAT_TO_INSTALL = "pip install 'stride-async[testing]'"
_SCOPE_OF_THE_FIXTURE = {None, "", "fixture-scope"}  # values that select the event loop of the fixture's own scope


@pytest.fixture
def stride_server_options() -> Mapping[str, Any]:
    """The keyword arguments that `stride_server` passes to `LocalServer`.

    Override this fixture to change them. By default, `rate_limit` is None, and the `choices` are those of a server that
    redelivers at once.
    """
    return {}


@_fixture
async def stride_server(
    _stride_server_class: type[LocalServer], stride_server_options: Mapping[str, Any]
) -> AsyncIterator[LocalServer]:
    """A running `LocalServer` for one test. It is empty unless `stride_server_options` contains a seed.

    It has no rate limit, and repeats a failed delivery at once. It runs in the event loop of the test. A test without
    an event loop, or with a different one, fails with a message that explains this.
    """
    from stride_async.server import Choices  # noqa: PLC0415 -- see the module docstring

    options = {"rate_limit": None, "choices": Choices(redelivery_spans=(0.0, 0.0, 0.0)), **stride_server_options}
    async with _stride_server_class(**options) as server:
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


class _Errors:
    """The errors of a bot's handlers, and how many of them the test has looked at."""

    def __init__(self) -> None:
        self._all: list[Exception] = []
        self._count_seen = 0

    def add(self, error: Exception) -> None:
        self._all.append(error)

    def seen(self) -> list[Exception]:
        """Return all errors, which the test has now looked at."""
        self._count_seen = len(self._all)
        return list(self._all)

    def raise_unseen(self) -> None:
        """Raise the first error that the test did not look at, once."""
        unseen = self._all[self._count_seen :]
        self._count_seen = len(self._all)
        if unseen:
            raise unseen[0]


_ERRORS = pytest.StashKey[_Errors]()


class BotKit:
    """A bot that runs in a test, called by a local server over HTTP as the service called it.

    It is installed in one room with one person. Methods return when the bot is idle: when all deliveries have ended and
    all events are handled. The pauses of `TryAgain` are skipped, and a delivery that fails is repeated at once.
    """

    def __init__(self, rehearsal: Rehearsal, errors: _Errors, room: str, person: str) -> None:
        self._rehearsal = rehearsal
        self._errors = errors
        self.room = room
        """The id of a room in which the bot is installed."""
        self.person = person
        """The id of a person in that room."""

    @property
    def server(self) -> LocalServer:
        """The server, with everything else that the test needs: more people and rooms, faults, glances."""
        return self._rehearsal.server

    @property
    def running(self) -> RunningBot:
        """The running bot. A restart makes another one."""
        return self._rehearsal.running

    @property
    def errors(self) -> list[Exception]:
        """What the bot's handlers raised so far, whether or not it has an error handler for them; the oldest first.

        The test fails with the first error that arrived after it last looked.
        """
        return self._errors.seen()

    async def mention(self, text: str | Document, *, by: str | None = None, room: str | None = None) -> list[Message]:
        """Send a message that mentions the bot, and return what the bot has sent to the room when it is idle.

        Args:
            text: The text, or a `Document`.
            by: The user id of who sends it. By default, `person`.
            room: The id of the conversation. By default, `room` of the kit.

        Raises:
            KeyError: The room does not exist.
        """
        optional_text(by, "by")
        optional_text(room, "room")
        return await self._rehearsal.say(room or self.room, text, by=by or self.person, mention=True)

    async def direct(self, text: str | Document, *, by: str | None = None, room: str | None = None) -> list[Message]:
        """Send a direct message, and return what the bot has sent to the conversation when it is idle.

        Args:
            text: The text, or a `Document`.
            by: The user id of who sends it. By default, `person`.
            room: The id of the conversation. By default, that of the bot and the person, which is created when it is
                first used.

        Raises:
            KeyError: The conversation does not exist.
        """
        optional_text(by, "by")
        optional_text(room, "room")
        person = by or self.person
        return await self._rehearsal.say(room or self._rehearsal.direct_conversation(person), text, by=person)

    async def press(
        self,
        key: str,
        message_id: str,
        *,
        parameters: Mapping[str, Json] | None = None,
        by: str | None = None,
        room: str | None = None,
    ) -> ActionAnswer:
        """Press an action of a message as a person's browser does, and return the answer when the bot is idle.

        If the bot's handler returned None, the answer is empty.

        Args:
            key: The key of the action target.
            message_id: The message that contains the action.
            parameters: What the bot receives. By default, the parameters of the first action in the message that has
                this target.
            by: The user id of who presses it. By default, `person`.
            room: The id of the conversation. By default, `room` of the kit.

        Raises:
            KeyError: The message or action target does not exist.
            AppCallError: The bot refused the call.
        """
        optional_text(by, "by")
        optional_text(room, "room")
        by, room = by or self.person, room or self.room
        return await self._rehearsal.press(key, room, message_id, by=by, parameters=parameters)

    async def restart(self, *, kill: bool = False) -> None:
        """End the bot and start it again with the same store.

        Its running handlers are given `shutdown_timeout` to end. Calls that arrive meanwhile wait.

        Args:
            kill: Whether it ends as a killed process does: nothing is written to the store or sent any more, and
                handlers are cancelled at once.
        """
        of_type(kill, "kill", bool)
        await self._rehearsal.restart(kill=kill)

    async def idle(self) -> None:
        """Wait until all deliveries have ended and all events are handled, and those that follow from them.

        Raises:
            ClientClosed: The bot was ended, or its last start failed.
        """
        await self._rehearsal.idle()


@pytest.fixture
def stride_bot() -> Bot:
    """The bot that `stride_bot_kit` runs. Define a fixture of this name that returns yours."""
    pytest.fail("stride_bot_kit needs a fixture stride_bot that returns your Bot", pytrace=False)


@pytest.fixture
def stride_bot_settings() -> Mapping[str, Any]:
    """The keyword arguments that `stride_bot_kit` passes to `BotSettings`.

    Override this fixture to change them. By default, `credentials` and `client` are those for `stride_server`, without
    waits and limits, and `store` is a new file.
    """
    return {}


@_fixture
async def stride_bot_kit(
    request: pytest.FixtureRequest,
    stride_server: LocalServer,
    stride_bot: Bot,
    stride_bot_settings: Mapping[str, Any],
    tmp_path: Path,
) -> AsyncIterator[BotKit]:
    """A `BotKit`: the bot of `stride_bot`, called by `stride_server`, installed in a room with one person.

    The test fails with the first error of a handler that it did not look at.
    """
    from stride_async._rehearsal import Rehearsal, settings_for  # noqa: PLC0415 -- see the module docstring
    from stride_async.bot import Bot  # noqa: PLC0415

    if not isinstance(stride_bot, Bot):
        pytest.fail(f"stride_bot returned {stride_bot!r}; expected a Bot", pytrace=False)
    person = stride_server.add_user("Ann Adler")
    room = stride_server.add_conversation("general", roster=[person])
    settings = settings_for(stride_server, **{"store": tmp_path / "bot.sqlite", **stride_bot_settings})
    request.node.stash[_ERRORS] = errors = _Errors()
    async with Rehearsal(stride_bot, stride_server, settings, errors.add) as rehearsal:
        kit = BotKit(rehearsal, errors, room, person)
        await stride_server.install(room, by=person)
        await kit.idle()
        yield kit
    errors.raise_unseen()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that ignored an error of its bot, unless it fails anyway."""
    errors = item.stash.get(_ERRORS, _Errors())
    try:
        yield
    except BaseException:
        errors.seen()
        raise
    errors.raise_unseen()


@pytest.fixture
def _stride_server_class(request: pytest.FixtureRequest) -> type[LocalServer]:
    """The class of the server, or a failed test if it is not installed or could not respond in this test."""
    if not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(f"stride_server requires pytest-asyncio: {_WHAT_TO_INSTALL}", pytrace=False)
    try:
        from stride_async.server import LocalServer  # noqa: PLC0415 -- see the module docstring
    except ImportError as error:
        pytest.fail(f"stride_server requires {error.name}: {_WHAT_TO_INSTALL}", pytrace=False)
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
