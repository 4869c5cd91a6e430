"""DNS names as sources: the addresses in their records, asked for again as their TTL says."""

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

from infernet_router.addresses import BadAddress, DnsName, NodeAddress, parse_address
from infernet_router.quoting import quoted
from infernet_router.sources import Answer, AskedSource, BadSource, Sources

_LOOKUPS = {dns.A: "lookupAddress", dns.AAAA: "lookupIPV6Address", dns.SRV: "lookupService"}
"""The method of Twisted's IResolver for each kind of record."""

_SHORTEST, _LONGEST = 5, 300
"""Seconds for which records are good at least and at most, whatever their TTL is."""

_PATIENCE = (1, 2, 4)
"""Seconds that each name server has for a reply, in the first, second and third attempt."""

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged: an event without text makes no line."""

LookUp = Callable[[str, str], Deferred[Any]]
"""Calls a method of an IResolver, named first, for a DNS name."""


class DnsNames(MultiService):
    """
    The sources that are DNS names: those watched now, each asked for when it is due.

    :param make_resolver: gives a Twisted IResolver; called once there is a name to ask for.
    """

    def __init__(
        self, sources: Sources, make_resolver: Callable[[], Any], clock: IReactorTime
    ) -> None:
        super().__init__()
        self._sources = sources
        self._make_resolver = make_resolver
        self._clock = clock
        self._resolver: Any = None
        self._watched: dict[DnsName, AskedSource] = {}

    def watch(self, names: Iterable[DnsName]) -> None:
        """Make these the names that are watched."""
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
        return getattr(self._resolver, method)(name, _PATIENCE)


class _Records:
    """
    The records of one name.

    Those of a kind that cannot be had are taken to be as they were, if another kind can be had:
    there are name servers that never answer when asked for AAAA.
    """

    def __init__(self, name: DnsName, look_up: LookUp) -> None:
        self._name = name
        self._look_up = look_up
        self._kinds = (dns.SRV,) if name.port is None else (dns.A, dns.AAAA)
        self._found: dict[int, list[NodeAddress]] = {}
        """By kind of record, the addresses found last."""

    async def ask(self) -> Answer:
        """
        The addresses in the name's records.

        :raises BadSource: when none is found. Even if the name is said not to exist, this is no
            reason to forget its nodes: whether they are up, their polls tell.
        """
        lookups = [
            maybeDeferred(self._look_up, _LOOKUPS[kind], self._name.name) for kind in self._kinds
        ]
        results: Any = await DeferredList(lookups, consumeErrors=True)
        found: dict[int, list[NodeAddress]] = {}
        flaws: list[str] = []
        ttls: list[int] = []
        for kind, (answered, result) in zip(self._kinds, results, strict=True):
            if answered:
                records = result[0]
                found[kind], bad = self._read(kind, records)
                flaws += bad
                ttls += [record.ttl for record in records]
            elif result.check(DNSNameError):
                found[kind] = []
            else:
                flaws.append(f"{_in_words(result.value)} when asked for {_name(kind)} records")
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
        self, kind: int, records: Iterable[dns.RRHeader]
    ) -> tuple[list[NodeAddress], list[str]]:
        """The addresses in the records of a kind, and what is wrong with those that have none."""
        addresses, bad = [], []
        for record in records:
            if record.type != kind:
                continue  # the name is an alias, and this says of which
            text = self._address(record.payload)
            try:
                addresses.append(parse_address(text))
            except BadAddress as error:
                bad.append(f"its record {quoted(text)} is no address: {error}")
        return addresses, bad

    def _address(self, record: Any) -> str:
        """The address that a record stands for."""
        match record:
            case dns.Record_A():
                return f"{record.dottedQuad()}:{self._name.port}"
            case dns.Record_AAAA():
                return f"[{inet_ntop(AF_INET6, record.address)}]:{self._name.port}"
            case _:
                target = record.target.name.decode("ascii", "surrogateescape")
                return f"{target}:{record.port}"


def _name(kind: int) -> str:
    """How a kind of record is called."""
    return str(dns.QUERY_TYPES[kind])


def _in_words(problem: BaseException) -> str:
    """Why there was no answer, for an operator."""
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
    A resolver that asks a name server, given by IP address and port, or those of the system.

    The system's are those in /etc/resolv.conf; its search domains and /etc/hosts count for
    nothing.
    """
    quiet = _QuietReactor(reactor)
    if server is None:
        return Resolver(resolv="/etc/resolv.conf", reactor=quiet)
    return Resolver(servers=[server], reactor=quiet)


class _QuietReactor:
    """A reactor that does not log when a UDP port is opened and closed, as each question does."""

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
