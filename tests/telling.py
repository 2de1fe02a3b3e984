"""All that an error can tell whoever prints, logs, pickles or reports it."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import stride_async
from stride_async import StrideError

OURS = str(Path(stride_async.__file__).parent)


def everything_told(error: BaseException) -> str:
    """Its words and facts, its pickle, and the locals of our frames in its traceback and in those of its causes."""
    told = [str(error), repr(error), repr(getattr(error, "__dict__", None)), *traceback.format_exception(error)]
    if isinstance(error, StrideError):
        told += [error.explain(), repr(pickle.dumps(error))]
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        cause = behind.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        told += locals_of_ours(cause)
        behind.append(cause.__cause__ if cause.__suppress_context__ else cause.__context__)
        behind += getattr(cause, "exceptions", ())
    return "\n".join(told)


def locals_of_ours(error: BaseException) -> list[str]:
    """The locals that a report with locals shows of each frame in the package's own files and in those it uses."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return [
        f"{frame.filename}:{frame.lineno} {name} = {value}"
        for frame in report.stack
        if frame.filename.startswith(OURS) or "site-packages" in frame.filename
        for name, value in (frame.locals or {}).items()
    ]
