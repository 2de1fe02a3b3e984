"""`stride completion`: print the script that completes `stride` in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from stride_async._cli import show


@click.command(name="completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print a script that completes commands in a shell.

    SHELL is bash, zsh or fish. The script completes the names of commands and options, their values, and paths, as soon
    as a new shell has read it and `stride` is on the PATH. For zsh, the line comes after the one with compinit.

    \b
    Examples:
        stride completion fish > ~/.config/fish/completions/stride.fish
        echo 'eval "$(stride completion bash)"' >> ~/.bashrc
        echo 'eval "$(stride completion zsh)"' >> ~/.zshrc
    """
    completion = get_completion_class(shell)
    assert completion is not None
    root = context.find_root()
    for line in completion(root.command, {}, "stride", "_STRIDE_COMPLETE").source().splitlines():
        show.line(line)
