"""DNS names as sources: the addresses in their records, looked up again when their TTL expires."""

from collections.abc import Callable, Iterable
from itertools import chain
from socket import AF_INET6, inet_ntop
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.defer import TimeoutError as NoReply
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.python.log import callWithContext

from infernet_router.addresses import BadAddress, DnsSource, NodeAddress, parse_address
from infernet_router.quoting import quoted
from infernet_router.sources.asked import Answer, AskedSource
from infernet_router.sources.joining import BadSource, Sources

_LOOKUPS = {dns.A: "lookupAddress", dns.AAAA: "lookupIPV6Address", dns.SRV: "lookupService"}
"""By record type, the method of Twisted's IResolver that looks it up."""

_SHORTEST, _LONGEST = 5, 300
"""The limits, in seconds, of the time between two lookups of a name, whatever the TTL is."""

_TIMEOUTS = (1, 2, 4)
"""Seconds to wait for each name server's reply in the first, second and third attempt."""

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged, as an event without text is not printed."""

LookUp = Callable[[str, str], Deferred[Any]]
"""Calls a method of an IResolver, given first, for a DNS name."""


class DnsWatcher(MultiService):
    """
    Keeps the addresses behind DNS names up to date; each name is a source.

    :param make_resolver: returns a Twisted IResolver; called for the first lookup.
    """

    def __init__(
        self, sources: Sources, make_resolver: Callable[[], Any], clock: IReactorTime
    ) -> None:
        super().__init__()
        self._sources = sources
        self._make_resolver = make_resolver
        self._clock = clock
        self._resolver: Any = None
        self._watched: dict[DnsSource, AskedSource] = {}

    def watch(self, names: Iterable[DnsSource]) -> None:
        """Watch these names, and no others any longer."""
        wanted = dict.fromkeys(names)
        for name in [name for name in self._watched if name not in wanted]:
            self._watched.pop(name).disownServiceParent()
            self._sources.dropped(name)
        for name in wanted:
            if name not in self._watched:
                ask = _Records(name, self._look_up).ask
                source = AskedSource(name, ask, self._sources, self._clock)
                self._watched[name] = source
                source.setServiceParent(self)

    def _look_up(self, method: str, name: str) -> Any:
        if self._resolver is None:
            self._resolver = self._make_resolver()
        return getattr(self._resolver, method)(name, _TIMEOUTS)


class _Records:
    """
    The DNS records of one name.

    When the lookup of one record type fails and another succeeds, the failed one keeps its last
    result: some name servers never answer AAAA queries.
    """

    def __init__(self, name: DnsSource, look_up: LookUp) -> None:
        self._name = name
        self._look_up = look_up
        self._types = (dns.SRV,) if name.port is None else (dns.A, dns.AAAA)
        self._found: dict[int, list[NodeAddress]] = {}
        """By record type, the addresses found last."""

    async def ask(self) -> Answer:
        """
        The addresses in the name's records.

        :raises BadSource: when there are none, even if the name is said not to exist. The nodes
            found before then stay, and polls tell which of them are up.
        """
        lookups = [
            maybeDeferred(self._look_up, _LOOKUPS[rrtype], self._name.name)
            for rrtype in self._types
        ]
        results: Any = await DeferredList(lookups, consumeErrors=True)
        found: dict[int, list[NodeAddress]] = {}
        flaws: list[str] = []
        ttls: list[int] = []
        for rrtype, (answered, result) in zip(self._types, results, strict=True):
            if answered:
                records = result[0]
                found[rrtype], bad = self._read(rrtype, records)
                flaws += bad
                ttls += [record.ttl for record in records]
            elif result.check(DNSNameError):
                found[rrtype] = []
            else:
                flaws.append(f"{_reason(result.value)} when asked for {_name(rrtype)} records")
        if not any(found.values()):
            raise BadSource(
                "; ".join(flaws) or f"it has no {' or '.join(map(_name, found))} record"
            )
        self._found |= found
        return Answer(
            addresses=tuple(chain.from_iterable(self._found.values())),
            seconds=max(_SHORTEST, min(_LONGEST, *ttls)),
            flaw="; ".join(flaws),
        )

    def _read(
        self, rrtype: int, records: Iterable[dns.RRHeader]
    ) -> tuple[list[NodeAddress], list[str]]:
        """The addresses in the records of a type, and what is wrong with the other records."""
        addresses, bad = [], []
        for record in records:
            if record.type != rrtype:
                continue  # a CNAME record, when the name is an alias
            text = self._address(record.payload)
            try:
                addresses.append(parse_address(text))
            except BadAddress as error:
                bad.append(f"its record {quoted(text)} is not an address: {error}")
        return addresses, bad

    def _address(self, record: Any) -> str:
        """The address in a record."""
        match record:
            case dns.Record_A():
                return f"{record.dottedQuad()}:{self._name.port}"
            case dns.Record_AAAA():
                return f"[{inet_ntop(AF_INET6, record.address)}]:{self._name.port}"
            case _:
                target = record.target.name.decode("ascii", "surrogateescape")
                return f"{target}:{record.port}"


def _name(rrtype: int) -> str:
    """The name of a record type."""
    return str(dns.QUERY_TYPES[rrtype])


def _reason(problem: BaseException) -> str:
    """Why a lookup failed, for an operator."""
    match problem:
        case NoReply():
            return "no name server replied"
        case DNSServerError():
            return "the name server failed"
        case DNSQueryRefusedError():
            return "the name server refused"
        case _:
            return f"no answer ({type(problem).__name__})"


def dns_resolver(reactor: Any, server: tuple[str, int] | None) -> Resolver:
    """
    A resolver that asks one name server, given by IP address and port, or the system's.

    The system's are those in /etc/resolv.conf; its search domains and /etc/hosts are ignored.
    """
    quiet = _QuietReactor(reactor)
    if server is None:
        return Resolver(resolv="/etc/resolv.conf", reactor=quiet)
    return Resolver(servers=[server], reactor=quiet)


class _QuietReactor:
    """A reactor whose UDP ports, one for each query, open and close without a line in the log."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> Port:
        listening = _QuietPort(port, protocol, interface, maxPacketSize, self._reactor)
        listening.startListening()
        return listening


class _QuietPort(Port):
    def startListening(self) -> None:
        callWithContext(_SILENT, super().startListening)

    def connectionLost(self, reason: Any = None) -> None:
        callWithContext(_SILENT, super().connectionLost, reason)
