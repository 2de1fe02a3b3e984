"""Move an archive to a Matrix homeserver, as an application service.

Needs the extra `export`. Each module is one noun:

- `_registration` is the file that the administrator of the homeserver adds to it.
- `_content` and `_text` say what a person, a conversation and a message become. Pure.
- `_homeserver` makes the calls, with their retries; `_puppets` are the users.
- `_held` reads back what a room holds, and `_room` sends the rest.
- `_migrate` moves the conversations next to each other, and reports.
"""

from stride_async.export.matrix._errors import BadRegistration, HomeserverRefusal, HomeserverUnavailable, MatrixError
from stride_async.export.matrix._events import (
    MessagesMoved,
    MigrationEvent,
    MigrationStarted,
    RoomDone,
    RoomFailed,
    Summary,
    Waiting,
)
from stride_async.export.matrix._migrate import migrate, preview
from stride_async.export.matrix._registration import Registration, new_registration, read_registration

__all__ = [
    "BadRegistration",
    "HomeserverRefusal",
    "HomeserverUnavailable",
    "MatrixError",
    "MessagesMoved",
    "MigrationEvent",
    "MigrationStarted",
    "Registration",
    "RoomDone",
    "RoomFailed",
    "Summary",
    "Waiting",
    "migrate",
    "new_registration",
    "preview",
    "read_registration",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
