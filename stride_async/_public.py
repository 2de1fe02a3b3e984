"""The public names, gathered. `stride_async` gives them out when the first of them is asked for."""

from stride_async import __version__
from stride_async._body import Body, Progress
from stride_async._client import StrideClient
from stride_async._conversation import ConversationClient
from stride_async._errors import (
    Ambiguous,
    ApiError,
    Attempt,
    AuthError,
    BadRequest,
    BodyInterrupted,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    EncodedBody,
    Forbidden,
    ForbiddenOrigin,
    LengthMismatch,
    MediaError,
    NotFound,
    NotReplayable,
    NotSent,
    PaginationError,
    PaginationLoop,
    RateLimited,
    ServerError,
    SourceChanged,
    StaleBookmark,
    StrideError,
    TooLarge,
    TooManyEmptyPages,
    TransportError,
    Unauthorized,
    UnsupportedContent,
    WrongLoop,
)
from stride_async._events import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    PageFetched,
    TokenRefreshed,
    Waiting,
)
from stride_async._media import Download, DownloadResult
from stride_async._models import (
    Account,
    Conversation,
    Email,
    Markdown,
    Media,
    Message,
    Module,
    PersonName,
    Photo,
    Site,
    User,
)
from stride_async._net.stream import RemoteBody
from stride_async._pager import Pager, Stats, Stream
from stride_async._settings import Settings
from stride_async._user import UserClient
from stride_async._wire.bookmark import Bookmark
from stride_async._wire.pages import Page
from stride_async._wire.token import AccessToken, ClientCredentials, StaticToken, TokenProvider
from stride_async.document import Document

__all__ = [
    "AccessToken",
    "Account",
    "Ambiguous",
    "ApiError",
    "Attempt",
    "AttemptEnded",
    "AttemptStarted",
    "AuthError",
    "BadRequest",
    "Body",
    "BodyInterrupted",
    "Bookmark",
    "CallEnded",
    "CallStarted",
    "ClientClosed",
    "ClientCredentials",
    "Conversation",
    "ConversationClient",
    "DeadlineExceeded",
    "DecodeError",
    "Document",
    "Download",
    "DownloadResult",
    "Email",
    "EncodedBody",
    "Forbidden",
    "ForbiddenOrigin",
    "LengthMismatch",
    "Markdown",
    "Media",
    "MediaError",
    "Message",
    "Module",
    "NotFound",
    "NotReplayable",
    "NotSent",
    "Page",
    "PageFetched",
    "Pager",
    "PaginationError",
    "PaginationLoop",
    "PersonName",
    "Photo",
    "Progress",
    "RateLimited",
    "RemoteBody",
    "ServerError",
    "Settings",
    "Site",
    "SourceChanged",
    "StaleBookmark",
    "StaticToken",
    "Stats",
    "Stream",
    "StrideClient",
    "StrideError",
    "TokenProvider",
    "TokenRefreshed",
    "TooLarge",
    "TooManyEmptyPages",
    "TransportError",
    "Unauthorized",
    "UnsupportedContent",
    "User",
    "UserClient",
    "Waiting",
    "WrongLoop",
    "__version__",
]

for _name in __all__:
    # People see the name where they import it from, in reprs, tracebacks and pickles.
    if isinstance(_public := globals()[_name], type) and _public is not Document:
        _public.__module__ = __package__
del _name, _public
