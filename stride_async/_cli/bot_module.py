"""Find the bot that `MODULE:NAME` names."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

import click

from stride_async._cli import show
from stride_async._cli.exits import DEBUG_VARIABLE, CommandError, Exit
from stride_async._cli.options import TextParam
from stride_async.bot import Bot
from stride_async.bot._bot import being_imported

_MISSING = object()

bot_argument = click.argument("bot", metavar="MODULE:NAME", type=TextParam())


def load_bot(named: str) -> Bot:
    """Import a module, from the current folder or an installed one, and return the bot in it.

    Raises:
        CommandError: There is no such module or bot, or importing the module fails.
    """
    module_name, _, name = named.partition(":")
    if module_name.endswith(".py"):
        dotted = ".".join(Path(module_name).with_suffix("").parts)
        raise CommandError(Exit.USAGE, f"{module_name} is a file; name its module, as in {dotted}:{name or 'bot'}.")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise CommandError(Exit.USAGE, f"{named!r} is not of the form MODULE:NAME, such as mybot:bot.")
    module = _imported(module_name)
    bots = [known for known, value in vars(module).items() if isinstance(value, Bot)]
    bot = _member(module, name)
    if bot is _MISSING:
        close = difflib.get_close_matches(name, bots) or bots
        raise CommandError(Exit.USAGE, f"{module_name} contains no {name!r}.{show.did_you_mean(close)}")
    if not isinstance(bot, Bot):
        what = f"{named} is not a Bot, but of class {type(bot).__name__}."
        raise CommandError(Exit.USAGE, f"{what}{show.did_you_mean(bots)}")
    return bot


def _imported(name: str) -> ModuleType:
    folder = os.getcwd()  # noqa: PTH109 -- as text, for `sys.path`
    sys.path.insert(0, folder)
    begun = being_imported.set(True)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name == error.name or name.startswith(f"{error.name}."):
            message = f"There is no module {error.name!r} in {folder}, and none is installed."
            raise CommandError(Exit.USAGE, message) from error
        raise _failed(name, error, folder) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code, which may also exit
        if os.environ.get(DEBUG_VARIABLE):
            raise
        raise _failed(name, error, folder) from error
    finally:
        being_imported.reset(begun)


def _member(module: ModuleType, name: str) -> object:
    """Return what a module has under a name; it may be made when it is asked for."""
    try:
        return getattr(module, name, _MISSING)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        raise _failed(f"{name} from {module.__name__}", error, os.getcwd()) from error  # noqa: PTH109 -- as text


def _failed(name: str, error: BaseException, folder: str) -> CommandError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return CommandError(
        Exit.USAGE,
        f"Importing {name} failed{_place(error, folder)}: {what}. {DEBUG_VARIABLE}=1 shows the traceback.",
    )


def _place(error: BaseException, folder: str) -> str:
    """Return the line of the user's own code at which an import failed, in words."""
    if isinstance(error, SyntaxError):
        return ""  # Its text has the place.
    lines = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(folder + os.sep)]
    own = [each for each in lines if "site-packages" not in each.filename]
    return f" in {os.path.relpath(own[-1].filename, folder)}, line {own[-1].lineno}" if own else ""
