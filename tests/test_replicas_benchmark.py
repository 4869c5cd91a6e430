"""Tests of the simulation of several routers in benchmarks."""

from io import StringIO

from attrs import evolve
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.hearing import measure
from benchmarks.simulation.comparison import compare_replicas
from benchmarks.simulation.policies import Ours
from benchmarks.simulation.replicas import Event, Replicated, Setting
from benchmarks.simulation.runs import Outcome, Run
from benchmarks.simulation.scenario import Scenario

FEW = Scenario("few", nodes=10, jobs=2000)


class ReplicasTests(SynchronousTestCase):
    def run_few(self, event: Event = Event.NOTHING) -> tuple[Replicated, Outcome]:
        """A run of three routers, and its result."""
        run = Replicated(FEW, Setting(3, event), 7)
        return run, run.outcome()

    def test_equal(self) -> None:
        """Routers that share poll as often as one, and place jobs as well; others do neither."""
        one = Run(FEW, Ours, 7, queues=False)
        mean = one.outcome().mean
        three, together = self.run_few()
        never, _ = self.run_few(Event.NEVER)
        self.assertApproximates(three.polled / one.polled, 1.0, 0.05)
        self.assertGreater(never.polled / one.polled, 2.5)
        self.assertLess(together.mean / mean, 1.3)
        self.assertEqual([router.sharing.members for router in three.routers], [3, 3, 3])

    def test_death(self) -> None:
        """The nodes of a router that died are polled by the others."""
        run, _ = self.run_few(Event.DEATH)
        self.assertEqual([router.sharing.members for router in run.routers[1:]], [2, 2])

    def test_away(self) -> None:
        """Only jobs of the minutes in which Redis is away are measured."""
        (_, whole), (_, away) = self.run_few(), self.run_few(Event.AWAY)
        self.assertTrue(0 < len(away.times) < len(whole.times))

    def test_table(self) -> None:
        """The table has a row for each number of routers."""
        text = StringIO()
        few = evolve(FEW, jobs=200)
        compare_replicas([few], [2], 1, Console(file=text, width=120))
        for row in ("few ", "few, one dies", "few, Redis away (to never there)"):
            self.assertIn(f"│ {row}", text.getvalue())

    def test_hearing(self) -> None:
        """What hearing costs is measured, and every batch is heard."""
        heard, told = measure(nodes=10, peers=2, rate=100, seconds=1)
        self.assertTrue(heard > 0.0 and told > 0.0)
