"""Start and stop on a loopback port the kernel picks; look at the site and change it from outside."""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from stride_async.server._bodies import CHUNK_BYTES
from stride_async.server._calls import Call, Calls
from stride_async.server._choices import Choices
from stride_async.server._documents import from_plain
from stride_async.server._exchange import Exchange
from stride_async.server._faults import Action, Faults
from stride_async.server._generate import Plan, generate
from stride_async.server._limits import ALL_SCOPES, PARTICIPATE, RateLimit
from stride_async.server._records import Record, parse_ts
from stride_async.server._routes import answer, answer_media
from stride_async.server._seed import read_seed
from stride_async.server._store import Room, Store, Truth
from stride_async.server._world import Document, World

_LOG = logging.getLogger("stride_async.server")
_LOG.addHandler(logging.NullHandler())

_SECOND = 1_000_000_000
# All interfaces are no address to call.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- never bound unless the caller says so
# Handlers that wait end by themselves when the server closes; what still writes to a slow reader is cut off after this.
_PATIENCE = 0.3
# How long the rest of a body is still read after an early answer, so that the client gets to see that answer.
_LINGER = 2.0


class LocalServer:
    """A stand-in for the whole service, on this machine: `async with LocalServer(...) as server:`.

    A site comes from a `seed` file, from the generator (`generate`, a `Plan` or its text), or from an earlier run by
    way of the same `db` file; with none of them it is empty. Without `db` everything is held in memory. `rate_limit`
    calls are taken per app and conversation in each `window` of seconds (None: no limit), every answer waits `latency`
    seconds, `faults` is a file of rules as `Faults.load` reads it, and `calls_kept` bounds what `calls` remembers.

    The app whose credentials it shows is a member of every seeded and generated conversation.
    """

    def __init__(
        self,
        *,
        seed: str | PathLike[str] | None = None,
        generate: str | Plan | None = None,
        db: str | PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: int | None = 100,
        window: float = 60.0,
        latency: float = 0.0,
        media_redirect: bool = False,
        faults: str | PathLike[str] | None = None,
        choices: Choices = Choices(),  # noqa: B008 -- frozen
        calls_kept: int = 100_000,
    ) -> None:
        if seed is not None and generate is not None:
            raise ValueError("a site comes from a seed or from the generator, not from both")
        self._seed = seed
        self._plan = Plan.parse(generate) if isinstance(generate, str) else generate
        self._db = None if db is None else Path(db)
        self._host = host
        self._port = port
        self._rate_limit = rate_limit
        self._window = window
        self._latency = latency
        self._media_redirect = media_redirect
        self._choices = choices
        self._faults_file = faults
        self._running: World | None = None
        self._closing: AsyncExitStack | None = None
        self._call_log: deque[Call] = deque(maxlen=calls_kept)
        self.calls = Calls(self._call_log)
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Load the site and begin to answer.

        Raises:
            ValueError: the seed, the faults file or the database cannot be used; nothing is left behind.
            OSError: the port is taken, or the address is none of this machine.
        """
        if self._closing is not None:
            raise RuntimeError("the server is running already")
        if self._faults_file is not None:
            self.faults.load(self._faults_file)
            self._faults_file = None  # once, however often the server is started
        async with AsyncExitStack() as stack:
            store = await Store.open(self._db, self._records())
            stack.callback(store.close)
            world = World(
                store=store,
                choices=self._choices,
                rate_limit=RateLimit(self._rate_limit, self._window),
                outer_limit=RateLimit(self._choices.rate_limit_elsewhere, self._window),
                token_limit=RateLimit(self._choices.token_limit, self._window),
                media_redirect=self._media_redirect,
            )
            closing = asyncio.Event()
            exchange = partial(
                Exchange,
                world=world,
                record=self._call_log.append,
                choose_fault=self.faults._choose,  # noqa: SLF001 -- users script faults; only the server applies them
                perform=self._perform,
                closing=closing,
                latency=self._latency,
            )
            world.url = await self._listen(stack, exchange(origin="api", answer=answer), self._port)
            world.media_url = await self._listen(stack, exchange(origin="media", answer=answer_media), 0)
            stack.callback(closing.set)  # first of all when closing: whoever waits stops waiting
            self._running = world
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Stop answering; requests under way are cut off. Closing twice is fine."""
        closing, self._closing, self._running = self._closing, None, None
        if closing is not None:
            await closing.aclose()

    @property
    def url(self) -> str:
        """Where the service answers, such as `http://127.0.0.1:43217`."""
        return self._world.url

    @property
    def media_url(self) -> str:
        """The second origin, to which media calls redirect when `media_redirect` is set."""
        return self._world.media_url

    @property
    def cloud_id(self) -> str:
        """Id of the site."""
        return self._world.store.cloud_id

    @property
    def client_id(self) -> str:
        """Client id of the app."""
        return self._world.store.app.client_id

    @property
    def client_secret(self) -> str:
        """Secret of the app."""
        return self._world.store.app.client_secret

    @property
    def app_account_id(self) -> str:
        """The app's own user, the sender of what it sends."""
        return self._world.store.app.account_id

    @property
    def choices(self) -> Choices:
        """How open points of the protocol are answered."""
        return self._choices

    async def expire_tokens(self) -> None:
        """Let every token given so far answer 401, room tokens included."""
        self._world.grants.expire_all()

    def truth(self) -> Truth:
        """What the site holds now; reads every message."""
        return self._world.store.truth()

    def add_user(self, display_name: str, *, email: str | None = None, id: str | None = None) -> str:
        """Add a person; the address is made from the name unless given."""
        world = self._world
        email = email or f"{'.'.join(display_name.lower().split())}@example.invalid"
        return world.store.people.add(display_name, email=email, id=id, now=world.clock.now())

    def add_conversation(
        self,
        name: str,
        *,
        type: str = "group",
        privacy: str = "public",
        archived: bool = False,
        roster: Iterable[str] = (),
        id: str | None = None,
        app_is_member: bool = True,
    ) -> str:
        """Add a conversation with these people in it.

        A direct one with one person, of which the app is a member, is the one it has with that person.
        """
        world, people = self._world, tuple(roster)
        alone = type == "direct" and len(people) == 1 and app_is_member
        with world.store.transaction():
            room = world.create_conversation(
                name,
                app=world.store.app,
                type=type,
                privacy=privacy,
                archived=archived,
                roster=people,
                direct_user=people[0] if alone else None,
                id=id,
            )
            if app_is_member:
                world.store.conversations.admit(world.store.app.client_id, [room.number])
        return room.id

    def add_message(
        self,
        conversation_id: str,
        content: str | Document,
        *,
        sender_id: str | None = None,
        ts: int | str | None = None,
        id: str | None = None,
    ) -> str:
        """Add a message, plain text or a document, of the app unless a sender is named.

        `ts` is RFC 3339 or nanoseconds since 1970, the present unless given.
        """
        world = self._world
        return world.add_message(
            self._room(conversation_id),
            _document(content),
            sender_id or world.store.app.account_id,
            ts=parse_ts(ts) if isinstance(ts, str) else ts,
            id=id,
        )

    def fill(
        self,
        conversation_id: str,
        messages: int = 250,
        *,
        same_ts: bool = False,
        ts: int | str = "2018-06-01T08:00:00Z",
        sender_id: str | None = None,
    ) -> list[str]:
        """Add numbered messages, a second apart from `ts` on, or all of them at that very time; their ids in order."""
        world, room = self._world, self._room(conversation_id)
        sender = sender_id or world.store.app.account_id
        first = parse_ts(ts) if isinstance(ts, str) else ts
        times = [first if same_ts else first + number * _SECOND for number in range(messages)]
        ids = [world.clock.message_id(ts) for ts in times]
        if same_ts:
            ids.sort()
        texts = (from_plain(f"message {number}") for number in range(1, messages + 1))
        with world.store.transaction():
            world.store.messages.insert(
                (room.number, ts, message_id, sender, world.message_json(message_id, document, sender, ts))
                for ts, message_id, document in zip(times, ids, texts, strict=True)
            )
        return ids

    def edit_message(self, conversation_id: str, message_id: str, content: str | Document) -> None:
        """Give a message other content, whoever sent it."""
        stored = self._world.store.messages
        message = stored.find(self._room(conversation_id).number, message_id)
        if message is None:
            raise KeyError(message_id)
        stored.change(message, self._world.edited_json(message.json, _document(content)))

    def delete_message(self, conversation_id: str, message_id: str) -> None:
        """Take a message away, whoever sent it."""
        stored = self._world.store.messages
        message = stored.find(self._room(conversation_id).number, message_id)
        if message is None:
            raise KeyError(message_id)
        stored.delete(message)

    def archive(self, conversation_id: str, *, archived: bool = True) -> None:
        """Archive a conversation, or bring it back."""
        self._world.change_conversation(self._room(conversation_id), isArchived=archived)

    def set_roster(self, conversation_id: str, user_ids: Iterable[str]) -> None:
        """Let exactly these people be in a conversation, in this order."""
        number, world = self._room(conversation_id).number, self._world
        with world.store.transaction():
            world.store.conversations.clear_roster(number)
            world.store.conversations.join(number, user_ids)

    def add_media(
        self,
        conversation_id: str,
        name: str,
        data: bytes | Iterable[bytes],
        *,
        mime_type: str = "application/octet-stream",
        id: str | None = None,
    ) -> str:
        """Add a file to a conversation."""
        room = self._room(conversation_id)
        return self._world.add_file(room, name, _chunks(data), mime_type=mime_type, id=id).id

    def module_state(
        self, type: str, key: str, *, conversation_id: str = "", user_id: str = ""
    ) -> dict[str, object] | None:
        """The state last set for a glance or configuration, of exactly this conversation and person; None if none."""
        return self._world.store.modules.state(type, key, conversation_id, user_id)

    def room_token(self, conversation_id: str) -> str:
        """A token for this conversation alone, as its users make them; it acts as an app of its own."""
        world, room = self._world, self._room(conversation_id)
        with world.store.transaction():
            app = world.store.people.add_app("API token", [PARTICIPATE])
            world.store.conversations.admit(app.client_id, [room.number])
        return world.grants.give_room_token(app, room.id)

    def add_app(
        self,
        *,
        scopes: Iterable[str] = ALL_SCOPES,
        conversations: Iterable[str] | None = None,
        name: str = "Another app",
    ) -> tuple[str, str]:
        """Another app: its client id and secret. It is a member of these conversations, of all there are if None."""
        world = self._world
        numbers = world.store.conversations.numbers()
        wanted = numbers.values() if conversations is None else [numbers[room_id] for room_id in conversations]
        with world.store.transaction():
            app = world.store.people.add_app(name, scopes)
            world.store.conversations.admit(app.client_id, wanted)
        return app.client_id, app.client_secret

    @property
    def _world(self) -> World:
        if self._running is None:
            raise RuntimeError("the server is not running")
        return self._running

    def _room(self, conversation_id: str) -> Room:
        room = self._world.store.conversations.find(conversation_id)
        if room is None:
            raise KeyError(conversation_id)
        return room

    async def _perform(self, action: Action) -> None:
        """Call a fault's action with this server and await what it returns, if that is awaitable."""
        result = action(self)
        if inspect.isawaitable(result):
            await result

    def _records(self) -> Iterator[Record] | None:
        if self._seed is not None:
            return read_seed(Path(self._seed))
        return None if self._plan is None else generate(self._plan)

    async def _listen(self, stack: AsyncExitStack, exchange: Exchange, port: int) -> str:
        """Answer at the port until the stack is closed; the origin."""
        handler = web.Server(
            exchange,
            handler_cancellation=True,
            access_log=None,
            logger=_LOG,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        runner = web.ServerRunner(handler, handle_signals=False, shutdown_timeout=_PATIENCE)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self._host, port).start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(error.errno, f"port {port} is taken on {self._host}") from None
            raise
        address = runner.addresses[0]
        host = _REACHED_AT.get(address[0], address[0])
        return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def _document(content: str | Document) -> Document:
    return from_plain(content) if isinstance(content, str) else dict(content)


def _chunks(data: bytes | Iterable[bytes]) -> Iterable[bytes]:
    if not isinstance(data, bytes):
        return data
    return (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
