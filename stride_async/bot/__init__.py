"""Bots: receive the calls of the service, keep them, and reply.

A `Bot` describes what to do; `Bot.application()` receives the service's calls, `Bot.running()` works without a web
server. A delivery is acknowledged when it is on disk. It is handled once, in the order of its conversation, even if the
process is killed.
"""

from stride_async.bot._application import RUNNING
from stride_async.bot._bot import Bot
from stride_async.bot._errors import BotError, GaveUp, HandlerTimeout, StoreBusy, TryAgain
from stride_async.bot._events import (
    ActionAnswer,
    ActionCall,
    ConfigurationQuery,
    ConversationUpdate,
    DirectMessage,
    Event,
    Failure,
    GlanceQuery,
    Installation,
    Installed,
    MatchedMessage,
    Mention,
    MessageEvent,
    RosterUpdate,
    Uninstalled,
)
from stride_async.bot._reports import Begun, Delivery, Ended, Outcome, Received, Refused, Report
from stride_async.bot._router import Kind
from stride_async.bot._running import RunningBot
from stride_async.bot._settings import BotSettings
from stride_async.bot._verify import Caller

__all__ = [
    "RUNNING",
    "ActionAnswer",
    "ActionCall",
    "Begun",
    "Bot",
    "BotError",
    "BotSettings",
    "Caller",
    "ConfigurationQuery",
    "ConversationUpdate",
    "Delivery",
    "DirectMessage",
    "Ended",
    "Event",
    "Failure",
    "GaveUp",
    "GlanceQuery",
    "HandlerTimeout",
    "Installation",
    "Installed",
    "Kind",
    "MatchedMessage",
    "Mention",
    "MessageEvent",
    "Outcome",
    "Received",
    "Refused",
    "Report",
    "RosterUpdate",
    "RunningBot",
    "StoreBusy",
    "TryAgain",
    "Uninstalled",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
