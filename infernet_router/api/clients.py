"""Finds the client that a request comes from, behind trusted proxies."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from twisted.web.server import Request

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
