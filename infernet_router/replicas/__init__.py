"""Replicas: several routers that share one fleet, what they assign to it and what they hear of it."""

from infernet_router.replicas.link import Link, Listener, Orders
from infernet_router.replicas.polling import SharedPoller
from infernet_router.replicas.shares import Shares
from infernet_router.replicas.sharing import RESULTS, Sharing

__all__ = [
    "RESULTS",
    "Link",
    "Listener",
    "Orders",
    "SharedPoller",
    "Shares",
    "Sharing",
]
