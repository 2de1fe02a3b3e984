"""A local stand-in for the whole service, as the project's protocol notes word it.

It shares no code with the client, so that both cannot be wrong together.
"""

from __future__ import annotations

from stride_async.server._calls import Call, Calls
from stride_async.server._choices import Choices
from stride_async.server._faults import Fault, Faults
from stride_async.server._generate import Plan
from stride_async.server._local import LocalServer
from stride_async.server._seed import SeedError
from stride_async.server._store import ConversationTruth, MediaTruth, Truth

__all__ = [
    "Call",
    "Calls",
    "Choices",
    "ConversationTruth",
    "Fault",
    "Faults",
    "LocalServer",
    "MediaTruth",
    "Plan",
    "SeedError",
    "Truth",
]

for _name in __all__:
    # People see the name where they import it from, in reprs, tracebacks and pickles.
    globals()[_name].__module__ = __name__
del _name
