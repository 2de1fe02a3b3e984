"""One function for each call of the service; each gives a `Request` (protocol 5)."""
