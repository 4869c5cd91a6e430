"""Finds the client that a request comes from, behind trusted proxies."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from twisted.logger import Logger
from twisted.web.server import Request

from infernet_router.quoting import quoted

Address = IPv4Address | IPv6Address
Proxy = IPv4Network | IPv6Network | Literal["unix"]
"""Where a trusted proxy connects from; `unix` means all peers on unix sockets."""

_MAX_LOGGED = 100
"""The most proxies that are named in the log because of what they write."""

log = Logger()

# node-port = port / obfport                                                   RFC 7239, section 6
# port = 1*5DIGIT
# obfport = "_" 1*(ALPHA / DIGIT / "." / "_" / "-")
_PORT = re.compile(r":(?:[0-9]{1,5}|_[\w.-]+)", re.ASCII)

# forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )           RFC 7239, section 4
# forwarded-pair = token "=" value
# value = token / quoted-string
#
# Tokens with brackets and colons are accepted, since some proxies do not quote IPv6 addresses.
# Quoted strings with commas are not: they could not be told from those that a client began in an
# element before.
_PAIR = r"""([!#$%&'*+\-.^_`|~\w]++)=([^\s",;=\\]++|"(?:[^"\\,]|\\[^,])*+")"""
_PAIRS = re.compile(_PAIR, re.ASCII)
_ELEMENT = re.compile(rf"\s*+(?:{_PAIR})?+\s*+(?:;\s*+(?:{_PAIR})?+\s*+)*+", re.ASCII)


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


def parse_forwarded_for(entry: str) -> Address:
    """
    Parse an entry of X-Forwarded-For: an IP address, which may be quoted, and have a port.

    :raises ValueError: when there is no address in it, or it is malformed.
    """
    if len(entry) > 1 and entry[0] == entry[-1] == '"':
        entry = entry[1:-1]
    host, bracket, port = entry.removeprefix("[").partition("]")
    if entry.startswith("[") or bracket:
        if not (entry.startswith("[") and bracket) or (port and not _PORT.fullmatch(port)):
            raise ValueError("brackets do not match")
        return _parse(host)
    try:
        return _parse(entry)
    except ValueError:
        host, colon, port = entry.rpartition(":")
        if not _PORT.fullmatch(colon + port):
            raise
        return _parse(host)


def parse_forwarded(element: str) -> Address:
    """
    Parse an element of Forwarded (RFC 7239): the address in its parameter `for`.

    :raises ValueError: when there is no address in it, or it is malformed.
    """
    if not _ELEMENT.fullmatch(element):
        raise ValueError("malformed")
    (value,) = (value for name, value in _PAIRS.findall(element) if name.lower() == "for")
    return parse_forwarded_for(re.sub(r"\\(.)", r"\1", value))


_FIELDS: tuple[tuple[bytes, str, Callable[[str], Address]], ...] = (
    (b"x-forwarded-for", "X-Forwarded-For", parse_forwarded_for),
    (b"forwarded", "Forwarded", parse_forwarded),
)


class Clients:
    """
    Finds the client that a request comes from.

    :param proxies: the proxies whose X-Forwarded-For and Forwarded are trusted.
    """

    def __init__(self, proxies: Collection[Proxy] = ()) -> None:
        self._unix = "unix" in proxies
        self._networks = tuple(proxy for proxy in proxies if proxy != "unix")
        self._logged: set[tuple[Address | None, str]] = set()
        """The proxies that a line was logged about."""

    def address(self, request: Request) -> Address | None:
        """
        The address of the client; None for a peer on a unix socket.

        Each proxy appends the address of its own client to X-Forwarded-For or Forwarded; anyone may
        have made up the entries before. So a field is read from its end, up to the first address
        that is not a trusted proxy's. When an entry has no address, the one read before it is
        returned: that of the proxy that wrote the entry.

        A proxy passes on the field that it does not write, and then that is its client's. So when
        both fields are there and do not agree, neither counts.
        """
        host: str | None = getattr(request.getClientAddress(), "host", None)
        peer = None if host is None else _parse(host)
        if not self._trusts(peer):
            return peer
        found: list[Address | None] = []
        for key, name, parse in _FIELDS:
            entries = tuple(_entries(request.requestHeaders.getRawHeaders(key, ())))
            if entries:
                found.append(self._last_untrusted(peer, name, entries, parse))
        if len(found) == 2 and found[0] != found[1]:
            self._log(peer, "passes on X-Forwarded-For and Forwarded, which do not agree")
            return peer
        return found[0] if found else peer

    def _last_untrusted(
        self,
        peer: Address | None,
        name: str,
        entries: tuple[str, ...],
        parse: Callable[[str], Address],
    ) -> Address | None:
        """The last address in a field that is not a trusted proxy's; entries are last first."""
        client = peer
        for entry in entries:
            try:
                client = parse(entry)
            except ValueError:
                self._log(client, f"writes {quoted(entry[:100])} into {name}, without an address")
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

    def _log(self, proxy: Address | None, what: str) -> None:
        """Log what a proxy does, once for each proxy and kind, for the first hundred of them."""
        key = proxy, what.partition(" ")[0]
        if key not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add(key)
            log.warn(
                "the trusted proxy {proxy} {what}: its clients count as one",
                event="proxy.unclear",
                proxy="on the Unix socket" if proxy is None else str(proxy),
                what=what,
            )


def _entries(lines: Iterable[bytes]) -> Iterator[str]:
    """The entries of a field, in one line or several, last first; without empty ones."""
    for entry in reversed(b",".join(lines).split(b",")):
        if text := entry.strip().decode("latin-1"):
            yield text


def _parse(text: str) -> Address:
    """
    Parse an IP address; an IPv4-mapped IPv6 address becomes an IPv4 address.

    :raises ValueError: when it is malformed.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
