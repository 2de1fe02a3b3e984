"""The local server: start and stop it, look at its site, and change the site from outside."""

from __future__ import annotations

import asyncio
import errno
import inspect
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from stride_async.server._apps import CONFIGURATION, GLANCE, RegisteredApp, Registration, read_descriptor
from stride_async.server._arguments import (
    check_counts,
    check_functions,
    check_optional_texts,
    check_paths,
    check_seconds,
    check_several,
    check_texts,
    check_types,
    texts_in,
)
from stride_async.server._bodies import CHUNK_BYTES
from stride_async.server._browser import fetch_descriptor
from stride_async.server._calls import Call, Calls
from stride_async.server._choices import Choices
from stride_async.server._deliver import Deliveries, Delivery
from stride_async.server._documents import from_plain
from stride_async.server._exchange import Exchange
from stride_async.server._faults import DELIVER, FaultAction, Faults
from stride_async.server._generate import GeneratedSite, Plan
from stride_async.server._limits import ALL_SCOPES, PARTICIPATE, App, RateLimit
from stride_async.server._loading import Loaded, Loading, Origin
from stride_async.server._mentions import Document, with_mention
from stride_async.server._records import compact_json
from stride_async.server._routes import handle, handle_media
from stride_async.server._seed import FILE_IN_FOLDER, SeedFile, SeedLines
from stride_async.server._store import Store, StoredConversation, Truth
from stride_async.server._store.messages import StoredMessage
from stride_async.server._times import SECOND, parse_ts
from stride_async.server._visits import ask, press
from stride_async.server._world import World

_LOG = logging.getLogger("stride_async.server")
_LOG.addHandler(logging.NullHandler())

# Clients cannot connect to the address that stands for all interfaces; they use the loopback address instead.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- never bound unless the caller says so
# Requests that wait end on their own when the server closes. A response that is still being written to a slow reader
# is cut off after this many seconds.
_SHUTDOWN_SECONDS = 0.3
# How long the rest of a request body is read after an early response, so that the client receives that response.
_LINGER_SECONDS = 2.0
_HIGHEST_PORT = 65_535


class LocalServer:
    """A local stand-in for the Stride service, as an async context manager.

    The site comes from a seed, from the generator, or from a database file of an earlier run; without any of them it is
    empty. The app whose credentials the server shows is a member of every seeded and generated conversation.

    Args:
        seed: A file of JSON lines that describes a site, a folder with such a file `site.jsonl`, or the lines.
        media_root: The folder to which the paths of files in the seed are relative. Their bodies are read from there.
            By default, the paths are relative to the seed, and the bodies are copied.
        generate: A site to generate: a `Plan`, or its text, such as `conversations=20,messages=250,seed=7`.
        db: A database file. One that contains a site is used as it is; if `seed` or `generate` is given too, it must be
            the one that the file was filled from. By default, everything is kept in memory.
        host: The address to listen on.
        port: The port to listen on; 0 lets the system choose one.
        rate_limit: The number of calls that an app may make to one conversation in each window; None means no limit
            (protocol 3.4).
        window: The length of the window in seconds.
        latency: The delay of every response in seconds.
        media_redirect: Whether media calls redirect to a second origin instead of sending the body (protocol 9.3).
        faults: A file of faults, as read by `Faults.load`.
        choices: How the server behaves where the protocol is unknown.
        calls_kept: How many calls `calls` remembers, and how many deliveries `deliveries`.
        on_loading: Called about ten times per second while a new site is loaded, with what is loaded so far.

    Raises:
        TypeError: An argument has another type.
        ValueError: A number is out of range, the host is empty, both `seed` and `generate` are given, or `generate` is
            not a valid plan.
    """

    def __init__(
        self,
        *,
        seed: str | PathLike[str] | Iterable[bytes] | None = None,
        media_root: str | PathLike[str] | None = None,
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
        on_loading: Callable[[Loaded], None] | None = None,
    ) -> None:
        if seed is not None and generate is not None:
            raise ValueError("the site comes from a seed or from the generator, not from both")
        check_texts(host=host)
        check_counts(port=port, calls_kept=calls_kept)
        check_types(choices=(choices, Choices), media_redirect=(media_redirect, bool))
        check_types(generate=(generate, str | Plan | None), rate_limit=(rate_limit, int | None))
        check_seconds(window=window, latency=latency)
        check_paths(media_root=media_root, db=db, faults=faults)
        if seed is None or isinstance(seed, (str, PathLike)):
            check_paths(seed=seed)
        else:
            check_several(seed=seed)
        if on_loading is not None:
            check_functions(on_loading=on_loading)
        if not host:  # asyncio would listen on all addresses.
            raise ValueError("host is empty; expected an address to listen on, such as 127.0.0.1")
        if not 0 <= port <= _HIGHEST_PORT:
            raise ValueError(f"port is {port}; expected 0 to {_HIGHEST_PORT}")
        self._origin = _origin(seed, media_root, Plan.parse(generate) if isinstance(generate, str) else generate)
        self._on_loading = on_loading
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
        self._kept = calls_kept
        self._call_log: deque[Call] = deque(maxlen=calls_kept)
        self.calls: Calls = Calls(self._call_log)
        """The calls received so far."""
        self.faults: Faults = Faults()
        """The faults to apply."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Load the site and listen.

        Raises:
            ValueError: The seed, the file of faults or the database cannot be used. Nothing is left on disk.
            OSError: The port is in use, or the host is not an address of this machine.
            RuntimeError: The server is already running.
        """
        if self._closing is not None:
            raise RuntimeError("the server is already running")
        if self._faults_file is not None:
            self.faults.load(self._faults_file)
            self._faults_file = None  # A restarted server keeps its faults and does not load them twice.
        async with AsyncExitStack() as stack:
            loading = Loading(self._on_loading)
            store = await loading.run(partial(Store.open, self._db, self._origin, loading), discard=Store.discard)
            stack.callback(store.close)
            deliveries = Deliveries(
                store,
                self._choices,
                choose_fault=partial(self.faults._choose, DELIVER),  # noqa: SLF001 -- as below
                perform=self._perform,
                kept=self._kept,
            )
            world = World(
                store=store,
                choices=self._choices,
                deliveries=await stack.enter_async_context(deliveries),
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
            world.url = await self._listen(stack, exchange(origin="api", handle=handle), self._port)
            world.media_url = await self._listen(stack, exchange(origin="media", handle=handle_media), 0)
            stack.callback(closing.set)  # The first step of closing: requests that wait stop waiting.
            self._running = world
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Stop listening and cut off the requests in flight. Closing twice does nothing."""
        closing, self._closing, self._running = self._closing, None, None
        if closing is not None:
            await closing.aclose()

    @property
    def url(self) -> str:
        """The base URL of the service, such as `http://127.0.0.1:43217`."""
        return self._world.url

    @property
    def media_url(self) -> str:
        """The base URL of the second origin, which media calls redirect to with `media_redirect`."""
        return self._world.media_url

    @property
    def cloud_id(self) -> str:
        """The id of the site."""
        return self._world.store.cloud_id

    @property
    def client_id(self) -> str:
        """The client id of the app."""
        return self._world.store.app.client_id

    @property
    def client_secret(self) -> str:
        """The client secret of the app."""
        return self._world.store.app.client_secret

    @property
    def app_account_id(self) -> str:
        """The id of the app's own account, the sender of its messages."""
        return self._world.store.app.account_id

    @property
    def choices(self) -> Choices:
        """The behavior of this server where that of the service is unknown."""
        return self._choices

    async def expire_tokens(self) -> None:
        """Invalidate all issued tokens, room tokens included; calls with them get a 401."""
        self._world.grants.expire_all()

    def truth(self) -> Truth:
        """Return what the site contains now. This reads every message."""
        return self._world.store.truth()

    def add_user(self, display_name: str, *, email: str | None = None, id: str | None = None) -> str:
        """Add a person and return their id.

        Args:
            display_name: The name that others see.
            email: The email address. By default, it is made from the name.
            id: The user id. By default, it is generated.
        """
        world = self._world
        check_texts(display_name=display_name)
        check_optional_texts(email=email, id=id)
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
        """Add a conversation with these people on its roster, and return its id.

        A direct conversation with one person and the app is the app's direct conversation with that person.

        Args:
            name: The name.
            type: `group` or `direct`.
            privacy: `public` or `private`.
            archived: Whether it is archived.
            roster: The ids of the members.
            id: The id of the conversation. By default, it is generated.
            app_is_member: Whether the app whose credentials the server shows can use it.
        """
        world = self._world
        check_texts(name=name, type=type, privacy=privacy)
        check_optional_texts(id=id)
        check_types(archived=(archived, bool), app_is_member=(app_is_member, bool))
        members = texts_in("roster", roster)
        with world.store.transaction():
            conversation = world.create_conversation(
                name,
                app=world.store.app if app_is_member else None,
                type=type,
                privacy=privacy,
                archived=archived,
                roster=members,
                id=id,
            )
            if app_is_member:
                world.store.conversations.add_member(world.store.app.client_id, [conversation.number])
        world.deliveries.conversation_changed(conversation, "create", world.someone(conversation))
        return conversation.id

    def add_message(
        self,
        conversation_id: str,
        content: str | dict[str, object],
        *,
        sender_id: str | None = None,
        ts: int | str | None = None,
        id: str | None = None,
        mention_app: bool = False,
    ) -> str:
        """Add a message and return its id.

        Args:
            conversation_id: The conversation.
            content: Plain text, or a document as JSON.
            sender_id: Who sends it. By default, the app.
            ts: When it is sent: an RFC 3339 time, or nanoseconds since 1970. By default, now.
            id: The id of the message. By default, it is generated.
            mention_app: Whether it begins with a mention of the app.

        Raises:
            KeyError: The conversation does not exist.
            ValueError: `ts` is not an RFC 3339 time, or not between 1678 and 2261.
        """
        world, app = self._world, self._world.store.app
        check_optional_texts(sender_id=sender_id, id=id)
        check_types(mention_app=(mention_app, bool))
        sent_at = None if ts is None else _nanoseconds(ts)
        document = _document(content)
        return world.add_message(
            self._conversation(conversation_id),
            with_mention(document, app.account_id, app.name) if mention_app else document,
            sender_id or app.account_id,
            ts=sent_at,
            id=id,
        )

    def messages(self, conversation_id: str) -> list[dict[str, Any]]:
        """Return the messages of a conversation, oldest first, each as the service returns it (protocol 4.3).

        Args:
            conversation_id: The conversation.

        Raises:
            KeyError: The conversation does not exist.
        """
        return [json.loads(each) for each in self._world.store.messages.all(self._conversation(conversation_id).number)]

    def fill(
        self,
        conversation_id: str,
        messages: int = 250,
        *,
        same_ts: bool = False,
        ts: int | str = "2018-06-01T08:00:00Z",
        sender_id: str | None = None,
    ) -> list[str]:
        """Add numbered messages and return their ids, oldest first.

        Args:
            conversation_id: The conversation.
            messages: How many messages to add.
            same_ts: Whether all are sent at `ts`, instead of one second apart.
            ts: When the first is sent: an RFC 3339 time, or nanoseconds since 1970.
            sender_id: Who sends them. By default, the app.

        Raises:
            KeyError: The conversation does not exist.
            ValueError: `ts` is not an RFC 3339 time, or not between 1678 and 2261.
        """
        world, conversation = self._world, self._conversation(conversation_id)
        check_counts(messages=messages)
        check_types(same_ts=(same_ts, bool))
        check_optional_texts(sender_id=sender_id)
        sender = sender_id or world.store.app.account_id
        first = _nanoseconds(ts)
        times = [first if same_ts else first + number * SECOND for number in range(messages)]
        ids = [world.clock.message_id(ts) for ts in times]
        if same_ts:
            ids.sort()
        texts = (from_plain(f"message {number}") for number in range(1, messages + 1))
        with world.store.transaction():
            world.store.messages.insert(
                (conversation.number, ts, message_id, sender, world.message_json(message_id, document, sender, ts))
                for ts, message_id, document in zip(times, ids, texts, strict=True)
            )
        return ids

    def edit_message(self, conversation_id: str, message_id: str, content: str | dict[str, object]) -> None:
        """Replace the content of a message of any sender.

        Args:
            conversation_id: The conversation.
            message_id: The message.
            content: Plain text, or a document as JSON.

        Raises:
            KeyError: The conversation or message does not exist.
        """
        message = self._message(conversation_id, message_id)
        self._world.store.messages.change(message, self._world.edited_json(message.json, _document(content)))

    def delete_message(self, conversation_id: str, message_id: str) -> None:
        """Delete a message of any sender.

        Args:
            conversation_id: The conversation.
            message_id: The message.

        Raises:
            KeyError: The conversation or message does not exist.
        """
        self._world.store.messages.delete(self._message(conversation_id, message_id))

    def archive(self, conversation_id: str, *, archived: bool = True) -> None:
        """Archive a conversation, or unarchive it.

        Args:
            conversation_id: The conversation.
            archived: False unarchives it.

        Raises:
            KeyError: The conversation does not exist.
        """
        conversation = self._conversation(conversation_id)
        check_types(archived=(archived, bool))
        if conversation.archived != archived:
            self._world.change_conversation(conversation, isArchived=archived)

    def set_roster(self, conversation_id: str, user_ids: Iterable[str]) -> None:
        """Replace the roster of a conversation with these people, in this order.

        Args:
            conversation_id: The conversation.
            user_ids: The ids of the members, in order.

        Raises:
            KeyError: The conversation does not exist.
        """
        members = texts_in("user_ids", user_ids)
        self._world.replace_roster(self._conversation(conversation_id), members)

    def add_media(
        self,
        conversation_id: str,
        name: str,
        data: bytes | Iterable[bytes],
        *,
        mime_type: str = "application/octet-stream",
        id: str | None = None,
    ) -> str:
        """Add a file to a conversation and return its media id.

        Args:
            conversation_id: The conversation.
            name: The name of the file.
            data: The body, as bytes or in chunks.
            mime_type: The media type.
            id: The media id. By default, it is generated.

        Raises:
            KeyError: The conversation does not exist.
        """
        conversation = self._conversation(conversation_id)
        check_texts(name=name, mime_type=mime_type)
        check_optional_texts(id=id)
        return self._world.add_media(conversation, name, _chunks(data), mime_type=mime_type, id=id).id

    def module_state(
        self, type: str, key: str, *, conversation_id: str = "", user_id: str = ""
    ) -> dict[str, object] | None:
        """Return the state last set for a glance or configuration, for exactly this conversation and person, or None.

        Args:
            type: `chat:glance` or `chat:configuration`.
            key: The key of the module.
            conversation_id: The conversation; empty for the site.
            user_id: The person; empty for everyone.
        """
        check_texts(type=type, key=key, conversation_id=conversation_id, user_id=user_id)
        return self._world.store.modules.state(type, key, conversation_id, user_id)

    def room_token(self, conversation_id: str) -> str:
        """Return a token for one conversation, as its users create them (protocol 2.4). It acts as an app of its own.

        Args:
            conversation_id: The conversation.

        Raises:
            KeyError: The conversation does not exist.
        """
        world, conversation = self._world, self._conversation(conversation_id)
        with world.store.transaction():
            app = world.store.people.add_app("API token", [PARTICIPATE])
            world.store.conversations.add_member(app.client_id, [conversation.number])
        return world.grants.issue_room_token(app, conversation.id)

    def add_app(
        self,
        *,
        scopes: Iterable[str] = ALL_SCOPES,
        conversations: Iterable[str] | None = None,
        name: str = "Another app",
    ) -> tuple[str, str]:
        """Add an app and return its client id and client secret.

        Args:
            scopes: What the app may do (protocol 1.4).
            conversations: The conversations that it is a member of; None means all that exist now.
            name: The name of its account.

        Raises:
            KeyError: The conversation does not exist.
        """
        world = self._world
        check_texts(name=name)
        allowed = texts_in("scopes", scopes)
        if conversations is None:
            chosen = list(world.store.conversations.numbers().values())
        else:
            chosen = [self._conversation(id).number for id in texts_in("conversations", conversations)]
        with world.store.transaction():
            app = world.store.people.add_app(name, allowed)
            world.store.conversations.add_member(app.client_id, chosen)
        return app.client_id, app.client_secret

    async def register_app(self, descriptor_url: str, *, client_id: str | None = None) -> RegisteredApp:
        """Fetch the descriptor of an app, and deliver from now on what happens in its conversations (protocol 6).

        An earlier descriptor of the app is replaced.

        Args:
            descriptor_url: Where the descriptor is. Everything is delivered to the origin of this URL, whatever
                `baseUrl` says.
            client_id: The client id of an app from `add_app`. By default, the app is the one whose credentials the
                server shows.

        Raises:
            ValueError: The URL or the descriptor is wrong; the message names the place.
            ConnectionError: The URL does not respond with 200.
            KeyError: No app has this client id.
        """
        world, app = self._world, self._app(client_id)
        check_texts(descriptor_url=descriptor_url)
        content = await fetch_descriptor(world.deliveries.http, descriptor_url)
        descriptor = read_descriptor(content)
        registered = RegisteredApp(app.client_id, descriptor.key, descriptor_url, content)
        world.deliveries.registrations[app.client_id] = Registration(app, registered, descriptor)
        return registered

    async def install(
        self, conversation_id: str, *, by: str, relay_state: str | None = None, client_id: str | None = None
    ) -> None:
        """Install an app in a conversation, as this user: it may use the conversation, and is then called.

        Return when the app has responded to the first call, or has failed to; a failed call is delivered again.

        Args:
            conversation_id: The conversation.
            by: The user id of the person who installs it.
            relay_state: The `relayState` of the installation link.
            client_id: The app, as for `register_app`.

        Raises:
            KeyError: The conversation, user or app does not exist.
        """
        world, conversation = self._world, self._conversation(conversation_id)
        self._check_user(by)
        check_types(relay_state=(relay_state, str | None))
        app = self._app(client_id)
        world.store.conversations.add_member(app.client_id, [conversation.number])
        delivery = world.deliveries.lifecycle(app.client_id, conversation.id, "installed", by, relay_state)
        if delivery is not None:
            await world.deliveries.first_try(delivery)

    async def install_all(self, *, client_id: str | None = None) -> int:
        """Install an app in each conversation that is not archived, as a person in it, and return in how many.

        Return as `install` does.

        Args:
            client_id: The app, as for `register_app`.

        Raises:
            KeyError: The app does not exist.
        """
        world, app = self._world, self._app(client_id)
        found = map(self._conversation, world.store.conversations.numbers())
        conversations = [conversation for conversation in found if not conversation.archived]
        world.store.conversations.add_member(app.client_id, [conversation.number for conversation in conversations])
        deliveries = [
            world.deliveries.lifecycle(app.client_id, conversation.id, "installed", world.someone(conversation))
            for conversation in conversations
        ]
        for delivery in filter(None, deliveries):
            await world.deliveries.first_try(delivery)
        return len(conversations)

    async def uninstall(self, conversation_id: str, *, by: str, client_id: str | None = None) -> None:
        """Uninstall an app from a conversation, as this user: it may no longer use it, and is then called.

        Return as `install` does.

        Args:
            conversation_id: The conversation.
            by: The user id of the person who uninstalls it.
            client_id: The app, as for `register_app`.

        Raises:
            KeyError: The conversation, user or app does not exist.
        """
        world, conversation = self._world, self._conversation(conversation_id)
        self._check_user(by)
        app = self._app(client_id)
        world.store.conversations.remove_member(app.client_id, conversation.number)
        delivery = world.deliveries.lifecycle(app.client_id, conversation.id, "uninstalled", by)
        if delivery is not None:
            await world.deliveries.first_try(delivery)

    @property
    def deliveries(self) -> list[Delivery]:
        """The calls to registered apps so far, in the order of what happened."""
        return list(self._world.deliveries.all)

    async def delivered(self) -> None:
        """Wait until all deliveries have ended, redeliveries included."""
        await self._world.deliveries.wait()

    async def press(
        self,
        key: str,
        conversation_id: str,
        message_id: str,
        *,
        by: str,
        parameters: dict[str, object] | None = None,
    ) -> Any:
        """Press an action of a message as this user, and return the app's response as JSON, or None without content.

        The app is called as a browser does it, after a preflight request (protocol 6.7).

        Args:
            key: The key of an action target that calls a service.
            conversation_id: The conversation.
            message_id: The message that contains the action.
            by: The user id of the person who presses it.
            parameters: What the app receives. By default, the parameters of the first action in the message that has
                this target.

        Raises:
            KeyError: The conversation, message, user or action target does not exist.
            AppCallError: The app did not respond with 2xx, or a browser would refuse the response.
        """
        check_texts(key=key, message_id=message_id)
        check_types(parameters=(parameters, dict | None))
        self._check_user(by)
        return await press(
            self._world, key, self._conversation(conversation_id), message_id, by=by, parameters=parameters
        )

    async def ask_glance(self, key: str, conversation_id: str, *, by: str) -> Any:
        """Ask an app for a glance as this user's browser does, and return its response as JSON (protocol 6.8).

        Args:
            key: The key of the glance.
            conversation_id: The conversation.
            by: The user id of the person whose browser asks.

        Raises:
            KeyError: The conversation, user or glance does not exist.
            AppCallError: The app did not respond with 2xx, or a browser would refuse the response.
        """
        check_texts(key=key)
        self._check_user(by)
        return await ask(self._world, GLANCE, key, self._conversation(conversation_id), by=by)

    async def ask_configuration(self, key: str, conversation_id: str, *, by: str) -> Any:
        """Ask an app whether it is configured as this user's browser does, and return its response as JSON.

        Args:
            key: The key of the configuration.
            conversation_id: The conversation.
            by: The user id of the person whose browser asks.

        Raises:
            KeyError: The conversation, user or configuration does not exist.
            AppCallError: The app did not respond with 2xx, or a browser would refuse the response.
        """
        check_texts(key=key)
        self._check_user(by)
        return await ask(self._world, CONFIGURATION, key, self._conversation(conversation_id), by=by)

    def _app(self, client_id: str | None) -> App:
        check_optional_texts(client_id=client_id)
        app = self._world.store.app if client_id is None else self._world.store.people.app(client_id)
        if app is None:
            raise KeyError(f"no app {client_id!r}")
        return app

    def _check_user(self, by: str) -> None:
        check_texts(by=by)
        if self._world.store.people.scim(by) is None:
            raise KeyError(f"no person {by!r}")

    @property
    def _world(self) -> World:
        if self._running is None:
            raise RuntimeError("the server is not running")
        return self._running

    def _conversation(self, conversation_id: str) -> StoredConversation:
        check_texts(conversation_id=conversation_id)
        conversation = self._world.store.conversations.find(conversation_id)
        if conversation is None:
            raise KeyError(f"no conversation {conversation_id!r}")
        return conversation

    def _message(self, conversation_id: str, message_id: str) -> StoredMessage:
        check_texts(message_id=message_id)
        message = self._world.store.messages.find(self._conversation(conversation_id).number, message_id)
        if message is None:
            raise KeyError(f"no message {message_id!r}")
        return message

    async def _perform(self, action: FaultAction) -> None:
        """Call a fault's action with this server, and await what it returns if that is awaitable."""
        result = action(self)
        if inspect.isawaitable(result):
            await result

    async def _listen(self, stack: AsyncExitStack, exchange: Exchange, port: int) -> str:
        """Listen on the port until the stack is closed, and return the base URL."""
        handler = web.Server(
            exchange,
            handler_cancellation=True,
            access_log=None,
            logger=_LOG,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )
        runner = web.ServerRunner(handler, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
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


def _origin(
    seed: str | PathLike[str] | Iterable[bytes] | None, media_root: str | PathLike[str] | None, plan: Plan | None
) -> Origin | None:
    folder = None if media_root is None else Path(media_root)
    if isinstance(seed, (str, PathLike)):
        path = Path(seed)
        return SeedFile(path / FILE_IN_FOLDER if path.is_dir() else path, folder)
    if seed is not None:
        return SeedLines(seed, folder)
    return None if plan is None else GeneratedSite(plan)


def _nanoseconds(ts: int | str) -> int:
    check_types(ts=(ts, int | str))
    try:
        found = parse_ts(ts) if isinstance(ts, str) else ts
    except ValueError as error:
        raise ValueError(f"ts: {error}") from None
    if not -(2**63) <= found < 2**63:
        raise ValueError(f"ts: expected a time between 1678 and 2261, found {ts!r:.100}")
    return found


def _document(content: str | Document) -> Document:
    check_types(content=(content, str | dict))
    if isinstance(content, str):
        return from_plain(content)
    try:
        compact_json(content)
    except (TypeError, ValueError) as error:
        raise TypeError(f"content is not a JSON object: {error}") from None
    return dict(content)


def _chunks(data: bytes | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(data, bytes):
        yield from (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
        return
    check_several(data=data)
    for chunk in data:
        check_types(**{"a chunk of data": (chunk, bytes | bytearray | memoryview)})
        yield chunk
