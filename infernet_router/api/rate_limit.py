"""Limits the requests a minute of each client, and finds the client behind trusted proxies."""

from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil
from typing import Literal, cast

from pyrate_limiter import GCRA, Duration, Rate, RateItem, StateBucket
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.api.answers import answer_error
from infernet_router.api.routes import PATHS
from infernet_router.serving.errors import HTTPError

MAX_RATE = 1_000_000
"""The highest limit, in requests a minute: more than the router can answer."""

_UNLIMITED = b"/health"
"""Orchestrators, often behind one address, would mistake a 429 for an unhealthy router."""

Address = IPv4Address | IPv6Address
Proxy = IPv4Network | IPv6Network | Literal["unix"]
"""Where a trusted proxy connects from; `unix` means all peers on unix sockets."""


def parse_proxy(text: str) -> Proxy:
    """
    Parse where a trusted proxy connects from.

    :raises ValueError: when `text` is neither a network nor `unix`; the message says so.
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
    Finds the client that a request comes from.

    :param proxies: the proxies whose X-Forwarded-For is trusted.
    """

    def __init__(self, proxies: Collection[Proxy] = ()) -> None:
        self._unix = "unix" in proxies
        self._networks = tuple(proxy for proxy in proxies if proxy != "unix")

    def address(self, request: Request) -> Address | None:
        """
        The address of the client; None for a peer on a unix socket.

        Each proxy appends the address of its own client to X-Forwarded-For; anyone may have made
        up the entries before. So the header is read from its end, up to the first address that is
        not a trusted proxy's. When an entry is malformed, the address read before it is returned.
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

    def identify(self, request: Request) -> bytes | None:
        """
        Identify the client: by its IPv4 address, or by its IPv6 network of 64 bits.

        That is the smallest network that a site is given (RFC 6177); its owner could otherwise pass
        for 2^64 clients. All peers on unix sockets are one client, None.
        """
        address = self.address(request)
        return None if address is None else address.packed[:8]

    def _trusts(self, address: Address | None) -> bool:
        if address is None:
            return self._unix
        return any(address in network for network in self._networks)


def _parse(text: str) -> Address:
    """
    Parse an IP address; an IPv4-mapped IPv6 address becomes an IPv4 address.

    :raises ValueError: when it is malformed.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


class RateLimited(Resource):
    """
    The API, limited to so many requests a minute from each client to each path.

    A client may send `limit` requests at once, and one more whenever a `limit`th of a minute has
    passed. Requests over the limit get 429 and do not count. All paths without a route count as
    one path.

    :param limit: requests a minute.
    :param seconds: the monotonic time, in seconds.
    :param counted: the most pairs of client and path that are counted at the same time, 700 bytes
        each. A new pair replaces the one that was seen least recently, and resets its count. To
        evade the limit that way takes more than 50,000 addresses, which could send 50,000 times
        the limit anyway.
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
        """Pass a request on, or answer 429 with the seconds to wait in Retry-After."""
        path = b"/" + b"/".join(request.postpath or ()).lstrip(b"/")
        wait = 0 if path == _UNLIMITED else self._count(request, path if path in PATHS else b"")
        if not wait:
            return cast(int, self._api.render(request))
        headers = {b"Retry-After": b"%d" % wait}
        return answer_error(request, HTTPError(429, self._refusal, headers))

    def _count(self, request: Request, path: bytes) -> int:
        """Count a request; returns the seconds to wait, 0 when it is within the limit."""
        bucket = self._bucket(self._clients.identify(request), path)
        item = RateItem("", int(self._seconds() * 1000))
        return 0 if bucket.put(item) else ceil(cast(int, bucket.waiting(item)) / 1000)
