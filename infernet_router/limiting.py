"""The rate limit: how often a client may ask, and which client it is that a proxy asks for."""

from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil
from typing import Literal, cast

from pyrate_limiter import GCRA, Duration, Rate, RateItem, StateBucket
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.answers import answer_error
from infernet_router.api import PATHS
from infernet_router.errors import HTTPError

MAX_RATE = 1_000_000
"""The highest limit, in requests a minute: more than the router can answer."""

_UNLIMITED = b"/health"
"""Orchestrators ask it, many from one address, and would take a limit for an illness."""

Address = IPv4Address | IPv6Address
Proxy = IPv4Network | IPv6Network | Literal["unix"]
"""Where a trusted proxy connects from; `unix` is every peer on a unix socket."""


def parse_proxy(text: str) -> Proxy:
    """
    Read where a trusted proxy connects from.

    :raises ValueError: when it is no network; the message says what it must be.
    """
    if text == "unix":
        return "unix"
    try:
        network = ip_network(text)
    except ValueError:
        network = None
    if network is None or getattr(network.network_address, "ipv4_mapped", None):
        raise ValueError("must be unix, an IP address, or a network such as 10.0.0.0/8")
    return network


class Clients:
    """
    Tells which client a request comes from.

    :param proxies: those whose X-Forwarded-For is believed.
    """

    def __init__(self, proxies: Collection[Proxy] = ()) -> None:
        self._unix = "unix" in proxies
        self._networks = tuple(proxy for proxy in proxies if proxy != "unix")

    def address(self, request: Request) -> Address | None:
        """
        The address nearest to the router that is no trusted proxy's; None on a unix socket.

        Each proxy appends the address that asked it to X-Forwarded-For, and what stands before
        that is only what this one claims. So it is read from its end, while what is read is a
        trusted proxy's. The last address before one that cannot be read counts.
        """
        host: str | None = getattr(request.getClientAddress(), "host", None)
        client = None if host is None else _parse(host)
        if self._trusts(client):
            lines = request.requestHeaders.getRawHeaders(b"x-forwarded-for", ())
            for entry in reversed(b",".join(lines).split(b",")):
                try:
                    client = _parse(entry.strip().decode("ascii"))
                except ValueError:
                    break
                if not self._trusts(client):
                    break
        return client

    def _trusts(self, address: Address | None) -> bool:
        if address is None:
            return self._unix
        return any(address in network for network in self._networks)


def _parse(text: str) -> Address:
    """
    An IP address; one that is IPv4 in IPv6 is IPv4.

    :raises ValueError: when it is none.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


class RateLimited(Resource):
    """
    The API, for so many requests a minute from each client to each path.

    A client may ask `limit` times at once, and once more whenever a `limit`th of a minute has
    passed; requests that are refused cost nothing. All paths without a route count as one. An IPv6
    client is a network of 64 bits, the least that a site gets (RFC 6177), or else whoever has one
    would have 2^64 times the limit. All clients on unix sockets are one.

    :param limit: requests a minute.
    :param seconds: the time in seconds, which never goes back.
    :param counted: pairs of client and path that are counted at the same time, each in 700 bytes.
        For a new one, that which asked longest ago is forgotten, and so what it used up. Whoever
        has enough addresses to gain by that may ask 50,000 times a minute without it.
    """

    isLeaf = True

    def __init__(
        self,
        api: Resource,
        limit: int,
        clients: Clients,
        seconds: Callable[[], float],
        *,
        counted: int = 50_000,
    ) -> None:
        super().__init__()
        self._api = api
        self._clients = clients
        self._seconds = seconds
        self._refusal = f"too many requests: the limit is {limit} a minute for a path"
        rates, algorithm = [Rate(limit, Duration.MINUTE)], GCRA()
        self._bucket = lru_cache(counted)(
            lambda client, path: StateBucket(rates, algorithm=algorithm)
        )

    def render(self, request: Request) -> bytes | int:
        """Pass a request on, or refuse it with 429 and the seconds after which it is answered."""
        path = b"/" + b"/".join(request.postpath or ()).lstrip(b"/")
        wait = 0 if path == _UNLIMITED else self._count(request, path if path in PATHS else b"")
        if not wait:
            return cast(int, self._api.render(request))
        headers = {b"Retry-After": b"%d" % wait}
        return answer_error(request, HTTPError(429, self._refusal, headers))

    def _count(self, request: Request, path: bytes) -> int:
        """Count a request; gives the seconds until one is answered, 0 when this one is."""
        address = self._clients.address(request)
        bucket = self._bucket(address and address.packed[:8], path)
        item = RateItem("", int(self._seconds() * 1000))
        return 0 if bucket.put(item) else ceil(cast(int, bucket.waiting(item)) / 1000)
