"""Serving: HTTP/1.1 to clients."""

from infernet_router.serving.listening import CannotServe, Server
from infernet_router.serving.site import ClosableSite

__all__ = [
    "CannotServe",
    "ClosableSite",
    "Server",
]
