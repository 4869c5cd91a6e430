"""Sources: where the addresses of nodes come from."""
