"""Fetching a site into an archive."""
