"""Tests of infernet_router.admin.demand."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.demand import Demand
from infernet_router.serving.errors import HTTPError
from tests.admin.case import AdminTestCase


class DemandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.demand = Demand(self.clock.seconds)

    def watch(self, watchers: int, seconds: int) -> list[int]:
        """So many operators look for a while; returns how many looks there were in each second."""
        looks, due = [], [self.clock.seconds()] * watchers
        for _ in range(seconds):
            self.clock.advance(1)
            now = self.clock.seconds()
            looks.append(0)
            for number, at in enumerate(due):
                if at <= now:
                    self.demand.looked()
                    looks[-1] += 1
                    due[number] = now + self.demand.interval
        return looks

    def test_few(self) -> None:
        """A few operators look every second."""
        self.assertEqual(self.watch(20, 10), [20] * 10)

    def test_many(self) -> None:
        """A thousand look so seldom that they are few at a time, and often again once most left."""
        self.assertLess(sum(self.watch(1000, 300)[200:]) / 100, 100)
        self.watch(5, 600)
        self.assertEqual(self.demand.interval, 1.0)

    def test_pause(self) -> None:
        """Who comes after a while without anybody may look every second."""
        self.watch(1000, 60)
        self.assertGreater(self.demand.interval, 5)
        self.clock.advance(1000)
        self.demand.looked()
        self.assertEqual(self.demand.interval, 1.0)

    def test_limit(self) -> None:
        """Too many requests are refused, and allowed again after a moment."""
        for _ in range(400):
            self.demand.take()
        error = self.assertRaises(HTTPError, self.demand.take)
        self.assertEqual((error.status, error.headers[b"Retry-After"]), (429, b"2"))
        self.clock.advance(0.5)
        for _ in range(100):
            self.demand.take()
        self.assertRaises(HTTPError, self.demand.take)


class DemandedTests(AdminTestCase):
    def test_routes(self) -> None:
        """The limit is one of all operators; probes, metrics and the page itself have none."""
        for _ in range(400):
            self.demand.take()
        error = "more than 200 requests of operators a second"
        for path in ("/admin/v1/options", "//admin/v1/options", "/metrics/nodes"):
            self.assert_error(path, 429, error)
        for path in ("/", "//", "/page/main.js", "/livez", "/metrics", "//metrics"):
            self.assertEqual(self.ask(path).status, 200)

    def test_interval(self) -> None:
        """The overview says how soon to look again."""
        self.assertEqual(self.read("/admin/v1/overview")["page_interval_seconds"], 1.0)
