"""A small Matrix homeserver for tests: the calls of a migration, checked as a real one checks them.

Like Synapse 1.98, it forgets transaction ids when it restarts, so that the same call sends a second event, and creating
a room is not atomic: a restart in the middle keeps what was stored until then, at first nothing but the alias.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import unquote

import attrs
from aiohttp import web

SERVER = "test.invalid"
LARGEST_EVENT = 65_536
LARGEST_UPLOAD = 1_000_000
PAGE = 40  # a small page, so that each history has several


@attrs.define
class Fault:
    """What happens to calls whose `METHOD path` contains a pattern, from the `first` such call on, `times` times."""

    pattern: str
    status: int = 0
    """The status to answer, 0 to close the connection."""
    body: bytes = b"{}"
    acts: bool = False
    """Whether the homeserver acts first."""
    restarts: bool = False
    """Whether it restarts, in the middle of what it does if it creates a room."""
    stored: int = 2
    """How many events of the room that it creates are stored then: 0 leaves the alias alone."""
    first: int = 1
    times: int = 1
    headers: dict[str, str] = attrs.field(factory=dict)
    seen: int = attrs.field(default=0, init=False)

    def applies(self, call: str) -> bool:
        """Count a call, and return whether it fails."""
        if not re.search(self.pattern, call):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


@attrs.define
class FakeRoom:
    """A room, with everything that ever happened in it."""

    events: list[dict[str, Any]] = attrs.field(factory=list)
    state: dict[tuple[str, str], dict[str, Any]] = attrs.field(factory=dict)

    def membership(self, user: str) -> str:
        event = self.state.get(("m.room.member", user))
        return event["content"]["membership"] if event else "leave"

    def former(self) -> set[str]:
        """Return those who have joined at some time."""
        joins = (event for event in self.events if event["type"] == "m.room.member")
        return {event["state_key"] for event in joins if event["content"]["membership"] == "join"}

    def level(self, user: str) -> int:
        event = self.state.get(("m.room.power_levels", ""))
        if event is None:
            return 100 if user == self.state["m.room.create", ""]["sender"] else 0
        return event["content"]["users"].get(user, event["content"].get("users_default", 0))

    def required(self, name: str, otherwise: int) -> int:
        event = self.state.get(("m.room.power_levels", ""))
        return otherwise if event is None else event["content"].get(name, otherwise)

    def content(self, type: str, key: str = "") -> dict[str, Any] | None:
        event = self.state.get((type, key))
        return event["content"] if event else None

    def messages(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == "m.room.message"]

    @property
    def name(self) -> str | None:
        return (self.content("m.room.name") or {}).get("name")


class Error(Exception):
    """What the homeserver answers instead of a result."""

    def __init__(self, status: int, errcode: str, error: str = "") -> None:
        self.status = status
        self.body = {"errcode": errcode, "error": error or errcode}


class FakeHomeserver:
    """The homeserver. Everything but the transaction ids survives `restart`."""

    def __init__(self, token: str, server_name: str = SERVER) -> None:
        self.token = token
        self.server_name = server_name
        self.owner = f"@stride_archive:{server_name}"
        self.users: dict[str, str | None] = {}
        self.aliases: dict[str, str] = {}
        self.rooms: dict[str, FakeRoom] = {}
        self.account_data: dict[tuple[str, str], dict[str, Any]] = {}
        self.media: dict[str, tuple[bytes, str]] = {}
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.is_gone = False
        self.empty_pages = 0
        """The number of empty pages at the beginning of each history."""
        self.on_call: Callable[[int], None] = lambda _: None
        """Called with the number of each call before it acts."""
        self.after_call: Callable[[int], None] = lambda _: None
        """Called with the number of each call when it has acted, before the answer is sent."""
        self.stalled: re.Pattern[str] | None = None
        """Calls that get no answer, as long as the connection stays open."""
        self.stalls = asyncio.Event()
        """Set when there is such a call."""
        self._closing = asyncio.Event()
        self._transactions: dict[tuple[str, str], str] = {}

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2 * LARGEST_UPLOAD)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    def restart(self) -> None:
        """Forget what a restart makes a homeserver forget."""
        self._transactions.clear()

    def room_named(self, name: str) -> FakeRoom:
        [room] = [room for room in self.rooms.values() if room.name == name]
        return room

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = f"{request.method} {request.rel_url.raw_path}"
        if self.is_gone:
            return self._closed(request)
        self.calls.append(call)
        number = len(self.calls)
        body = await request.read()
        self.on_call(number)
        if self.stalled is not None and self.stalled.search(call):
            self.stalls.set()
            await self._closing.wait()
            return self._closed(request)
        fault = next((fault for fault in self.faults if fault.applies(call)), None)
        if fault is not None:
            try:
                if fault.acts:
                    self._act(request, body, torn_after=fault.stored if fault.restarts else None)
            except Error as error:
                return web.json_response(error.body, status=error.status)
            if fault.restarts:
                self.restart()
            if fault.status == 0:
                return self._closed(request)
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        try:
            result = self._act(request, body)
        except Error as error:
            return web.json_response(error.body, status=error.status)
        finally:
            self.after_call(number)
        return web.json_response(result)

    @staticmethod
    def _closed(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    def _act(self, request: web.Request, body: bytes, *, torn_after: int | None = None) -> Any:
        user = self._user_of(request)
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        match [request.method, *parts[1:]]:
            case ["POST", "media", "v3", "upload"]:
                return self._upload(body, request)
            case ["GET", "client", "v3", "account", "whoami"]:
                return {"user_id": self.owner}
            case ["POST", "client", "v3", "register"]:
                return self._register(json.loads(body))
            case [method, "client", "v3", "profile" | "user" as what, who, *rest]:
                return self._act_on_user(body, user, who, [method, what, *rest])
            case [method, "client", "v3", "directory", "room", alias]:
                return self._act_on_alias(method, alias)
            case ["POST", "client", "v3", "createRoom"]:
                self._check_user(user)
                return self._create(json.loads(body), user, torn_after=torn_after)
            case [method, "client", "v3", "rooms", room_id, *what]:
                return self._act_in_room(request, body, user, room_id, [method, *what])
        raise Error(404, "M_UNRECOGNIZED")

    def _act_on_user(self, body: bytes, user: str, who: str, what: list[str]) -> Any:
        match what:
            case ["GET", "profile", "displayname"]:
                if who not in self.users:
                    raise Error(404, "M_NOT_FOUND")
                name = self.users[who]
                return {"displayname": name} if name is not None else {}
            case ["GET", "user", "account_data", type]:
                if (who, type) not in self.account_data:
                    raise Error(404, "M_NOT_FOUND")
                return self.account_data[who, type]
            case ["PUT", "user", "account_data", type]:
                assert who == user
                self.account_data[who, type] = json.loads(body)
                return {}
            case ["PUT", "profile", "displayname"]:
                self._check_user(user)
                assert who == user
                name = json.loads(body)["displayname"]
                if "\0" in name:
                    raise Error(500, "M_UNKNOWN", "PostgreSQL does not store U+0000")
                self.users[who] = name
                return {}
        raise Error(404, "M_UNRECOGNIZED")

    def _act_on_alias(self, method: str, alias: str) -> Any:
        assert re.fullmatch(rf"#stride_[0-9a-f]{{20}}:{re.escape(self.server_name)}", alias)
        if alias not in self.aliases:
            raise Error(404, "M_NOT_FOUND")
        if method == "DELETE":
            del self.aliases[alias]
            return {}
        return {"room_id": self.aliases[alias], "servers": [self.server_name]}

    def _act_in_room(self, request: web.Request, body: bytes, user: str, room_id: str, what: list[str]) -> Any:
        match what:
            case ["GET", "state"]:
                return list(self._joined(room_id, user, may_have_left=True).state.values())
            case ["PUT", "state", type, *key]:
                self._check_user(user)
                at = int(request.query["ts"]) if "ts" in request.query else None
                return self._set_state(room_id, user, type, (key or [""])[0], json.loads(body), at)
            case ["GET", "messages"]:
                return self._messages(self._joined(room_id, user), request)
            case ["PUT", "send", "m.room.message", transaction]:
                self._check_user(user)
                return self._send(room_id, user, transaction, json.loads(body), int(request.query["ts"]))
        raise Error(404, "M_UNRECOGNIZED")

    def _user_of(self, request: web.Request) -> str:
        """Return the user in whose name a call is made."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Error(401, "M_UNKNOWN_TOKEN")
        user = request.query.get("user_id", self.owner)
        if user != self.owner and not re.fullmatch(rf"@stride_[0-9a-f]{{20}}:{re.escape(self.server_name)}", user):
            raise Error(403, "M_FORBIDDEN", "Application service cannot masquerade as this user")
        return user

    def _check_user(self, user: str) -> None:
        if user not in self.users:
            raise Error(403, "M_FORBIDDEN", f"{user} is not registered")

    def _register(self, body: dict[str, Any]) -> Any:
        assert body["type"] == "m.login.application_service"
        user = f"@{body['username']}:{self.server_name}"
        if user in self.users:
            raise Error(400, "M_USER_IN_USE")
        self.users[user] = None
        return {"user_id": user}

    def _create(self, body: dict[str, Any], user: str, *, torn_after: int | None) -> Any:
        alias = f"#{body['room_alias_name']}:{self.server_name}"
        if alias in self.aliases:
            raise Error(400, "M_ROOM_IN_USE")
        room_id = f"!{len(self.rooms)}:{self.server_name}"
        room = self.rooms[room_id] = FakeRoom()
        self.aliases[alias] = room_id
        levels = {"users": {user: 100}, "users_default": 0, "events_default": 0, "state_default": 50, "invite": 0}
        rule = "public" if body["preset"] == "public_chat" else "invite"
        stored = [
            ("m.room.create", "", body["creation_content"] | {"creator": user}),
            ("m.room.member", user, {"membership": "join", "displayname": self.users[user]}),
            ("m.room.power_levels", "", levels),
            ("m.room.canonical_alias", "", {"alias": alias}),
            ("m.room.join_rules", "", {"join_rule": rule}),
            ("m.room.history_visibility", "", {"history_visibility": "shared"}),
        ]
        for type, key, content in stored[:torn_after]:
            self._put(room, user, type, key, content, 1)
        return {"room_id": room_id}

    def _joined(self, room_id: str, user: str, *, may_have_left: bool = False) -> FakeRoom:
        room = self.rooms.get(room_id)
        if room is None or (room.membership(user) != "join" and not (may_have_left and user in room.former())):
            raise Error(403, "M_FORBIDDEN", f"{user} is not in {room_id}")
        return room

    def _set_state(self, room_id: str, user: str, type: str, key: str, content: Any, at: int | None) -> Any:
        room = self.rooms[room_id]
        if type == "m.room.member":
            self._check_membership(room, user, key, content["membership"])
        elif self._joined(room_id, user).level(user) < room.required("state_default", 0):
            raise Error(403, "M_FORBIDDEN", f"{user} may not set {type}")
        return {"event_id": self._put(room, user, type, key, content, at)}

    @staticmethod
    def _check_membership(room: FakeRoom, user: str, key: str, wanted: str) -> None:
        has = room.membership(key)
        if not room.events:
            raise Error(404, "M_UNKNOWN", "no servers that are in the room have been provided")
        if wanted == "invite":
            allowed = room.membership(user) == "join" and has != "join"
            allowed = allowed and room.level(user) >= room.required("invite", 0)
        elif wanted == "join":
            is_public = (room.content("m.room.join_rules") or {}).get("join_rule") == "public"
            is_creator = len(room.events) == 1 and room.events[0]["sender"] == user
            allowed = user == key and (has in {"invite", "join"} or is_public or is_creator)
        else:
            allowed = user == key and has in {"invite", "join"}
        if not allowed:
            raise Error(403, "M_FORBIDDEN", f"{key} cannot change from {has} to {wanted}")

    def _send(self, room_id: str, user: str, transaction: str, content: Any, at: int) -> Any:
        known = self._transactions.get((user, transaction))
        if known is not None:
            return {"event_id": known}
        room = self._joined(room_id, user)
        if room.level(user) < room.required("events_default", 0):
            raise Error(403, "M_FORBIDDEN", f"{user} may not send")
        if len(json.dumps(content, ensure_ascii=False).encode()) > LARGEST_EVENT - 1_000:
            raise Error(413, "M_TOO_LARGE")
        _check_numbers(content)
        event = self._append(room, user, "m.room.message", content, at)
        self._transactions[user, transaction] = event["event_id"]
        return {"event_id": event["event_id"]}

    def _put(self, room: FakeRoom, user: str, type: str, key: str, content: Any, at: int | None) -> str:
        held = room.state.get((type, key))
        if held is not None and held["content"] == content and held["sender"] == user:
            return str(held["event_id"])
        event = self._append(room, user, type, content, at) | {"state_key": key}
        room.events[-1] = room.state[type, key] = event
        return str(event["event_id"])

    @staticmethod
    def _append(room: FakeRoom, user: str, type: str, content: Any, at: int | None) -> dict[str, Any]:
        event = {
            "type": type,
            "sender": user,
            "content": content,
            "origin_server_ts": at if at is not None else 0,
            "event_id": f"${id(room)}-{len(room.events)}",
        }
        room.events.append(event)
        return event

    def _messages(self, room: FakeRoom, request: web.Request) -> Any:
        start, limit = int(request.query.get("from", "0")), min(int(request.query["limit"]), PAGE)
        if start > -self.empty_pages and start <= 0:
            return {"chunk": [], "start": str(start), "end": str(start - 1)}
        start = max(start, 0)
        events = room.events if request.query["dir"] == "f" else room.events[::-1]
        chunk = events[start : start + limit]
        return {"chunk": chunk, "start": str(start), **({"end": str(start + limit)} if chunk else {})}

    def _upload(self, body: bytes, request: web.Request) -> Any:
        if len(body) > LARGEST_UPLOAD:
            raise Error(413, "M_TOO_LARGE")
        url = f"mxc://{self.server_name}/{len(self.media)}"
        self.media[url] = body, request.query["filename"]
        return {"content_uri": url}


def _check_numbers(value: object) -> None:
    """Refuse numbers that the canonical JSON of Matrix does not have."""
    match value:
        case dict():
            for each in value.values():
                _check_numbers(each)
        case list():
            for each in value:
                _check_numbers(each)
        case bool() | None | str():
            pass
        case int() if abs(value) < 2**53:
            pass
        case _:
            raise Error(400, "M_BAD_JSON", f"{value!r} is not allowed")
