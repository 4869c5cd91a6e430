"""Tests of infernet_router.sources.dns_records: the targets of SRV records."""

from infernet_router.addresses import parse_dns_source
from infernet_router.sources.dns_messages import A, Record
from tests.sources.dns_case import SERVICE, DnsTestCase, failed


class TargetTests(DnsTestCase):
    targets = "address"

    def setUp(self) -> None:
        super().setUp()
        self.servers.hosts = {
            "a.invalid": ("192.0.2.1", "2001:db8::1"),
            "b.invalid": ("192.0.2.2",),
        }
        self.serve(("a.invalid", 4000), ("b.invalid", 4001), ("A.invalid", 4002))

    def test_addresses(self) -> None:
        """With a name server of its own, targets are looked up there, each once, and become IPs."""
        self.watcher.watch([SERVICE])
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4001", "192.0.2.1:4002")
        self.assertEqual(self.servers.asked[1:], [(A, "a.invalid"), (A, "b.invalid")])

    def test_names(self) -> None:
        """With as=name, targets stay names."""
        self.watcher.watch([parse_dns_source(f"{SERVICE}?as=name")])
        self.assert_fleet("a.invalid:4000", "b.invalid:4001", "A.invalid:4002")

    def test_family(self) -> None:
        """The operator may choose the kind of addresses."""
        self.serve(("a.invalid", 4000))
        self.watcher.watch([parse_dns_source(f"{SERVICE}?family=6")])
        self.assert_fleet("[2001:db8::1]:4000")
        self.watcher.watch([parse_dns_source(f"{SERVICE}?family=both")])
        self.assert_fleet("192.0.2.1:4000", "[2001:db8::1]:4000")

    def test_additional(self) -> None:
        """Addresses that came with the SRV records are used; those that did not are asked for."""
        self.servers.additional = {
            "a.invalid": [Record(A, 60, "192.0.2.7"), Record(A, 60, "192.0.2.8")]
        }
        self.watcher.watch([SERVICE])
        self.assertEqual(self.servers.asked[1:], [(A, "b.invalid")])
        self.assert_fleet(
            *("192.0.2.7:4000", "192.0.2.8:4000", "192.0.2.2:4001"),
            *("192.0.2.7:4002", "192.0.2.8:4002"),
        )
        self.servers.additional = {"a.invalid": [Record(A, 60, "192.0.2.9")]}
        self.clock.advance(60)
        self.assert_fleet("192.0.2.9:4000", "192.0.2.2:4001", "192.0.2.9:4002")

    def test_ip_targets(self) -> None:
        """A target that is an IP address is used as it is, and a bad one is skipped."""
        self.serve(("192.0.2.3", 4000), ("no host", 4000))
        self.watcher.watch([SERVICE])
        self.assert_fleet("192.0.2.3:4000")
        self.assertEqual(len(self.servers.asked), 1)

    def test_one_fails(self) -> None:
        """When the lookup of a target fails, its last addresses stay, and others follow theirs."""
        self.watcher.watch([SERVICE])
        self.lines.clear()
        self.servers.failures = {"a.invalid": failed()}
        self.servers.hosts["b.invalid"] = ("192.0.2.3",)
        self.clock.advance(60)
        self.assert_fleet("192.0.2.1:4000", "192.0.2.3:4001", "192.0.2.1:4002")
        self.assertEqual(self.lines[0], f"warn: {SERVICE}: its target 'a.invalid': {failed()}")
        del self.servers.failures["a.invalid"], self.servers.hosts["a.invalid"]
        self.clock.advance(5)
        self.assert_fleet("192.0.2.1:4000", "192.0.2.3:4001", "192.0.2.1:4002")
        self.serve(("b.invalid", 4001))
        self.clock.advance(5)
        self.assert_fleet("192.0.2.3:4001")

    def test_first_fails(self) -> None:
        """A target is left out until its first lookup succeeds, and asked for again soon."""
        self.servers.failures = {"a.invalid": failed()}
        self.watcher.watch([SERVICE])
        self.assert_fleet("192.0.2.2:4001")
        self.servers.failures.clear()
        self.servers.asked.clear()
        self.clock.advance(5)
        self.assert_fleet("192.0.2.1:4000", "192.0.2.2:4001", "192.0.2.1:4002")
        self.assertEqual(self.servers.asked[1:], [(A, "a.invalid")])

    def test_unknown(self) -> None:
        """A target that the name server does not know is left to the system's resolver."""
        self.serve(("a.invalid", 4000), ("gone.invalid", 4000), ("Other.invalid", 4000))
        self.servers.failures = {"other.invalid": failed("the name server refused", refused=True)}
        self.watcher.watch([SERVICE])
        self.assert_fleet("192.0.2.1:4000", "gone.invalid:4000", "Other.invalid:4000")
        self.assertIn(
            f"{SERVICE}: its target 'gone.invalid' is left to the system's resolver: it has no A or"
            " AAAA record: the name does not exist; its target 'other.invalid' is left to",
            self.lines[0],
        )
        self.servers.failures.clear()
        self.servers.hosts["other.invalid"] = ("192.0.2.4",)
        self.clock.advance(5)
        self.assert_fleet("192.0.2.1:4000", "gone.invalid:4000", "192.0.2.4:4000")

    def test_no_address(self) -> None:
        """When no target has an address, the reason is that of the targets."""
        self.servers.failures = {"a.invalid": failed(), "b.invalid": failed()}
        self.watcher.watch([SERVICE])
        self.assert_fleet()
        self.assertIn(f"keeping 0: its target 'a.invalid': {failed()}; its", self.lines[0])

    def test_many(self) -> None:
        """Targets are looked up some at a time."""
        names = [f"n{number}.invalid" for number in range(40)]
        self.servers.hosts = {name: (f"192.0.2.{n}",) for n, name in enumerate(names)}
        self.serve(*((name, 4000) for name in names))
        self.watcher.watch([SERVICE])
        self.assertEqual(len(self.servers.asked), 33)
        self.clock.advance(0)
        self.assert_fleet(*(f"192.0.2.{number}:4000" for number in range(40)))
