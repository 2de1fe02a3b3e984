"""A bot and a local server in one process: real HTTP on the loopback interface, real tokens, a real store.

`stride bot try` and the fixtures of `stride_async.testing` stand on it. Nothing is patched, and nothing waits for time
to pass: the bot skips the pauses of `TryAgain`, and its client retries at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import NoneType, TracebackType
from typing import Any, Self

from aiohttp import web

from stride_async import ClientClosed, ClientCredentials, Document, Json, Message, Settings
from stride_async._arguments import of_type
from stride_async._wire.convert import message_at
from stride_async.bot import RUNNING, ActionAnswer, Bot, BotSettings, RunningBot
from stride_async.bot._application import PARTS, application
from stride_async.bot._reports import UnderTest
from stride_async.server import Delivery, LocalServer

# Steps of the event loop after which a connection that was just accepted has reached the web server, and some more.
_STEPS_TO_ACCEPT = 10


def settings_for(server: LocalServer, **options: Any) -> BotSettings:
    """Return settings for a bot of the server's app: its client does not wait, and has no rate limit of its own."""
    client = Settings(base_url=server.url, backoff=0.0, longest_wait=0.0, calls_per_minute=None)
    credentials = ClientCredentials(server.client_id, server.client_secret)
    return BotSettings(**{"credentials": credentials, "client": client, **options})


class Rehearsal:
    """A bot that is registered with a running local server, as an async context manager.

    `on_error` is called with each exception of a handler, a middleware or an error handler, and with `GaveUp`.
    """

    def __init__(
        self, bot: Bot, server: LocalServer, settings: BotSettings, on_error: Callable[[Exception], None]
    ) -> None:
        self.bot = bot
        self.server = server
        self.settings = settings
        self._under_test = UnderTest(on_error)
        # It listens from start to end, so calls that arrive during a restart wait for the bot.
        self._socket: socket.socket | None = None
        # The same socket, as the web server closes it.
        self._listening: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        # Whether no start and no end of the bot is under way.
        self._is_settled = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        try:
            await self._start()
            self._is_settled.set()
            await self.server.register_app(f"http://127.0.0.1:{self._socket.getsockname()[1]}/descriptor.json")
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def running(self) -> RunningBot:
        """The bot as it runs now; a restart makes another one.

        Raises:
            ClientClosed: It was ended, or its last start failed.
        """
        if self._runner is None or RUNNING not in self._runner.app:
            raise ClientClosed("the bot is not running")
        return self._runner.app[RUNNING]

    async def restart(self, *, kill: bool) -> None:
        """End the bot and start it on the same store; `kill` ends it as a killed process ends."""
        try:
            if kill:
                await self._kill()
            else:
                await self._stop()
            await self._start()
        finally:
            self._is_settled.set()

    async def idle(self) -> None:
        """Wait until all deliveries have ended and all events are handled, and those that follow from them.

        If the bot is restarted meanwhile, the new one handles what the old one did not.

        Raises:
            ClientClosed: The bot was ended, or its last start failed.
        """
        known: list[Delivery] | None = None
        while known != (known := self.server.deliveries[-1:]):
            await self.server.delivered()
            await self._until_bot_is_idle()

    async def _until_bot_is_idle(self) -> None:
        while True:
            await self._is_settled.wait()
            running = self.running
            try:
                return await running.idle()
            except ClientClosed:
                if self._is_settled.is_set() and self.running is running:  # It was not ended from here.
                    raise

    async def say(
        self, conversation_id: str, content: str | Document, *, by: str, mention: bool = False
    ) -> list[Message]:
        """Send a message as a person, and return what the bot sent to the conversation until it was idle."""
        of_type(content, "text", str, Document)
        before = {message.id for message in self.messages(conversation_id)}
        document = content.to_json() if isinstance(content, Document) else content
        self.server.add_message(conversation_id, document, sender_id=by, mention_app=mention)
        await self.idle()
        return [message for message in self.messages(conversation_id) if message.id not in before]

    def direct_conversation(self, person: str) -> str:
        """Return the id of the direct conversation of the bot and a person, which is created if there is none."""
        for conversation in self.server.truth().conversations.values():
            others = set(conversation.roster) - {self.server.app_account_id}
            if conversation.type == "direct" and others == {person}:
                return conversation.id
        return self.server.add_conversation("", type="direct", privacy="private", roster=[person])

    async def press(
        self, key: str, conversation_id: str, message_id: str, *, by: str, parameters: Mapping[str, Json] | None = None
    ) -> ActionAnswer:
        """Press an action as a person, and return the bot's answer when the bot is idle."""
        of_type(parameters, "parameters", Mapping, NoneType)
        given = None if parameters is None else dict(parameters)
        answer = await self.server.press(key, conversation_id, message_id, by=by, parameters=given)
        await self.idle()
        return _action_answer(answer or {})

    def messages(self, conversation_id: str) -> list[Message]:
        """Return the messages of the bot in a conversation, oldest first."""
        found = self.server.messages(conversation_id)
        own = [each for each in found if each["sender"]["id"] == self.server.app_account_id]
        return [message_at(json.dumps(each).encode(), "$") for each in own]

    async def _start(self) -> None:
        assert self._socket is not None
        app = application(
            self.bot.key,
            self.bot._routes,  # noqa: SLF001 -- a bot under test is not part of the public interface of `Bot`
            self.settings,
            self._under_test,
        )
        # A handler of a browser call must end when the connection of a killed bot does.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        self._listening = self._socket.dup()
        await web.SockSite(self._runner, self._listening).start()

    async def _stop(self) -> None:
        self._is_settled.clear()
        if self._runner is not None:
            await self._stop_accepting()
            runner, self._runner = self._runner, None
            await runner.cleanup()
            self._listening = None

    async def _stop_accepting(self) -> None:
        """Accept no further connection, and wait until the web server knows every one that was accepted.

        asyncio loses a connection whose server is closed between the two: it stays open, and its call gets no response.
        """
        if self._listening is not None:
            with suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(_STEPS_TO_ACCEPT):
            await asyncio.sleep(0)

    async def _kill(self) -> None:
        """Cut all connections, and end the bot without noting anything."""
        self._is_settled.clear()
        if self._runner is not None and self._runner.server is not None:
            await self._stop_accepting()
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            with suppress(KeyError):  # Its start failed.
                await self._runner.app[PARTS].kill()
        await self._stop()

    async def _close(self) -> None:
        try:
            await self._kill()
        finally:
            self._is_settled.set()
        if self._socket is not None:
            self._socket.close()


def _action_answer(answer: Mapping[str, Any]) -> ActionAnswer:
    """Return an answer from its JSON (protocol 6.7)."""
    following = answer.get("nextAction") or {}
    return ActionAnswer(answer.get("message"), answer.get("error"), following.get("target"))
