"""A local stand-in for the Stride service, written from `docs/protocol.md`.

It shares no code with the client, so that the two cannot be wrong together.
"""

from __future__ import annotations

try:
    from stride_async.server._apps import RegisteredApp
    from stride_async.server._browser import AppCallError
    from stride_async.server._calls import Call, Calls
    from stride_async.server._choices import Choices
    from stride_async.server._deliver import Delivery, DeliveryTry
    from stride_async.server._faults import Fault, FaultAction, Faults
    from stride_async.server._generate import Plan
    from stride_async.server._loading import Loaded
    from stride_async.server._local import LocalServer
    from stride_async.server._seed import SeedError
    from stride_async.server._store import ConversationTruth, MediaTruth, Truth
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"stride_async.server requires {_error.name}: pip install 'stride-async[server]'", name=_error.name
    ) from None

__all__ = [
    "AppCallError",
    "Call",
    "Calls",
    "Choices",
    "ConversationTruth",
    "Delivery",
    "DeliveryTry",
    "Fault",
    "FaultAction",
    "Faults",
    "Loaded",
    "LocalServer",
    "MediaTruth",
    "Plan",
    "RegisteredApp",
    "SeedError",
    "Truth",
]

for _name in __all__:
    # Reprs, tracebacks and pickles name the public module.
    if isinstance(_public := globals()[_name], type):
        _public.__module__ = __name__
del _name, _public
