"""What can be wrong with an archive."""

from __future__ import annotations


class ArchiveError(Exception):
    """An archive cannot be used as requested."""


class NotAnArchive(ArchiveError):
    """The folder holds something else. Nothing in it was changed."""


class NewerArchive(ArchiveError):
    """The archive was written by a later version of this package."""


class ArchiveBusy(ArchiveError):
    """Another export is working on the archive."""


class DamagedArchive(ArchiveError):
    """A file is missing or does not match its commit."""


class StoreRefused(ArchiveError):
    """An object store cannot hold the archive, or refuses access to it. Trying again does not help."""


class StoreUnavailable(ArchiveError):
    """An object store did not answer, or answered with errors, for as long as was tried."""
