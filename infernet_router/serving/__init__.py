"""Serving: HTTP/1.1 to clients."""
