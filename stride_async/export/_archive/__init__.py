"""The archive on disk: its layout, its commits and what they add up to. Knows no client and no network."""
