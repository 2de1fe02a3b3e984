"""The calls to a homeserver, with their retries. The only place that uses the network.

Each method is one call of the client-server API; `user` is the person in whose name it is made, and without one it is
made in the name of the owner of the rooms.

A call is repeated after 429, after 5xx and when the connection fails, for a bounded number of times. The homeserver may
have acted although no answer came, and it forgets transaction ids when it restarts. So a call with an effect that would
be doubled takes a function that looks whether it has happened, which is asked before each repetition.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar
from urllib.parse import quote

import aiohttp
import attrs
import msgspec
import tenacity
from yarl import URL

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.files import open_file
from stride_async.export.matrix._content import MARK, Content
from stride_async.export.matrix._errors import (
    BadRegistration,
    HomeserverRefusal,
    HomeserverUnavailable,
    MatrixError,
    Refused,
)
from stride_async.export.matrix._registration import Registration

T = TypeVar("T")

_CLIENT = "/_matrix/client/v3"
_UPLOAD = "/_matrix/media/v3/upload"
_EVENTS_A_PAGE = 500
_MOST_EMPTY_PAGES = 1_000  # in a row
_LONGEST_REPLY = 256 * 1024 * 1024  # bytes
_LONGEST_SHOWN = 200  # characters


@attrs.frozen
class Patience:
    """How often, and for how long, a call is repeated."""

    attempts: int = 12
    first_attempts: int = 4
    """How often the first call of a migration is made: a wrong URL is likelier than a homeserver that restarts."""
    backoff: float = 0.5
    """Seconds before the first repetition; doubled each time, up to `longest_backoff`."""
    longest_backoff: float = 30.0
    longest_wait: float = 300.0
    """The longest wait, in seconds, that the homeserver may ask for."""


PATIENCE = Patience()


class Event(msgspec.Struct):
    """An event in a room."""

    type: str
    sender: str
    content: msgspec.Raw
    state_key: str | None = None
    origin_server_ts: int = 0


class _Page(msgspec.Struct):
    """A page of the history of a room."""

    chunk: list[Event]
    end: str | None = None


class _Nothing(msgspec.Struct):
    pass


class _WhoAmI(msgspec.Struct):
    user_id: str


class _Room(msgspec.Struct):
    room_id: str


class _Uploaded(msgspec.Struct):
    content_uri: str


class _DisplayName(msgspec.Struct):
    displayname: str | None = None


class _Error(msgspec.Struct):
    errcode: str = ""
    error: str = ""
    retry_after_ms: float | None = None


class _Trouble(Exception):
    """A call failed in a way that may pass."""

    def __init__(self, message: str, stated: float = 0.0) -> None:
        super().__init__(message)
        self.stated = stated


Look = Callable[[], Awaitable[T | None]]
"""Returns the result of a call that has had its effect, else None."""


@attrs.frozen
class _Call:
    method: str
    path: str
    user: str | None = None
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: Content | None = None
    file: Path | None = None
    mime_type: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Homeserver:
    """A homeserver, to which an application service connects.

    Args:
        url: Where its client-server API is.
        registration: Whose token is used.
        waiting: Called with the failure of a call and the seconds until it is repeated.
    """

    def __init__(self, url: str, registration: Registration, waiting: Callable[[str, float], None]) -> None:
        self.registration = registration
        self._waiting = waiting
        self._url = url.rstrip("/")
        # Without a total limit: an upload may take long. A homeserver that is silent is noticed.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=self._timeout,
            headers={"Authorization": f"Bearer {self.registration.token}"},
            middlewares=[_sent_once],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def check(self) -> None:
        """Check that the homeserver accepts the registration, and has the server name that it is for.

        Raises:
            HomeserverRefusal: It does not accept the token.
            BadRegistration: It is another homeserver.
            HomeserverUnavailable: It does not follow the Matrix specification.
        """
        patience = attrs.evolve(PATIENCE, attempts=PATIENCE.first_attempts)
        try:
            found = await self._call(_Call("GET", f"{_CLIENT}/account/whoami"), _WhoAmI, patience=patience)
        except Refused as refused:
            raise self.not_let_in(refused) from None
        if found.user_id != self.registration.owner:
            raise BadRegistration(
                f"{self.registration.path} is for {self.registration.owner}, but at {self._url} its token belongs to "
                f"{found.user_id}: use the registration of this homeserver"
            )

    def not_let_in(self, refused: Refused) -> MatrixError:
        """Return the error of a migration that cannot start, because the homeserver refuses its first calls."""
        if refused.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return self._refusal(str(refused))
        return HomeserverUnavailable(f"{self._url} does not respond like a Matrix homeserver: {refused}")

    async def register(self, local: str) -> None:
        """Create a user. Nothing happens if the user exists.

        Raises:
            BadRegistration: The name is not reserved for the registration.
        """
        body: Content = {"type": "m.login.application_service", "username": local, "inhibit_login": True}
        try:
            await self._call(_Call("POST", f"{_CLIENT}/register", body=body), _Nothing)
        except Refused as refused:
            if refused.errcode == "M_EXCLUSIVE":
                raise BadRegistration(
                    f"{self.registration.path} does not reserve the user {local}: {refused}"
                ) from None
            if refused.errcode != "M_USER_IN_USE":
                raise

    async def display_name(self, user: str) -> str | None:
        """Return the display name of a user, empty if it has none, None if there is no such user."""
        call = _Call("GET", f"{_CLIENT}/profile/{_quoted(user)}/displayname")
        found = await self._call_or_none(call, _DisplayName)
        return (found.displayname or "") if found is not None else None

    async def set_display_name(self, user: str, name: str) -> None:
        """Set the display name of a user."""
        path = f"{_CLIENT}/profile/{_quoted(user)}/displayname"
        await self._call(_Call("PUT", path, user=user, body={"displayname": name}), _Nothing)

    async def has_note(self, name: str) -> bool:
        """Return whether the account data of the owner has a note with this name."""
        return await self._call_or_none(_Call("GET", self._note(name)), _Nothing) is not None

    async def note(self, name: str, content: Content) -> None:
        """Store a note in the account data of the owner."""
        await self._call(_Call("PUT", self._note(name), body=content), _Nothing)

    def _note(self, name: str) -> str:
        return f"{_CLIENT}/user/{_quoted(self.registration.owner)}/account_data/{_quoted(f'{MARK}.{name}')}"

    async def room_of(self, alias: str) -> str | None:
        """Return the id of the room with an alias, None if there is none."""
        found = await self._call_or_none(_Call("GET", f"{_CLIENT}/directory/room/{_quoted(alias)}"), _Room)
        return found.room_id if found is not None else None

    async def delete_alias(self, alias: str) -> None:
        """Delete an alias, if it exists. The room that it names stays."""
        await self._call_or_none(_Call("DELETE", f"{_CLIENT}/directory/room/{_quoted(alias)}"), _Nothing)

    async def create_room(self, room: Content, look: Look[str]) -> str:
        """Create a room and return its id."""
        try:
            created = await self._call(_Call("POST", f"{_CLIENT}/createRoom", body=room), _Room, look=_as_room(look))
        except Refused as refused:
            found = await look() if refused.errcode == "M_ROOM_IN_USE" else None
            if found is None:
                raise
            return found
        return created.room_id

    async def state(self, room_id: str) -> list[Event]:
        """Return the state of a room."""
        return await self._call(_Call("GET", f"{_CLIENT}/rooms/{_quoted(room_id)}/state"), list[Event])

    async def set_state(self, room_id: str, type: str, content: Content, *, at: int | None) -> None:
        """Set a state of a room, as of a time in milliseconds since the epoch."""
        await self._call(_state_call(room_id, type, "", content, at), _Nothing)

    async def set_membership(
        self, room_id: str, member: str, content: Content, *, user: str | None, at: int | None, look: Look[bool]
    ) -> None:
        """Set the membership of someone in a room: invite them in the name of the owner, or join or leave."""
        call = attrs.evolve(_state_call(room_id, "m.room.member", member, content, at), user=user)
        await self._call(call, _Nothing, look=_as_nothing(look))

    async def send(
        self, room_id: str, transaction: str, content: Content, *, user: str, at: int, look: Look[bool]
    ) -> None:
        """Send a message in the name of a user, as of a time in milliseconds since the epoch."""
        path = f"{_CLIENT}/rooms/{_quoted(room_id)}/send/m.room.message/{_quoted(transaction)}"
        call = _Call("PUT", path, user=user, query={"ts": str(at)}, body=content)
        await self._call(call, _Nothing, look=_as_nothing(look))

    async def history(self, room_id: str, *, backwards: bool = False) -> AsyncGenerator[Event, None]:
        """Yield the events of a room in the order in which they were sent, or in the opposite one.

        A page can be empty although others follow, if the homeserver hides everything in it.
        """
        query = {"dir": "b" if backwards else "f", "limit": str(_EVENTS_A_PAGE)}
        empty = 0
        while empty < _MOST_EMPTY_PAGES:
            call = _Call("GET", f"{_CLIENT}/rooms/{_quoted(room_id)}/messages", query=query)
            page = await self._call(call, _Page)
            for event in page.chunk:
                yield event
            if page.end is None or page.end == query.get("from"):
                return
            query = {**query, "from": page.end}
            empty = empty + 1 if not page.chunk else 0
        raise HomeserverUnavailable(f"{self._url}: {call} answered with {empty:,} empty pages in a row")

    async def upload(self, file: Path, name: str, mime_type: str) -> str:
        """Upload a file and return its URL in Matrix."""
        call = _Call("POST", _UPLOAD, query={"filename": name}, file=file, mime_type=mime_type)
        return (await self._call(call, _Uploaded)).content_uri

    async def _call_or_none(self, call: _Call, reply: type[T]) -> T | None:
        """Make a call, and return None if what it names does not exist."""
        try:
            return await self._call(call, reply)
        except Refused as refused:
            if not refused.is_about_absence:
                raise
            return None

    async def _call(
        self, call: _Call, reply: type[T], *, look: Look[T] | None = None, patience: Patience | None = None
    ) -> T:
        """Make a call, repeat it as long as that may help, and return what was answered."""
        patience = patience or PATIENCE
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Trouble),
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=lambda state: _wait(state, patience),
            before_sleep=self._report_wait,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    if attempt.retry_state.attempt_number > 1 and look is not None:
                        found = await look()
                        if found is not None:
                            return found
                    return await self._attempt(call, reply, patience)
        except _Trouble as trouble:
            raise HomeserverUnavailable(f"{self._url}: {trouble} ({patience.attempts} attempts)") from trouble
        raise AssertionError("tenacity ends with a result or an exception")

    def _report_wait(self, state: tenacity.RetryCallState) -> None:
        if state.outcome is not None and state.next_action is not None:
            self._waiting(str(state.outcome.exception()), state.next_action.sleep)

    async def _attempt(self, call: _Call, reply: type[T], patience: Patience) -> T:
        if call.file is None:
            return await self._exchange(call, reply, patience, None)
        with open_file(call.file, str(call.file)) as file:
            return await self._exchange(call, reply, patience, file)

    async def _exchange(self, call: _Call, reply: type[T], patience: Patience, file: BinaryIO | None) -> T:
        query = {**call.query, **({"user_id": call.user} if call.user is not None else {})}
        url = URL(f"{self._url}{call.path}", encoded=True).update_query(query)
        data: object = file
        headers = {"Content-Type": call.mime_type or "application/json"}
        if call.body is not None:
            data = json.dumps(call.body).encode()
        try:
            async with self._http.request(
                call.method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                body = await self._body_of(call, response)
        except aiohttp.ClientSSLError as error:
            raise HomeserverUnavailable(f"{self._url}: {call} failed: {error}") from error
        except aiohttp.ClientResponseError as error:
            # It quotes the headers of the request, which contain the token: it does not become a cause.
            raise _Trouble(
                f"{call} failed: the response is not valid HTTP: {' '.join(error.message.split())}"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise _broken_off(str(call), error) from error
        return self._read(call, response, body, reply, patience)

    async def _body_of(self, call: _Call, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for block in response.content.iter_any():
            body += block
            if len(body) > _LONGEST_REPLY:
                raise HomeserverUnavailable(f"{self._url}: {call} answered with more than {_LONGEST_REPLY:,} bytes")
        return bytes(body)

    def _read(
        self, call: _Call, response: aiohttp.ClientResponse, body: bytes, reply: type[T], patience: Patience
    ) -> T:
        status = response.status
        if status == HTTPStatus.OK:
            try:
                return msgspec.json.decode(body, type=reply)
            except NOT_DECODABLE as error:
                raise HomeserverUnavailable(f"{self._url}: {call} answered with an invalid body: {error}") from error
        try:
            found = msgspec.json.decode(body, type=_Error)
        except NOT_DECODABLE:
            found = _Error(error=body[:_LONGEST_SHOWN].decode(errors="replace").strip())
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _throttled(call, found, response, patience)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Trouble(f"{call} answered {status}: {found.error[:_LONGEST_SHOWN]}")
        refused = Refused(str(call), status, found.errcode, found.error[:_LONGEST_SHOWN])
        if found.errcode in {"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"}:
            raise self._refusal(str(refused))
        if status < HTTPStatus.BAD_REQUEST:
            raise HomeserverUnavailable(f"{self._url}: {refused}, a status that Matrix does not use")
        raise refused

    def _refusal(self, what: str) -> HomeserverRefusal:
        return HomeserverRefusal(
            f"{self._url} does not accept the token of {self.registration.path} ({what}): add this file to the "
            "configuration of the homeserver (Synapse: app_service_config_files), and restart it"
        )


async def _sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a call by itself, which it does with PUT: the homeserver may have acted."""
    try:
        return await handler(request)
    except aiohttp.ClientSSLError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise _broken_off(f"{request.method} {request.url.raw_path}", error) from error


def _broken_off(call: str, error: Exception) -> _Trouble:
    """Return the trouble of a call that got no complete answer."""
    why = "no response in time" if isinstance(error, TimeoutError) else str(error) or repr(error)
    return _Trouble(f"{call} failed: {why}")


def _throttled(
    call: _Call, found: _Error, response: aiohttp.ClientResponse, patience: Patience
) -> _Trouble | HomeserverUnavailable:
    stated = (found.retry_after_ms or 0.0) / 1000
    header = response.headers.get("Retry-After", "")
    if not stated and header.isdecimal():
        stated = float(header)
    if stated > patience.longest_wait:
        return HomeserverUnavailable(f"{call} is throttled: the homeserver asks for a wait of {stated:,.0f} s")
    return _Trouble(f"{call} is throttled", stated)


def _wait(state: tenacity.RetryCallState, patience: Patience) -> float:
    """Return the seconds to wait before the next attempt: what the homeserver asked for, or the backoff."""
    error = state.outcome.exception() if state.outcome is not None else None
    stated = error.stated if isinstance(error, _Trouble) else 0.0
    own: float = min(patience.backoff * 2 ** (state.attempt_number - 1), patience.longest_backoff)
    return max(stated, own)


def _as_room(look: Look[str]) -> Look[_Room]:
    async def found() -> _Room | None:
        room_id = await look()
        return _Room(room_id) if room_id is not None else None

    return found


def _as_nothing(look: Look[bool]) -> Look[_Nothing]:
    async def found() -> _Nothing | None:
        return _Nothing() if await look() else None

    return found


def _state_call(room_id: str, type: str, key: str, content: Content, at: int | None) -> _Call:
    path = f"{_CLIENT}/rooms/{_quoted(room_id)}/state/{_quoted(type)}/{_quoted(key)}"
    return _Call("PUT", path, query={} if at is None else {"ts": str(at)}, body=content)


def _quoted(part: str) -> str:
    return quote(part, safe="")
