"""Tests of infernet_router.nodes.polling: when nodes are polled."""

from itertools import pairwise
from random import Random

from twisted.internet.task import Clock

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet, Outcome
from tests.nodes.polling_case import MANY, SOME_JOB, A, B, PollerTestCase, url_of


class PollTimesTests(PollerTestCase):
    def test_random_phases(self) -> None:
        """Routers that start at the same moment poll the same nodes at different moments."""
        moments = []
        for seed in (1, 2):
            self.nodes.asked = []
            poller = self.start(MANY[:30], random=Random(seed))
            self.pass_time(3.0)
            del self.nodes.asked[:30]  # at once
            self.pass_time(3.0)
            began = self.clock.seconds() - 3.0
            moments.append({host: at - began for at, host in self.nodes.asked})
            self.successResultOf(poller.stopService())
            self.fleet.replace([])
        first, second = moments
        self.assertEqual(first.keys(), second.keys())
        apart = [abs(first[host] - second[host]) for host in first]
        self.assertGreater(sum(apart) / len(apart), 0.5)

    def test_once_an_interval(self) -> None:
        """A node is polled at once, then once an interval; stopping leaves no delayed calls."""
        poller = self.start([A])
        self.clock.pump([1] * 8)
        self.assertEqual(self.nodes[A].polls, 3)
        self.successResultOf(poller.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restart(self) -> None:
        """A stopped poller can be started again."""
        poller = self.start([A])
        self.successResultOf(poller.stopService())
        self.pass_time(10)
        self.assertEqual(self.nodes[A].polls, 1)
        poller.startService()
        self.pass_time(0.1)
        self.assertEqual(self.nodes[A].polls, 2)

    def test_stall(self) -> None:
        """After a stall that the reactor's clock leaves out, all nodes that are due are polled."""
        now = Clock()
        self.fleet = Fleet(now.seconds, Random(1))
        self.start(MANY[:12])
        for _ in range(20):
            now.advance(0.1)
            self.clock.advance(0.1)
        for node in self.nodes.nodes.values():
            node.silent = True
        before = len(self.nodes.asked)
        now.advance(60.0)
        self.clock.advance(0.1)
        self.assertEqual(len(self.nodes.asked) - before, 12)
        self.clock.pump([0.1] * 29)
        self.assertEqual((self.fleet.states.up, self.fleet.states.suspect), (12, 0))
        self.clock.pump([0.1] * 2)
        self.assertEqual(self.fleet.states.suspect, 12)

    def test_silence(self) -> None:
        """Polls that do not go out for several intervals, although they are due, are noticed."""

        def broken(now: float) -> None:
            raise ZeroDivisionError

        for interval, first, second in ((0.5, 4.0, 9.0), (3.0, 8.0, 12.0), (3600.0, 3610.0, 30.0)):
            poller = self.start([A], interval=interval)
            self.assertIsNone(poller.silence)
            ticked, poller.ticked = poller.ticked, broken  # type: ignore[method-assign]
            self.clock.advance(first)
            self.assertIsNone(poller.silence)
            self.clock.advance(second)
            silence = poller.silence
            assert silence is not None
            self.assertAlmostEqual(silence, first + second)
            self.flushLoggedErrors(ZeroDivisionError)
            poller.ticked = ticked  # type: ignore[method-assign]
            self.clock.advance(1.0)
            self.assertIsNone(poller.silence)
            self.successResultOf(poller.stopService())
            self.assertIsNone(poller.silence)

    def test_no_silence(self) -> None:
        """While the limits keep polls from going out, all is well."""
        poller = self.start(MANY[:3], interval=0.5, timeout=60.0, at_once=2)
        for node in self.nodes.nodes.values():
            node.silent = True
        for _ in range(100):
            self.clock.advance(1.0)
            self.assertIsNone(poller.silence)

    def test_paced(self) -> None:
        """The nodes' turns are spread evenly over the interval."""
        addresses = [parse_address(f"192.0.2.{number}") for number in range(30)]
        self.start(addresses)
        self.pass_time(0.1)
        self.assertEqual(len(self.nodes.asked), 30, "each new node is asked at once")
        self.pass_time(3.26)
        self.nodes.asked.clear()
        self.pass_time(3)
        hosts = [host for _, host in self.nodes.asked]
        self.assertEqual(sorted(hosts), sorted(map(str, addresses)))
        times = [time for time, _ in self.nodes.asked]
        gaps = [after - before for before, after in pairwise(times)]
        self.assertLess(max(gaps), 0.13)
        self.assertGreater(min(gaps), 0.07)

    def test_no_burst(self) -> None:
        """The limit on polls a second holds, even after the clock has jumped."""
        addresses = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(1000)]
        self.start(addresses)
        self.pass_time(0.5)
        self.assertIn(len(self.nodes.asked), range(550, 602))
        self.pass_time(3)
        self.nodes.asked.clear()
        self.clock.advance(60)
        self.assertEqual(len(self.nodes.asked), 100)

    def test_many(self) -> None:
        """In a fleet too large for the interval, each node is polled at a longer interval."""
        quick = self.start_many()
        self.pass_time(5.1)
        self.assertEqual(len(quick.asked), 2000)
        for times in quick.asked.values():
            for before, after in pairwise(times):
                self.assertApproximates(after - before, 2.5, 0.1)

    def test_many_retried(self) -> None:
        """In a large fleet too, a node that fails is polled again after a second."""
        quick = self.start_many()
        url = url_of(MANY[1000])
        quick.statuses[url] = 500
        while url not in quick.asked:
            self.pass_time(0.02)
        self.pass_time(1.2)
        first, second = quick.asked[url]
        self.assertApproximates(second - first, 1, 0.1)

    def test_many_assigned(self) -> None:
        """In a large fleet, a node that got a job is polled after the usual interval."""
        quick = self.start_many()
        self.nodes[MANY[0]]
        while url_of(MANY[0]) not in quick.asked:
            self.pass_time(0.02)
        self.fleet.observed(MANY[0], SOME_JOB)
        self.assertEqual(self.fleet.pick(["llm"]), MANY[0])
        self.pass_time(0.6)
        first, second = quick.asked[url_of(MANY[0])]
        self.assertApproximates(second - first, 0.5, 0.1)

    def test_many_removed(self) -> None:
        """A node of a large fleet that is removed after a job was assigned to it is not polled."""
        quick = self.start_many()
        self.fleet.observed(MANY[0], SOME_JOB)
        self.assertEqual(self.fleet.pick(["llm"]), MANY[0])
        self.fleet.replace(MANY[1:])
        quick.asked.clear()
        self.pass_time(6)
        self.assertEqual(quick.asked[url_of(MANY[0])], [])
        self.assertEqual(len(quick.asked), 2000)

    def test_many_new(self) -> None:
        """In a large fleet, a new node is polled immediately."""
        quick = self.start_many()
        new = parse_address("10.1.0.1")
        self.fleet.replace([*MANY, new])
        self.pass_time(0.1)
        self.assertEqual(len(quick.asked[url_of(new)]), 1)

    def test_many_urgent(self) -> None:
        """However many nodes are urgent, the others are polled within twice the interval."""
        quick = self.start_many()
        for address in MANY[:1000]:
            quick.statuses[url_of(address)] = 500
        self.pass_time(20)
        for address in MANY[1000:]:
            for before, after in pairwise(quick.asked[url_of(address)]):
                self.assertLess(after - before, 5.1)

    def test_busy(self) -> None:
        """A node with pending jobs is polled about every second, an idle one once an interval."""
        self.nodes[A].speed = 0.1
        self.nodes[A].submit(["llm"])
        self.start([A, B])
        self.pass_time(9)
        for before, after in pairwise(self.times(A)):
            self.assertApproximates(after - before, 1.1, 0.12)
        self.assertLess(len(self.times(B)), 5)

    def test_assigned(self) -> None:
        """A node is polled soon after a job was assigned to it, and while the job may be there."""
        self.start([A])
        self.pass_time(4)
        self.nodes.asked.clear()
        assigned = self.clock.seconds()
        self.fleet.pick(["llm"])
        self.pass_time(2.8)
        first, second = self.times(A)[:2]
        self.assertApproximates(first - assigned, 0.4, 0.12)
        self.assertApproximates(second - first, 1.1, 0.12)

    def test_idle_again(self) -> None:
        """Two seconds after the last job, a node without pending ones is polled as any idle one."""
        self.start([A])
        self.fleet.pick(["llm"])
        self.pass_time(6)
        self.nodes.asked.clear()
        self.pass_time(9)
        self.assertEqual(len(self.times(A)), 3)

    def test_busy_interval(self) -> None:
        """With a busy interval as long as the interval, a node in use is polled as any other."""
        self.nodes[A].speed = 0.01
        self.nodes[A].submit(["llm"])
        self.start([A], interval=2, busy_interval=5)
        self.pass_time(9)
        self.assertEqual(len(self.times(A)), 5)

    def test_looks(self) -> None:
        """A doubted node is polled several times soon after it was assigned a job to try it."""
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.pass_time(6.5)
        self.nodes.asked.clear()
        assigned = self.clock.seconds()
        self.fleet.pick(["llm"])
        self.pass_time(1.4)
        delays = [round(time - assigned, 1) for time in self.times(A)]
        self.assertEqual(len(delays), 3, delays)
        for delay, look in zip(delays, (0.1, 0.4, 1.2), strict=True):
            self.assertApproximates(delay, look + 0.1, 0.11)

    def test_looks_bounded(self) -> None:
        """While it gets job after job, a doubted node is polled no more often than any in use."""
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        for _ in range(100):
            self.fleet.pick(["llm"])
            self.pass_time(0.1)
        self.assertLess(len(self.times(A)), 14)

    def test_grown(self) -> None:
        """When a large fleet grows, its nodes are still polled in turn."""
        quick = self.start_many()
        self.pass_time(20)
        quick.asked.clear()
        self.fleet.replace([*MANY, *(parse_address(f"10.1.0.{n}") for n in range(40))])
        self.pass_time(8)
        for address in MANY:
            for before, after in pairwise(quick.asked[url_of(address)]):
                self.assertApproximates(after - before, 2.55, 0.3)

    def test_connections(self) -> None:
        """Connections are kept if they will be used again before nodes close them."""
        for interval, kept in ((4.0, True), (5.0, False)):
            quick = self.start_many(interval)
            self.pass_time(interval)
            self.assertEqual(quick.closes, not kept)

    def test_at_once(self) -> None:
        """The limit on concurrent polls holds."""
        for address in MANY[:100]:
            self.nodes[address].silent = True
        self.start(MANY[:200], at_once=40)
        self.pass_time(2.9)
        self.assertEqual(len(self.nodes.asked), 40)
        self.pass_time(12)
        self.assertEqual(len({host for _, host in self.nodes.asked}), 200)
