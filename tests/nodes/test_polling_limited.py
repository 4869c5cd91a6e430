"""Tests of infernet_router.nodes.polling: nodes that limit the rate of requests."""

from math import inf

from infernet_router.nodes.asking import LIMITED
from infernet_router.nodes.pace import Paces
from tests.nodes.polling_case import MANY, A, PollerTestCase, url_of


class LimitedTests(PollerTestCase):
    def test_asked_too_often(self) -> None:
        """A node that answers 429 stays up until its last report is three intervals old."""
        self.start([A])
        self.nodes[A].status = 429
        self.pass_time(8.9)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(4)
        self.assertIn("HTTP 429", self.why_none())
        self.assertEqual(self.lines[1:], [f"warn: 192.0.2.1:4000 is down: {LIMITED}"])

    def test_limited_at_first(self) -> None:
        """A node whose first polls are answered 429 is not down but unknown; it is said once."""
        self.nodes[A].status = 429
        self.start([A])
        self.pass_time(20)
        self.assertEqual(self.fleet.states.unknown, 1)
        self.assertIn("it limits the rate of requests (HTTP 429)", self.why_none())
        self.nodes[A].status = 200
        self.pass_time(6.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.assertEqual(
            self.lines,
            [
                "warn: 192.0.2.1:4000 has not reported yet: it limits the rate of requests"
                " (HTTP 429)",
                "info: 192.0.2.1:4000 is up: version '1.4.0', containers 'llm'",
            ],
        )

    def test_limited_while_down(self) -> None:
        """A node that is down stays down while it answers 429, for this reason."""
        self.start([A])
        self.nodes[A].status = 500
        self.pass_time(4)
        self.nodes[A].status = 429
        self.pass_time(3)
        self.assertEqual(self.fleet.states.down, 1)
        self.assertIn("HTTP 429", self.why_none())
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: HTTP 500"])

    def test_limited_while_suspect(self) -> None:
        """A suspect that answers 429 stays a suspect: its last report is still valid."""
        self.start([A], timeout=0.5)
        self.nodes[A].silent = True
        self.pass_time(3.6)
        self.assertEqual(self.fleet.states.suspect, 1)
        self.nodes[A].silent = False
        self.nodes[A].status = 429
        self.pass_time(4)
        self.assertEqual(self.fleet.states.suspect, 1)
        self.pass_time(2)
        self.assertEqual(self.fleet.states.down, 1)

    def test_retry_after(self) -> None:
        """A node is not polled until its Retry-After has passed, whatever its last report says."""
        self.start([A])
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "30"}
        self.pass_time(3.1)
        self.nodes.asked.clear()
        self.pass_time(5.5)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(1)
        self.assertIn("HTTP 429", self.why_none())
        self.nodes[A].status = 200
        self.pass_time(23)
        self.assertEqual(self.nodes.asked, [])
        self.pass_time(2)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.nodes.headers = {}
        self.pass_time(60)
        self.nodes.asked.clear()
        self.pass_time(30)
        self.assertGreaterEqual(len(self.nodes.asked), 9)

    def test_absurd_retry_after(self) -> None:
        """A node that says a day is down once its report is old, and polled after five minutes."""
        self.start([A])
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "86400"}
        self.pass_time(10)
        self.assertEqual(self.fleet.states.down, 1)
        self.nodes[A].status = 200
        self.pass_time(300)
        self.assertEqual(self.fleet.states.up, 1)

    def test_nearly_used_up(self) -> None:
        """A node is polled less often while few requests remain, and as usual when many do."""
        self.nodes[A].speed = 0.001
        self.nodes[A].submit(["llm"])
        self.start([A])
        self.pass_time(5)
        for fields, polls in (
            ({"ratelimit-remaining": "5", "ratelimit-reset": "20"}, 6),
            ({"ratelimit": '"default";r=0;t=999999'}, 4),
            ({"ratelimit": '"default";r=50;t=10'}, 21),
        ):
            self.nodes.headers = fields
            self.pass_time(6.5)
            self.nodes.asked.clear()
            self.pass_time(24)
            self.assertApproximates(len(self.nodes.asked), polls, 1)
        self.assertEqual(len(self.lines), 1)

    def test_shared(self) -> None:
        """Other questions wait, too, while a node refuses polls; removed nodes are forgotten."""
        paces = Paces()
        self.start([A], paces=paces)
        self.nodes[A].status = 429
        self.nodes.headers = {"retry-after": "30"}
        self.pass_time(3.1)
        self.assertApproximates(paces.others_until(A), 33.0, 0.2)
        self.fleet.replace([])
        self.pass_time(0.2)
        self.assertEqual(paces.others_until(A), -inf)

    def test_many_asked_too_often(self) -> None:
        """In a large fleet, a node that answers 429 stays up for three of the longer intervals."""
        quick = self.start_many()
        self.lines.clear()
        quick.statuses = {url_of(address): 429 for address in MANY[:20]}
        self.pass_time(4.9)
        self.assertEqual(self.lines, [])
        self.pass_time(5.2)
        self.assertEqual(len(self.lines), 20)
