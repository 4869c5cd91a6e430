"""Joining: makes what shares a fleet with other routers through Redis."""

from pathlib import Path
from random import Random
from secrets import token_bytes
from time import time
from typing import Any

from infernet_router.fleet import Overrides
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.orders import SharedOrders
from infernet_router.replicas.redis import RedisLink, redis_endpoint
from infernet_router.replicas.redis_url import RedisUrl
from infernet_router.replicas.shares import Shares
from infernet_router.replicas.sharing import Sharing


def join(
    url: RedisUrl, ca_file: Path | None, prefix: str, fleet: SharedFleet, reactor: Any
) -> Sharing:
    """
    What shares a fleet with the other routers that use the same server and prefix.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when that file cannot be read.
    """
    endpoint = redis_endpoint(url, reactor, ca_file)
    link = RedisLink(url, prefix, endpoint, reactor, Random())
    sender = token_bytes(8)
    return Sharing(fleet, link, reactor, Shares(int.from_bytes(sender, "big")), sender)


def share_orders(sharing: Sharing, overrides: Overrides, reactor: Any) -> None:
    """Keep the orders of operators the same at all routers that share."""
    sharing.orders = SharedOrders(overrides, sharing.link, reactor, time)
