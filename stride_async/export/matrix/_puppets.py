"""The users that stand for people at the homeserver.

Before a user is created, a note in the account data of the owner says so. A user that exists without this note was
created by someone else, who could log in as that person and read private rooms, so it is not used.
"""

from __future__ import annotations

import asyncio

import attrs

from stride_async.document._text import without_surrogates
from stride_async.export.formats._source import Person
from stride_async.export.matrix._content import display_name, local_part, user_id
from stride_async.export.matrix._errors import BadRegistration, Foreign
from stride_async.export.matrix._homeserver import Homeserver
from stride_async.export.matrix._registration import OWNER

OWNER_NAME = "Stride archive"
"""The display name of the user who owns the rooms."""


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
        """Create the user of a person if there is none, give it its name, and return its id.

        Raises:
            Foreign: There is such a user, which no migration has created.
            Refused: The homeserver refuses to create it.
        """
        user, local = self.id_of(person), local_part(person.id)
        async with self._locks.setdefault(user, asyncio.Lock()):
            if user not in self.names:
                found = await self.homeserver.display_name(user)
                if found is None:
                    await self.homeserver.note(local, {"id": without_surrogates(person.id)})
                    await self.homeserver.register(local)
                elif not await self.homeserver.has_note(local):
                    raise Foreign(
                        f"{user} stands for {person.name}, but no migration has created it. "
                        "Have the administrator of the homeserver delete this user, and run the migration again"
                    )
                await self._set_name(user, found, display_name(person))
        return user

    async def ensure_owner(self) -> None:
        """Create the user who owns the rooms, unless the homeserver has done so when it read the registration.

        Raises:
            BadRegistration: Someone else has this user.
            Refused: The homeserver refuses to create it.
        """
        registration = self.homeserver.registration
        found = await self.homeserver.display_name(registration.owner)
        if found not in {None, "", OWNER, OWNER_NAME}:
            raise BadRegistration(
                f"{registration.owner} should be the user of {registration.path}, but someone with the name "
                f"{found!r} has it: have the administrator of the homeserver delete this user"
            )
        if found is None:
            await self.homeserver.register(OWNER)
        await self._set_name(registration.owner, found, OWNER_NAME)

    async def _set_name(self, user: str, found: str | None, wanted: str) -> None:
        if found != wanted:
            await self.homeserver.set_display_name(user, wanted)
        self.names[user] = wanted
