"""Groups of commands, which may be imported when they are needed, so that each requires only its own packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from stride_async._cli import show
from stride_async._cli.exits import CommandError, Exit
from stride_async._wire.nearest import nearest


class Group(click.Group):
    """Commands by name. If a name is misspelled, the error suggests similar ones. The help cuts no summary off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its summary."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summary(ctx, name)) for name in self.list_commands(ctx)])

    def summary(self, ctx: click.Context, name: str) -> str:
        """Return the first sentence of a command's help."""
        command = self.get_command(ctx, name)
        assert command is not None
        return command.get_short_help_str(limit=sys.maxsize)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments."""
        given, *_ = args
        is_known = given.startswith("-") or self.get_command(ctx, given) is not None
        if not is_known and not ctx.resilient_parsing:
            near = nearest([given], self.list_commands(ctx))
            raise click.UsageError(f"No such command {given!r}.{show.did_you_mean(near)}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """Commands by name, each with the module that contains it. The group lists them in this order.

    A command whose packages are not installed says so, and the others work without it. `extras` has the extras that a
    command requires in addition to `cli`, for those that require others than `otherwise`.
    """

    def __init__(
        self,
        *args: Any,
        modules: Mapping[str, str],
        extras: Mapping[str, str] | None = None,
        otherwise: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules
        self._extras = extras or {}
        self._otherwise = otherwise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a newcomer needs them."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command with this name."""
        if cmd_name not in self._modules:
            return None
        try:
            command = importlib.import_module(f"stride_async._cli.{self._modules[cmd_name]}").command
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("stride_async"):
                raise
            return _unavailable(cmd_name, self._extras.get(cmd_name, self._otherwise))
        assert isinstance(command, click.Command)
        return command


def _unavailable(name: str, extras: str) -> click.Command:
    install = f"pip install 'stride-async[{extras}]'"

    @click.pass_context
    def refuse(context: click.Context) -> None:
        raise CommandError(Exit.USAGE, f"{context.command_path} requires more packages. Install them: {install}")

    return click.Command(
        name,
        callback=refuse,
        short_help=f"(requires {install})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
