"""The users that stand for people at the homeserver."""

from __future__ import annotations

import asyncio

import attrs

from stride_async.export.formats._source import Person
from stride_async.export.matrix._content import display_name, local_part, user_id
from stride_async.export.matrix._homeserver import Homeserver
from stride_async.export.matrix._registration import OWNER

_OWNER_NAME = "Stride archive"


@attrs.define
class Puppets:
    """The users of this migration, each created with a display name when it is first needed."""

    homeserver: Homeserver
    names: dict[str, str] = attrs.field(factory=dict, init=False)
    """The display names of those who exist, by Matrix id."""
    _locks: dict[str, asyncio.Lock] = attrs.field(factory=dict, init=False)

    def id_of(self, person: Person) -> str:
        """Return the Matrix id of a person."""
        return user_id(person.id, self.homeserver.registration.server_name)

    async def ensure(self, person: Person) -> str:
        """Create the user of a person if there is none, give it its name, and return its id."""
        user = self.id_of(person)
        await self._ensure(user, local_part(person.id), display_name(person))
        return user

    async def ensure_owner(self) -> None:
        """Create the user who owns the rooms."""
        await self._ensure(self.homeserver.registration.owner, OWNER, _OWNER_NAME)

    async def _ensure(self, user: str, local: str, name: str) -> None:
        if user in self.names:
            return
        async with self._locks.setdefault(user, asyncio.Lock()):
            if user in self.names:
                return
            await self.homeserver.register(local)
            if await self.homeserver.display_name(user) != name:
                await self.homeserver.set_display_name(user, name)
            self.names[user] = name
