"""What can be done in one conversation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping

from stride_async._body import Body, ProgressCallback
from stride_async._media import Download, DownloadResult, body_of, download, download_many, upload
from stride_async._models import Content, Conversation, Json, Media, Message, Module, ModuleType
from stride_async._net.session import Session
from stride_async._net.stream import RemoteBody
from stride_async._pager import Pager, planned
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.endpoints import conversations, media, messages, modules
from stride_async._wire.endpoints.conversations import Privacy
from stride_async._wire.history import Bound


class ConversationClient:
    """One conversation of one site. Making it sends nothing, and it owns nothing.

    Every method that waits raises errors of the `StrideError` tree: `NotFound` for an unknown conversation, `Forbidden`
    where the app is not installed, and what the network brings. Bad arguments are a `ValueError` before anything is
    sent.
    """

    def __init__(self, session: Session, cloud_id: str, conversation_id: str) -> None:
        self.cloud_id = cloud_id
        """The site's id."""
        self.id = conversation_id
        """The conversation's id."""
        self._session = session
        self._messages = f"{conversations.conversation_path(cloud_id, conversation_id)}/message"
        self._at = (cloud_id, conversation_id)

    def __repr__(self) -> str:
        return f"ConversationClient({self.id!r})"

    async def get(self) -> Conversation:
        """Name, topic, type and so on (protocol 5.4)."""
        return await self._session.send(conversations.get_conversation(*self._at))

    async def update(
        self, *, name: str | None = None, topic: str | None = None, privacy: Privacy | None = None
    ) -> Conversation:
        """Change what is given and give the conversation as it is then (protocol 5.5)."""
        request = conversations.update_conversation(*self._at, name=name, topic=topic, privacy=privacy)
        return await self._session.send(request) or await self.get()

    async def archive(self) -> None:
        """Put it away; nothing can be sent into it then (protocol 5.6)."""
        await self._session.send(conversations.set_archived(*self._at, archived=True))

    async def unarchive(self) -> None:
        """Take it back into use (protocol 5.6)."""
        await self._session.send(conversations.set_archived(*self._at, archived=False))

    def roster(self, *, page_size: int | None = None, max_items: int | None = None) -> Pager[str]:
        """Ids of the people in it, in the service's order (protocol 5.7).

        The list is counted through, so of people who join or leave meanwhile some may be missed; nobody comes twice.
        """
        return planned(self._session, conversations.roster(*self._at), page_size, max_items)

    async def invite(self, *user_ids: str) -> None:
        """Bring people in (protocol 5.8)."""
        await self._session.send(conversations.change_roster(*self._at, "add", user_ids))

    async def remove(self, *user_ids: str) -> None:
        """Take people out (protocol 5.8)."""
        await self._session.send(conversations.change_roster(*self._at, "remove", user_ids))

    def history(
        self,
        *,
        after: Bound | None = None,
        before: Bound | None = None,
        oldest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> Pager[Message]:
        """Return a pager over all messages between two exclusive bounds, ordered by `Message.key`.

        A bound is a message id, a `Message`, an aware datetime, a key (`(ts, id)`) or a `Bookmark` of this
        conversation. Of these, only an id must still exist.

        Newest first is the default, because the service can be read completely only from new to old (protocol 5.15).
        `oldest_first=True` returns the same messages in reverse, in bounded memory and with at most twice the calls.
        The newest message of the first call is its upper end.

        Raises:
            ValueError: `page_size` is not 1 to 75; a bound is a naive datetime, an empty id, or a key outside the
                years 1 to 9999; or `after` is later than `before`.
            StaleBookmark: A bound is a bookmark of another listing.
        """
        listing = messages.list_messages(self._messages, self.id, after=after, before=before, oldest_first=oldest_first)
        return planned(self._session, listing, page_size, max_items)

    async def recent(self, limit: int = MOST_ITEMS_A_PAGE) -> list[Message]:
        """The latest messages, 1 to 75 of them, oldest first (protocol 5.16)."""
        return await self._session.send(messages.recent_messages(self._messages, self.id, limit=limit))

    async def message(self, message_id: str) -> Message:
        """One message (protocol 5.14)."""
        return await self._session.send(messages.get_message(self._messages, self.id, message_id))

    async def context(self, message_id: str, *, before: int = 0, after: int = 0) -> list[Message]:
        """A message among so many before and after it, 75 in all at most, oldest first (protocol 5.17)."""
        request = messages.context_of(self._messages, self.id, message_id, before=before, after=after)
        return await self._session.send(request)

    async def send(self, content: Content) -> str:
        """Send plain text, `Markdown` or a `Document`; the new message's id (protocol 5.10).

        Sent again only when the service surely did not act on it.

        Raises:
            ValueError: the text is empty, or the document breaks the schema; nothing was sent.
            Ambiguous: no answer came; `maybe_processed` is True, look before sending again.
        """
        return await self._session.send(messages.send_message(self._messages, self.id, content))

    async def edit(self, message_id: str, content: Content) -> None:
        """Replace a message of the app's own (protocol 5.12)."""
        await self._session.send(messages.edit_message(self._messages, self.id, message_id, content))

    async def delete(self, message_id: str) -> None:
        """Delete a message (protocol 5.13)."""
        await self._session.send(messages.delete_message(self._messages, self.id, message_id))

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes | Body,
        *,
        name: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Media:
        """Upload a file: a path, bytes or a `Body` (protocol 9.1).

        `name` is what it is called at the service, by default the file's own name. Sent again only when the service
        surely did not get it whole.

        Raises:
            ValueError: the source has no name and none was given.
            OSError: the file cannot be read.
            SourceChanged: the source grew or shrank meanwhile.
        """
        body = body_of(source)
        request = media.upload_media(*self._at, name or body.name or "")
        result: Media = await upload(self._session, request, body, progress)
        return result

    def open_media(self, media_id: str) -> RemoteBody:
        """A media body to be read in chunks, as an async context manager (protocol 9.3).

        `async with room.open_media(id) as media: async for chunk in media.chunks(65_536): …`; inside, `.name`, `.size`
        and `.content_type` are known.
        """
        return RemoteBody(self._session, media.get_media(*self._at, media_id))

    async def download(
        self, media_id: str, to: str | os.PathLike[str], *, progress: ProgressCallback | None = None
    ) -> Download:
        """Download a media body into the file `to`, which appears under its name only when whole (protocol 9.3).

        Interruptions heal within the call; a call that fails leaves a `.part` from which the next one goes on. An
        existing target is replaced.

        Raises:
            BodyInterrupted: it broke off more than `attempts` times without progress.
            LengthMismatch: it ended with another length than was told.
            OSError: the target cannot be written.
        """
        return await download(self._session, media.get_media(*self._at, media_id), media_id, to, progress)

    def download_many(
        self, media_ids: Iterable[str], *, to: str | os.PathLike[str], concurrency: int = 4
    ) -> AsyncIterator[DownloadResult]:
        """Download media into the folder `to` under their own names, made safe and told apart; results as they come.

        A media body that cannot be had is a result with its `error`, not raised; the others go on. Each id is fetched
        once. An existing file of that name is replaced.

        Raises:
            ValueError: `concurrency` is below 1, or a media id cannot be one.
            NotADirectoryError: `to` is no folder.
        """
        return download_many(
            self._session, lambda media_id: media.get_media(*self._at, media_id), media_ids, to, concurrency
        )

    async def delete_media(self, media_id: str) -> None:
        """Delete a media body; messages that show it stay (protocol 9.4)."""
        await self._session.send(media.delete_media(*self._at, media_id))

    def modules(self, type: ModuleType, *, page_size: int | None = None, max_items: int | None = None) -> Pager[Module]:
        """App modules of one type in this conversation (protocol 5.19)."""
        return planned(self._session, modules.list_modules(*self._at, type), page_size, max_items)

    async def put_module(self, type: ModuleType, key: str, descriptor: Mapping[str, Json]) -> None:
        """Create or update a module; `descriptor` without its key (protocol 5.19, 6.1)."""
        await self._session.send(modules.put_module(*self._at, type, key, descriptor))

    async def delete_module(self, type: ModuleType, key: str) -> None:
        """Delete a module (protocol 5.19)."""
        await self._session.send(modules.delete_module(*self._at, type, key))

    async def set_glance(self, key: str, *, label: str, metadata: Mapping[str, Json] | None = None) -> None:
        """Set what a glance shows in this conversation (protocol 5.20)."""
        await self._session.send(modules.set_glance(*self._at, key, label=label, metadata=metadata))

    async def set_configuration(self, key: str, *, configured: bool) -> None:
        """Say whether the app is configured in this conversation (protocol 5.20)."""
        await self._session.send(modules.set_configuration(*self._at, key, configured=configured))
