"""Brings a site into an archive."""
