"""What stands for a folder, what for an object store, and what for neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stride_async.export import StoreRefused, status
from stride_async.export._archive.address import StoreAddress, folder_at, parse_address

STORES = [
    ("s3://bucket", StoreAddress("s3", "bucket", "")),
    ("s3://bucket/", StoreAddress("s3", "bucket", "")),
    ("s3://bucket/a/b/", StoreAddress("s3", "bucket", "a/b")),
    ("gs://bucket/a", StoreAddress("gs", "bucket", "a")),
    ("az://$root/a", StoreAddress("az", "$root", "a")),
    ("S3://my.bucket_1/a b/ü%2F~", StoreAddress("s3", "my.bucket_1", "a b/ü%2F~")),
]
FOLDERS = [
    ("site", Path("site")),
    ("s3:/site", Path("s3:/site")),
    ("a/b://c", Path("a/b://c")),
    (Path("site"), Path("site")),
    ("file:///var/site", Path("/var/site")),
    ("file://localhost/var/a%20b", Path("/var/a b")),
    ("file:///var/%FF", Path(os.fsdecode(b"/var/\xff"))),
]
NEITHER = [
    "ftp://host/site",
    "http://bucket/site",
    "S3X://bucket",
    "s3://",
    "s3:///site",
    "s3://bucket/a//b",
    "s3://bucket/../b",
    "s3://bucket/a?region=x",
    "s3://bucket/a#b",
    "s3://key:hidden@bucket/a",
    "s3://bucket:9000/a",
    "s3://[bucket/a",
    "s3://bücket/a",
    "s3://bucket/a\tb",
    "s3://bucket/a\nb",
    "s3://bucket/a\x01b",
    "s3://bucket/\udc80",
    "file:///var/%00",
    "file://host/site",
    "file://site",
    Path("s3://bucket/site"),
    Path("file:///var/site"),
]


@pytest.mark.parametrize(("text", "address"), [*STORES, *FOLDERS])
def test_an_address_is_a_folder_or_in_a_store(text, address):
    """A URL has `://`; everything else is a path."""
    assert address == parse_address(text)


@pytest.mark.parametrize("text", NEITHER)
def test_anything_else_is_refused_in_one_sentence(text):
    """A user and a password are not repeated."""
    with pytest.raises(ValueError, match=r"archive|folder|URL") as refused:
        parse_address(text)

    assert "\n" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_work_that_needs_a_folder_refuses_a_store():
    """It says what to do."""
    with pytest.raises(ValueError, match=r"s3://bucket/site is in an object store: copy the archive to a folder first"):
        folder_at("s3://bucket/site")


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("s3://bucket/a", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket/a", "GOOGLE_SERVICE_ACCOUNT"),
        ("az://container/a", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_without_credentials_nothing_is_requested(url, variables, monkeypatch):
    """The sentence names the variables. The cloud's own address for credentials is not asked."""
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    monkeypatch.setattr("os.environ", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})

    with pytest.raises(StoreRefused, match=f"{url} needs credentials: set {variables}"):
        status(url)


def test_an_endpoint_without_tls_must_be_allowed(monkeypatch):
    """A key would be usable for everyone who listens."""
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hidden"}
    monkeypatch.setattr("os.environ", {**credentials, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})

    with pytest.raises(StoreRefused, match="AWS_ALLOW_HTTP=true"):
        status("s3://bucket/a")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    """Only an archive in an object store needs it."""
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    monkeypatch.delitem(__import__("sys").modules, "stride_async.export._archive.object_store", raising=False)

    with pytest.raises(StoreRefused, match=r"requires obstore: pip install 'stride-async\[cloud\]'"):
        status("s3://bucket/a")
