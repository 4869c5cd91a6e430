"""Tests of infernet_router.sources.dns_records."""

from collections import defaultdict
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_dns_source
from infernet_router.sources.dns_records import DnsWatcher, dns_resolver
from tests.doubles import SourceTestCase

HOST = parse_dns_source("dns://nodes.invalid:4000")
SERVICE = parse_dns_source("dns+srv://_infernet._tcp.invalid")


class FakeResolver:
    """An IResolver that returns given records, or fails."""

    def __init__(self) -> None:
        self.records: defaultdict[int, list[Any]] = defaultdict(list)
        """By record type, the records of every name."""
        self.failures: dict[int, Exception] = {}
        """By record type, how a lookup fails."""
        self.ttl = 60
        self.asked: list[tuple[int, str]] = []

    def _look_up(self, kind: int, name: str) -> Deferred[Any]:
        self.asked.append((kind, name))
        if kind in self.failures:
            return fail(self.failures[kind])
        answers = [
            dns.RRHeader(name, record.TYPE, ttl=self.ttl, payload=record)
            for record in self.records[kind]
        ]
        return succeed((answers, [], []))

    def lookupAddress(self, name: str, timeout: object) -> Deferred[Any]:
        return self._look_up(dns.A, name)

    def lookupIPV6Address(self, name: str, timeout: object) -> Deferred[Any]:
        return self._look_up(dns.AAAA, name)

    def lookupService(self, name: str, timeout: object) -> Deferred[Any]:
        return self._look_up(dns.SRV, name)


class DnsWatcherTests(SourceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = FakeResolver()
        self.watcher = DnsWatcher(self.sources, lambda: self.resolver, self.clock)
        self.watcher.startService()
        self.addCleanup(lambda: self.watcher.running and self.watcher.stopService())

    def know(self, *ips: str) -> None:
        """Make every host have these IP addresses."""
        self.resolver.records[dns.A] = [dns.Record_A(ip) for ip in ips if ":" not in ip]
        self.resolver.records[dns.AAAA] = [dns.Record_AAAA(ip) for ip in ips if ":" in ip]

    def serve(self, *targets: tuple[str, int]) -> None:
        """Make every service have SRV records with these targets and ports."""
        self.resolver.records[dns.SRV] = [
            dns.Record_SRV(priority, 7, port, target)
            for priority, (target, port) in enumerate(targets)
        ]

    def test_host(self) -> None:
        """A host gives the addresses in all its A and AAAA records, each with the port."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.watcher.watch([HOST])
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4000", "[2001:db8::1]:4000")
        self.assertEqual(
            self.resolver.asked, [(dns.A, "nodes.invalid"), (dns.AAAA, "nodes.invalid")]
        )

    def test_service(self) -> None:
        """A service gives every target by name, with its own port, whatever its priority."""
        self.serve(("a.invalid", 4000), ("b.invalid", 4001))
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000", "b.invalid:4001")
        self.assertEqual(self.resolver.asked, [(dns.SRV, "_infernet._tcp.invalid")])

    def test_alias(self) -> None:
        """Records of other types in an answer, such as CNAME, are ignored."""
        self.know("192.0.2.1")
        self.resolver.records[dns.A].insert(0, dns.Record_CNAME("other.invalid"))
        self.watcher.watch([HOST])
        self.assert_fleet("192.0.2.1:4000")

    def test_ttl(self) -> None:
        """A name is looked up again when its TTL expires, but after 5 to 300 seconds."""
        self.know("192.0.2.1")
        for ttl, seconds in ((60, 60), (0, 5), (86400, 300)):
            self.resolver.ttl = ttl
            self.watcher.watch([HOST])
            self.resolver.asked.clear()
            self.clock.pump([1.0] * (seconds - 1))
            self.assertEqual(self.resolver.asked, [])
            self.clock.advance(1)
            self.assertEqual(len(self.resolver.asked), 2)
            self.watcher.watch([])

    def test_changes(self) -> None:
        """Nodes are added and removed with their records, whose order does not matter."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.watcher.watch([HOST])
        self.know("192.0.2.3", "192.0.2.2")
        self.clock.advance(60)
        self.know("192.0.2.2", "192.0.2.3")
        self.clock.advance(60)
        self.assert_fleet("192.0.2.3:4000", "192.0.2.2:4000")
        self.assert_logged(
            "info: dns://nodes.invalid:4000: 3 added, 0 removed, 3 in all",
            "info: dns://nodes.invalid:4000: 1 added, 2 removed, 2 in all",
        )

    def assert_kept(self, reason: str) -> None:
        """The nodes stay; the reason is logged once, and so is the recovery."""
        self.lines.clear()
        self.clock.pump([1.0] * 300)
        self.assert_fleet("192.0.2.1:4000")
        self.assert_logged(
            f"warn: cannot update the addresses of dns://nodes.invalid:4000, keeping 1: {reason}"
        )
        self.resolver.failures.clear()
        self.know("192.0.2.1")
        self.clock.pump([1.0] * 60)
        self.assert_logged("info: dns://nodes.invalid:4000 works again")

    def test_failures(self) -> None:
        """While lookups fail, the nodes stay."""
        self.know("192.0.2.1")
        self.watcher.watch([HOST])
        for problem, reason in (
            (TimeoutError(), "no name server replied"),
            (DNSServerError(), "the name server failed"),
            (DNSQueryRefusedError(), "the name server refused"),
            (OSError(), "no answer (OSError)"),
        ):
            self.resolver.failures = {dns.A: problem, dns.AAAA: problem}
            self.assert_kept(
                f"{reason} when asked for A records; {reason} when asked for AAAA records"
            )

    def test_empty(self) -> None:
        """A name whose records are gone, or that is said not to exist, keeps its nodes."""
        self.know("192.0.2.1")
        self.watcher.watch([HOST])
        self.know()
        self.assert_kept("it has no A or AAAA record")
        self.resolver.failures = {dns.A: DNSNameError(), dns.AAAA: DNSNameError()}
        self.assert_kept("it has no A or AAAA record")

    def test_one_kind_fails(self) -> None:
        """When the lookup of one type fails, its last result stays while the other type changes."""
        self.know("192.0.2.1", "2001:db8::1")
        self.watcher.watch([HOST])
        self.lines.clear()
        self.know("192.0.2.2")
        self.resolver.failures = {dns.AAAA: TimeoutError()}
        self.clock.pump([60.0] * 3)
        self.assert_fleet("192.0.2.2:4000", "[2001:db8::1]:4000")
        self.assertEqual(
            [line for line in self.lines if line.startswith("warn")],
            ["warn: dns://nodes.invalid:4000: no name server replied when asked for AAAA records"],
        )
        self.resolver.failures = {dns.A: DNSNameError()}
        self.know("2001:db8::2")
        self.clock.advance(60)
        self.assert_fleet("[2001:db8::2]:4000")

    def test_bad_targets(self) -> None:
        """A target that is not an address is skipped, and logged."""
        self.serve(("a.invalid", 4000), ("no_host.invalid", 4000), ("", 0))
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.assertIn(
            "its record 'no_host.invalid:4000' is not an address: the host", self.lines[0]
        )

    def test_dropped(self) -> None:
        """A name that is no longer watched is not looked up, and its nodes are removed."""
        self.know("192.0.2.1")
        self.serve(("a.invalid", 4000))
        self.watcher.watch([HOST, SERVICE])
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.resolver.asked.clear()
        self.clock.advance(60)
        self.assertEqual(self.resolver.asked, [(dns.SRV, "_infernet._tcp.invalid")])
        self.watcher.watch([])
        self.assert_fleet()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Names are looked up only while the service runs; stopping leaves no delayed calls."""
        self.know("192.0.2.1")
        self.successResultOf(self.watcher.stopService())
        self.watcher.watch([HOST])
        self.assert_fleet()
        self.watcher.startService()
        self.assert_fleet("192.0.2.1:4000")
        self.successResultOf(self.watcher.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lazy(self) -> None:
        """The resolver is made at the first lookup; that it cannot be made fails the lookup."""
        made: list[FakeResolver] = []

        def make() -> FakeResolver:
            made.append(self.resolver)
            if len(made) == 1:
                raise PermissionError
            return self.resolver

        self.know("192.0.2.1")
        watcher = DnsWatcher(self.sources, make, self.clock)
        watcher.startService()
        self.addCleanup(watcher.stopService)
        watcher.watch([])
        self.assertEqual(made, [])
        watcher.watch([SERVICE])
        self.assertIn("no answer (PermissionError) when asked for SRV records", self.lines[0])
        watcher.watch([HOST])
        self.assert_fleet("192.0.2.1:4000")
        self.assertEqual(len(made), 2)


class DnsResolverTests(SynchronousTestCase):
    def test_server(self) -> None:
        """Only the given name server is asked, or without one those of the system."""
        reactor = MemoryReactorClock()
        resolver: Any = dns_resolver(reactor, ("192.0.2.1", 5353))
        self.assertEqual((resolver.servers, resolver.resolv), ([("192.0.2.1", 5353)], None))
        resolver = dns_resolver(reactor, None)
        self.assertEqual((resolver.servers, resolver.resolv), ([], "/etc/resolv.conf"))
