"""Adapters to other packages, one in each module. Each needs an extra of its own."""
