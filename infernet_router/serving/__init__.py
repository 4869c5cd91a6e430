"""Serving: HTTP/1.1 to clients."""

from infernet_router.serving.site import CannotServe, ClosableSite, Server

__all__ = [
    "CannotServe",
    "ClosableSite",
    "Server",
]
