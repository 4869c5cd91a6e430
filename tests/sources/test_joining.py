"""Tests of infernet_router.sources.joining."""

from pathlib import Path

from attrs import evolve

from infernet_router.addresses import DnsSource
from infernet_router.counting import Counts
from infernet_router.process import Slices
from infernet_router.reports import decode_report
from infernet_router.sources.joining import Sources, SourceState
from tests.doubles import SourceTestCase, addresses

REPORT = decode_report(
    b'{"containers":[{"id":"llm","external":true}],"pending":{"offchain":0,"onchain":0}}'
)


class SourcesTests(SourceTestCase):
    def test_union(self) -> None:
        """The fleet has the union of all sources; a node stays until no source has it."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2"))
        self.sources.named("b", addresses("192.0.2.2", "192.0.2.3"))
        self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.sources.named("a", addresses("192.0.2.1"))
        self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.sources.dropped("b")
        self.assert_fleet("192.0.2.1")

    def test_stays(self) -> None:
        """A node keeps its state for as long as some source has it."""
        (node,) = addresses("192.0.2.1")
        self.sources.named("a", [node])
        self.fleet.observed(node, REPORT)
        self.sources.named("b", addresses("http://192.0.2.1:80", "192.0.2.2"))
        self.sources.named("a", addresses("192.0.2.3"))
        self.assertEqual(self.fleet.pick(["llm"]), node)

    def test_order(self) -> None:
        """Nodes are in the order of the sources, and of the addresses within each."""
        self.sources.named("a", addresses("192.0.2.2", "192.0.2.1", "192.0.2.2"))
        self.sources.named("b", addresses("192.0.2.4"))
        self.sources.named("a", addresses("192.0.2.3", "192.0.2.2"))
        self.assert_fleet("192.0.2.3", "192.0.2.2", "192.0.2.4")

    def test_unchanged(self) -> None:
        """The same addresses again, in any order, change nothing."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2"))
        self.sources.named("a", addresses("192.0.2.2", "192.0.2.1"))
        self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.assert_logged("info: a: 2 added, 0 removed, 2 in all")

    def test_text(self) -> None:
        """A node whose address is now written differently is handed out as written now."""
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.named("a", addresses("http://192.0.2.1"))
        self.assert_fleet("http://192.0.2.1")

    def test_weight(self) -> None:
        """A node has the weight that a file gives it, whichever other source names it first."""
        (node,) = addresses("192.0.2.1")
        file = Path("/ips.txt")
        self.sources.named("a", [node])
        for weight in (2.0, 3.0, None):
            self.sources.named(file, [evolve(node, weight=weight)])
            view = self.fleet.view(node)
            assert view is not None
            self.assertEqual(view.weight, weight or 1.0)

    def test_changes_are_logged(self) -> None:
        """The log names the addresses that each source added and removed."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.sources.named("a", addresses("192.0.2.3", "192.0.2.4"))
        self.sources.dropped("a")
        self.sources.dropped("b")
        expected = [
            "info: a: 3 added, 0 removed, 3 in all; added 192.0.2.1, 192.0.2.2, 192.0.2.3",
            "info: a: 1 added, 2 removed, 2 in all; added 192.0.2.4; removed 192.0.2.1, 192.0.2.2",
            "info: a: dropped, 2 removed; removed 192.0.2.3, 192.0.2.4",
        ]
        self.assertEqual(self.lines, expected)

    def test_many_changes(self) -> None:
        """Of many addresses, the log names twenty and counts the others."""
        many = [f"192.0.2.{number}" for number in range(25)]
        self.sources.named("a", addresses(*many))
        named = ", ".join(many[:20])
        line = f"info: a: 25 added, 0 removed, 25 in all; added {named} and 5 more"
        self.assertEqual(self.lines, [line])

    def test_failed(self) -> None:
        """A failing source keeps its nodes; each reason is logged once, and so is the recovery."""
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.failed("a", "no reason")
        self.sources.failed("a", "no reason")
        self.sources.failed("a", "another")
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.named("a", addresses("192.0.2.1"))
        self.assert_fleet("192.0.2.1")
        self.assert_logged(
            "info: a: 1 added, 0 removed, 1 in all",
            "warn: cannot update the addresses of a, keeping 1: no reason",
            "warn: cannot update the addresses of a, keeping 1: another",
            "info: a works again",
        )

    def test_flaw(self) -> None:
        """A flaw is logged once, and again only after an answer without one."""
        for flaw in ("1 is bad", "2 are bad", "", "3 are bad"):
            self.sources.named("a", (), flaw)
        self.assert_logged("warn: a: 1 is bad", "warn: a: 3 are bad")

    def test_states(self) -> None:
        """What each source names is known, when it was good last, and what is wrong with it."""
        now = 100.0
        counts = Counts()
        sources = Sources(
            self.fleet, Slices(self.clock, seconds=self.clock.seconds), counts, lambda: now
        )
        a, b = addresses("192.0.2.1", "192.0.2.2")
        file, dns = Path("/ips.txt"), DnsSource("dns://nodes.invalid:4000", "nodes.invalid", 4000)
        sources.named(file, [a, b])
        sources.named(dns, [b], "1 bad")
        now = 200.0
        sources.failed(a, "HTTP 500")
        self.assertEqual(
            sources.states(),
            [
                SourceState("/ips.txt", "file", 2, 200.0, "", ""),
                SourceState("dns://nodes.invalid:4000", "dns", 1, 100.0, "", "1 bad"),
                SourceState("192.0.2.1", "explorer", 0, None, "HTTP 500", ""),
            ],
        )
        self.assertEqual(sources.naming(b), ["/ips.txt", "dns://nodes.invalid:4000"])
        sources.failed(file, "it is bad")
        now = 300.0
        sources.failed(file, "it is bad")
        state = sources.states()[0]
        self.assertEqual((state.last_success, state.reason), (200.0, "it is bad"))
        self.assertEqual(counts.source_errors, {"explorer": 1, "file": 2})
        sources.dropped(dns)
        self.assertEqual(len(sources.states()), 2)
