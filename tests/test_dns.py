"""Tests of infernet_router.dns."""

from collections import defaultdict
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_dns_name
from infernet_router.dns import DnsNames, dns_resolver
from tests.doubles import SourceTestCase

HOST = parse_dns_name("dns://nodes.invalid:4000")
SERVICE = parse_dns_name("dns+srv://_infernet._tcp.invalid")


class FakeResolver:
    """An IResolver that knows some records, or fails."""

    def __init__(self) -> None:
        self.records: defaultdict[int, list[Any]] = defaultdict(list)
        """By kind, the records of every name."""
        self.failures: dict[int, Exception] = {}
        """Why a kind cannot be had."""
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


class DnsNamesTests(SourceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = FakeResolver()
        self.names = DnsNames(self.sources, lambda: self.resolver, self.clock)
        self.names.startService()
        self.addCleanup(lambda: self.names.running and self.names.stopService())

    def know(self, *ips: str) -> None:
        """Have these records for every host."""
        self.resolver.records[dns.A] = [dns.Record_A(ip) for ip in ips if ":" not in ip]
        self.resolver.records[dns.AAAA] = [dns.Record_AAAA(ip) for ip in ips if ":" in ip]

    def serve(self, *targets: tuple[str, int]) -> None:
        """Have records of these targets and ports for every service."""
        self.resolver.records[dns.SRV] = [
            dns.Record_SRV(priority, 7, port, target)
            for priority, (target, port) in enumerate(targets)
        ]

    def test_host(self) -> None:
        """A host stands for the addresses in all its A and AAAA records, with the port."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.names.watch([HOST])
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4000", "[2001:db8::1]:4000")
        self.assertEqual(
            self.resolver.asked, [(dns.A, "nodes.invalid"), (dns.AAAA, "nodes.invalid")]
        )

    def test_service(self) -> None:
        """A service stands for every target, by name, with its own port, whatever its priority."""
        self.serve(("a.invalid", 4000), ("b.invalid", 4001))
        self.names.watch([SERVICE])
        self.assert_fleet("a.invalid:4000", "b.invalid:4001")
        self.assertEqual(self.resolver.asked, [(dns.SRV, "_infernet._tcp.invalid")])

    def test_alias(self) -> None:
        """Records of other kinds in an answer, such as of an alias, count for nothing."""
        self.know("192.0.2.1")
        self.resolver.records[dns.A].insert(0, dns.Record_CNAME("other.invalid"))
        self.names.watch([HOST])
        self.assert_fleet("192.0.2.1:4000")

    def test_ttl(self) -> None:
        """It asks again as the TTL says, not before 5 and not after 300 seconds."""
        self.know("192.0.2.1")
        for ttl, seconds in ((60, 60), (0, 5), (86400, 300)):
            self.resolver.ttl = ttl
            self.names.watch([HOST])
            self.resolver.asked.clear()
            self.clock.pump([1.0] * (seconds - 1))
            self.assertEqual(self.resolver.asked, [])
            self.clock.advance(1)
            self.assertEqual(len(self.resolver.asked), 2)
            self.names.watch([])

    def test_changes(self) -> None:
        """Nodes come and go as their records do; an order that changes is no change."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.names.watch([HOST])
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
        """A new answer keeps the nodes; why is told once, and when it is over."""
        self.lines.clear()
        self.clock.pump([1.0] * 300)
        self.assert_fleet("192.0.2.1:4000")
        self.assert_logged(
            f"warn: cannot renew the addresses of dns://nodes.invalid:4000, 1 stay: {reason}"
        )
        self.resolver.failures.clear()
        self.know("192.0.2.1")
        self.clock.pump([1.0] * 60)
        self.assert_logged("info: dns://nodes.invalid:4000 is good again")

    def test_failures(self) -> None:
        """While no name server answers, the nodes stay."""
        self.know("192.0.2.1")
        self.names.watch([HOST])
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
        """A name that has no records any more, or is said not to exist, keeps its nodes."""
        self.know("192.0.2.1")
        self.names.watch([HOST])
        self.know()
        self.assert_kept("it has no A or AAAA record")
        self.resolver.failures = {dns.A: DNSNameError(), dns.AAAA: DNSNameError()}
        self.assert_kept("it has no A or AAAA record")

    def test_one_kind_fails(self) -> None:
        """A kind of records that cannot be had stays as it was while the other changes."""
        self.know("192.0.2.1", "2001:db8::1")
        self.names.watch([HOST])
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
        """A target that is no address is passed over and told; so is none when there are others."""
        self.serve(("a.invalid", 4000), ("no_host.invalid", 4000), ("", 0))
        self.names.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.assertIn("its record 'no_host.invalid:4000' is no address: the host", self.lines[0])

    def test_dropped(self) -> None:
        """A name that is no longer watched is not asked for, and its nodes go."""
        self.know("192.0.2.1")
        self.serve(("a.invalid", 4000))
        self.names.watch([HOST, SERVICE])
        self.names.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.resolver.asked.clear()
        self.clock.advance(60)
        self.assertEqual(self.resolver.asked, [(dns.SRV, "_infernet._tcp.invalid")])
        self.names.watch([])
        self.assert_fleet()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Names are asked for only while it runs; stopping leaves nothing behind."""
        self.know("192.0.2.1")
        self.successResultOf(self.names.stopService())
        self.names.watch([HOST])
        self.assert_fleet()
        self.names.startService()
        self.assert_fleet("192.0.2.1:4000")
        self.successResultOf(self.names.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lazy(self) -> None:
        """No resolver is made before there is a name; that it cannot be made is a failure."""
        made: list[FakeResolver] = []

        def make() -> FakeResolver:
            made.append(self.resolver)
            if len(made) == 1:
                raise PermissionError
            return self.resolver

        self.know("192.0.2.1")
        names = DnsNames(self.sources, make, self.clock)
        names.startService()
        self.addCleanup(names.stopService)
        names.watch([])
        self.assertEqual(made, [])
        names.watch([SERVICE])
        self.assertIn("no answer (PermissionError) when asked for SRV records", self.lines[0])
        names.watch([HOST])
        self.assert_fleet("192.0.2.1:4000")
        self.assertEqual(len(made), 2)


class DnsResolverTests(SynchronousTestCase):
    def test_server(self) -> None:
        """A name server that is given is the only one; else there are those of the system."""
        reactor = MemoryReactorClock()
        resolver: Any = dns_resolver(reactor, ("192.0.2.1", 5353))
        self.assertEqual((resolver.servers, resolver.resolv), ([("192.0.2.1", 5353)], None))
        resolver = dns_resolver(reactor, None)
        self.assertEqual((resolver.servers, resolver.resolv), ([], "/etc/resolv.conf"))
