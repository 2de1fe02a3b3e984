"""One function for each call of the service, which returns it as a `Request` (protocol 5). Pure."""
