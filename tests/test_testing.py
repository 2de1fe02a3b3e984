"""The pytest plugin, tested in projects of their own."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

IN_STRICT_MODE = "import pytest\npytestmark = pytest.mark.asyncio\n"  # required in a file of async tests
# What an import finds instead of an uninstalled package. Its folder remains if it contained other files.
NOTHING = "raise ModuleNotFoundError(f'No module named {name!r}', name=name)"
EMPTY_FOLDER = "return ModuleSpec(name, None, is_package=True)"
BOT_TESTS = """
import pytest
from stride_async import NotFound, RateLimited, ServerError


async def test_a_bot_reads_messages(stride_server, stride_client):
    ann = stride_server.add_user("Ann Adler")
    room = stride_server.add_conversation("general", roster=[ann])
    stride_server.add_message(room, "hello, bot", sender_id=ann)

    [message] = await stride_client.conversation(room).recent()

    assert ("hello, bot", ann) == (message.text, message.sender_id)


async def test_each_test_has_an_empty_site(stride_server, stride_client):
    assert [] == await stride_client.conversations().collect(limit=None)
    assert {} == stride_server.truth().conversations


async def test_retries_do_not_wait(stride_server, stride_client):
    room = stride_server.add_conversation("general")
    stride_server.faults.add("GET", "*/recent", status=503)

    with pytest.raises(ServerError):
        await stride_client.conversation(room).recent()

    assert 4 == len(stride_server.calls.matching("GET", "*/recent"))


async def test_there_is_no_rate_limit(stride_server, stride_client):
    room = stride_server.add_conversation("general")

    assert [[]] * 120 == [await stride_client.conversation(room).recent() for _ in range(120)]


@pytest.mark.parametrize("stride_server_options", [{"rate_limit": 2}])
async def test_a_rate_limit_is_raised_without_waiting(stride_server, stride_client):
    room = stride_server.add_conversation("general")

    with pytest.raises(RateLimited) as raised:
        for _ in range(3):
            await stride_client.conversation(room).recent()

    assert 3 == len(stride_server.calls.matching("GET", "*/recent"))
    assert raised.value.retry_after > 1


class TestAGeneratedSite:
    @pytest.fixture
    def stride_server_options(self):
        return {"generate": "conversations=3,messages=10,seed=7"}

    async def test_it_exists(self, stride_client):
        assert 3 == len(await stride_client.conversations(include_archived=True).collect(limit=None))
"""


def project(pytester: pytest.Pytester, tests: str, **options: str) -> None:
    """Create a project with one file of tests, in which warnings are errors."""
    lines = {"asyncio_default_fixture_loop_scope": "function", "filterwarnings": "error", **options}
    pytester.makeini("\n".join(["[pytest]", *(f"{name} = {value}" for name, value in lines.items())]))
    pytester.makepyfile(dedent(tests))


@pytest.mark.parametrize(("mode", "head"), [("auto", ""), ("strict", IN_STRICT_MODE)], ids=["auto", "strict"])
def test_the_fixtures_work_in_both_modes_of_pytest_asyncio(pytester: pytest.Pytester, mode: str, head: str):
    """They run in the event loop of the test, and each test has a site of its own."""
    project(pytester, head + BOT_TESTS, asyncio_mode=mode)

    pytester.runpytest().assert_outcomes(passed=6)


def test_the_client_is_closed_after_the_test(pytester: pytest.Pytester):
    """Using it later raises `ClientClosed`. Nothing stays open, which would be a warning."""
    tests = """
        import pytest
        from stride_async import ClientClosed

        kept = []

        async def test_first(stride_client):
            await stride_client.me()
            kept.append(stride_client)

        async def test_second():
            with pytest.raises(ClientClosed):
                await kept[0].me()
    """
    project(pytester, tests, asyncio_mode="auto")

    pytester.runpytest().assert_outcomes(passed=2)


def test_a_failed_assertion_is_a_failure_of_the_test(pytester: pytest.Pytester):
    """It is not an error of the fixtures, and the next test still has its site."""
    tests = """
        async def test_wrong(stride_server, stride_client):
            room = stride_server.add_conversation("general")
            await stride_client.conversation(room).send("hello")
            assert 2 == stride_server.truth().conversations[room].messages

        async def test_right(stride_client):
            await stride_client.me()
    """
    project(pytester, tests, asyncio_mode="auto")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*assert 2 == 1*"])


@pytest.mark.parametrize("scope", ["module", "session"])
def test_the_fixtures_share_a_wider_event_loop_if_configured(pytester: pytest.Pytester, scope: str):
    """They follow the setting of the project."""
    tests = f"""
        import pytest

        @pytest.mark.asyncio(loop_scope="{scope}")
        async def test_me(stride_server, stride_client):
            assert stride_server.app_account_id == (await stride_client.me()).account_id
    """
    project(pytester, tests, asyncio_default_fixture_loop_scope=scope)

    pytester.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def test_me(stride_server): ...", "*use `async def`*pytest.mark.asyncio*"),
        ("async def test_me(stride_client): ...", "*use `async def`*pytest.mark.asyncio*"),
        (
            "import pytest\n@pytest.mark.asyncio(loop_scope='module')\nasync def test_me(stride_client): ...",
            "*set asyncio_default_fixture_loop_scope = module*",
        ),
    ],
    ids=["not async", "not marked", "another loop"],
)
def test_a_test_in_another_event_loop_fails_with_advice(pytester: pytest.Pytester, test: str, message: str):
    """Otherwise its first call would hang until the client times out."""
    project(pytester, test, asyncio_mode="strict")

    result = pytester.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_the_plugin_imports_client_and_server_only_for_a_test_that_needs_them(pytester: pytest.Pytester):
    """Every run of pytest loads the plugin, so it must load quickly."""
    tests = """
        import sys

        def test_without_fixtures():
            assert "stride_async.testing" in sys.modules
            assert not {"aiohttp", "stride_async._client", "stride_async.server"} & sys.modules.keys()
    """
    project(pytester, tests)

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("found", [NOTHING, EMPTY_FOLDER], ids=["nothing", "an empty folder"])
def test_without_pytest_asyncio_only_the_fixtures_fail(pytester: pytest.Pytester, found: str):
    """The failure says what to install. pytest itself starts without a message."""
    tests = """
        def test_without_fixtures(): ...

        def test_me(stride_client): ...
    """
    pytester.makeini("[pytest]\nfilterwarnings = error")
    pytester.makepyfile(dedent(tests))

    result = without(pytester, "pytest_asyncio", "-p", "no:asyncio", found=found)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*stride_server requires pytest-asyncio: pip install 'stride-async[[]testing[]]'"])
    result.stderr.no_fnmatch_line("*")


def test_without_the_server_extra_only_the_fixtures_fail(pytester: pytest.Pytester):
    """The failure says what to install. Nothing that the server needs is imported before."""
    tests = """
        def test_without_fixtures(): ...

        async def test_me(stride_client): ...
    """
    project(pytester, tests, asyncio_mode="auto")

    result = without(pytester, "jsonschema")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*stride_server requires jsonschema: pip install 'stride-async[[]testing[]]'"])


def without(pytester: pytest.Pytester, package: str, *args: str, found: str = NOTHING) -> pytest.RunResult:
    """Run pytest in another process in which a package is not installed."""
    code = f"""
import sys
from importlib.machinery import ModuleSpec

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            {found}

sys.meta_path.insert(0, NotInstalled())
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
    return pytester.run(sys.executable, "-c", code, *args)
