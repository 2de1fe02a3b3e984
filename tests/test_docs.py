"""The code in the documentation runs and prints what the pages say.

A page is entered from top to bottom, as a reader does. Its `python` blocks are pasted into one `python -m asyncio`.
Its `console` blocks run the command where possible. A block that begins with `# name.py` is saved as that file, which
the page names before the block. A `text` block directly after another block is the output of that block; `...` matches
any text. A block at the prompt without such an output prints nothing. Each page has a local server, generated as the
first `stride server --generate` of the page says, and finds it in the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import hashlib
import json
import os
import re
import shlex
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import click
import pytest

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.server import LocalServer
from tests import cli_page
from tests.conftest import variables_of

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples/explore.md",
]
FENCE = re.compile(r"^```([\w{}-]*).*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PLAIN_PROMPT = {"PYTHON_BASIC_REPL": "1", "PYTHONUTF8": "1"}  # reads lines on every Python, and no escape sequences
END = "[end of block]"
PATIENCE = 300  # seconds; a machine may be busy with much else
RUN_BOT = "stride bot run "
LONG_RUN = re.compile(r" \(\d+:\d\d:\d\d\)$", re.MULTILINE)  # what pytest adds to the duration of more than a minute


@attrs.frozen
class Block:
    """A fenced block: its language, its text, its line in the page, the output shown, and the paragraph before it."""

    language: str
    text: str
    line: int
    prints: str | None = None
    before: str = ""

    @property
    def file(self) -> str | None:
        """The file that its first line names, if any."""
        named = re.match(r"# ([\w/]+\.py)\n", self.text)
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order, each with its output."""
    text = page.read_text()
    found: list[Block] = []
    end = -1
    for match in FENCE.finditer(text):
        if match[1] == "text" and found and not text[end : match.start()].strip():
            found[-1] = attrs.evolve(found[-1], prints=match[2])
        else:
            before = text[: match.start()].rstrip().rpartition("\n\n")[2]
            found.append(Block(match[1], match[2], text.count("\n", 0, match.start()) + 2, before=before))
        end = match.end()
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def starts_site(block: Block) -> bool:
    """Return whether a console block starts the server that the commands of its page need."""
    return block.language == "console" and "stride server" in block.text and "--generate" in block.text


PROGRAMS = {
    name_of(page): page
    for page in PAGES
    if any(block.language == "python" or starts_site(block) for block in blocks(page))
}
SLOW_PAGES = {name for name in PROGRAMS if name.startswith("docs/howto/")} | {
    "docs/api/testing.md",
    "docs/index.md",
    "docs/tutorial.md",
}


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the many processes of the pages find the compiled modules of the first ones."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
async def site(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: Path
) -> AsyncIterator[LocalServer]:
    """Start the server of a page, put it in the environment, and change to an empty folder."""
    async with LocalServer(generate=plan_of(page)) as server:
        for name, value in variables_of(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(compiled))
        monkeypatch.setenv("BROWSER", "true")  # the command `true` opens no window
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)  # pages print what pytest prints by default
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.chdir(tmp_path)
        yield server


def plan_of(page: Path) -> str | None:
    """Return the plan from which the server of the page generates its site."""
    named = re.search(r"stride server .*?--generate (\S+)", page.read_text())
    return named[1] if named else None


def test_pages_with_code_are_found():
    """The pattern for blocks finds the code of the main pages."""
    assert {"README.md", "CONTRIBUTING.md", "docs/tutorial.md", "docs/howto/a-bot-that-answers.md"} <= PROGRAMS.keys()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if name in SLOW_PAGES else (), id=name)
        for name, page in PROGRAMS.items()
    ],
)
async def test_code_of_page_runs(site: LocalServer, page: Path):
    """A reader can enter a page from top to bottom and sees exactly the output that it shows."""
    async with contextlib.AsyncExitStack() as stack:
        enter = await stack.enter_async_context(prompt())
        until_handled = None
        for block in blocks(page):
            if block.file is not None:
                compare(page, block, await use_file(block))
            elif block.language == "python":
                compare(page, block, await enter(block.text))
            elif block.language == "console" and starts_program(block):
                compare(page, block, await output_of_program(page, block))
            elif block.language == "console" and RUN_BOT in block.text:
                until_handled = await stack.enter_async_context(served_bot(site, block))
            elif block.language == "console" and ends(block):
                compare(page, block, await run(block.text))
                if until_handled is not None:
                    await until_handled()


@contextlib.asynccontextmanager
async def prompt() -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Start `python -m asyncio`; yield a function that pastes a block and returns what the prompt then displays.

    Like the prompt of a terminal, it reads the block line by line, and an empty line ends an open statement.
    """
    words = (sys.executable, "-u", "-m", "asyncio")
    variables = {**os.environ, **PLAIN_PROMPT}
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=variables)
    assert process.stdin is not None
    assert process.stdout is not None
    reader, writer = process.stdout, process.stdin

    async def enter(text: str) -> str:
        writer.write(f"{text}\n\nprint({END!r})\n".encode())
        async with asyncio.timeout(PATIENCE):
            return (await reader.readuntil(f"{END}\n".encode())).decode().removesuffix(f"{END}\n")

    try:
        await enter('import sys; sys.ps1 = sys.ps2 = ""')
        if "Error" in await enter("if True:\n    pass"):
            pytest.skip(f"the prompt of Python {sys.version.split()[0]} does not read statements of several lines")
        yield enter
        writer.close()
        rest = (await reader.read()).decode()
        assert "" == rest.replace("exiting asyncio REPL...", "").strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def use_file(block: Block) -> str:
    """Write a file, run it if it contains tests or if the page shows its output, and return what it prints.

    Another test runs the files that belong to this folder, `tests/`.
    """
    assert block.file is not None
    await asyncio.to_thread(save, Path(block.file), block.text)
    if block.file.startswith("test_"):
        printed = await run(f"python -m pytest -q -o asyncio_mode=auto -p no:cacheprovider {block.file}")
        return LONG_RUN.sub("", printed)
    return await run(f"python {block.file}") if block.prints is not None else ""


def save(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def ends(block: Block) -> bool:
    """Return whether a console block consists of `stride` commands that end by themselves, and of input for them."""
    return all(
        words[0] in {"stride", "echo"} and words[1:2] not in (["server"], ["demo"], ["restore"])
        for words in commands(block.text)
    )


def starts_program(block: Block) -> bool:
    """Return whether a console block starts a program of the page that runs until it is stopped."""
    return block.text.startswith("python ") and block.prints is not None


async def run(text: str) -> str:
    """Run the lines of a console block, and return what they write to stdout."""
    shell = await asyncio.create_subprocess_exec("bash", "-e", "-o", "pipefail", "-c", text, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await shell.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            shell.kill()
    assert shell.returncode == 0, f"{text}{out.decode()}{err.decode()}"
    return out.decode()


async def output_of_program(page: Path, block: Block) -> str:
    """Return what a program prints until that is the output in the page, or until the program ends."""
    process = await asyncio.create_subprocess_exec(*shlex.split(block.text), stdout=PIPE)
    assert process.stdout is not None
    printed = ""
    try:
        with contextlib.suppress(TimeoutError):  # then the output differs
            async with asyncio.timeout(PATIENCE):
                async for line in process.stdout:
                    printed += line.decode()
                    if difference(page, block, printed) is None:
                        break
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
    return printed


@contextlib.asynccontextmanager
async def served_bot(site: LocalServer, block: Block) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Start the bot of a `stride bot run` block on a free port, and register it as `stride server --app` does.

    Yields a function that waits until the bot has handled what was delivered to it.
    """
    command = RUN_BOT + block.text.partition(RUN_BOT)[2].strip()
    process = await asyncio.create_subprocess_exec(*shlex.split(command), "--port", "0", stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            announced = json.loads(await process.stdout.readline())
        await site.register_app(announced["descriptor"])
        await site.install_all()
        async with aiohttp.ClientSession() as http:

            async def until_handled() -> None:
                await site.delivered()
                async with asyncio.timeout(PATIENCE):
                    health = {"waiting": 1}
                    while health["waiting"] or health["running"]:
                        async with http.get(f"{announced['url']}/health") as response:
                            health = await response.json()

            yield until_handled
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


def compare(page: Path, block: Block, printed: str) -> None:
    """Check that a block printed what the page shows."""
    if (problem := difference(page, block, printed)) is not None:
        pytest.fail(problem)


def difference(page: Path, block: Block, printed: str) -> str | None:
    """Return how the output of a block differs from the page; a command or a file may print what is not shown."""
    if block.prints is None and (block.language == "console" or block.file is not None):
        return None
    expected = block.prints or ""
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if checker.check_output(expected, printed, flags):
        return None
    shown = checker.output_difference(doctest.Example(block.text, expected), printed, flags)
    return f"{name_of(page)}, line {block.line}: {shown}"


def commands(text: str) -> Iterator[list[str]]:
    """Yield the simple commands of a console block, each as a list of words."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def test_page_names_the_file_of_a_program():
    """The paragraph before a program says in which file the reader should save it."""
    unnamed = [
        f"{name_of(page)}:{block.line}"
        for page in PAGES
        for block in blocks(page)
        if block.file is not None and f"`{block.file}`" not in block.before
    ]

    assert [] == unnamed


async def test_example_in_contributing_passes(client: StrideClient, server: LocalServer):
    """The test in CONTRIBUTING.md passes with the fixtures of this folder."""
    names: dict[str, Any] = {}
    exec(next(block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.file == "tests/test_history.py"), names)

    await names["test_history_ends_with_an_empty_page"](client=client, server=server)


def stride_commands() -> list[tuple[str, list[str]]]:
    """Return each use of the command in the pages, with its location."""
    return [
        (f"{name_of(page)}:{block.line}", words[1:])
        for page in PAGES
        for block in blocks(page)
        if block.language in {"console", "bash"}
        for words in (each[each[0] == "exec" :] for each in commands(block.text))
        if words and Path(words[0]).name == "stride"
    ]


def test_commands_in_pages_exist():
    """Every `stride` command in the pages exists and accepts the options shown."""
    wrong = {f"{place}: {words}": problem for place, words in stride_commands() if (problem := refused(words))}

    assert len(stride_commands()) > 5
    assert {} == wrong


def refused(words: list[str]) -> str | None:
    """Return why the command rejects these words, without converting their values; None if it accepts them."""
    command: click.Command = cli_page.stride
    context = cli_page.context_of(command, "stride", None)
    try:
        while isinstance(command, click.Group):
            _, words, _ = command.make_parser(context).parse_args(args=list(words))
            if not words:
                return None
            found = command.get_command(context, words[0])
            if found is None:
                return f"no command {words[0]!r}"
            context = cli_page.context_of(found, words[0], context)
            command, words = found, words[1:]
        command.make_parser(context).parse_args(args=list(words))
    except click.UsageError as error:
        return error.format_message()
    return None


def test_layers_in_contributing_match_import_contracts():
    """CONTRIBUTING.md draws the layers as `pyproject.toml` enforces them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    optional = re.compile(r"\(\w+\) \| ")
    layers = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    enforced = [[optional.sub("", layer) for layer in each] for each in layers]

    drawn = [
        [re.split(r" {2,}", line)[0].replace("│", "|") for line in block.text.splitlines()]
        for block in blocks(ROOT / "CONTRIBUTING.md")
        if block.language == "text"
    ]

    assert enforced == drawn


def test_page_of_command_matches_its_help():
    """`docs/cli.md` contains the `--help` of each command; `python -m tests.cli_page` updates it."""
    assert cli_page.rendered() == cli_page.PAGE.read_text()


async def test_samples_of_the_local_server_are_accepted(tmp_path: Path):
    """The server accepts the message, the seed and the faults exactly as its pages show them."""
    pages = (ROOT / "docs/api/server.md", ROOT / "docs/api/faults.md")
    speech, seed, faults = [block.text for page in pages for block in blocks(page) if block.language == "json"]
    (tmp_path / "media").mkdir()
    (tmp_path / "media/plan.txt").write_bytes(b"plan")
    (tmp_path / "site.jsonl").write_text(seed)
    (tmp_path / "faults.json").write_text(faults)

    async with LocalServer(seed=tmp_path / "site.jsonl", faults=tmp_path / "faults.json") as server:
        settings = Settings(base_url=server.url)
        app = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(app, cloud_id=server.cloud_id, settings=settings) as client:
            await client.request("POST", "/local-server/message", json=json.loads(speech))
        truth = server.truth()

    [general] = truth.conversations.values()
    assert (1, 2, 1) == (len(truth.users), general.messages, len(general.media))
    assert hashlib.sha256(b"plan").hexdigest() == next(iter(general.media.values())).sha256
