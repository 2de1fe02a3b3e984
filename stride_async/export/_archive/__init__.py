"""The archive on disk. Knows no client and no network."""
