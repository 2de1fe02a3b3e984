"""The text of a message as a bot reads it: without the mention of the bot itself. Pure."""

from __future__ import annotations

import re

import attrs

from stride_async._models import Json, Message
from stride_async.document import Document

# A noncharacter, which no text should contain. It stands for the mention until the text is put together.
_MENTION = "\ufdd0"
_MENTION_WITH_BLANKS = re.compile(rf"(^|\s){_MENTION}\s?|{_MENTION}")


@attrs.frozen
class BotText:
    """A message's text for a bot, and whether it mentions the bot."""

    text: str
    mentions_bot: bool


def text_for_bot(message: Message, account_id: str) -> BotText:
    """Return a message's text without mentions of an account and without blanks around it."""
    try:
        document = message.body
    except ValueError:
        return BotText(message.text.strip(), mentions_bot=False)
    if account_id not in document.mentions():
        return BotText(message.text.strip(), mentions_bot=False)
    json = document.to_json()
    _replace_mentions(json, account_id)
    text = Document.from_json(json).to_text()
    return BotText(_MENTION_WITH_BLANKS.sub(r"\1", text).strip(), mentions_bot=True)


def _replace_mentions(json: Json, account_id: str) -> None:
    """Put a marker in place of each mention of an account, in a document of any depth."""
    waiting = [json]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        attributes = node.get("attrs")
        if node.get("type") == "mention" and isinstance(attributes, dict) and attributes.get("id") == account_id:
            attributes["text"] = _MENTION
        content = node.get("content")
        if isinstance(content, list):
            waiting.extend(content)
