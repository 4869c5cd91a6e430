"""Node addresses: reads what an operator may write, a node's URL or a DNS source of nodes."""

import re

from attrs import Factory, evolve, field, frozen
from hyperlink import URL

from infernet_router.hosts import BadAddress, is_ipv4, is_ipv6, url_host
from infernet_router.quoting import quoted

__all__ = [
    "LEAST_WEIGHT",
    "MOST_WEIGHT",
    "BadAddress",
    "DnsSource",
    "NodeAddress",
    "hide_credentials",
    "parse_address",
    "parse_dns_source",
    "parse_entry",
]

LEAST_WEIGHT, MOST_WEIGHT = 0.1, 10.0
"""The bounds of a node's weight."""

_NOT_IN_URLS = re.compile(r'[\s"<>\\^`{|}?#]')
_VARIANT = re.compile(r"\.(?=[:/]|$)|/\.|//|%")
"""What may be in one spelling of a URL and not in another."""
_SEPARATOR = re.compile("[,;|\u3001\uff0c\uff1b]")
"""What some lists have between addresses: also an ideographic or a fullwidth comma."""
_BETWEEN = re.compile(rf"{_SEPARATOR.pattern}(?:\s|$|[a-z+]*://)", re.IGNORECASE)
"""A separator that cannot be in the path of a URL."""
_ONLY_COLON = re.compile(r"(?:https?|dns|dns\+srv):(?![0-9]+/*$)", re.IGNORECASE)
"""A scheme without its slashes. With a number after the colon it is a host and port instead."""
_WEIGHT = re.compile(r"(?P<entry>.*\S)\s+weight=(?P<weight>.*)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DNS = re.compile(
    r"(?P<scheme>dns(?P<srv>\+srv)?://)(?P<rest>[^?]*)(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_CHOICES = {"family": ("4", "6", "both"), "as": ("address", "name")}
"""The parameters in the query of a DNS source; `as` is for SRV records only."""


@frozen(cache_hash=True)
class NodeAddress:
    """
    How one node is reached and named.

    Two addresses are equal when they stand for the same URL, even if they are spelled differently.
    """

    text: str = field(eq=False)
    """As the operator wrote it, without a trailing slash: what the API returns."""

    url: str = field(eq=False)
    """The absolute URL it stands for: ASCII, without a trailing slash, the host in lower case."""

    weight: float | None = field(default=None, eq=False)
    """It gets this many times the share of an ordinary node, as its line in a list says, if so."""

    _key: str = field(
        default=Factory(lambda self: _simplest(self.url), takes_self=True), init=False, repr=False
    )
    """What all spellings of the address have in common."""

    @property
    def canonical(self) -> str:
        """What equal addresses have in common: a URL in its simplest spelling."""
        return self._key

    def __str__(self) -> str:
        return self.text


@frozen
class DnsSource:
    """
    A `dns://` line of an address list: a name whose DNS records are the addresses of nodes.

    Two are equal when they stand for the same records, even if they are spelled differently.
    """

    text: str = field(eq=False)
    """As the operator wrote it, without a trailing slash."""

    name: str
    """The name to look up: ASCII, lower case, without a trailing dot."""

    port: int | None
    """The port of every node; None for SRV records, each of which has its own."""

    family: str = ""
    """The IP addresses to use: "4", "6", "both", or "" for IPv6 only where there is no IPv4."""

    targets: str = ""
    """How SRV targets are handed out: "address", "name", or "" for the default."""

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> NodeAddress:
    """
    Read the address of a node: `host`, `host:port`, or an `http://` or `https://` URL, which may
    have a port and a path prefix.

    Without a port, it is the scheme's default (80 or 443), as it is for clients, which put
    `http://` before an address that has no scheme.

    :raises BadAddress: when `text` is anything else.
    """
    try:
        return _node_address(text)
    except BadAddress as error:
        raise BadAddress(_likely_mistake(text) or str(error)) from None


def _node_address(text: str) -> NodeAddress:
    """An address; the reason why it is bad may not be the most helpful one."""
    _refuse_characters(text)
    scheme, separator, rest = text.rpartition("://")
    known_scheme = scheme.lower() if separator else "http"
    if known_scheme not in _DEFAULT_PORTS:
        raise BadAddress(f"the scheme must be http or https, not {quoted(scheme)}")
    if not separator and (only_colon := _ONLY_COLON.match(text)):
        raise BadAddress(f"the // after {only_colon[0]} is missing")
    rest = rest.rstrip("/")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise BadAddress("credentials are not supported")
    if slash and not separator:
        raise BadAddress("a path needs http:// or https:// in front")
    if path[-1:] in (",", ";"):
        raise BadAddress(f"it ends with a {path[-1]}")
    host, port = _host_and_port(authority)
    netloc = url_host(host)
    if host.startswith("[") and not netloc.startswith("["):  # clients may not have IPv6
        rest = rest.replace(host, netloc, 1)
    if port and (number := _port(port[1:])) != _DEFAULT_PORTS[known_scheme]:
        netloc += f":{number}"
    encoded_path = URL(path=tuple(path.split("/")), rooted=True).to_uri().to_text() if path else ""
    return NodeAddress(
        text=f"{scheme}://{rest}" if separator else rest,
        url=f"{known_scheme}://{netloc}{encoded_path}",
    )


def parse_dns_source(text: str) -> DnsSource:
    """
    Read a DNS source: `dns://host:port` for A and AAAA records, `dns+srv://name` for SRV records.

    It may end with `?family=4`, `6` or `both`; for SRV records also with `?as=address` or `name`.

    :raises BadAddress: when `text` is anything else.
    """
    try:
        return _dns_source(text)
    except BadAddress as error:
        raise BadAddress(_likely_mistake(text) or str(error)) from None


def _dns_source(text: str) -> DnsSource:
    """A DNS source; the reason why it is bad may not be the most helpful one."""
    found = _DNS.fullmatch(text)
    if found is None:
        raise BadAddress("it does not begin with dns:// or dns+srv://")
    _refuse_characters(found["scheme"] + found["rest"])
    authority = found["rest"].rstrip("/")
    if "/" in authority or "@" in authority:
        raise BadAddress("a DNS name has neither credentials nor a path")
    written, colon_port = _host_and_port(authority)
    host = url_host(written)
    if host.startswith("[") or is_ipv4(host):
        raise BadAddress(f"{written} is an IP address, which has no DNS records")
    if found["srv"] and colon_port:
        raise BadAddress("SRV records name the ports: leave the port out")
    if not found["srv"] and not colon_port:
        raise BadAddress("the port is missing, as in dns://nodes.example.org:4000")
    query = _dns_query(found["query"], bool(found["srv"]))
    return DnsSource(
        text=found["scheme"] + authority + ("" if found["query"] is None else f"?{found['query']}"),
        name=host.removesuffix("."),
        port=_port(colon_port[1:]) if colon_port else None,
        family=query.get("family", ""),
        targets=query.get("as", "address" if found["srv"] and "family" in query else ""),
    )


def _dns_query(text: str | None, srv: bool) -> dict[str, str]:
    """The parameters in the query of a DNS source."""
    query: dict[str, str] = {}
    for part in text.lower().split("&") if text is not None else ():
        name, _, value = part.partition("=")
        if name in query or value not in _CHOICES.get(name, ()) or (name == "as" and not srv):
            allowed = "family=4, 6 or both" + (", and as=address or name" if srv else "")
            raise BadAddress(f"the query may have {allowed}, each once, not {quoted(part)}")
        query[name] = value
    if len(query) > 1 and query["as"] == "name":
        raise BadAddress("the query has family= for addresses, but as=name")
    return query


def parse_entry(text: str) -> NodeAddress | DnsSource:
    """
    Read what a line of an address list may have: an address, perhaps with `weight=2` after it, or
    a DNS source.

    :raises BadAddress: when it is neither.
    """
    entry, weight = text, _WEIGHT.fullmatch(text)
    if weight:
        entry = weight["entry"]
    if _DNS.match(entry):
        if weight:
            raise BadAddress("only the address of a node may have a weight")
        return parse_dns_source(entry)
    address = parse_address(entry)
    return evolve(address, weight=parse_weight(weight["weight"])) if weight else address


def parse_weight(text: str) -> float:
    """
    Read the weight of a node.

    :raises BadAddress: when it is not a number from 0.1 to 10.
    """
    if _NUMBER.fullmatch(text) and LEAST_WEIGHT <= float(text) <= MOST_WEIGHT:
        return float(text)
    raise BadAddress(
        f"the weight must be a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, not {quoted(text)}"
    )


def hide_credentials(text: str) -> str:
    """A text that may be an address, without the user name and password in it."""
    return re.sub(r"^([a-z+]+://)?.*@", r"\1…@", text, flags=re.IGNORECASE | re.DOTALL)


def _simplest(url: str) -> str:
    """
    A URL without what makes no difference between two nodes.

    That is a dot at the end of the host, and in the path doubled slashes, dot segments and
    percent-encoding that is not needed (RFC 3986, section 6.2.2). Requests keep these: a dot at the
    end of a name, for example, keeps it from being looked up in search domains.
    """
    if not _VARIANT.search(url, len("http://")):
        return url
    scheme, _, rest = url.partition("://")
    netloc, _, path = rest.partition("/")
    host, colon, port = netloc.rpartition(":")
    if colon and port.isdigit():
        netloc = host.removesuffix(".") + colon + port
    segments = URL(path=tuple(path.split("/")), rooted=True).normalize().path
    return "/".join((f"{scheme}://{netloc.removesuffix('.')}", *filter(None, segments)))


def _likely_mistake(text: str) -> str:
    """A better reason why a text is not an address, for common mistakes; "" for others."""
    if "@" in text:
        return "credentials are not supported"
    if set(text) & set('"<>{}'):  # JSON or HTML
        return ""
    if "\r" in text:
        return "there is a carriage return inside: end each line with a line feed"
    authority = re.sub(r"^[a-z+]*://", "", text, flags=re.IGNORECASE).partition("/")[0]
    if separator := _BETWEEN.search(text) or _SEPARATOR.search(authority):
        return f"there is {quoted(separator[0][0])} inside: write one address per line"
    if sum(":" in piece or "." in piece for piece in text.split()) > 1:
        return "there is a blank inside: write one address per line"
    return ""


def _refuse_characters(text: str) -> None:
    """Refuse characters that no address may have."""
    if text.isprintable() and text and not _NOT_IN_URLS.search(text):
        return
    if not text:
        raise BadAddress("it is empty")
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise BadAddress("it is not UTF-8")
    if re.search(r"\s", text):
        raise BadAddress("there is a blank inside")
    if not text.isprintable() or re.search(r"[^?#]", "".join(_NOT_IN_URLS.findall(text))):
        raise BadAddress("it contains a character that no address may have")
    if "?" in text:
        raise BadAddress("a query is not supported")
    raise BadAddress("a fragment is not supported (a comment needs a blank before its #)")


def _host_and_port(authority: str) -> tuple[str, str]:
    """The host, and the port with its colon; or "" without one."""
    if authority.startswith("["):
        host, bracket, port = authority.rpartition("]")
        if not bracket or (port and not port.startswith(":")):
            raise BadAddress(f"{quoted(authority)} is not an IPv6 address in brackets")
        return host + bracket, port
    host, colon, port = authority.partition(":")
    if ":" in port:
        if is_ipv6(authority) or is_ipv6(authority.rpartition(":")[0]):
            raise BadAddress("an IPv6 address needs brackets, as in [2001:db8::1]:4000")
        raise BadAddress("there are too many colons: write host:port")
    return host, colon + port


def _port(text: str) -> int:
    """A port number from 1 to 65535."""
    if re.fullmatch("[0-9]{1,5}", text, re.ASCII) and 1 <= int(text) <= 65535:
        return int(text)
    raise BadAddress(f"the port must be a number from 1 to 65535, not {quoted(text)}")
