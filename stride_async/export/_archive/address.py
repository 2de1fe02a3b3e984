"""Find the storage that a path or a URL stands for."""

from __future__ import annotations

import importlib
import re
from os import PathLike, fsdecode, fsencode
from pathlib import Path
from urllib.parse import unquote_to_bytes

import attrs

from stride_async._arguments import path as checked_path
from stride_async.export._archive.errors import StoreRefused
from stride_async.export._archive.files import Folder
from stride_async.export._archive.storage import Storage

SCHEMES = ("s3", "gs", "az")
"""The schemes of URLs of object stores."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9_$][A-Za-z0-9_$.-]*")
# What `Path` makes of a URL.
_URL_AS_PATH = re.compile(rf"(file|{'|'.join(SCHEMES)}):/(?!/)")


@attrs.frozen
class StoreAddress:
    """The bucket and the prefix of an archive in an object store."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def is_url(archive: str | PathLike[str]) -> bool:
    """Return whether a text is a URL and not the path of a folder."""
    return isinstance(archive, str) and _URL.match(archive) is not None


def absolute(archive: str) -> str:
    """Return where an archive is, for a process with another current folder."""
    return archive if is_url(archive) else str(Path(archive).absolute())


def parse_address(archive: str | PathLike[str]) -> Path | StoreAddress:
    """Return the folder, or the address in an object store, of an archive.

    Raises:
        TypeError: It is neither a `str` nor a path.
        ValueError: It cannot be a path, or it is a URL with another scheme, without a bucket, or with a part that is
            not allowed.
    """
    path_of_text = checked_path(archive, "archive")
    text = archive if isinstance(archive, str) else str(path_of_text)
    url = _URL.match(text)
    if url is None or not isinstance(archive, str):
        if not isinstance(archive, str) and _URL_AS_PATH.match(text):
            raise ValueError(f"{text} is a URL that was made a path: pass the URL of an archive as text")
        return path_of_text
    scheme, host, path, rest = url[1].lower(), url[2], url[3], url[4]
    if "@" in host:  # Not shown: it may be a secret.
        raise ValueError("the URL of an archive has no user and password: credentials come from the environment")
    if rest:
        raise ValueError(f"{scheme}://{host}{path} is followed by {rest[0]}, which the URL of an archive cannot have")
    if scheme == "file":
        folder = fsdecode(unquote_to_bytes(fsencode(path)))
        if host not in {"", "localhost"} or not folder.startswith("/") or "\0" in folder:
            raise ValueError(f"{text!r} is not the URL of a local folder, such as file:///home/ann/site")
        return Path(folder)
    if scheme not in SCHEMES:
        raise ValueError(f"{text!r} is not the URL of an archive: expected s3://, gs://, az:// or file://, or a folder")
    prefix = path.strip("/")
    has_folders = not any(part in {"", ".", ".."} for part in prefix.split("/") if prefix)
    if not (_BUCKET.fullmatch(host) and has_folders and prefix.isprintable()):
        raise ValueError(f"{text!r} is not the URL of an archive, such as {scheme}://bucket/site")
    return StoreAddress(scheme, host, prefix)


def storage_at(archive: str | PathLike[str]) -> Storage:
    """Return the storage of an archive, which may not exist yet.

    Raises:
        ValueError: The URL is not one of an archive.
        StoreRefused: The environment has no credentials for the store, or a package is missing. Nothing was requested.
    """
    address = parse_address(archive)
    if isinstance(address, Path):
        return Folder(address)
    try:
        store = importlib.import_module("stride_async.export._archive.object_store")  # It needs a package of its own.
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise StoreRefused(f"{address} requires obstore: pip install 'stride-async[cloud]'") from error
    opened: Storage = store.ObjectStore.at(address)
    return opened


def folder_at(archive: str | PathLike[str]) -> Path:
    """Return the folder of an archive, for work that cannot be done in an object store.

    Raises:
        ValueError: It is in an object store, or the URL is not one of an archive.
    """
    address = parse_address(archive)
    if isinstance(address, Path):
        return address
    raise ValueError(f"{address} is in an object store: copy the archive to a folder first")
