"""The part of the client that waits: sockets, clocks and tasks."""
