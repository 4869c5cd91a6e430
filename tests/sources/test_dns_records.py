"""Tests of infernet_router.sources.dns_records."""

from infernet_router.addresses import parse_dns_source
from infernet_router.sources.dns_messages import AAAA, SRV, A
from tests.sources.dns_case import BOTH, HOST, RESOLVED, SERVICE, DnsTestCase, failed


class HostTests(DnsTestCase):
    def test_host(self) -> None:
        """A host gives the addresses in all its A records, each with the port."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.watcher.watch([HOST])
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4000")
        self.assertEqual(self.servers.asked, [(A, "nodes.invalid")])

    def test_ipv6(self) -> None:
        """A host without A records gives the addresses in its AAAA records."""
        self.know("2001:db8::1")
        self.watcher.watch([HOST])
        self.assert_fleet("[2001:db8::1]:4000")
        self.know("192.0.2.1", "2001:db8::1")
        self.clock.advance(60)
        self.assert_fleet("192.0.2.1:4000")

    def test_family(self) -> None:
        """The operator may choose one family, or both; two spellings of an address are one node."""
        self.know("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1")
        for family, found in (
            ("both", ["192.0.2.1:4000", "[2001:db8::1]:4000"]),
            ("4", ["192.0.2.1:4000"]),
            ("6", ["[2001:db8::1]:4000", "192.0.2.1:4000"]),
        ):
            self.watcher.watch([parse_dns_source(f"dns://nodes.invalid:4000?family={family}")])
            self.assert_fleet(*found)

    def test_not_nodes(self) -> None:
        """Addresses that no node can have are skipped, and logged once."""
        self.know("0.0.0.0", "192.0.2.1", "224.0.0.1", "255.255.255.255", "0.0.0.1", "::")
        self.watcher.watch([HOST])
        self.clock.pump([60.0] * 3)
        self.assert_fleet("192.0.2.1:4000")
        (warning,) = [line for line in self.lines if line.startswith("warn")]
        self.assertIn("its record '0.0.0.0:4000' is not an address: 0.0.0.0 is not", warning)
        self.assertTrue(warning.endswith("the broadcast address; and 1 more"))

    def test_many(self) -> None:
        """Other work is done while thousands of addresses are taken over."""
        ips = [f"10.0.{n >> 8}.{n & 255}" for n in range(1000)]
        self.know(*ips)
        self.watcher.watch([HOST])
        self.assert_fleet()
        self.clock.pump([0.0] * 5)
        self.assert_fleet(*(f"{ip}:4000" for ip in ips))

    def test_incomplete(self) -> None:
        """A record that an incomplete answer leaves out stays for ten such answers."""
        self.know("192.0.2.1", "192.0.2.2")
        self.watcher.watch([HOST])
        self.servers.flaw = "some records are missing"
        self.know("192.0.2.2", "192.0.2.3")
        self.clock.pump([60.0] * 9)
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4000", "192.0.2.3:4000")
        self.clock.advance(60)
        self.assert_fleet("192.0.2.2:4000", "192.0.2.3:4000")
        self.know("192.0.2.3")
        self.clock.advance(60)
        self.servers.flaw = ""
        self.clock.advance(60)
        self.assert_fleet("192.0.2.3:4000")
        self.assertEqual(
            [line for line in self.lines if line.startswith("warn")],
            ["warn: dns://nodes.invalid:4000: some records are missing"],
        )

    def test_incomplete_empty(self) -> None:
        """An incomplete answer without records says why it has none."""
        self.servers.flaw = "some records are missing"
        self.watcher.watch([HOST, SERVICE])
        for line in self.lines:
            self.assertIn("keeping 0: some records are missing", line)

    def test_ttl(self) -> None:
        """A name is looked up again when its TTL expires, but after 5 to 300 seconds."""
        self.know("192.0.2.1")
        for ttl, seconds in ((60, 60), (0, 5), (86400, 300)):
            self.servers.ttl = ttl
            self.watcher.watch([HOST])
            self.servers.asked.clear()
            self.clock.pump([1.0] * (seconds - 1))
            self.assertEqual(self.servers.asked, [])
            self.clock.advance(1)
            self.assertEqual(len(self.servers.asked), 1)
            self.watcher.watch([])

    def test_changes(self) -> None:
        """Nodes are added and removed with their records, whose order does not matter."""
        self.know("192.0.2.1", "192.0.2.2", "2001:db8::1")
        self.watcher.watch([BOTH])
        self.know("192.0.2.3", "192.0.2.2")
        self.clock.advance(60)
        self.know("192.0.2.2", "192.0.2.3")
        self.clock.advance(60)
        self.assert_fleet("192.0.2.3:4000", "192.0.2.2:4000")
        self.assert_logged(
            f"info: {BOTH}: 3 added, 0 removed, 3 in all",
            f"info: {BOTH}: 1 added, 2 removed, 2 in all",
        )

    def assert_kept(self, reason: str) -> None:
        """The nodes stay; the reason is logged once, and so is the recovery."""
        self.lines.clear()
        self.clock.pump([1.0] * 300)
        self.assert_fleet("192.0.2.1:4000")
        self.assert_logged(
            f"warn: cannot update the addresses of dns://nodes.invalid:4000, keeping 1: {reason}"
        )
        self.servers.failures.clear()
        self.know("192.0.2.1")
        self.clock.pump([1.0] * 60)
        self.assert_logged("info: dns://nodes.invalid:4000 works again")

    def test_failures(self) -> None:
        """While lookups fail, the nodes stay."""
        self.know("192.0.2.1")
        self.watcher.watch([HOST])
        self.servers.failures = {A: failed()}
        self.assert_kept("no name server replied when asked for A records (192.0.2.53:53)")
        self.know()
        self.servers.failures = {AAAA: failed(rrtype=AAAA)}
        self.assert_kept("no name server replied when asked for AAAA records (192.0.2.53:53)")

    def test_empty(self) -> None:
        """A name whose records are gone, or that is said not to exist, keeps its nodes."""
        self.know("192.0.2.1")
        self.watcher.watch([HOST])
        self.know()
        self.assert_kept("it has no A or AAAA record")
        self.know()
        self.servers.exists = False
        self.assert_kept("it has no A or AAAA record: the name does not exist")

    def test_one_kind_fails(self) -> None:
        """When the lookup of one type fails, its last result stays while the other type changes."""
        self.know("192.0.2.1", "2001:db8::1")
        self.watcher.watch([BOTH])
        self.lines.clear()
        self.know("192.0.2.2")
        self.servers.failures = {AAAA: failed(rrtype=AAAA)}
        self.clock.pump([60.0] * 3)
        self.assert_fleet("192.0.2.2:4000", "[2001:db8::1]:4000")
        self.assertEqual(
            [line for line in self.lines if line.startswith("warn")],
            [f"warn: {BOTH}: no name server replied when asked for AAAA records (192.0.2.53:53)"],
        )
        self.servers.failures = {}
        self.know("2001:db8::2")
        self.clock.advance(60)
        self.assert_fleet("[2001:db8::2]:4000")
        self.servers.failures = {A: failed(), AAAA: failed(rrtype=AAAA)}
        self.clock.advance(60)
        self.assertIn("asked for A records (192.0.2.53:53); no name server", self.lines[-1])
        self.assert_fleet("[2001:db8::2]:4000")

    def test_dropped(self) -> None:
        """A name that is no longer watched is not looked up, and its nodes are removed."""
        self.know("192.0.2.1")
        self.serve(("a.invalid", 4000))
        self.watcher.watch([HOST, SERVICE])
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.servers.asked.clear()
        self.clock.advance(60)
        self.assertEqual(self.servers.asked, [(SRV, "_infernet._tcp.invalid")])
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

    def test_stop_waiting(self) -> None:
        """Stopping ends a lookup that waits for a name server."""
        self.servers.silent = True
        self.watcher.watch([HOST, SERVICE])
        self.successResultOf(self.watcher.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lines, [])


class ServiceTests(DnsTestCase):
    def test_service(self) -> None:
        """A service gives every target by name, each with its own port."""
        self.serve(("a.invalid", 4000), ("b.invalid", 4001))
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000", "b.invalid:4001")
        self.assertEqual(self.servers.asked, [(SRV, "_infernet._tcp.invalid")])

    def test_bad_targets(self) -> None:
        """A target that is not a host is skipped, and logged."""
        self.serve(("a.invalid", 4000), ("no host.invalid", 4000), ("b.invalid", 0), ("::", 1))
        self.serve(("a.invalid", 4000), ("0.0.0.0", 4000), ("", 0), ("b.invalid", 0))
        self.watcher.watch([SERVICE])
        self.assert_fleet("a.invalid:4000")
        self.assertIn("its record '0.0.0.0:4000' is not an address: ", self.lines[0])
        self.assertIn("its record 'b.invalid:0' is not an address: the port", self.lines[0])
        self.assertIn('it has the target ".", which means that there is no such', self.lines[0])

    def test_none(self) -> None:
        """When there is no such service, or its lookup fails, the nodes stay."""
        self.serve(("a.invalid", 4000))
        self.watcher.watch([SERVICE])
        self.lines.clear()
        kept = f"warn: cannot update the addresses of {SERVICE}, keeping 1: "
        self.serve(("", 0))
        self.clock.advance(60)
        self.assert_logged(
            f'{kept}it has the target ".", which means that there is no such service'
        )
        self.serve()
        self.clock.advance(1)
        self.assert_logged(f"{kept}it has no SRV record")
        self.servers.exists = False
        self.clock.advance(2)
        self.assert_logged(f"{kept}it has no SRV record: the name does not exist")
        self.servers.failures = {SRV: failed(rrtype=SRV)}
        self.clock.advance(4)
        self.assert_logged(f"{kept}{failed(rrtype=SRV)}")
        self.assert_fleet("a.invalid:4000")


class ResolvedTests(DnsTestCase):
    def test_asked_for(self) -> None:
        """With as=address, targets become IP addresses although they are names by default."""
        self.servers.hosts = {"a.invalid": ("192.0.2.1",)}
        self.serve(("a.invalid", 4000))
        self.watcher.watch([RESOLVED])
        self.assert_fleet("192.0.2.1:4000")
