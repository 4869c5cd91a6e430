"""Tests of the simulation in benchmarks: it agrees with queueing theory."""

from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.changes import EXPERIMENTS, SHOWN, measure, tabulate
from benchmarks.end_to_end import PHANTOMS, STALL, Node
from benchmarks.simulation.policies import (
    AtRandom,
    LeastPending,
    LeavingOut,
    LocalCount,
    Oracle,
    Ours,
    Penalising,
    Told,
    TwoChoices,
)
from benchmarks.simulation.polls import Polls
from benchmarks.simulation.prequal import Prequal
from benchmarks.simulation.runs import run
from benchmarks.simulation.scenario import MEAN_WORK, Lognormal, Scenario
from benchmarks.simulation.world import World
from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet


def exponential(random: Random) -> float:
    return random.expovariate(1 / MEAN_WORK)


ONE_QUEUE = Scenario("one queue", nodes=1, speeds=(1.0, 1.0), load=0.5, work=exponential)
ONLY = frozenset("a")
CALM = evolve(ONE_QUEUE, load=0.05, jobs=4000)


class WorldTests(SynchronousTestCase):
    def assert_mean(self, scenario: Scenario, expected: float) -> None:
        """The mean time is what theory says, to 5 %."""
        self.assertApproximates(run(scenario, AtRandom, 1).mean, expected, 0.05 * expected)

    def test_one_server(self) -> None:
        """An M/M/1 queue: mean time 1 / (rate - arrivals)."""
        self.assert_mean(ONE_QUEUE, MEAN_WORK / (1 - 0.5))

    def test_two_servers(self) -> None:
        """An M/M/2 queue, by Erlang's C formula: half loaded, a third of the jobs wait."""
        waiting = (1 / 3) * MEAN_WORK / (2 * (1 - 0.5))
        self.assert_mean(evolve(ONE_QUEUE, slots=2), MEAN_WORK + waiting)

    def test_any_size(self) -> None:
        """An M/G/1 queue, by the formula of Pollaczek and Khinchine."""
        work = Lognormal(0.7)
        square = 1.632  # mean of the squared size over the squared mean: exp(sigma²)
        waiting = 0.5 * square * MEAN_WORK / (2 * (1 - 0.5))
        self.assert_mean(evolve(ONE_QUEUE, work=work), MEAN_WORK + waiting)

    def test_around(self) -> None:
        """Jobs that come around the router make a queue longer, like any."""
        self.assert_mean(evolve(ONE_QUEUE, around=0.5, jobs=40_000), MEAN_WORK / (1 - 0.5))

    def test_ghosts(self) -> None:
        """Askers that submit nothing do not; the load is that of the jobs there are."""
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
        """What a node that changes its speed has left takes as much longer or shorter."""
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
        """Nodes change their speed in the middle of a run."""
        usual = run(CALM, AtRandom, 1).mean
        self.assertGreater(run(evolve(CALM, slowing=1), AtRandom, 1).mean, 2 * usual)
        self.assertGreater(run(evolve(CALM, quickening=1), AtRandom, 1).mean, 2 * usual)
        self.assertLess(run(evolve(CALM, boosted=1), AtRandom, 1).mean, 0.7 * usual)

    def test_thrashing(self) -> None:
        """Where memory is short half of the time, half of the jobs take three times as long."""
        rare = evolve(ONE_QUEUE, nodes=20, load=0.01, interval=1000.0, jobs=20_000)
        self.assert_mean(evolve(rare, thrashing=0.5), (MEAN_WORK + 3 * MEAN_WORK) / 2)

    def test_full(self) -> None:
        """A node may be full at no harm."""
        self.assert_mean(evolve(ONE_QUEUE, full=1.0), MEAN_WORK / (1 - 0.5))

    def test_queues(self) -> None:
        """The queues can be recorded, once a second."""
        outcome = run(evolve(ONE_QUEUE, nodes=3, jobs=300), Oracle, 1, queues=True)
        self.assertGreater(len(outcome.queues), 100)
        self.assertEqual({len(queues) for queues in outcome.queues}, {3})

    def test_crash(self) -> None:
        """A node that crashes loses its jobs and fails all that follow."""
        world = World(evolve(ONE_QUEUE, nodes=2), Random(1))
        world.submit(0, 8.0)
        world.submit(1, 8.0)
        world.crash(0)
        self.assertEqual((world.pending, world.failing), ([0, 1], {0}))
        world.advance(8.0)
        self.assertEqual(world.pending, [0, 0])
        self.assertEqual([list(ended) for ended in world.ended], [[], [(0, 8.0)]])
        outcome = run(evolve(CALM, nodes=2, crashing=1), AtRandom, 1)
        before = [job for job in outcome.placed if job.at < outcome.changed]
        after = outcome.after_change(0.0, 10_000.0)
        self.assertFalse(any(job.lost for job in before))
        self.assertTrue(all(job.lost == (job.node == 0) for job in after))
        self.assertEqual(len(outcome.placed), 4000)
        self.assertApproximates(sum(job.lost for job in after) / len(after), 0.5, 0.05)

    def test_stall(self) -> None:
        """A node that stands still reports phantom jobs, and does its own jobs afterwards."""
        world = World(evolve(ONE_QUEUE, nodes=2), Random(1))
        world.submit(0, 8.0)
        world.submit(1, 8.0)
        world.advance(3.0)
        world.stall(0, 60.0)
        self.assertEqual([world.reported(0), world.reported(1)], [21, 1])
        self.assertEqual(world.submit(0, 2.0), 70.0)
        world.advance(67.0)
        self.assertEqual(world.pending, [2, 0])
        world.recover()
        world.advance(68.0)
        self.assertEqual([world.reported(0), world.reported(1)], [1, 0])
        self.assertEqual(world.submit(0, 2.0), 72.0)

    def test_least_busy(self) -> None:
        """Nodes that fail or stand still are not among the least busy."""
        world = World(evolve(ONE_QUEUE, nodes=5), Random(1))
        world.crash(0)
        world.stall(1, 60.0)
        world.submit(2, 8.0)
        found = {world.least_busy(range(5), Random(seed)) for seed in range(20)}
        self.assertEqual(found, {3, 4})
        self.assertEqual(world.least_busy(range(3), Random(1)), 2)

    def test_watching(self) -> None:
        """At first, all jobs go around the router, to the least busy node; then it places them."""
        watched = evolve(ONE_QUEUE, nodes=4, watching=100.0, jobs=100, unmeasured=0.0)
        outcome = run(watched, Oracle, 1, queues=True)
        self.assertGreater(sum(map(sum, outcome.queues[:100])), 100)
        self.assertGreater(outcome.placed[0].at, 100.0)
        self.assertEqual(len(outcome.times), 99)
        middle = outcome.placed[50].at
        self.assertApproximates(outcome.changed, middle, 20.0)


POLLED = Scenario("polled", nodes=2, interval=3.0, busy_interval=1.0)


class PollsTests(SynchronousTestCase):
    def polled(self, polls: Polls, until: float, pending: int = 0) -> list[tuple[float, int]]:
        """The polls until a time, each of which reports this many pending jobs."""
        found = []
        while polls.next <= until:
            now = polls.next
            node = polls.take()
            polls.polled(node, pending, now)
            found.append((now, node))
        return found

    def test_idle(self) -> None:
        """Idle nodes are polled once an interval, evenly spread."""
        one, other = (node for _, node in self.polled(Polls(POLLED, False, Random(1)), 1.5))
        self.assertEqual({one, other}, {0, 1})
        polls = self.polled(Polls(POLLED, False, Random(1)), 4.5)
        self.assertEqual(polls, [(0.0, one), (1.5, other), (3.0, one), (4.5, other)])

    def test_at_once(self) -> None:
        """The first polls can be all at the same moment."""
        polls = self.polled(Polls(POLLED, True, Random(1)), 3.0)
        self.assertEqual(polls, [(0.0, 0), (0.0, 1), (3.0, 0), (3.0, 1)])

    def test_in_use(self) -> None:
        """A node with pending jobs is polled once a busy interval."""
        polls = Polls(evolve(POLLED, nodes=1), False, Random(1))
        self.assertEqual(self.polled(polls, 2.0, pending=1), [(0.0, 0), (1.0, 0), (2.0, 0)])

    def test_assigned(self) -> None:
        """A node that gets a job after a rest is polled soon, and for a while once a second."""
        polls = Polls(evolve(POLLED, nodes=1), False, Random(1))
        self.polled(polls, 2.0)
        polls.assigned(0, 2.5, ())
        times = [round(now, 1) for now, _ in self.polled(polls, 9.0)]
        self.assertEqual(times, [2.8, 3.8, 4.8, 7.8])

    def test_busy_interval(self) -> None:
        """A job does not bring a poll before a busy interval has passed since the last."""
        polls = Polls(evolve(POLLED, nodes=1), False, Random(1))
        self.polled(polls, 0.0)
        polls.assigned(0, 0.1, ())
        self.assertEqual(polls.next, 1.0)
        polls.assigned(0, 0.9, ())
        self.assertEqual(polls.next, 1.0)

    def test_fixed(self) -> None:
        """Without a busy interval, jobs do not change when nodes are polled."""
        polls = Polls(evolve(POLLED, nodes=1, busy_interval=None), False, Random(1))
        self.assertEqual(self.polled(polls, 3.0, pending=1), [(0.0, 0), (3.0, 0)])
        polls.assigned(0, 3.1, ())
        self.assertEqual(self.polled(polls, 9.0, pending=1), [(6.0, 0), (9.0, 0)])

    def test_extra(self) -> None:
        """Extra polls come beside the turns; one that shows a job brings the next turn forward."""
        polls = Polls(evolve(POLLED, nodes=1, busy_interval=None), False, Random(1))
        self.polled(polls, 0.0)
        polls.assigned(0, 1.0, (0.5, 1.0))
        self.assertEqual(self.polled(polls, 3.0), [(1.5, 0), (2.0, 0), (3.0, 0)])
        polls = Polls(evolve(POLLED, nodes=1, busy_interval=0.5), False, Random(1))
        self.polled(polls, 0.0)
        polls.assigned(0, 0.25, (0.0,))
        self.assertEqual(self.polled(polls, 1.0, pending=1), [(0.25, 0), (0.55, 0)])


POLICIES = (
    LeastPending,
    AtRandom,
    TwoChoices,
    LocalCount,
    Prequal,
    Ours,
    LeavingOut,
    Penalising,
    Told,
    Oracle,
)


class PolicyTests(SynchronousTestCase):
    def test_where(self) -> None:
        """Every policy sends jobs only where their containers run."""
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
        """Full nodes are left out, from when they say so."""
        world = World(Scenario("full", nodes=30, full=0.9), Random(1))
        router = LeavingOut(world, Random(2))
        picked = {router.pick(frozenset("a"), 0.0) for _ in range(200)}
        self.assertEqual(picked, {27, 28, 29})
        world.full[29] = True
        for now, expected in ((59.0, {27, 28, 29}), (60.0, {27, 28})):
            router.observed(29, 0, now)
            picked = {router.pick(frozenset("a"), now) for _ in range(200)}
            self.assertEqual(picked, expected)

    def test_local_count(self) -> None:
        """Jobs that were assigned since the last poll count."""
        router = LocalCount(World(Scenario("two", nodes=2), Random(1)), Random(2))
        for _ in range(20):
            router.pick(ONLY, 0.0)
        self.assertEqual(sum(router.reported), 20)
        self.assertLess(max(router.reported), 15)
        router.observed(0, 0, 1.0)
        self.assertEqual(router.reported[0], 0)

    def test_looks(self) -> None:
        """Extra polls are those for which the fleet asks."""

        class Looking(Fleet):
            def looks(self, address: NodeAddress) -> tuple[float, ...]:
                return (float(str(address)[7]),)

        router = Ours(World(Scenario("two", nodes=2), Random(1)), Random(2))
        self.assertEqual(router.looks(1), ())
        router.fleet = Looking(lambda: 0.0, Random(1))
        self.assertEqual(router.looks(1), (1.0,))


class PrequalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(Scenario("prequal", nodes=3, speeds=(1.0, 1.0)), Random(1))
        self.router = Prequal(self.world, Random(2))

    def end(self, node: int, work: float) -> None:
        """Let a node do a job."""
        self.world.submit(node, work)
        self.world.advance(self.world.now + work)

    def test_latency(self) -> None:
        """Of nodes that are not hot, the one with the least latency gets the job."""
        for node, work in enumerate((3.0, 1.0, 2.0)):
            self.end(node, work)
        self.assertEqual(self.router.pick(ONLY, self.world.now), 1)

    def test_latency_grows(self) -> None:
        """The latency grows with the jobs in flight."""
        for node, work in enumerate((3.0, 1.0, 2.0)):
            self.end(node, work)
        for node in (0, 1, 1, 2, 2, 2, 2):
            self.world.submit(node, 100.0)
        self.assertEqual(self.router.pick(ONLY, self.world.now), 1)
        for _ in range(5):
            self.world.submit(1, 100.0)
        self.assertNotEqual(self.router.pick(ONLY, self.world.now), 1)

    def test_hot(self) -> None:
        """A node with more jobs in flight than most gets none, however fast it is."""
        for node, work in enumerate((3.0, 1.0, 2.0)):
            self.end(node, work)
        for _ in range(20):
            self.router.pick(ONLY, self.world.now)
        self.world.submit(1, 0.5)
        self.end(0, 0.1)
        self.assertNotEqual(self.router.pick(ONLY, self.world.now), 1)

    def test_all_hot(self) -> None:
        """Where all are hot, the node with the fewest jobs in flight gets the job."""
        for _ in range(20):
            self.router.pick(ONLY, self.world.now)
        for node in (0, 0, 1, 1, 1, 2):
            self.world.submit(node, 100.0)
        self.assertEqual(self.router.pick(ONLY, self.world.now), 2)

    def test_old_results(self) -> None:
        """Results are used for a second; a job that they sent somewhere counts."""
        world = World(Scenario("prequal", nodes=60, speeds=(1.0, 1.0)), Random(1))
        router = Prequal(world, Random(2))
        picked = [router.pick(ONLY, 0.0) for _ in range(40)]
        self.assertGreater(len(set(picked)), 15)
        for node in range(60):
            world.submit(node, 10.0)
        self.assertIn(router.pick(ONLY, 0.5), range(60))
        world.advance(2.0)
        self.assertIn(router.pick(ONLY, 2.0), range(60))

    def test_single(self) -> None:
        """The last result is kept."""
        world = World(Scenario("one", nodes=1), Random(1))
        router = Prequal(world, Random(2))
        self.assertEqual([router.pick(ONLY, now) for now in (0.0, 0.1)], [0, 0])


class ChangesTests(SynchronousTestCase):
    def test_experiments(self) -> None:
        """Each experiment gives a figure for each of its columns, and a row for each run."""
        for experiment in EXPERIMENTS:
            scenario = evolve(experiment.scenarios[0], jobs=1600)
            figures = {name: measure((experiment, scenario, name, 1)) for name in SHOWN}
            self.assertEqual({len(row) for row in figures.values()}, {2 + len(experiment.columns)})
            table = tabulate(
                evolve(experiment, scenarios=[scenario]),
                {(scenario.name, name): [row, row] for name, row in figures.items()},
            )
            self.assertEqual(table.row_count, len(SHOWN))

    def test_figures(self) -> None:
        """What breaks does not disturb the oracle; a node that is faster gets more jobs."""
        crash, stall, faster, _ = EXPERIMENTS
        self.assertEqual(measure((crash, crash.scenarios[0], "oracle", 1))[2:], [0.0])
        self.assertGreater(measure((crash, crash.scenarios[0], "least pending", 1))[2], 95.0)
        minutes = measure((stall, stall.scenarios[2], "oracle", 1))[2:]
        self.assertApproximates(sum(minutes) / 5, 1.0, 0.1)
        self.assertGreater(measure((faster, faster.scenarios[0], "oracle", 1))[2], 1.3)


class EndToEndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = Node(self.clock, 2.0, 1, Random(1))

    def test_stall(self) -> None:
        """A node that stands still starts no job for a minute, and reports phantoms."""
        self.node.stall()
        job = self.node.submit(["llm"])
        self.assertEqual(self.node.pending, 1 + PHANTOMS)
        self.clock.advance(STALL)
        self.assertEqual((self.node.pending, job.finished), (1, None))
        self.clock.advance(20.0)
        self.assertEqual((self.node.pending, job.status), (0, "success"))

    def test_crash(self) -> None:
        """A node that crashed fails every job, and remembers all of them."""
        first = self.node.submit(["llm"])
        self.node.crash()
        second = self.node.submit(["llm"])
        self.assertEqual([job.status for job in (first, second)], ["running", "failed"])
        self.assertEqual(self.node.jobs, [first, second])
