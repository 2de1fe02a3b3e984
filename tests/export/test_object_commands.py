"""The command with archives in object stores: what works, and what is refused in one sentence."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from tests.conftest import variables_of
from tests.export.conftest import ACCESS_KEY, SECRET_KEY, store_environment
from tests.export.exporting import exported
from tests.export.stores import objects_of


class Command:
    """Runs `stride` in a process of its own."""

    def __init__(self, server, tmp_path) -> None:
        self.tmp_path = tmp_path
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STRIDE_"))
        }
        self.environment |= variables_of(server)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stride_async", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, cwd=self.tmp_path, timeout=120, check=False
        )
        assert "Traceback" not in done.stderr
        assert SECRET_KEY not in done.stdout + done.stderr
        return done

    async def in_thread(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it while the server of this process answers."""
        return await asyncio.to_thread(self, *arguments)


@pytest.fixture
def stride(server, tmp_path) -> Command:
    return Command(server, tmp_path)


@pytest.mark.slow
async def test_a_site_goes_into_a_bucket_and_out_of_it(server, client, bucket, s3, stride, room, tmp_path):
    """Each command that takes a URL gives what it gives for a folder."""
    stride.environment |= store_environment(s3)
    url = f"s3://{bucket}/site"

    made = await stride.in_thread("export", "-o", url)

    assert 0 == made.returncode
    assert f"stride verify {url}" in made.stderr
    digest = (await exported(client, tmp_path / "site")).content_digest
    assert digest == json.loads(made.stdout.splitlines()[-1])["contentDigest"]
    assert 0 == stride("verify", url).returncode
    assert 300 + 1 == json.loads(stride("status", url).stdout)["messages"]
    for format, out in (("slack", "out.zip"), ("mattermost", "m.zip"), ("sqlite", "out.sqlite"), ("html", "pages")):
        reports = []
        for archive in (url, "site"):
            done = stride("convert", format, archive, "-o", f"{out}.{len(reports)}")
            assert 0 == done.returncode, done.stderr
            reports.append(json.loads(done.stdout.splitlines()[-1]))
        assert reports[0]["digest"] == reports[1]["digest"]


REFUSED = [
    (("view", "s3://bucket/site"), "s3://bucket/site is in an object store: copy the archive to a folder first"),
    (("restore", "s3://bucket/site"), "s3://bucket/site is in an object store: copy the archive to a folder first"),
    (
        ("migrate", "matrix", "gs://bucket/site", "--dry-run"),
        "gs://bucket/site is in an object store: copy the archive",
    ),
    (("export", "-o", "ftp://host/site"), "Cannot write the archive: 'ftp://host/site' is not the URL of an archive"),
    (("status", "http://host/site"), "'http://host/site' is not the URL of an archive"),
    (("convert", "slack", "s3://", "-o", "x"), "'s3://' is not the URL of an archive"),
    (("verify", f"s3://{ACCESS_KEY}:{SECRET_KEY}@bucket/site"), "credentials come from the environment"),
    (("export", "-o", "s3://bucket/site"), "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (("status", "az://bucket/site"), "needs credentials: set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(stride, server, tmp_path, arguments, sentence):
    """The exit code is 2, nothing was called and nothing was made."""
    done = stride(*arguments)

    assert 2 == done.returncode
    assert sentence in " ".join(done.stderr.split())
    assert 1 == done.stderr.count("Error: ")
    assert [] == list(tmp_path.iterdir())
    assert [] == list(server.calls)


@pytest.mark.slow
def test_a_bucket_that_is_missing_or_away_has_an_exit_code(stride, bucket, s3, room, monkeypatch):
    """A missing one is 2; a store that does not answer is 7, with advice."""
    stride.environment |= store_environment(s3)
    missing = stride("export", "-o", "s3://missing-bucket/site")
    stride.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    away = stride("status", f"s3://{bucket}/site")

    assert (2, 7) == (missing.returncode, away.returncode)
    assert "there is no bucket missing-bucket" in missing.stderr
    assert "does not answer. Run the same command again" in " ".join(away.stderr.split())
    assert {} == objects_of(s3, bucket)
