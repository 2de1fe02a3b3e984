"""ConversationClient: the calls for one conversation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from types import NoneType

from stride_async._arguments import function, number, of_type
from stride_async._body import Body, ProgressCallback
from stride_async._media import Download, DownloadResult, body_of, download, download_many
from stride_async._models import Content, Conversation, Json, Media, Message, Module, ModuleType, RawMessage
from stride_async._net.download import BodyReader, RemoteBody
from stride_async._net.session import Session
from stride_async._pager import Pager, planned
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.endpoints import conversations, media, messages, modules
from stride_async._wire.endpoints.conversations import Privacy
from stride_async._wire.history import Bound, of_raw_messages


class ConversationClient:
    """A handle to one conversation. Creating a handle sends nothing, and it owns nothing.

    Every method that sends raises errors of the `StrideError` tree, such as `NotFound` if the conversation is unknown
    and `Forbidden` if the app is not installed in it. Invalid arguments raise `ValueError` before anything is sent.
    """

    def __init__(self, session: Session, cloud_id: str, conversation_id: str) -> None:
        self.cloud_id = cloud_id
        """The id of the site."""
        self.id = conversation_id
        """The id of the conversation."""
        self._session = session
        self._path = conversations.conversation_path(cloud_id, conversation_id)
        self._messages = f"{self._path}/message"
        self._at = (cloud_id, conversation_id)

    def __repr__(self) -> str:
        return f"ConversationClient({self.id!r})"

    def calls_left(self) -> int | None:
        """Return how many calls to this conversation the client's own rate limit allows now; the next one waits.

        Callers that wait already are counted. It is 0 while a 429 of the service makes these calls wait, and None
        without a limit (`Settings.calls_per_minute`).
        """
        return self._session.calls_left(self.id)

    async def get(self) -> Conversation:
        """Return the conversation: name, topic, type and so on (protocol 5.4)."""
        return await self._session.send(conversations.get_conversation(self._path, self.id))

    async def update(
        self, *, name: str | None = None, topic: str | None = None, privacy: Privacy | None = None
    ) -> Conversation:
        """Change what is given and return the updated conversation (protocol 5.5).

        Args:
            name: The new name; None leaves it.
            topic: The new topic; None leaves it.
            privacy: Whether it is public or private from now on; None leaves it.

        Raises:
            ValueError: Nothing is given, the name is empty, or `privacy` is not "public" or "private".
        """
        request = conversations.update_conversation(*self._at, name=name, topic=topic, privacy=privacy)
        return await self._session.send(request) or await self.get()

    async def archive(self) -> None:
        """Archive the conversation. It then rejects new messages (protocol 5.6)."""
        await self._session.send(conversations.set_archived(*self._at, archived=True))

    async def unarchive(self) -> None:
        """Make an archived conversation usable again (protocol 5.6)."""
        await self._session.send(conversations.set_archived(*self._at, archived=False))

    def roster(self, *, page_size: int | None = None, max_items: int | None = None) -> Pager[str]:
        """Return a pager over the members' user ids, in the order of the service (protocol 5.7).

        Pages are addressed by offset, so members who join or leave during iteration may be missed. No one is returned
        twice.

        Args:
            page_size: The number of items requested per page, 1 to 75; None means `Settings.page_size`.
            max_items: The largest number of ids; None means all.
        """
        return planned(self._session, conversations.roster(*self._at), page_size, max_items)

    async def invite(self, *user_ids: str) -> None:
        """Add people to the conversation (protocol 5.8).

        Args:
            *user_ids: Their user ids.
        """
        await self._session.send(conversations.change_roster(*self._at, "add", user_ids))

    async def remove(self, *user_ids: str) -> None:
        """Remove people from the conversation (protocol 5.8).

        Args:
            *user_ids: Their user ids.
        """
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

        A `Bound` is a message id, a `Message`, an aware datetime, a key (`(ts, id)`) or a `Bookmark` of this
        conversation. Of these, only an id must still exist. Newest first is the default, because the service can be
        read completely only from new to old (protocol 5.15).

        Args:
            after: Only messages after this bound.
            before: Only messages before this bound.
            oldest_first: Whether the oldest message comes first. In bounded memory, this takes at most twice as many
                calls, and the listing ends at the message that was the newest at the first call.
            page_size: The number of items requested per page, 1 to 75; None means `Settings.page_size`.
            max_items: The largest number of messages; None means all.

        Raises:
            ValueError: `page_size` is not 1 to 75; a bound is a naive datetime, an empty id, or a key outside the
                years 1 to 9999; or `after` is later than `before`.
            StaleBookmark: A bound is a bookmark of another listing.
        """
        listing = messages.list_messages(self._messages, self.id, after=after, before=before, oldest_first=oldest_first)
        return planned(self._session, listing, page_size, max_items)

    async def recent(self, limit: int = MOST_ITEMS_A_PAGE) -> list[Message]:
        """Return the latest messages, oldest first (protocol 5.16).

        Args:
            limit: The number of messages, 1 to 75.
        """
        return await self._session.send(messages.recent_messages(self._messages, self.id, limit=limit))

    async def message(self, message_id: str) -> Message:
        """Return one message (protocol 5.14).

        Args:
            message_id: The id of the message.
        """
        return await self._session.send(messages.get_message(self._messages, self.id, message_id))

    async def context(self, message_id: str, *, before: int = 0, after: int = 0) -> list[Message]:
        """Return a message with some messages before it and after it, oldest first (protocol 5.17).

        They are at most 75 in total.

        Args:
            message_id: The id of the message.
            before: The largest number of messages before it.
            after: The largest number of messages after it.
        """
        request = messages.context_of(self._messages, self.id, message_id, before=before, after=after)
        return await self._session.send(request)

    async def send(self, content: Content) -> str:
        """Send a message and return its id (protocol 5.10).

        The call is retried only if the service has certainly not acted on it.

        Args:
            content: Plain text, `Markdown` or a `Document`.

        Raises:
            ValueError: The text is empty, or the document does not match the schema. Nothing was sent.
            Ambiguous: No response arrived, so the message may have been sent; `maybe_processed` is True.
        """
        return await self._session.send(messages.send_message(self._messages, self.id, content))

    async def edit(self, message_id: str, content: Content) -> None:
        """Replace the content of one of the app's own messages (protocol 5.12).

        Args:
            message_id: The id of the message.
            content: What replaces it: plain text, `Markdown` or a `Document`.
        """
        await self._session.send(messages.edit_message(self._messages, self.id, message_id, content))

    async def delete(self, message_id: str) -> None:
        """Delete a message (protocol 5.13).

        Args:
            message_id: The id of the message.
        """
        await self._session.send(messages.delete_message(self._messages, self.id, message_id))

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes | Body,
        *,
        name: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Media:
        """Upload a file and return its `Media` (protocol 9.1).

        The upload is retried only if the service has certainly not received it completely.

        Args:
            source: A path, bytes, or a `Body`.
            name: The file's name on the service. By default, the name of the source.
            progress: Called as the transfer advances.

        Raises:
            ValueError: The source has no name, and none is given.
            OSError: The file cannot be read.
            SourceChanged: The length of the source changed during the upload.
            NotReplayable: A retry was needed, but the source is a `Body.once`.
        """
        function(progress, "progress")
        body = body_of(source)
        request = media.upload_media(*self._at, name or body.name or "")
        return await self._session.upload(request, body, progress)

    def open_media(self, media_id: str, *, start: int = 0, validator: str | None = None) -> RemoteBody:
        """Return an async context manager that reads the body of a file in chunks (protocol 9.3).

        Inside `async with room.open_media(id) as media`, iterate over `media.chunks(65_536)`; `name`, `size` and
        `content_type` are attributes of `media`.

        Args:
            media_id: The id of the file.
            start: The first byte to read, so that a browser's Range request can be passed through.
            validator: The `validator` of an earlier response. Entering raises `MediaError` if the file has changed
                since.
        """
        number(start, "start", 0)
        of_type(validator, "validator", str, NoneType)
        request = media.get_media(*self._at, media_id)
        reader = BodyReader(self._session, request, offset=start, validator=validator, unchecked=True)
        return RemoteBody(reader, start, validator)

    async def download(
        self, media_id: str, to: str | os.PathLike[str], *, progress: ProgressCallback | None = None
    ) -> Download:
        """Save the body of a file (protocol 9.3).

        The call resumes after interruptions. If it fails, it leaves a `.part` file, from which the next call resumes.

        Args:
            media_id: The id of the file.
            to: The file to write. It appears, and replaces an existing one, only when it is complete.
            progress: Called as the transfer advances.

        Raises:
            BodyInterrupted: The transfer broke off more often than `Settings.attempts` without progress.
            LengthMismatch: The body does not have the length that the service reported.
            EncodedBody: The body arrived compressed.
            OSError: The target cannot be written.
        """
        return await download(self._session, media.get_media(*self._at, media_id), media_id, to, progress)

    def download_many(
        self, media_ids: Iterable[str], *, to: str | os.PathLike[str], concurrency: int = 4
    ) -> AsyncIterator[DownloadResult]:
        """Save files in a folder, and return an async iterator of results in order of completion.

        Files keep their own names, made safe and unique; existing files with those names are replaced. Each id is
        fetched once. If a file could not be fetched, its result contains the error, and the other downloads continue.

        Args:
            media_ids: The ids of the files.
            to: An existing folder.
            concurrency: How many files are downloaded at the same time.

        Raises:
            ValueError: `concurrency` is below 1, or a media id is invalid.
            NotADirectoryError: `to` is not a folder.
        """
        number(concurrency, "concurrency", 1)
        return download_many(
            self._session, lambda media_id: media.get_media(*self._at, media_id), media_ids, to, concurrency
        )

    async def delete_media(self, media_id: str) -> None:
        """Delete a file. Messages that display it stay (protocol 9.4).

        Args:
            media_id: The id of the file.
        """
        await self._session.send(media.delete_media(*self._at, media_id))

    def modules(self, type: ModuleType, *, page_size: int | None = None, max_items: int | None = None) -> Pager[Module]:
        """Return a pager over the app's modules of one type in this conversation (protocol 5.19).

        Args:
            type: The type of the modules.
            page_size: The number of items requested per page, 1 to 75; None means `Settings.page_size`.
            max_items: The largest number of modules; None means all.
        """
        return planned(self._session, modules.list_modules(*self._at, type), page_size, max_items)

    async def put_module(self, type: ModuleType, key: str, descriptor: Mapping[str, Json]) -> None:
        """Create or update a module (protocol 5.19, 6.1).

        Args:
            type: The type of the module.
            key: The key of the module.
            descriptor: The descriptor of the module, without the key.
        """
        await self._session.send(modules.put_module(*self._at, type, key, descriptor))

    async def delete_module(self, type: ModuleType, key: str) -> None:
        """Delete a module (protocol 5.19).

        Args:
            type: The type of the module.
            key: The key of the module.
        """
        await self._session.send(modules.delete_module(*self._at, type, key))

    async def set_glance(self, key: str, *, label: str, metadata: Mapping[str, Json] | None = None) -> None:
        """Set what a glance shows in this conversation (protocol 5.20).

        Args:
            key: The key of the glance in the descriptor.
            label: The text that it shows.
            metadata: More JSON for the glance.
        """
        await self._session.send(modules.set_glance(*self._at, key, label=label, metadata=metadata))

    async def set_configuration(self, key: str, *, configured: bool) -> None:
        """Set whether the app is configured in this conversation (protocol 5.20).

        Args:
            key: The key of the configuration in the descriptor.
            configured: Whether the app is configured.
        """
        await self._session.send(modules.set_configuration(*self._at, key, configured=configured))


def raw_history(room: ConversationClient, *, after: Bound | None, before: Bound | None) -> Pager[RawMessage]:
    """Return `room.history(…)` as an export reads it: the bytes of each message, without making a `Message`."""
    listing = messages.list_messages(room._messages, room.id, after=after, before=before, oldest_first=False)  # noqa: SLF001 (a method that is not for users)
    return planned(room._session, of_raw_messages(listing), None, None)  # noqa: SLF001 (as above)
