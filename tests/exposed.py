"""Everything that an error shows when it is printed, logged, pickled or reported."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import stride_async
from stride_async import StrideError

OURS = str(Path(stride_async.__file__).parent)


def everything_shown(error: BaseException) -> str:
    """Return the message, facts and pickle of an error, and the locals of our frames in its tracebacks."""
    shown = [str(error), repr(error), repr(getattr(error, "__dict__", None)), *traceback.format_exception(error)]
    if isinstance(error, StrideError):
        shown += [error.explain(), repr(pickle.dumps(error))]
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        cause = behind.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        shown += locals_of_ours(cause)
        behind.append(cause.__cause__ if cause.__suppress_context__ else cause.__context__)
        behind += getattr(cause, "exceptions", ())
    return "\n".join(shown)


def locals_of_ours(error: BaseException) -> list[str]:
    """Return the locals that a report shows for each frame in the files of the package and of those it uses."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return [
        f"{frame.filename}:{frame.lineno} {name} = {value}"
        for frame in report.stack
        if frame.filename.startswith(OURS) or "site-packages" in frame.filename
        for name, value in (frame.locals or {}).items()
    ]
