"""What waits: sockets, clocks, tasks."""
