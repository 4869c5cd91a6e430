"""A soak: a million requests to a router, while all that is around it misbehaves."""
