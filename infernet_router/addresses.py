"""Node addresses: reads what an operator may write, a node's URL or a DNS source of nodes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna
from attrs import field, frozen
from hyperlink import URL

from infernet_router.quoting import quoted

_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?P<port>:.*)?", re.DOTALL)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.DOTALL)
_ONLY_COLON = re.compile(r"https?:(?![0-9]+/*$)", re.IGNORECASE)
"""A scheme without its slashes. With a number after the colon it is a host and port instead."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DNS = re.compile(r"(dns(?P<srv>\+srv)?://)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SERVICE = re.compile(r"(?:_[a-z0-9_-]{1,62}\.)*", re.IGNORECASE)
"""The labels that name a service, in front of a host, as in _infernet._tcp (RFC 2782)."""
_MAX_LINE = 2000
"""The most characters of an address in a list."""
_NAMED = 20
"""How many bad lines of a list are named; the others are counted."""
_MAX_NAME = 253
"""The most characters of a DNS name (RFC 1035, section 2.3.4)."""


class BadAddress(ValueError):
    """A text that is not an address; the message tells the operator who wrote it why."""


@frozen(cache_hash=True)
class NodeAddress:
    """
    How one node is reached and named.

    Two addresses are equal when they stand for the same URL, even if they are spelled differently.
    """

    text: str = field(eq=False)
    """As the operator wrote it, without a trailing slash: what the API returns."""

    url: str
    """The absolute URL it stands for: normalised, ASCII, without a trailing slash."""

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

    def __str__(self) -> str:
        return self.text


@frozen
class BadLine:
    """One line of an address list that is not an address."""

    number: int
    """The line's number, from 1."""
    text: str
    reason: str


class BadAddressList(ValueError):
    """
    An address list with bad lines.

    :param lines: the first ones.
    :param more: how many bad lines there are in addition.
    """

    def __init__(self, lines: tuple[BadLine, ...], more: int) -> None:
        count = len(lines) + more
        super().__init__(f"{count} bad line{'s' if count > 1 else ''}")
        self.lines = lines
        self.more = more


def parse_address(text: str) -> NodeAddress:
    """
    Read the address of a node: `host`, `host:port`, or an `http://` or `https://` URL, which may
    have a port and a path prefix.

    Without a port, it is the scheme's default (80 or 443), as it is for clients, which put
    `http://` before an address that has no scheme.

    :raises BadAddress: when `text` is anything else.
    """
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
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise BadAddress(f"{quoted(authority)} is not a host or host:port")
    netloc = _host(split["host"], authority)
    if split["port"] and (port := _port(split["port"][1:])) != _DEFAULT_PORTS[known_scheme]:
        netloc += f":{port}"
    encoded_path = URL(path=tuple(path.split("/")), rooted=True).to_uri().to_text() if path else ""
    return NodeAddress(
        text=f"{scheme}://{rest}" if separator else rest,
        url=f"{known_scheme}://{netloc}{encoded_path}",
    )


def parse_dns_source(text: str) -> DnsSource:
    """
    Read a DNS source: `dns://host:port` for A and AAAA records, `dns+srv://name` for SRV records.

    :raises BadAddress: when `text` is anything else.
    """
    _refuse_characters(text)
    found = _DNS.fullmatch(text)
    if found is None:
        raise BadAddress("it does not begin with dns:// or dns+srv://")
    authority = found["rest"].rstrip("/")
    if "/" in authority or "@" in authority:
        raise BadAddress("a DNS name has neither credentials nor a path")
    service = _SERVICE.match(authority) if found["srv"] else None
    prefix = service[0] if service else ""
    split = _AUTHORITY.fullmatch(authority.removeprefix(prefix))
    assert split is not None  # anything matches
    host = _host(split["host"], authority)
    if host.startswith("[") or _is_ipv4(host):
        raise BadAddress(f"{split['host']} is an IP address, which has no DNS records")
    name = (prefix.lower() + host).removesuffix(".")
    if len(name) > _MAX_NAME:
        raise BadAddress(f"the name is longer than {_MAX_NAME} characters")
    if found["srv"] and split["port"]:
        raise BadAddress("SRV records name the ports: leave the port out")
    if not found["srv"] and not split["port"]:
        raise BadAddress("the port is missing, as in dns://nodes.example.org:4000")
    port = _port(split["port"][1:]) if split["port"] else None
    return DnsSource(text=found[1] + authority, name=name, port=port)


class AddressList:
    """
    An address list as it is read: one address or DNS source per line, without duplicates.

    Blank lines, blanks around an address, carriage returns, a byte order mark, and comments
    (from a `#` at the start of a line or after a blank) are ignored.
    """

    def __init__(self) -> None:
        self.addresses: dict[NodeAddress, None] = {}
        """In order, as are the names."""
        self.names: dict[DnsSource, None] = {}
        self._bad: list[BadLine] = []
        self._bad_count = 0

    def read(
        self, lines: Iterable[str], known: Mapping[str, NodeAddress] | None = None
    ) -> Iterator[None]:
        """
        Read these lines, one in each step.

        :param known: addresses that need not be parsed again, by their text.
        """
        known = known or {}
        for number, line in enumerate(lines, 1):
            yield
            text = _content(line.removeprefix("\ufeff") if number == 1 else line)
            if not text:
                continue
            if (address := known.get(text)) is not None:
                self.addresses.setdefault(address)
                continue
            try:
                if len(text) > _MAX_LINE:
                    raise BadAddress(f"it is longer than {_MAX_LINE} characters")
                if _DNS.match(text):
                    self.names.setdefault(parse_dns_source(text))
                else:
                    self.addresses.setdefault(parse_address(text))
            except BadAddress as error:
                self._bad_count += 1
                if self._bad_count <= _NAMED:
                    self._bad.append(BadLine(number=number, text=text, reason=str(error)))

    def check(self) -> None:
        """
        Refuse what was read if there are bad lines.

        :raises BadAddressList: with the first bad lines.
        """
        if self._bad:
            raise BadAddressList(tuple(self._bad), self._bad_count - len(self._bad))


def _content(line: str) -> str:
    """A line without its comment and the blanks around; only the beginning if that is too long."""
    text = _COMMENT.sub("", line.strip()[: _MAX_LINE + 1])
    return text if len(text) > _MAX_LINE else text.rstrip()


def _refuse_characters(text: str) -> None:
    """Refuse characters that no address may have."""
    if not text:
        raise BadAddress("it is empty")
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise BadAddress("it is not UTF-8")
    if any(character.isspace() for character in text):
        raise BadAddress("there is a blank inside")
    if not text.isprintable() or any(character in '"<>\\^`{|}' for character in text):
        raise BadAddress("it contains a character that no address may have")
    if "?" in text:
        raise BadAddress("a query is not supported")
    if "#" in text:
        raise BadAddress("a fragment is not supported (a comment needs a blank before its #)")


def _host(text: str, authority: str) -> str:
    """
    A host as a URL has it: ASCII, lower case, an IPv6 address in brackets.

    :param authority: the host and port that it is a part of, for the message.
    """
    if text.startswith("["):
        try:
            if "%" not in text:  # a zone names an interface of one machine, and no URL may hold it
                return f"[{IPv6Address(text[1:-1])}]"
        except AddressValueError:
            pass
        raise BadAddress(f"{quoted(authority)} is not an IPv6 address in brackets")
    if authority.count(":") > 1:
        raise BadAddress("an IPv6 address needs brackets, as in [2001:db8::1]:4000")
    if not text:
        raise BadAddress("the host is missing")
    if "_" in text:
        raise BadAddress(f"the host {quoted(text)} has an underscore, which no host name may have")
    try:  # Twisted looks up no name that idna refuses
        host = idna.encode(text, uts46=True).decode()
    except idna.IDNAError as error:
        raise BadAddress(f"{quoted(text)} is not a host name or an IP address: {error}") from None
    last_label = host.removesuffix(".").rpartition(".")[2]
    ends_in_number = last_label.isdigit() or re.fullmatch("0x[0-9a-f]*", last_label)
    if ends_in_number and not _is_ipv4(host):
        # Browsers read such a name as an IPv4 address or not at all: https://url.spec.whatwg.org/
        raise BadAddress(f"{text} is not an IPv4 address")
    return host


def _is_ipv4(host: str) -> bool:
    """Whether a host is an IPv4 address: four decimal numbers without leading zeros."""
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _port(text: str) -> int:
    """A port number from 1 to 65535."""
    if re.fullmatch("[0-9]{1,5}", text, re.ASCII) and 1 <= int(text) <= 65535:
        return int(text)
    raise BadAddress(f"the port must be a number from 1 to 65535, not {quoted(text)}")
