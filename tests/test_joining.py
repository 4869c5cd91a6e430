"""Tests of infernet_router.joining."""

from random import Random

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Fleet
from infernet_router.joining import Sources
from infernet_router.reports import decode_report

REPORT = decode_report(
    b'{"containers":[{"id":"llm","external":true}],"pending":{"offchain":0,"onchain":0}}'
)


def addresses(*texts: str) -> tuple[NodeAddress, ...]:
    return tuple(map(parse_address, texts))


class SourceTestCase(SynchronousTestCase):
    """Base class: checks the nodes in the fleet, and what was logged about the sources."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.sources = Sources(self.fleet)
        self.lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "infernet_router.joining":
                self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def assert_fleet(self, *texts: str) -> None:
        """The fleet has these nodes, in this order."""
        self.assertEqual([str(address) for address in self.fleet.addresses], list(texts))

    def assert_logged(self, *lines: str) -> None:
        """These lines were logged since the last call."""
        self.assertEqual(self.lines, list(lines))
        self.lines.clear()


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

    def test_changes_are_logged(self) -> None:
        """Added and removed addresses are counted in the log, for each source."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.sources.named("a", addresses("192.0.2.3", "192.0.2.4"))
        self.sources.dropped("a")
        self.sources.dropped("b")
        self.assert_logged(
            "info: a: 3 added, 0 removed, 3 in all",
            "info: a: 1 added, 2 removed, 2 in all",
            "info: a: dropped, 2 removed",
        )

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
