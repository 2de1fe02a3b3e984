"""What can be done with one person."""

from __future__ import annotations

from stride_async._models import Content, Conversation, User
from stride_async._net.session import Session
from stride_async._wire.endpoints import conversations, messages, people


class UserClient:
    """One person of one site, and the direct conversation with them. Making it sends nothing.

    Every method raises errors of the `StrideError` tree; a room token can use none of them (protocol 2.4).
    """

    def __init__(self, session: Session, cloud_id: str, user_id: str) -> None:
        self.cloud_id = cloud_id
        """The site's id."""
        self.id = user_id
        """The person's id."""
        self._session = session
        self._messages = f"{conversations.user_path(cloud_id, user_id)}/message"
        self._limit_key = f"user/{user_id}"

    def __repr__(self) -> str:
        return f"UserClient({self.id!r})"

    async def profile(self) -> User:
        """Name, address and so on, as SCIM tells them (protocol 5.21)."""
        return await self._session.send(people.get_user(self.cloud_id, self.id))

    async def conversation(self) -> Conversation:
        """The direct conversation, opened where there is none yet (protocol 5.9).

        The service may take longer than one answer to open it; the call is repeated like any read.
        """
        return await self._session.send(conversations.direct_conversation(self.cloud_id, self.id))

    async def send(self, content: Content) -> str:
        """Send a direct message; its id (protocol 5.11). Raises as `ConversationClient.send` does."""
        return await self._session.send(messages.send_message(self._messages, self._limit_key, content))

    async def edit(self, message_id: str, content: Content) -> None:
        """Replace a direct message of the app's own (protocol 5.12)."""
        await self._session.send(messages.edit_message(self._messages, self._limit_key, message_id, content))

    async def delete(self, message_id: str) -> None:
        """Delete a direct message (protocol 5.13)."""
        await self._session.send(messages.delete_message(self._messages, self._limit_key, message_id))
