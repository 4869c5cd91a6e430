"""Tests of infernet_router.demo.sides."""

from collections.abc import Sequence
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.sides import WINDOW, Job, Problem, Side, Unable, percentile
from tests.demo.case import place
from tests.demo.test_rule import Hosts

ONE = Job(("llm",), 1.0)


class SideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.places = [place(self.clock, number) for number in (1, 2)]
        http: Any = StubTreq(Hosts({one.address[:-5]: one.node for one in self.places}))
        self.problems: list[str] = []
        self.answers: list[str | Exception] = []
        self.avoided: list[Sequence[str]] = []
        self.side = Side(self.places, self.ask, http, self.clock, self.problems)

    async def ask(self, containers: Sequence[str], avoid: Sequence[str]) -> str:
        """The first address, or the next of what the test wants."""
        self.avoided.append(avoid)
        answer = self.answers.pop(0) if self.answers else self.places[0].address
        if isinstance(answer, Exception):
            raise answer
        return answer

    def test_times(self) -> None:
        """A job's time is that from submission to end, in the queue as well."""
        self.side.submit(ONE)
        self.side.submit(ONE)
        self.assertEqual((self.side.waiting, self.side.times), (2, []))
        self.clock.advance(1.0)
        self.assertEqual((self.side.waiting, self.side.times), (1, [1.0]))
        self.clock.advance(0.5)
        self.assertEqual(self.side.times_so_far, [1.0, 1.5])
        self.clock.advance(0.5)
        self.assertEqual((self.side.done, self.side.times), (2, [1.0, 2.0]))
        self.clock.advance(WINDOW - 0.9)
        self.assertEqual(self.side.times, [2.0])
        self.assertEqual((self.side.retries, self.problems), (0, []))

    def test_immediate(self) -> None:
        """A job may end before its node has answered."""
        self.side.submit(Job(("llm",), 0.0))
        self.clock.advance(0.0)
        self.assertEqual(self.side.times, [0.0])

    def test_lost(self) -> None:
        """A job that its node loses is submitted again, and avoids that node."""
        self.side.submit(ONE)
        self.clock.advance(0.5)
        self.places[0].node.crash()
        self.answers = [self.places[1].address]
        self.clock.advance(0.5)
        self.clock.advance(1.0)
        self.assertEqual((self.side.times, self.side.retries), ([2.0], 1))
        self.assertEqual(self.avoided, [(), (self.places[0].address,)])

    def test_failed(self) -> None:
        """A job that fails is submitted again, after longer and longer pauses."""
        self.places[0].node.failing = 1.0
        self.side.submit(ONE)
        for pause, retries in ((0.5, 2), (1.0, 3), (2.0, 4), (2.0, 5)):
            self.assertEqual(self.side.retries, retries - 1)
            self.clock.advance(pause - 0.1)
            self.assertEqual(self.side.retries, retries - 1)
            self.clock.advance(0.1)
        self.assertEqual((self.side.retries, self.side.waiting), (5, 1))
        self.clock.pump([2.0] * 100)
        self.assertEqual(self.problems, ["a job for llm failed everywhere"])
        self.assertEqual((self.side.waiting, self.side.done), (0, 0))

    def test_no_answer(self) -> None:
        """A node that does not take a job in time is avoided."""
        self.places[0].node.pause()
        self.side.submit(ONE)
        self.clock.advance(3.0)
        self.assertEqual(self.side.retries, 1)
        self.answers = [self.places[1].address]
        self.clock.advance(0.5)
        self.clock.advance(1.0)
        self.assertEqual(self.side.times, [4.5])

    def test_unable(self) -> None:
        """When there is no node, the job waits, and avoids none any more."""
        self.places[0].node.failing = 1.0
        self.answers = [self.places[0].address, Unable(), self.places[1].address]
        self.side.submit(ONE)
        self.clock.pump([0.5, 1.0, 1.0])
        self.assertEqual(self.avoided, [(), (self.places[0].address,), ()])
        self.assertEqual(self.side.done, 1)

    def test_problem(self) -> None:
        """A job that the router answers wrongly is given up."""
        self.answers = [Problem("the router answered 500")]
        self.side.submit(ONE)
        self.assertEqual(self.problems, ["the router answered 500"])
        self.assertEqual((self.side.waiting, self.side.retries), (0, 0))

    def test_stop(self) -> None:
        """Stopping ends all jobs, which is no problem: those that run, are submitted or wait."""
        self.side.submit(ONE)
        self.places[1].node.silent = True
        self.answers = [self.places[1].address, Unable()]
        self.side.submit(ONE)
        self.side.submit(ONE)
        self.assertEqual(self.side.waiting, 3)
        self.side.stop()
        self.assertEqual((self.side.waiting, self.problems), (0, []))
        self.clock.pump([1.0] * 5)
        self.assertEqual((self.side.done, self.clock.getDelayedCalls()), (0, []))

    def test_trend(self) -> None:
        """The trend has a point for each second, from the first job that ended on."""
        self.side.sample()
        self.assertEqual(list(self.side.trend), [])
        self.side.submit(ONE)
        self.clock.advance(1.0)
        self.side.sample()
        self.clock.advance(60.0)
        self.side.sample()
        self.assertEqual(list(self.side.trend), [1.0, 1.0])


class PercentileTests(SynchronousTestCase):
    def test_percentile(self) -> None:
        """It is the least value that is enough for this part of the values."""
        self.assertEqual(percentile([1.0], 0.99), 1.0)
        self.assertEqual(percentile([float(n) for n in range(1, 101)], 0.99), 99.0)
        self.assertEqual(percentile([1.0, 2.0], 0.0), 1.0)
