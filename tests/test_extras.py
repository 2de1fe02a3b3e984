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
        ("stride_async.testing", "pytest", "testing"),
    ],
)
def test_a_module_names_the_extra_that_it_requires(module, missing, extra):
    """In one sentence, with the command that installs it."""
    program = f"import sys; sys.modules[{missing!r}] = None; import {module}"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: {module} requires {missing}")
    assert last.endswith(f"pip install 'stride-async[{extra}]'")


@pytest.mark.parametrize("command", ["view site --print", "demo", "convert html site -o out"])
def test_commands_that_make_pages_name_their_extra(tmp_path, command):
    """In one sentence, before they do anything."""
    program = (
        "import sys; sys.modules['jinja2'] = None; from stride_async._cli.main import run_command; "
        f"sys.argv = ['stride', *{command.split()!r}]; run_command()"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site/archive.json").write_text('{"format": 1, "id": "a", "cloud_id": "b"}')

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert 2 == ended.returncode
    message = "Error: the format html requires jinja2: pip install 'stride-async[view]'"
    assert " ".join(ended.stderr.split()).endswith(message)  # after the progress, if the imports take long


@pytest.mark.parametrize("missing", ["distributed", "cryptography"])
def test_an_engine_names_its_extra(tmp_path, missing):
    """In one sentence, before anything is done."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from stride_async._cli.main import run_command; "
        "sys.argv = 'stride convert parquet site -o out --engine processes=2'.split(); run_command()"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site/archive.json").write_text('{"format": 1, "id": "a", "cloud_id": "b"}')

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert 2 == ended.returncode
    message = f"Error: an engine requires {missing}: pip install 'stride-async[distributed]'"
    assert " ".join(ended.stderr.split()).endswith(message)  # after the progress, if the imports take long
    assert ["site"] == [path.name for path in tmp_path.iterdir()]
