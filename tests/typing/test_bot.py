"""What a type checker knows of a bot; nothing here runs."""

from typing import assert_type

from stride_async import Conversation, ConversationClient, Message, StrideClient, UserClient
from stride_async.bot import (
    ActionAnswer,
    ActionCall,
    Bot,
    BotSettings,
    DirectMessage,
    Event,
    Failure,
    Installation,
    Installed,
    Mention,
    RosterUpdate,
    RunningBot,
)

bot = Bot("deployer")


@bot.mention(r"deploy (?P<what>\w+)")
async def deploy(event: Mention, what: str) -> None:
    assert_type(event.text, str)
    assert_type(event.message, Message)
    assert_type(event.conversation, Conversation)
    assert_type(event.room, ConversationClient)
    assert_type(event.client, StrideClient)
    assert_type(event.sender, UserClient)
    assert_type(await event.reply("on its way"), str)


@bot.command("roll-back")
async def roll_back(event: Mention | DirectMessage, what: str, times: int = 1) -> None:
    assert_type(event.user_id, str)


@bot.roster()
async def roster(event: RosterUpdate) -> None:
    assert_type(event.action, str)


@bot.installed()
async def installed(event: Installed) -> None:
    assert_type(event.installation, Installation)


@bot.action("confirm")
async def confirm(event: ActionCall) -> ActionAnswer | None:
    return ActionAnswer(message="done") if event.message_id else None


@bot.error(LookupError)
async def error(event: Event, error: LookupError) -> None:
    await event.reply(str(error))


async def a_decorated_function_stays_as_it_was(event: Mention) -> None:
    """It can be called by a test of its own."""
    assert_type(await deploy(event, "api"), None)
    assert_type(await roll_back(event, what="api", times=2), None)


async def a_running_bot_gives_clients_and_values(settings: BotSettings) -> None:
    """What it lists are values."""
    async with bot.running(settings) as running:
        assert_type(running, RunningBot)
        assert_type(running.client("C"), StrideClient)
        assert_type(running.room("C", "V"), ConversationClient)
        assert_type(await running.failed(), list[Failure])
        assert_type(await running.installations(), list[Installation])
        assert_type(await running.catch_up("C"), int)
