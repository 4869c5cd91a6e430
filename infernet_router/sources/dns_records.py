"""DNS names as sources: the addresses in their records, looked up again when their TTL expires."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from infernet_router.addresses import BadAddress, DnsSource, NodeAddress, parse_address
from infernet_router.hosts import is_ipv4, url_host
from infernet_router.quoting import host_port, quoted
from infernet_router.sources.asked import Answer, AskedSource
from infernet_router.sources.dns_hosts import (
    SHORTEST,
    Ask,
    HostAddresses,
    NoAddresses,
    no_record,
    remember,
    validity,
)
from infernet_router.sources.dns_messages import SRV, Record
from infernet_router.sources.joining import BadSource, Sources
from infernet_router.sources.name_servers import LookupFailed

_AT_ONCE = 32
"""How many targets of a name are looked up at the same time."""

_SLICE = 200
"""How many addresses are parsed before others get their turn."""

_MOST_FLAWS = 3
"""How many bad records of a name are described; the rest is counted."""


class DnsWatcher(MultiService):
    """
    Keeps the addresses behind DNS names up to date; each name is a source.

    :param ask: asks name servers, as NameServers.ask does.
    :param targets: how SRV targets are handed out by default: "address" or "name".
    """

    def __init__(self, sources: Sources, ask: Ask, clock: IReactorTime, *, targets: str) -> None:
        super().__init__()
        self._sources = sources
        self._ask = ask
        self._clock = clock
        self._targets = targets
        self._watched: dict[DnsSource, AskedSource] = {}

    def watch(self, names: Iterable[DnsSource]) -> None:
        """Watch these names, and no others any longer."""
        wanted = dict.fromkeys(names)
        for name in [name for name in self._watched if name not in wanted]:
            self._watched.pop(name).disownServiceParent()
            self._sources.dropped(name)
        for name in wanted:
            if name not in self._watched:
                records = self._records(name)
                source = AskedSource(name, records.ask, self._sources, self._clock)
                self._watched[name] = source
                source.setServiceParent(self)

    def _records(self, name: DnsSource) -> "_Host | _Service":
        if name.port is not None:
            return _Host(name, name.port, self._ask, self._clock)
        targets = name.targets or self._targets
        return _Service(name, self._ask, self._clock, resolve=targets == "address")


class _Host:
    """The nodes at the IP addresses of a host name, which all have the same port."""

    def __init__(self, name: DnsSource, port: int, ask: Ask, clock: IReactorTime) -> None:
        self._port = port
        self._host = HostAddresses(name.name, name.family, ask, clock)
        self._clock = clock

    async def ask(self) -> Answer:
        """
        The nodes that the name stands for.

        :raises BadSource: when there are none, even if the name is said not to exist. The nodes
            found before then stay, and polls tell which of them are up.
        """
        flaws = await self._host.look_up()
        texts = [host_port(ip, self._port) for ip in self._host.ips]
        return await _answer(texts, flaws, self._host.expires, self._clock)


class _Service:
    """
    The nodes in the SRV records of a name (RFC 2782), whatever their priority and weight.

    :param resolve: whether to look up the IP addresses of targets, at the same name servers.
    """

    def __init__(self, name: DnsSource, ask: Ask, clock: IReactorTime, *, resolve: bool) -> None:
        self._name = name
        self._ask = ask
        self._clock = clock
        self._resolve = resolve
        self._found: Mapping[tuple[str, int], int] = {}
        """The targets and their ports."""
        self._hosts: dict[str, HostAddresses] = {}
        self._unknown: set[str] = set()
        """The targets of which the name servers never knew an address."""

    async def ask(self) -> Answer:
        """
        The nodes that the name stands for.

        :raises BadSource: when there are none, as in _Host.
        """
        try:
            found = await self._ask(self._name.name, SRV)
        except LookupFailed as error:
            raise BadSource(str(error)) from None
        if not found.records:
            raise BadSource(found.flaw or no_record([SRV], exists=found.exists))
        flaws = [found.flaw] if found.flaw else []
        records = [(record.host, record.port) for record in found.records if record.host]
        if len(records) < len(found.records):
            flaws.append('it has the target ".", which means that there is no such service')
        self._found = remember(self._found, records, complete=not found.flaw)
        expires = self._clock.seconds() + validity(record.ttl for record in found.records)
        texts = [host_port(*record) for record in self._found]
        if self._resolve:
            flaws += await self._look_up_targets(found.additional)
            texts = [text for record in self._found for text in self._addresses(*record)]
            expires = min([expires, *(host.expires for host in self._hosts.values())])
        return await _answer(texts, flaws, expires, self._clock)

    async def _look_up_targets(self, given: Mapping[str, Sequence[Record]]) -> list[str]:
        """Look up the addresses of all targets; returns what was wrong with the lookups."""
        names = dict.fromkeys(target.lower() for target, _ in self._found if _is_name(target))
        self._hosts = {name: self._hosts.get(name) or self._host(name) for name in names}
        self._unknown &= names.keys()
        flaws: list[str] = []
        waiting = iter(self._hosts)
        while several := list(islice(waiting, _AT_ONCE)):
            lookups = [
                Deferred.fromCoroutine(self._look_up_target(name, given.get(name, ())))
                for name in several
            ]
            for found in await gatherResults(lookups, consumeErrors=True):
                flaws += found
            if len(several) == _AT_ONCE:
                await deferLater(self._clock, 0)
        return flaws

    def _host(self, name: str) -> HostAddresses:
        return HostAddresses(name, self._name.family, self._ask, self._clock)

    async def _look_up_target(self, name: str, given: Sequence[Record]) -> list[str]:
        """Look up the addresses of a target if they have expired, or use those that are given."""
        host = self._hosts[name]
        if not given and self._clock.seconds() < host.expires:
            return []
        self._unknown.discard(name)
        try:
            flaws = await host.look_up(given)
        except NoAddresses as error:
            flaws = [str(error)]
            if error.unknown and not any(host.ips):
                self._unknown.add(name)
                return [f"its target {quoted(name)} is left to the system's resolver: {error}"]
        return [f"its target {quoted(name)}: {flaw}" for flaw in flaws]

    def _addresses(self, target: str, port: int) -> Iterable[str]:
        """
        The addresses of a target: those found last, even if its lookup has failed since.

        One that the name servers never knew is left to the system's resolver.
        """
        host = self._hosts.get(target.lower())
        if host is None or target.lower() in self._unknown:
            return [host_port(target, port)]
        return [host_port(ip, port) for ip in host.ips]


async def _answer(
    texts: Sequence[str], flaws: Sequence[str], expires: float, clock: IReactorTime
) -> Answer:
    """
    The nodes with these addresses; those that are bad are left out.

    :raises BadSource: when none is left.
    """
    addresses: list[NodeAddress] = []
    bad: list[str] = []
    for number, text in enumerate(texts, 1):
        try:
            addresses.append(parse_address(text))
        except BadAddress as error:
            bad.append(f"its record {quoted(text)} is not an address: {error}")
        if number % _SLICE == 0:
            await deferLater(clock, 0)
    flaw = _joined([*flaws, *bad])
    if not addresses:
        raise BadSource(flaw)
    return Answer(tuple(addresses), max(SHORTEST, expires - clock.seconds()), flaw)


def _joined(flaws: Sequence[str]) -> str:
    more = len(flaws) - _MOST_FLAWS
    return "; ".join(flaws[:_MOST_FLAWS]) + (f"; and {more} more" if more > 0 else "")


def _is_name(target: str) -> bool:
    """Whether an SRV target is the name of a host, as it should be."""
    try:
        return not is_ipv4(url_host(target))
    except BadAddress:
        return False
