"""Tests of infernet_router.fleet.map."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import STATES, WAITS, Fleet, Outcome, Tier, finish, map
from tests.doubles import addresses, report

A, B, C, D = addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")


class MapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(map, "_STEP", 2)
        self.clock = Clock()
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A, B, C, D])

    def states(self) -> list[str]:
        """The state and the level of waiting of each node, as its letter says."""
        levels, letters = len(WAITS) + 1, finish(self.fleet.map()).letters
        alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        numbers = [divmod(alphabet.index(letter), levels) for letter in letters]
        return [f"{STATES[state]} {level}" for state, level in numbers]

    def test_letters(self) -> None:
        """A letter is a state, and how long a job would wait if it were assigned."""
        self.assertEqual(self.states(), ["unknown 0"] * 4)
        for address, pending in ((A, 0), (B, 2), (C, 20), (D, 1000)):
            self.fleet.observed(address, report("llm", pending=pending))
        self.assertEqual(self.states(), ["up 0", "up 1", "up 3", "up 5"])
        self.fleet.missed(B, "slow", timed_out=True)
        self.fleet.override(C, Tier.DRAINED)
        self.fleet.missed(D, "gone")
        self.assertEqual(self.states(), ["up 0", "suspect 1", "drained 3", "down 0"])
        self.fleet.missed(C, "gone")
        self.assertEqual(self.states()[2], "down 0")

    def test_doubted(self) -> None:
        """At a node that seems to fail all jobs, a job would wait for ever."""
        self.fleet.observed(A, report("llm"))
        for _ in range(100):
            self.fleet.told(A, Outcome.FAILED)
        self.assertEqual(self.states()[0], "up 5")

    def test_membership(self) -> None:
        """Whether the nodes are the same, and spelled the same, is told by a number."""
        before = finish(self.fleet.map())
        self.assertEqual(before.addresses, [A, B, C, D])
        self.fleet.observed(A, report("llm"))
        self.fleet.missed(B, "gone")
        self.fleet.replace([D, C, B, A])
        same = finish(self.fleet.map())
        self.assertEqual((same.membership, same.addresses), (before.membership, before.addresses))
        numbers = {before.membership}
        for others in ([A, B, C], [B, C], [parse_address("http://192.0.2.2"), C], [B, C, D]):
            self.fleet.replace(others)
            numbers.add(finish(self.fleet.map()).membership)
            self.assertEqual(set(finish(self.fleet.map()).addresses), set(others))
        self.assertEqual(len(numbers), 5)

    def test_changed_meanwhile(self) -> None:
        """A map has as many letters as addresses, also when nodes are removed while it is drawn."""
        drawing = self.fleet.map()
        next(drawing)
        self.fleet.replace([A])
        drawn = finish(drawing)
        self.assertEqual((len(drawn.letters), len(drawn.addresses)), (4, 4))
        self.fleet.replace([A, D])
        drawn = finish(self.fleet.map())
        self.assertEqual((len(drawn.letters), drawn.addresses), (2, [A, D]))

    def test_grouping(self) -> None:
        """Nodes are grouped by all containers that they run, or ran until they went down."""
        self.fleet.observed(A, report("llm", internal=("prover",)))
        self.fleet.observed(B, report("prover", "llm"))
        self.fleet.observed(C, report("llm"))
        self.fleet.missed(B, "gone")
        grouping = finish(self.fleet.grouping(finish(self.fleet.map())))
        self.assertEqual(grouping.sets, [("llm", "prover"), ("llm",), ()])
        self.assertEqual(grouping.of, [0, 0, 1, 2])

    def test_many_sets(self) -> None:
        """Of many different sets, those of most nodes are told apart."""
        self.patch(map, "_MAX_SETS", 1)
        for address, container in ((A, "a"), (B, "b"), (C, "b")):
            self.fleet.observed(address, report(container))
        grouping = finish(self.fleet.grouping(finish(self.fleet.map())))
        self.assertEqual((grouping.sets, grouping.of), ([("b",), ()], [1, 0, 0, 1]))
