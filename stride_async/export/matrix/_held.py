"""What a room holds already: its marks, read back from the homeserver."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async._models import Key
from stride_async.export.matrix._content import NOTICE, Mark, Piece, is_ours
from stride_async.export.matrix._homeserver import Event, Homeserver


class _Content(msgspec.Struct):
    mark: Mark = msgspec.field(name="com.atlassian.stride")
    msgtype: str = ""
    url: str | None = None


_decoded = msgspec.json.Decoder(_Content).decode


@attrs.define
class HeldMessage:
    """A message of which at least one event is in the room."""

    key: Key
    digest: str
    """The digest of the message when it was sent."""
    pieces: dict[Piece, Mark] = attrs.field(factory=dict)
    """The marks of the parts and files that are there."""
    notices: set[Piece] = attrs.field(factory=set)
    """Those of them that a notice takes the place of."""


@attrs.define
class History:
    """The history of a room, as far as a migration has sent it."""

    homeserver: Homeserver
    room_id: str
    urls: dict[str, str]
    """The URLs of uploaded bodies by digest. Those that are found are added."""
    _removed: Counter[tuple[str, int]] = attrs.field(factory=Counter, init=False)

    def take_removed(self, sender: str, sent: int) -> bool:
        """Return whether an event with this sender and time was removed from the room; each is taken once.

        Only what `messages` has passed is known. Removing an event takes its mark, and leaves these two.
        """
        if not self._removed[sender, sent]:
            return False
        self._removed[sender, sent] -= 1
        return True

    async def messages(self) -> AsyncIterator[HeldMessage]:
        """Yield the messages in the room, oldest first. They were sent in the order of their keys."""
        message: HeldMessage | None = None
        async for event in self.homeserver.history(self.room_id):
            content = self._content_of(event)
            if content is None:
                if self._is_message_of_ours(event):
                    self._removed[event.sender, event.origin_server_ts] += 1
                continue
            mark = content.mark
            if message is not None and mark.key < message.key:
                continue
            if message is None or mark.key > message.key:
                if message is not None:
                    yield message
                message = HeldMessage(mark.key, mark.digest)
            message.pieces[mark.piece] = mark
            if content.msgtype == NOTICE:
                message.notices.add(mark.piece)
        if message is not None:
            yield message

    async def last(self) -> Mark | None:
        """Return the mark that was sent last, None if there is none."""
        async with aclosing(self.homeserver.history(self.room_id, backwards=True)) as events:
            async for event in events:
                if (content := self._content_of(event)) is not None:
                    return content.mark
        return None

    def _content_of(self, event: Event) -> _Content | None:
        """Return the content of an event that a migration has sent; others may write what looks like it."""
        if not self._is_message_of_ours(event):
            return None
        try:
            content = _decoded(event.content)
            _ = content.mark.key
        except (*NOT_DECODABLE, ValueError):
            return None
        if content.url is not None and content.mark.sha256 is not None:
            self.urls.setdefault(content.mark.sha256, content.url)
        return content

    def _is_message_of_ours(self, event: Event) -> bool:
        return event.type == "m.room.message" and is_ours(event.sender, self.homeserver.registration.server_name)
