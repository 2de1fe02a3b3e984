"""Measure what the client costs, next to a peer in the same run."""
