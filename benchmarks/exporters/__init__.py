"""Ways to bring a site to disk, one a module, so that a process loads only what its way needs."""
