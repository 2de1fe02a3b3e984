"""Look up the profiles of people, each of them once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from stride_async import Forbidden, NotFound, StrideClient, User


class People:
    """The profiles of a site's people, fetched when they are first needed."""

    def __init__(self, client: StrideClient) -> None:
        self._client = client
        self._known: dict[str, User] = {}

    async def look_up(self, ids: Iterable[str]) -> list[User]:
        """Return the profiles in the same order; a user whose profile is unavailable has only an id."""
        wanted = list(ids)
        unknown = [user_id for user_id in dict.fromkeys(wanted) if user_id not in self._known]
        profiles = await asyncio.gather(*map(self._profile, unknown))
        self._known.update(zip(unknown, profiles, strict=True))
        return [self._known[user_id] for user_id in wanted]

    async def _profile(self, id: str) -> User:
        try:
            return await self._client.user(id).profile()
        except (Forbidden, NotFound):
            return User(id=id)
