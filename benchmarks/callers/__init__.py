"""Ways to make one small call, one per module, so that a process loads only what it needs.

Each has `connected(site, slots)`, an async context manager that yields a function: given the id of a room, it fetches
the room and returns its name. At most `slots` of its calls are out at the same time.
"""
