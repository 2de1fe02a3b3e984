"""A module whose extra is not installed says which one to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("stride_async.export", "zstandard", "export"),
        ("stride_async.bot", "jwt", "bot"),
        ("stride_async.server", "jsonschema", "server"),
        ("stride_async.server", "markdown_it", "server"),
        ("stride_async.server", "jwt", "server"),
        ("stride_async.contrib.opentelemetry", "opentelemetry", "otel"),
    ],
)
def test_a_module_names_the_extra_that_it_needs(module, missing, extra):
    """In one sentence, with the command that installs it."""
    program = f"import sys; sys.modules[{missing!r}] = None; import {module}"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: {module} needs {missing}")
    assert last.endswith(f"pip install 'stride-async[{extra}]'")
