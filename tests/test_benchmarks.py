"""Tests of the simulation in benchmarks: it agrees with queueing theory."""

from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.simulation.policies import (
    AtRandom,
    LeastPending,
    LeavingOut,
    Oracle,
    Ours,
    Penalising,
    Told,
    TwoChoices,
)
from benchmarks.simulation.world import MEAN_WORK, Lognormal, Scenario, World, run


def exponential(random: Random) -> float:
    return random.expovariate(1 / MEAN_WORK)


ONE_QUEUE = Scenario("one queue", nodes=1, speeds=(1.0, 1.0), load=0.5, work=exponential)


class WorldTests(SynchronousTestCase):
    def assert_mean(self, scenario: Scenario, expected: float) -> None:
        """The mean time agrees with theory, to 5 %."""
        self.assertApproximates(run(scenario, AtRandom, 1).mean, expected, 0.05 * expected)

    def test_one_server(self) -> None:
        """An M/M/1 queue: mean time 1 / (rate - arrivals)."""
        self.assert_mean(ONE_QUEUE, MEAN_WORK / (1 - 0.5))

    def test_two_servers(self) -> None:
        """An M/M/2 queue, by Erlang's C formula: half loaded, a third of the jobs wait."""
        waiting = (1 / 3) * MEAN_WORK / (2 * (1 - 0.5))
        self.assert_mean(evolve(ONE_QUEUE, slots=2), MEAN_WORK + waiting)

    def test_any_size(self) -> None:
        """An M/G/1 queue, by the Pollaczek-Khinchine formula."""
        work = Lognormal(0.7)
        square = 1.632  # mean of the squared size over the squared mean: exp(sigma²)
        waiting = 0.5 * square * MEAN_WORK / (2 * (1 - 0.5))
        self.assert_mean(evolve(ONE_QUEUE, work=work), MEAN_WORK + waiting)

    def test_around(self) -> None:
        """Jobs that bypass the router lengthen the queue like any others."""
        self.assert_mean(evolve(ONE_QUEUE, around=0.5, jobs=40_000), MEAN_WORK / (1 - 0.5))

    def test_ghosts(self) -> None:
        """Clients that submit no job do not lengthen it; the load is that of submitted jobs."""
        self.assert_mean(evolve(ONE_QUEUE, ghosts=0.4, jobs=80_000), MEAN_WORK / (1 - 0.5))

    def test_late(self) -> None:
        """A job's time begins with its submission."""
        self.assert_mean(evolve(ONE_QUEUE, late=1.0), MEAN_WORK / (1 - 0.5))

    def test_failing(self) -> None:
        """Jobs at a node that fails them are lost, and take no time."""
        outcome = run(evolve(ONE_QUEUE, nodes=4, failing=1, jobs=5000), AtRandom, 1)
        self.assertApproximates(outcome.share_lost, 0.25, 0.03)
        self.assertEqual(len(outcome.times) + outcome.lost, 5000 - 1001)

    def test_speed(self) -> None:
        """When a node changes its speed, the time for its remaining work changes accordingly."""
        world = World(evolve(ONE_QUEUE, speeds=(2.0, 2.0)), Random(1))
        self.assertEqual(world.submit(0, 8.0), 4.0)
        world.advance(1.0)
        world.change_speed(0, 0.5)
        world.advance(6.9)
        self.assertEqual(world.pending, [1])
        world.advance(7.0)
        self.assertEqual(world.pending, [0])
        self.assertEqual(world.submit(0, 3.0), 10.0)

    def test_changing(self) -> None:
        """Nodes change their speed halfway through a run."""
        calm = evolve(ONE_QUEUE, load=0.05, jobs=4000)
        usual = run(calm, AtRandom, 1).mean
        self.assertGreater(run(evolve(calm, slowing=1), AtRandom, 1).mean, 2 * usual)
        self.assertGreater(run(evolve(calm, quickening=1), AtRandom, 1).mean, 2 * usual)

    def test_thrashing(self) -> None:
        """Where nodes thrash half of the time, half of the jobs take three times as long."""
        rare = evolve(ONE_QUEUE, nodes=20, load=0.01, interval=1000.0, jobs=20_000)
        self.assert_mean(evolve(rare, thrashing=0.5), (MEAN_WORK + 3 * MEAN_WORK) / 2)

    def test_full(self) -> None:
        """A full node that does not thrash has the usual job times."""
        self.assert_mean(evolve(ONE_QUEUE, full=1.0), MEAN_WORK / (1 - 0.5))

    def test_queues(self) -> None:
        """The queues can be recorded, once a second."""
        outcome = run(evolve(ONE_QUEUE, nodes=3, jobs=300), Oracle, 1, queues=True)
        self.assertGreater(len(outcome.queues), 100)
        self.assertEqual({len(queues) for queues in outcome.queues}, {3})


POLICIES = (LeastPending, AtRandom, TwoChoices, Ours, LeavingOut, Penalising, Told, Oracle)


class PolicyTests(SynchronousTestCase):
    def test_where(self) -> None:
        """Every policy sends jobs only to nodes that run their containers."""
        asked = (frozenset("a"), frozenset("ab"))
        scenario = Scenario("placed", nodes=30, placed=0.6, asked=asked, jobs=2000)
        for policy in POLICIES:
            world = World(scenario, Random(1))
            router = policy(world, Random(2))
            for _ in range(300):
                for containers in asked:
                    node = router.pick(containers, world.now)
                    self.assertLessEqual(containers, world.containers[node])
            self.assertGreater(len(run(scenario, policy, 1).times), 1500)

    def test_leaving_out(self) -> None:
        """Full nodes are left out once they have reported it."""
        world = World(Scenario("full", nodes=30, full=0.9), Random(1))
        router = LeavingOut(world, Random(2))
        picked = {router.pick(frozenset("a"), 0.0) for _ in range(200)}
        self.assertEqual(picked, {27, 28, 29})
        world.full[29] = True
        for now, expected in ((59.0, {27, 28, 29}), (60.0, {27, 28})):
            router.observed(29, 0, now)
            picked = {router.pick(frozenset("a"), now) for _ in range(200)}
            self.assertEqual(picked, expected)
