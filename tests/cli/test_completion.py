"""Test that shells complete the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import STRIDE

PROGRAMS = Path(sys.executable).parent
# The line that is being completed stands in variables, as when a person presses Tab.
BASH = """
eval "$(stride completion bash)"
offer() {
    COMPREPLY=() COMP_WORDS=(stride "$@") COMP_CWORD=$#
    _stride_completion stride
    echo "${COMPREPLY[@]}"
}
offer ex
offer bot r
offer convert s
offer export --dry
offer history general --old
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_values():
    """The script of `stride completion bash` works in a bash without any other completion."""
    variables = os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(["bash", "--norc", "-c", BASH], env=variables, capture_output=True, text=True, check=False)

    offered = ["export", "run retry", "slack sqlite seed", "--dry-run", "--oldest-first"]
    assert (offered, "") == (done.stdout.splitlines(), done.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_accepts_its_script(shell: str):
    """Each shell that is installed reads its script without an error."""
    script = subprocess.run([*STRIDE, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert f"_STRIDE_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    read = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)

    assert (0, "") == (read.returncode, read.stderr)


@pytest.mark.parametrize(
    ("shell", "words", "at", "expected"),
    [
        ("zsh", "stride ver", "1", "plain\nverify\nCheck an archive for damage and gaps.\n"),
        ("fish", "stride", "ver", "plain,verify\tCheck an archive for damage and gaps.\n"),
    ],
)
def test_zsh_and_fish_get_descriptions(shell: str, words: str, at: str, expected: str):
    """What their scripts read: the type, the value and the first sentence of the help."""
    variables = os.environ | {"COMP_WORDS": words, "COMP_CWORD": at, "_STRIDE_COMPLETE": f"{shell}_complete"}

    done = subprocess.run(STRIDE, env=variables, capture_output=True, text=True, check=False)

    assert (expected, "") == (done.stdout, done.stderr)


def test_a_missing_shell_is_reported_in_one_line():
    """The message lists the shells, as every missing choice does."""
    done = subprocess.run([*STRIDE, "completion"], capture_output=True, text=True, check=False)

    assert (2, "") == (done.returncode, done.stdout)
    assert "Error: Missing argument 'SHELL'. Choose from: bash, zsh, fish" == done.stderr.splitlines()[-1]
