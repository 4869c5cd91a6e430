"""A base class of test cases with name servers."""

from collections import defaultdict

from twisted.internet.defer import Deferred

from infernet_router.addresses import parse_dns_source
from infernet_router.sources.dns_messages import AAAA, SRV, A, Record
from infernet_router.sources.dns_records import DnsWatcher
from infernet_router.sources.name_servers import Found, LookupFailed
from tests.doubles import SourceTestCase

HOST = parse_dns_source("dns://nodes.invalid:4000")
BOTH = parse_dns_source("dns://nodes.invalid:4000?family=both")
SERVICE = parse_dns_source("dns+srv://_infernet._tcp.invalid")
RESOLVED = parse_dns_source("dns+srv://_infernet._tcp.invalid?as=address")


class FakeServers:
    """Name servers that give chosen records, or fail."""

    def __init__(self) -> None:
        self.records: defaultdict[int, list[Record]] = defaultdict(list)
        """By record type, the records of every name that is not in `hosts`."""
        self.hosts: dict[str, tuple[str, ...]] = {}
        """The IP addresses of some names."""
        self.additional: dict[str, list[Record]] = {}
        self.failures: dict[int | str, LookupFailed] = {}
        """By record type or by name, how a lookup fails."""
        self.exists = True
        self.flaw = ""
        self.ttl = 60
        self.asked: list[tuple[int, str]] = []
        self.silent = False

    async def ask(self, name: str, rrtype: int) -> Found:
        self.asked.append((rrtype, name))
        if self.silent:
            await Deferred()
        for key in (rrtype, name):
            if key in self.failures:
                raise self.failures[key]
        if name in self.hosts or (rrtype != SRV and self.records[SRV]):
            found = addresses(rrtype, self.hosts.get(name, ()), self.ttl)
            return Found(found, {}, name in self.hosts)
        records = [Record(r.type, self.ttl, r.host, r.port) for r in self.records[rrtype]]
        return Found(records, self.additional, self.exists, self.flaw)


def addresses(rrtype: int, ips: tuple[str, ...], ttl: int = 60) -> list[Record]:
    """The records of a type, A or AAAA, with those of some IP addresses that fit it."""
    return [Record(rrtype, ttl, ip) for ip in ips if (":" in ip) == (rrtype == AAAA)]


def failed(reason: str = "no name server replied", rrtype: int = A, **how: bool) -> LookupFailed:
    return LookupFailed(reason, rrtype, "192.0.2.53:53", **how)


class DnsTestCase(SourceTestCase):
    """Base class: watches names that fake name servers know."""

    targets = "name"

    def setUp(self) -> None:
        super().setUp()
        self.servers = FakeServers()
        self.watcher = DnsWatcher(self.sources, self.servers.ask, self.clock, targets=self.targets)
        self.watcher.startService()
        self.addCleanup(lambda: self.watcher.running and self.watcher.stopService())

    def know(self, *ips: str) -> None:
        """Make every host have these IP addresses."""
        for rrtype in (A, AAAA):
            self.servers.records[rrtype] = addresses(rrtype, ips)

    def serve(self, *targets: tuple[str, int]) -> None:
        """Make every service have SRV records with these targets and ports."""
        self.servers.records[SRV] = [Record(SRV, 60, target, port) for target, port in targets]
