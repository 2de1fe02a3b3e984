"""UserClient: the calls for one person."""

from __future__ import annotations

from stride_async._models import Content, Conversation, User
from stride_async._net.session import Session
from stride_async._wire.endpoints import conversations, messages, people


class UserClient:
    """A handle to one person and to the direct conversation with that person. Creating a handle sends nothing.

    Every method raises errors of the `StrideError` tree. None of them works with a room token (protocol 2.4).
    """

    def __init__(self, session: Session, cloud_id: str, user_id: str) -> None:
        self.cloud_id = cloud_id
        """The id of the site."""
        self.id = user_id
        """The id of the person."""
        self._session = session
        self._messages = f"{conversations.user_path(cloud_id, user_id)}/message"
        self._limit_key = f"user/{user_id}"

    def __repr__(self) -> str:
        return f"UserClient({self.id!r})"

    def calls_left(self) -> int | None:
        """Return how many calls to this person the client's own rate limit allows now; the next one waits.

        Callers that wait already are counted. It is 0 while a 429 of the service makes these calls wait, and None
        without a limit (`Settings.calls_per_minute`).
        """
        return self._session.calls_left(self._limit_key)

    async def profile(self) -> User:
        """Return the SCIM profile of the person (protocol 5.21)."""
        return await self._session.send(people.get_user(self.cloud_id, self.id))

    async def conversation(self) -> Conversation:
        """Return the direct conversation with this person, which the service creates if there is none (protocol 5.9).

        This may take the service several attempts, which the client makes.
        """
        return await self._session.send(conversations.direct_conversation(self.cloud_id, self.id))

    async def send(self, content: Content) -> str:
        """Send a direct message and return its id (protocol 5.11). It raises what `ConversationClient.send` raises.

        Args:
            content: Plain text, `Markdown` or a `Document`.
        """
        return await self._session.send(messages.send_message(self._messages, self._limit_key, content))

    async def edit(self, message_id: str, content: Content) -> None:
        """Replace the content of one of the app's own direct messages (protocol 5.12).

        Args:
            message_id: The id of the message.
            content: What replaces it: plain text, `Markdown` or a `Document`.
        """
        await self._session.send(messages.edit_message(self._messages, self._limit_key, message_id, content))

    async def delete(self, message_id: str) -> None:
        """Delete a direct message (protocol 5.13).

        Args:
            message_id: The id of the message.
        """
        await self._session.send(messages.delete_message(self._messages, self._limit_key, message_id))
