"""A soak test: a million requests to a router while nodes, clients and its list misbehave."""
