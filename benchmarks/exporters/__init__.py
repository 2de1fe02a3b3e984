"""Ways to export a site, one per module, so that a process loads only what it needs."""
