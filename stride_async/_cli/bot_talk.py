"""What a person does in `stride bot try`, and what the bot does in response."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from rich.text import Text

from stride_async._cli import show
from stride_async._rehearsal import Rehearsal
from stride_async.bot import ActionAnswer
from stride_async.server import AppCallError, Call

_ROOM = "general"
_FIRST_PERSON = "Ann Adler"
HOW_TO = """\
Type a message: the bot is mentioned in it. Other lines begin with a slash:

  /say TEXT        without mentioning the bot
  /direct TEXT     in the direct conversation with the bot
  /press KEY [N]   press the action KEY of message N (default: the last)
  /install         install the bot in the room again; /uninstall removes it
  /as NAME         speak as another person
  /help            show this again

Press Ctrl-D on an empty line to end.
"""
_MOST_DIGITS = 9  # of the number of a message


class Mistake(Exception):
    """A line that cannot be understood, or that asks for something that does not exist."""


@attrs.define
class _Shown:
    """A message of the bot: its number and conversation, and its content as last shown, or None if it is deleted."""

    number: int
    conversation_id: str
    content: dict[str, Any] | None


class Talk:
    """The conversations of one or more persons with a bot.

    `before_showing` is called before anything that the bot did is shown.
    """

    def __init__(self, rehearsal: Rehearsal, *, as_json: bool, before_showing: Callable[[], None]) -> None:
        self._rehearsal = rehearsal
        self._before_showing = before_showing
        self._server = rehearsal.server
        self._for_people = show.for_people(as_json=as_json)
        self._people: dict[str, str] = {}
        self._person = self._found_or_added(_FIRST_PERSON)
        self._room = self._server.add_conversation(_ROOM, roster=[self._person])
        self._shown: dict[str, _Shown] = {}
        self._last_call: tuple[Call | None, int | None] = (None, None)

    @property
    def prompt(self) -> str:
        """What stands before the line that is typed."""
        return f"{self._name_of(self._person)}> "

    async def run(self, line: str) -> None:
        """Do what a line says, and show what the bot does until it is idle.

        Raises:
            Mistake: The line cannot be understood, or asks for something that does not exist.
        """
        text = line.strip()
        word, _, rest = text.partition(" ")
        if text.startswith("/") and not text.startswith("//"):
            command = self._commands.get(word)
            if command is None:
                raise Mistake(f"{word} is not one of {', '.join(self._commands)}.")
            await command(rest.strip())
        elif text:
            self._say(text.removeprefix("/") if text.startswith("//") else text, mention_app=True)
        await self._rehearsal.idle()
        self._show_all_news()

    def show_news(self) -> None:
        """Show what the bot sent, edited or deleted since it was last looked at."""
        if self._newest_call() != self._last_call:
            self._show_all_news()

    @property
    def _commands(self) -> Mapping[str, Callable[[str], Awaitable[None]]]:
        return {
            "/say": self._say_without_mention,
            "/direct": self._say_directly,
            "/press": self._press,
            "/install": self._install,
            "/uninstall": self._uninstall,
            "/as": self._speak_as,
            "/help": self._help,
        }

    async def _say_without_mention(self, text: str) -> None:
        self._say(_given(text, "/say TEXT"))

    async def _say_directly(self, text: str) -> None:
        text = _given(text, "/direct TEXT")
        self._say(text, room=self._rehearsal.direct_conversation(self._person))

    async def _press(self, text: str) -> None:
        key, *given = _given(text, "/press KEY [N]").split()
        numbers = {shown.number: id for id, shown in self._shown.items()}
        if len(given) > 1 or not all(word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS for word in given):
            raise Mistake("Expected /press KEY [N], where N is the number of a message.")
        number = int(given[0]) if given else max(numbers, default=0)
        if number not in numbers:
            raise Mistake(f"There is no message {number}; the bot has sent {show.counted(len(numbers), 'message')}.")
        message_id = numbers[number]
        room, content = self._shown[message_id].conversation_id, self._shown[message_id].content
        if content is None:
            raise Mistake(f"Message {number} is deleted.")
        try:
            answer = await self._rehearsal.press(key, room, message_id, by=self._person)
        except KeyError as error:
            raise Mistake(f"The bot has no action {key!r}.") from error
        except AppCallError as error:
            raise Mistake(f"The bot refused to be called: {error}.") from error
        self._show_answer(key, answer)

    async def _install(self, text: str) -> None:
        _nothing(text, "/install")
        await self._server.install(self._room, by=self._person)

    async def _uninstall(self, text: str) -> None:
        _nothing(text, "/uninstall")
        await self._server.uninstall(self._room, by=self._person)

    async def _speak_as(self, text: str) -> None:
        self._person = self._found_or_added(_given(text, "/as NAME"))

    async def _help(self, text: str) -> None:
        _nothing(text, "/help")
        show.message(HOW_TO)

    def _say(self, text: str, *, room: str | None = None, mention_app: bool = False) -> None:
        self._server.add_message(room or self._room, text, sender_id=self._person, mention_app=mention_app)

    def _found_or_added(self, name: str) -> str:
        if name not in self._people:
            self._people[name] = self._server.add_user(name)
        return self._people[name]

    def _name_of(self, person: str) -> str:
        return next(name for name, id in self._people.items() if id == person)

    def _show_all_news(self) -> None:
        self._last_call = self._newest_call()
        gone = {id for id, shown in self._shown.items() if shown.content is not None}
        for conversation_id, conversation in self._server.truth().conversations.items():
            for content in self._server.messages(conversation_id):
                gone.discard(content["id"])
                if content["sender"]["id"] == self._server.app_account_id:
                    name = "direct" if conversation.type == "direct" else conversation.name
                    self._show_if_new(conversation_id, name, content)
        for id in gone:
            self._shown[id].content = None
            self._show({"number": self._shown[id].number, "id": id, "deleted": True})

    def _newest_call(self) -> tuple[Call | None, int | None]:
        calls = self._server.calls
        return (calls[-1], calls[-1].status) if calls else (None, None)

    def _show_if_new(self, conversation_id: str, name: str, content: dict[str, Any]) -> None:
        shown = self._shown.get(content["id"])
        if shown is not None and shown.content == content:
            return
        edited = shown is not None
        if shown is None:
            shown = self._shown[content["id"]] = _Shown(len(self._shown) + 1, conversation_id, content)
        shown.content = content
        fields = {"number": shown.number, "conversation": name, **{key: content[key] for key in ("id", "text", "body")}}
        self._show({**fields, "edited": True} if edited else fields)

    def _show(self, message: dict[str, Any]) -> None:
        self._before_showing()
        if not self._for_people:
            show.json_lines([message])
            return
        where = message.get("conversation", _ROOM)
        notes = [where] if where != _ROOM else []
        notes += [note for note in ("edited", "deleted") if message.get(note)]
        keys = sorted(_action_keys(message.get("body")))
        lines = [message.get("text", ""), *([f"actions: {', '.join(keys)}"] if keys else [])]
        note = f"({', '.join(notes)}) " if notes else ""
        text = show.styled("\n     ".join("\n".join(lines).split("\n")), lines=True)
        show.rendered(Text.assemble((f"{message['number']:>3}  {note}", "dim"), text), soft_wrap=True)

    def _show_answer(self, key: str, answer: ActionAnswer) -> None:
        if not self._for_people:
            show.json_lines([{"action": key, **attrs.asdict(answer)}])
            return
        following = None if answer.next_action is None else f"next: {json.dumps(answer.next_action)}"
        parts = [answer.message, None if answer.error is None else f"error: {answer.error}", following]
        show.line(f"{key}: {'; '.join(part for part in parts if part is not None) or 'done'}")


def _given(text: str, usage: str) -> str:
    if not text:
        raise Mistake(f"Expected {usage}.")
    return text


def _nothing(text: str, usage: str) -> None:
    if text:
        raise Mistake(f"Expected {usage} and nothing else.")


def _action_keys(document: object) -> set[str]:
    """Return the keys of the action targets in a document."""
    keys: set[str] = set()
    unvisited = [document]
    while unvisited:
        node = unvisited.pop()
        if isinstance(node, dict):
            target = node.get("target")
            if isinstance(target, dict) and isinstance(target.get("key"), str):
                keys.add(target["key"])
            unvisited.extend(node.values())
        elif isinstance(node, list):
            unvisited.extend(node)
    return keys
