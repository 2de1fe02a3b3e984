"""Adapters to what others made, one a module; each needs an extra of its own."""
