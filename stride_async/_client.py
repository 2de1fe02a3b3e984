"""StrideClient: the connections, the token and the rate limits for one site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, TracebackType
from typing import Self

import aiohttp

from stride_async._arguments import of_type, seconds, text
from stride_async._conversation import ConversationClient
from stride_async._errors import NotFound
from stride_async._models import Account, Conversation, Json, Site, User
from stride_async._net.pool import Pool
from stride_async._net.session import Session
from stride_async._pager import Pager, planned
from stride_async._settings import Settings, variable
from stride_async._user import UserClient
from stride_async._wire.endpoints import conversations, modules, people
from stride_async._wire.endpoints.conversations import Privacy, Sort
from stride_async._wire.endpoints.reading import decoded, json_call
from stride_async._wire.request import Request, segment
from stride_async._wire.token import ClientCredentials, Credentials, StaticToken, check_credentials
from stride_async.document import Document

_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_METHOD = re.compile("[A-Z]+(-[A-Z]+)*")
_PATH = re.compile(r"/(?!/)[!-~]*")


class StrideClient:
    """A client of one site.

    Use it as `async with StrideClient(…) as client`, or call `close` when you are done. Creating a client sends and
    opens nothing; the first call does.

    Args:
        credentials: `ClientCredentials`, `StaticToken`, or any `TokenProvider`.
        cloud_id: The id of the site.
        settings: All options. Only `base_url` is required.
        session: Your own aiohttp session, for example for a proxy or custom TLS. The client never closes it. Its
            headers, cookies, proxy, traces and middlewares apply. Its `base_url`, `timeout`, `raise_for_status`,
            `auto_decompress` and the credentials of a `.netrc` do not.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The cloud id is empty, or the session has `auth` or an Authorization header of its own.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        cloud_id: str,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        check_credentials(credentials)
        segment(cloud_id, "cloud id")
        of_type(settings, "settings", Settings)
        of_type(session, "session", aiohttp.ClientSession, NoneType)
        self.cloud_id = cloud_id
        """The id of the site."""
        self.settings = settings
        """The options of this client."""
        self._owner = True
        self._pool = Pool(credentials, session)
        self._session = Session(settings, self._pool)

    @classmethod
    def from_env(cls, *, settings: Settings | None = None, session: aiohttp.ClientSession | None = None) -> Self:
        """Return a client that is configured by environment variables.

        These are STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET (or STRIDE_TOKEN), STRIDE_CLOUD_ID, and, unless `settings`
        are given, STRIDE_BASE_URL.

        Args:
            settings: All options. By default, those of `Settings.from_env`.
            session: Your own aiohttp session, as for the constructor.

        Raises:
            ValueError: A variable is missing; the message names it.
        """
        of_type(settings, "settings", Settings, NoneType)
        settings = settings or Settings.from_env()
        cloud_id = variable("STRIDE_CLOUD_ID")
        if not cloud_id:
            raise ValueError("no site given: set STRIDE_CLOUD_ID")
        return cls(_credentials_from_env(), cloud_id=cloud_id, settings=settings, session=session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel the calls in flight, which raise `ClientClosed`, and close what the client opened.

        Closing twice is allowed.
        """
        if self._owner:
            await self._pool.close()

    def __repr__(self) -> str:
        return f"StrideClient(cloud_id={self.cloud_id!r}, base_url={self.settings.base_url!r})"

    def with_settings(self, settings: Settings) -> StrideClient:
        """Return a client with other options that uses the same connections, token and rate limits.

        Closing it closes nothing.

        Args:
            settings: The other options.

        Raises:
            ValueError: `base_url` or `token_url` differs; the shared token is valid only for these.
        """
        of_type(settings, "settings", Settings)
        for name in ("base_url", "token_url"):
            if getattr(settings, name) != getattr(self.settings, name):
                raise ValueError(
                    f"{name} is {getattr(settings, name)!r}, but the shared token is for "
                    f"{getattr(self.settings, name)!r}; create another client"
                )
        return self._derived(self.cloud_id, settings, Session(settings, self._pool))

    def for_site(self, cloud_id: str) -> StrideClient:
        """Return a client of another site that shares this client's connections, token and limiter.

        The token belongs to the app, not to a site, so an app that is installed in several sites needs only one.
        Closing the returned client closes nothing.

        Args:
            cloud_id: The id of the other site.

        Raises:
            ValueError: The cloud id is empty.
        """
        segment(cloud_id, "cloud id")
        return self._derived(cloud_id, self.settings, self._session)

    def _derived(self, cloud_id: str, settings: Settings, session: Session) -> StrideClient:
        derived = object.__new__(StrideClient)
        derived.cloud_id = cloud_id
        derived.settings = settings
        derived._owner = False
        derived._pool = self._pool
        derived._session = session
        return derived

    def conversations(
        self,
        *,
        query: str | None = None,
        include_private: bool = True,
        include_archived: bool = False,
        exclude_direct: bool = False,
        sort: Sort | None = None,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> Pager[Conversation]:
        """Return a pager over the conversations that the app can access (protocol 5.2).

        Args:
            query: Only conversations whose name contains this text.
            include_private: Whether private rooms are listed.
            include_archived: Whether archived rooms are listed. The service leaves them out by default.
            exclude_direct: Whether direct conversations are left out.
            sort: The order; None leaves it to the service.
            page_size: The number of items requested per page, 1 to 75; None means `Settings.page_size`.
            max_items: The largest number of conversations; None means all.

        Raises:
            ValueError: `page_size` is not 1 to 75, `max_items` is negative, or `sort` has another value.
        """
        listing = conversations.list_conversations(
            self.cloud_id,
            query=query,
            include_private=include_private,
            include_archived=include_archived,
            exclude_direct=exclude_direct,
            sort=sort,
        )
        return planned(self._session, listing, page_size, max_items)

    async def create_conversation(
        self, name: str, *, privacy: Privacy = "public", topic: str = ""
    ) -> ConversationClient:
        """Create a room and return a handle to it (protocol 5.3).

        The call is retried only if the service has certainly not acted on it. The service installs the app in the room
        a moment later, so the first calls to the room may raise `Forbidden`.

        Args:
            name: The name of the room.
            privacy: Whether the room is public or private.
            topic: The topic.
        """
        request = conversations.create_conversation(self.cloud_id, name=name, privacy=privacy, topic=topic)
        id = await self._session.send(request)
        return self.conversation(id)

    def conversation(self, conversation: Conversation | str) -> ConversationClient:
        """Return a handle to a conversation. This sends nothing.

        Args:
            conversation: A `Conversation`, or its id.

        Raises:
            TypeError: The argument is neither.
            ValueError: The id is empty.
        """
        id = conversation.id if isinstance(conversation, Conversation) else conversation
        return ConversationClient(self._session, self.cloud_id, id)

    def user(self, user: User | str) -> UserClient:
        """Return a handle to a person. This sends nothing.

        Args:
            user: A `User`, or the id of a person.

        Raises:
            TypeError: The argument is neither.
            ValueError: The id is empty.
        """
        return UserClient(self._session, self.cloud_id, user.id if isinstance(user, User) else user)

    def recall_call(self, conversation_id: str, seconds_ago: float) -> None:
        """Count a call that an earlier process made less than a minute ago.

        The rate limit of the conversation then holds across a restart.

        Args:
            conversation_id: The conversation that was called.
            seconds_ago: How long ago the call was made.

        Raises:
            ValueError: `seconds_ago` is negative or not finite.
        """
        seconds(seconds_ago, "seconds_ago")
        self._pool.throttle.recall(text(conversation_id, "conversation id"), seconds_ago)

    async def me(self) -> Account:
        """Return the app's own account (protocol 4.8)."""
        return await self._session.send(people.get_me())

    async def sites(self) -> list[Site]:
        """Return the sites that the app can use (protocol 5.1)."""
        return await self._session.send(people.list_sites())

    async def find_user(self, email: str) -> str | None:
        """Return the id of the person with an email address, or None if there is none (protocol 5.21).

        Args:
            email: The email address.
        """
        try:
            return await self._session.send(people.find_user(self.cloud_id, email))
        except NotFound:
            return None

    async def update_glance(
        self,
        key: str,
        *,
        label: str,
        conversation_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> None:
        """Set what a glance shows on the entire site, in one conversation, or to one person (protocol 5.20).

        Args:
            key: The key of the glance in the descriptor.
            label: The text that it shows.
            conversation_id: Only in this conversation; None means on the entire site.
            user_id: Only for this person; None means for everyone.
            metadata: More JSON for the glance.
        """
        request = modules.update_glance(
            self.cloud_id, key, label=label, conversation_id=conversation_id, user_id=user_id, metadata=metadata
        )
        await self._session.send(request)

    async def update_configuration(self, key: str, *, configured: bool, conversation_id: str) -> None:
        """Set whether the app is configured in a conversation, with the older call (protocol 5.20).

        Args:
            key: The key of the configuration in the descriptor.
            configured: Whether the app is configured.
            conversation_id: The conversation.
        """
        request = modules.update_configuration(
            self.cloud_id, key, configured=configured, conversation_id=conversation_id
        )
        await self._session.send(request)

    async def markdown_to_document(self, text: str) -> Document:
        """Return the document that the service converts Markdown to (protocol 5.22).

        Args:
            text: The text, in Markdown.
        """
        return await self._session.send(people.convert_markdown(text))

    async def render_text(self, document: Document) -> str:
        """Return a document as the service renders it in plain text (protocol 5.22).

        Args:
            document: The document.
        """
        return await self._session.send(people.render_document(of_type(document, "document", Document)))

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, json: Json = None
    ) -> Json:
        """Make any other call, with the same token, limits, retries and errors.

        Return the decoded JSON, or None if the response is empty. GET, HEAD, OPTIONS, PUT and DELETE may be retried,
        POST and PATCH may not.

        Args:
            method: The HTTP method.
            path: The path below `base_url`. It begins with a slash and is percent-encoded; a query belongs in `params`.
            params: The query.
            json: The body, as a JSON value; None means no body.

        Raises:
            ValueError: The path does not begin with one slash, is not percent-encoded, or has a query; or the method is
                not a word.
        """
        of_type(params, "params", Mapping, NoneType)
        text(path, "path")
        if not _PATH.fullmatch(path) or set(path) & set("?#\\"):
            raise ValueError(
                f"the path {path!r} must begin with one slash and be percent-encoded; a query belongs in params"
            )
        verb = text(method, "method").upper()
        if not _METHOD.fullmatch(verb):
            raise ValueError(f"the method {method!r:.100} is not the name of an HTTP method")
        repeatable = verb in _REPEATABLE_METHODS
        query = tuple(_parameter(name, value) for name, value in (params or {}).items())
        key = conversations.limit_key_of(path)
        if json is not None:
            call = json_call(verb, path, decoded, json, query=query, limit_key=key, repeatable=repeatable)
        else:
            call = Request(method=verb, path=path, read=decoded, query=query, limit_key=key, repeatable=repeatable)
        return await self._session.send(call)


def _parameter(name: str, value: str | int) -> tuple[str, str]:
    what = f"the parameter {text(name, 'name of a parameter')!r:.100}"
    return name, text(str(of_type(value, what, str, int)), what.removeprefix("the "))


def _credentials_from_env() -> Credentials:
    if token := variable("STRIDE_TOKEN"):
        return StaticToken(token)
    missing = [name for name in ("STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET") if not variable(name)]
    if missing:
        raise ValueError(f"no credentials given: set {' and '.join(missing)}, or STRIDE_TOKEN")
    return ClientCredentials(variable("STRIDE_CLIENT_ID"), variable("STRIDE_CLIENT_SECRET"))
