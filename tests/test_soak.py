"""Tests of the soak test's verdicts: the record of the nodes, and each criterion."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak.flapping import CONTAINERS, Node
from benchmarks.soak.interrupting import Interruptions
from benchmarks.soak.moving import MovingNames
from benchmarks.soak.record import Fault, Record
from benchmarks.soak.vanishing import Clients, Question
from benchmarks.soak.verdicts import Measured, verdicts

LLM, PROVER, PAINTER = (frozenset({id}) for id in CONTAINERS)
BOTH, NONE = LLM | PROVER, frozenset[str]()
ALLOWED = {Fault.REMOVED: 2.0, Fault.DOWN: 4.0, Fault.WITHOUT: 4.0, Fault.MOVED: 64.0}
NODE = "192.0.2.1:4000"


class RecordTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.record = Record(ALLOWED)

    def late(self, fault: Fault) -> list[float]:
        return list(self.record.late[fault])


class RecordTests(RecordTestCase):
    def test_good(self) -> None:
        """An address that is listed and runs the requested container is right."""
        self.record.listed([NODE])
        self.record.offers(NODE, BOTH, 10.0)
        self.assertIsNone(self.record.handed_out(NODE, LLM, 11.0))
        self.assertEqual([self.late(fault) for fault in Fault], [[], [], [], []])
        self.assertEqual(self.record.checked, 1)

    def test_unknown(self) -> None:
        """An address that was never in the list is immediately wrong."""
        wrong = self.record.handed_out(NODE, LLM, 10.0)
        self.assertEqual(wrong, f"{NODE} for ['llm']: down for inf s")
        self.assertEqual(self.late(Fault.REMOVED), [inf])
        self.assertEqual(self.record.wrong(Fault.REMOVED), 1)

    def test_down(self) -> None:
        """A node that went down may be handed out for a while."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.offers(NODE, NONE, 20.0)
        self.assertIsNone(self.record.handed_out(NODE, LLM, 24.0))
        self.assertEqual(self.record.wrong(Fault.DOWN), 0)
        wrong = self.record.handed_out(NODE, LLM, 24.5)
        self.assertEqual(wrong, f"{NODE} for ['llm']: down for 4.50 s")
        self.assertEqual(self.late(Fault.DOWN), [4.0, 4.5])
        self.assertEqual(self.record.wrong(Fault.DOWN), 1)

    def test_stopped(self) -> None:
        """The time in which the router is stopped does not count."""
        clock = Clock()
        record = Record(ALLOWED, clock.seconds)
        clock.advance(3.0)
        record.pause()
        clock.advance(5.0)
        self.assertEqual(record.now, 3.0)
        for _ in range(2):
            record.resume()
            self.assertEqual(record.now, 3.0)
        clock.advance(1.0)
        self.assertEqual(record.now, 4.0)

    def test_since_the_request(self) -> None:
        """Changes since the request was sent do not count against the router."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.offers(NODE, NONE, 20.0)
        self.record.removed([NODE], 20.0)
        self.assertIsNone(self.record.handed_out(NODE, LLM, 19.9))
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 40.0)
        self.assertIsNone(self.record.handed_out(NODE, LLM, 39.9))
        self.assertEqual([self.late(fault) for fault in Fault], [[], [], [], []])

    def test_without(self) -> None:
        """So may a node without the container; the time while it was down counts too."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.offers(NODE, NONE, 20.0)
        self.record.offers(NODE, PROVER, 22.0)
        self.assertIsNone(self.record.handed_out(NODE, PROVER, 30.0))
        self.assertIsNone(self.record.handed_out(NODE, LLM, 24.0))
        wrong = self.record.handed_out(NODE, LLM, 25.0)
        self.assertEqual(wrong, f"{NODE} for ['llm']: without the container for 5.00 s")
        self.assertEqual(self.late(Fault.WITHOUT), [4.0, 5.0])

    def test_together(self) -> None:
        """Containers that a node ran one after the other do not count as run together."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.offers(NODE, PROVER, 20.0)
        self.assertIsNotNone(self.record.handed_out(NODE, BOTH, 20.1))
        self.assertEqual(self.late(Fault.WITHOUT), [inf])

    def test_removed(self) -> None:
        """A removed node may be handed out for a while after its first removal."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.removed([NODE], 20.0)
        self.record.removed([NODE], 21.0)
        self.assertIsNone(self.record.handed_out(NODE, LLM, 22.0))
        self.assertIsNotNone(self.record.handed_out(NODE, LLM, 22.5))
        self.record.listed([NODE])
        self.assertIsNone(self.record.handed_out(NODE, LLM, 30.0))
        self.assertEqual(self.late(Fault.REMOVED), [2.0, 2.5])

    def test_moved(self) -> None:
        """A name that has moved may be handed out for as long as a connection to it is used."""
        self.record.moving.add(NODE)
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 10.0)
        self.record.offers(NODE, PROVER, 20.0)
        self.assertIsNone(self.record.handed_out(NODE, PROVER, 21.0))
        self.assertIsNone(self.record.handed_out(NODE, LLM, 84.0))
        self.assertIsNotNone(self.record.handed_out(NODE, LLM, 84.5))
        self.assertEqual(self.late(Fault.MOVED), [64.0, 64.5])


class MovingNamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.record = Record(ALLOWED, self.clock.seconds)
        self.path = Path(self.mktemp())
        self.names = MovingNames(self.path, 4000, self.record, Random(1))
        self.first = self.names.addresses[0]

    def leads_to(self) -> Node:
        """The node to which the first name leads."""
        host, _, name = self.path.read_text().partition("\n")[0].partition(" ")
        self.assertEqual(f"{name}:4000", self.first)
        (node,) = (node for node in self.names.hosts if node.host == host)
        return node

    def test_moves(self) -> None:
        """A name moves between its hosts, each time after the router has followed."""
        for _ in range(3):
            before = self.leads_to()
            self.clock.advance(20)
            self.names.move()
            after = self.leads_to()
            self.assertNotEqual(after, before)
            before.polls += 1  # by the router, which has not noticed
            self.clock.advance(100)
            self.names.move()
            self.assertEqual(self.leads_to(), after)
            after.polls += 1
            self.names.move()
            self.assertEqual(self.leads_to(), after)
        self.assertEqual(self.names.took[:3], [100, 100, 100])
        self.assertEqual(max(self.names.took), 340)  # the others have waited since the first

    def test_wrong(self) -> None:
        """What the old host runs is wrong from the move on."""
        self.record.listed(self.names.addresses)
        self.assertIsNone(self.record.handed_out(self.first, LLM, self.clock.seconds()))
        self.clock.advance(20)
        self.names.move()
        self.assertIsNone(self.record.handed_out(self.first, PAINTER, self.clock.seconds()))
        self.assertIsNone(self.record.handed_out(self.first, LLM, self.clock.seconds() + 64))
        self.assertIsNotNone(self.record.handed_out(self.first, LLM, self.clock.seconds() + 65))

    def test_hosts(self) -> None:
        """The hosts run nothing in common, so that the report of the wrong one shows."""
        for one, other in zip(self.names.hosts[::2], self.names.hosts[1::2], strict=True):
            self.assertFalse(one.containers & other.containers)


class QuestionTests(RecordTestCase):
    def assert_wrong(self, expected: int, question: Question, status: int, body: bytes) -> None:
        """The response has this number of errors."""
        self.assertEqual(len(question.wrongs(status, body, 10.0, self.record)), expected, body)

    def test_sent(self) -> None:
        """A question is encoded as a request."""
        question = Question("/api/v1/ip", ("llm", "a b"), method="HEAD")
        line = question.encode().partition(b"\r\n")[0]
        self.assertEqual(line, b"HEAD /api/v1/ip?container=llm&container=a+b HTTP/1.1")

    def test_address(self) -> None:
        """Every address in a response is checked."""
        self.record.listed([NODE])
        self.record.offers(NODE, LLM, 5.0)
        one, some = Question("/api/v1/ip", ("llm",)), Question("/api/v1/ips", ("llm",))
        self.assert_wrong(0, one, 200, b'{"ip":"192.0.2.1:4000"}')
        self.assert_wrong(1, one, 200, b'{"ip":"192.0.2.2:4000"}')
        self.assert_wrong(0, some, 200, b'["192.0.2.1:4000"]')
        self.assert_wrong(1, some, 200, b'["192.0.2.1:4000","192.0.2.2:4000"]')
        self.assertEqual(self.record.checked, 5)

    def test_status(self) -> None:
        """The status must be the expected one."""
        self.assert_wrong(1, Question("/api/v1/ip", ("llm",)), 503, b'{"error":"no node is up"}')
        self.assert_wrong(0, Question("/api/v1/ip", ("a",), 503), 503, b'{"error":"no node"}')
        self.assert_wrong(1, Question("/health", method="HEAD"), 500, b"")
        self.assert_wrong(0, Question("/health", method="HEAD"), 200, b"")

    def test_content(self) -> None:
        """The content must be the expected one."""
        containers, health = Question("/api/v1/containers"), Question("/health")
        self.assert_wrong(0, containers, 200, b'[{"id":"llm"},{"id":"painter"},{"id":"prover"}]')
        self.assert_wrong(1, containers, 200, b'[{"id":"llm"}]')
        self.assert_wrong(0, health, 200, b'{"status":"healthy"}')
        self.assert_wrong(1, health, 200, b'{"status":"ill"}')
        self.assert_wrong(1, Question("/api/v1/nothing", status=404), 404, b'{"no":"error"}')
        for body in (b"", b"{", b"[]", b"null", b"<h1>Oh</h1>"):
            self.assert_wrong(1, Question("/api/v1/ip", ("llm",)), 200, body)


class VerdictTests(RecordTestCase):
    def setUp(self) -> None:
        super().setUp()
        random = Random(1)
        node = Node("127.1.0.1", 4000, self.record, random, steady=True)
        node.polls = 10
        clients = Clients(4000, self.record, random, 1.0)
        clients.times.extend([0.001] * 10)
        memory = [50] * 120 + [100] * 400 + [104] * 80
        interruptions = Interruptions(lambda _: None, self.record, Random(1))
        self.measured = Measured(
            self.record, clients, [node], interruptions, 9, 9, memory, 60.0, exit_code=-15
        )

    def bad(self) -> list[str]:
        """The criteria that are not met."""
        return [each.criterion for each in verdicts(self.measured, 10) if not each.good]

    def test_good(self) -> None:
        """All criteria can be met; the memory of the first two minutes is ignored."""
        self.assertEqual(self.bad(), [])

    def test_short(self) -> None:
        """In a short run, memory may grow more, as it has not settled, but not without limit."""
        self.measured.resident = [100] * 60 + [128] * 60
        self.assertEqual(self.bad(), [])
        self.measured.resident = [100] * 60 + [132] * 60
        self.assertEqual(self.bad(), ["memory, once settled"])

    def test_bad(self) -> None:
        """Each criterion can fail."""
        breaks: list[tuple[str, Callable[[Measured], object]]] = [
            ("requests", lambda m: m.clients.times.pop()),
            ("polls", lambda m: setattr(m.nodes[0], "polls", 9)),
            ("handed out though removed", lambda m: m.record.late[Fault.REMOVED].append(2.1)),
            ("handed out though down", lambda m: m.record.late[Fault.DOWN].append(4.1)),
            (
                "handed out though without the container",
                lambda m: m.record.late[Fault.WITHOUT].append(inf),
            ),
            (
                "handed out though moved to a host without the container",
                lambda m: m.record.late[Fault.MOVED].append(64.1),
            ),
            ("new host of a moved name polled", lambda m: setattr(m, "moves", [64.1])),
            ("wrong answers of any kind", lambda m: setattr(m.clients, "wrong", 1)),
            ("memory, once settled", lambda m: setattr(m, "resident", [100] * 300 + [106] * 99)),
            ("descriptors at rest", lambda m: setattr(m, "after", 10)),
            ("errors logged", lambda m: setattr(m, "errors", ["Unhandled Error"])),
            ("exit code, of SIGTERM", lambda m: setattr(m, "exit_code", None)),
        ]
        for criterion, break_it in breaks:
            self.setUp()
            break_it(self.measured)
            self.assertEqual(self.bad(), [criterion])
        self.assertEqual(len(verdicts(self.measured, 10)), len(breaks))
