"""Tests of infernet_router.nodes.polling: what the fleet is told."""

import json
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.logger import LogLevel, capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet, Outcome
from infernet_router.testing import SimulatedContainer
from tests.doubles import logged
from tests.nodes.polling_case import (
    A,
    B,
    Endless,
    PollerTestCase,
    Quick,
)


class PollerTests(PollerTestCase):
    def test_up(self) -> None:
        """A node that reports is up, which is logged once."""
        self.nodes[A].containers = [SimulatedContainer("llm"), SimulatedContainer("a\nb")]
        self.start([A])
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.pass_time(10)
        self.assertEqual(
            self.lines,
            ["info: 192.0.2.1:4000 is up: version '1.4.0', containers 'llm', 'a\\nb'"],
        )

    def test_fields(self) -> None:
        """The event has what the node reported as values, for the log as JSON."""
        self.nodes[A].containers = [SimulatedContainer(str(number)) for number in range(12)]
        with capturedLogs() as events:
            self.start([A])
        (event,) = [event for event in events if event.get("event") == "node.up"]
        first_ten = [str(number) for number in range(10)]
        self.assertEqual((event["version"], event["containers"]), ("1.4.0", first_ten))

    def test_many_containers(self) -> None:
        """The log lists ten containers of a node, and counts the rest."""
        self.nodes[A].containers = [SimulatedContainer(str(number)) for number in range(12)]
        self.nodes[B].containers = []
        self.start([A, B])
        self.pass_time(0.1)
        self.assertTrue(self.lines[0].endswith("'8', '9' and 2 more"), self.lines[0])
        self.assertTrue(self.lines[1].endswith("containers none"), self.lines[1])

    def test_down_and_back(self) -> None:
        """After a failed poll a node is down, after a successful one up; each is logged once."""
        self.start([A])
        self.nodes[A].status = 500
        self.pass_time(10)
        self.assertEqual(self.why_none(), "no node is up; 192.0.2.1:4000 is down: HTTP 500")
        self.nodes[A].status = 200
        self.pass_time(3)
        self.assertEqual(self.fleet.pick(["llm"]), A)
        self.assertEqual(self.lines[1], "warn: 192.0.2.1:4000 is down: HTTP 500")
        self.assertRegex(self.lines[2], r"info: 192\.0\.2\.1:4000 is back after \d+\.\d s: ver")
        self.assertEqual(len(self.lines), 3)

    def test_back_off(self) -> None:
        """A node that fails is polled after 1, 2 and 4 s, and then at its usual times."""
        self.nodes[A].status = 500
        self.start([A], interval=5)
        self.pass_time(25)
        times = [time for time, _ in self.nodes.asked]
        gaps = [after - before for before, after in pairwise(times)]
        self.assertEqual([round(gap) for gap in gaps], [1, 2, 4, 3, 5, 5])

    def test_many_fail(self) -> None:
        """When many nodes fail at once, their polls are soon spread evenly again."""
        quick = Quick(self.clock)
        addresses = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(300)]
        quick.statuses = {f"{address.url}/info": 500 for address in addresses}
        self.start(addresses, http=quick)
        self.pass_time(12)
        quick.asked.clear()
        self.pass_time(9)
        tenths = Counter(int(time / 0.3) for times in quick.asked.values() for time in times)
        self.assertEqual(tenths.total(), 900)
        self.assertLess(max(tenths.values()), 40)

    def test_soon_again(self) -> None:
        """A node that fails once is up again after a second, whatever the interval."""
        self.nodes[A].status = 500
        self.start([A], interval=60)
        self.nodes[A].status = 200
        self.pass_time(1.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_counted(self) -> None:
        """Each poll is counted by its result, with its time; the fleet's clock may be another."""
        self.fleet = Fleet(lambda: self.clock.seconds() - 1e6, Random(1))
        self.start([A], interval=1, timeout=0.5)
        for result, knobs in (
            ("ok", {}),
            ("status", {"status": 500}),
            ("report", {"status": 200, "info": b"{}"}),
            ("limited", {"status": 429, "info": None}),
            ("timeout", {"status": 200, "silent": True}),
        ):
            for name, value in knobs.items():
                setattr(self.nodes[A], name, value)
            before = self.counts.polls[result]
            self.pass_time(5)
            self.assertGreater(self.counts.polls[result], before, result)
        self.assertEqual(sum(self.counts.poll_seconds.counts), self.counts.polls.total())
        self.assertGreater(self.counts.poll_seconds.total, 0.4)
        self.assertLess(self.counts.poll_seconds.total, 30)

    def test_doubted(self) -> None:
        """A report of a node that is in doubt is the occasion to log that."""
        lines = logged(self, "infernet_router.nodes.doubted")
        self.start([A])
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
        self.pass_time(20)
        self.assertEqual(len(lines), 1)

    def test_bad_reports(self) -> None:
        """A node with a malformed report is down, and still polled."""
        bodies = {
            b"<html>": "the report is not JSON: JSON is malformed: invalid character (byte 0)",
            b"{}": "containers is missing",
            b'{"containers": [], "pending": {"onchain": 0, "offchain": "5"}}': (
                "pending.offchain is not a number"
            ),
            b"\xff": None,
            b"": None,
            b"[" * 100_000: None,
            b"0" * 100_000: None,
        }
        self.start([A], interval=1)
        for body, reason in bodies.items():
            self.nodes[A].info = body
            self.pass_time(2)
            self.assertIn("is down", self.why_none())
            if reason:
                self.assertTrue(self.why_none().endswith(f": {reason}"), self.why_none())
            self.nodes[A].info = None
            self.pass_time(2)
            self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_silent(self) -> None:
        """A node that does not answer in time is down, and delays no other."""
        self.nodes[A].silent = True
        self.start([A, B], timeout=2)
        self.pass_time(1.9)
        self.assertEqual(self.fleet.pick(["llm"]), B)
        self.assertEqual(len(self.lines), 1)
        self.pass_time(0.2)
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: timeout after 2 s"])
        self.pass_time(10)
        self.assertGreaterEqual(self.nodes[B].polls, 4)

    def test_suspect(self) -> None:
        """A node that was up is a suspect after a timeout, and polled again a second later."""
        self.start([A], timeout=0.5)
        for blips in range(1, 4):
            self.nodes[A].silent = True
            for _ in range(40):
                self.pass_time(0.1)
                if self.fleet.states.suspect:
                    break
            self.assertEqual(self.fleet.states.suspect, 1, blips)
            self.assertEqual(self.fleet.peek(["llm"]), A)
            self.nodes[A].silent = False
            self.pass_time(1.1)
            self.assertEqual(self.fleet.states.up, 1)
        self.assertEqual(len(self.lines), 1, "blips are not logged")

    def test_still_down(self) -> None:
        """A changed reason of a node that stays down is logged, at most once a minute."""
        self.start([A])
        self.lines.clear()
        for code in (500, 501, 502):
            self.nodes[A].status = code
            self.pass_time(20)
        self.assertEqual(self.lines, [f"warn: {A} is down: HTTP 500"])
        self.pass_time(60)
        self.assertEqual(self.lines[1:], [f"warn: {A} is still down: HTTP 502"])

    def test_suspect_down(self) -> None:
        """It is down when that poll fails, too, which is logged once."""
        self.start([A], timeout=0.5)
        self.nodes[A].silent = True
        self.pass_time(6)
        self.assertEqual(self.fleet.states.down, 1)
        self.assertEqual(self.lines[1:], ["warn: 192.0.2.1:4000 is down: timeout after 0.5 s"])

    def test_body_never_ends(self) -> None:
        """The timeout covers the body too."""
        self.start([A], http=StubTreq(Endless()))
        self.pass_time(3.1)
        self.assertEqual(self.lines, ["warn: 192.0.2.1:4000 is down: timeout after 3 s"])

    def test_one_poll_at_a_time(self) -> None:
        """A slow node is not polled again while a poll is in flight."""
        self.nodes[A].silent = True
        self.start([A], interval=1, timeout=10)
        self.pass_time(9)
        self.assertEqual(self.nodes[A].polls, 1)

    def test_pause(self) -> None:
        """A busy node that answers 429 is polled less often, and more often again by and by."""
        self.nodes[A].speed = 0.001
        self.nodes[A].submit(["llm"])
        self.start([A])
        self.pass_time(4)
        self.nodes[A].status = 429
        self.pass_time(1)
        self.nodes[A].status = 200
        self.nodes.asked.clear()
        self.pass_time(40)
        gaps = [after - before for before, after in pairwise(self.times(A))]
        self.assertGreater(gaps[0], 1.6)
        self.assertApproximates(gaps[-1], 1.1, 0.12)
        self.assertEqual(len(self.lines), 1)

    def test_paced_looks(self) -> None:
        """A node whose limit is nearly used up is polled no sooner after a job or a failure."""
        self.start([A])
        self.nodes.headers = {"ratelimit": '"default";r=1;t=6'}
        self.pass_time(7)
        self.nodes.asked.clear()
        self.fleet.pick(["llm"])
        self.pass_time(3)
        self.nodes[A].status = 500
        self.pass_time(20)
        gaps = [after - before for before, after in pairwise(self.times(A))]
        self.assertGreater(len(gaps), 2)
        self.assertGreaterEqual(min(gaps), 5.9)

    def test_replaced(self) -> None:
        """New nodes are polled immediately, others in turn; removed ones are not polled."""
        self.start([A])
        self.pass_time(1)
        self.nodes[B]
        self.fleet.replace([A, B])
        self.pass_time(0.1)
        self.assertEqual((self.nodes[A].polls, self.nodes[B].polls), (1, 1))
        self.fleet.replace([B])
        self.pass_time(10)
        self.assertEqual(self.nodes[A].polls, 1)
        self.assertEqual(self.nodes[B].polls, 4)

    def test_gone_in_flight(self) -> None:
        """The answer of a node that was removed in the meantime is ignored."""
        self.nodes[A].silent = True
        self.start([A])
        self.fleet.replace([B])
        self.nodes[B]
        self.pass_time(10)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(self.nodes[A].polls, 1)

    def test_rewritten(self) -> None:
        """The log uses the spelling of the newest list."""
        self.start([A])
        self.fleet.replace([parse_address("http://192.0.2.1:4000/")])
        self.nodes[A].status = 500
        self.pass_time(4)
        self.assertEqual(self.lines[1:], ["warn: http://192.0.2.1:4000 is down: HTTP 500"])

    def test_stop_cancels(self) -> None:
        """Stopping cancels the polls in flight, and does not log their nodes as down."""
        self.nodes[A].silent = True
        poller = self.start([A])
        self.successResultOf(poller.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lines, [])

    def test_bug(self) -> None:
        """A bug in a poll is logged, and the node is polled again."""
        real = self.fleet.observed
        broken = True

        def observed(*arguments: Any) -> Any:
            return 1 / 0 if broken else real(*arguments)

        self.fleet.observed = observed  # type: ignore
        self.start([A])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        broken = False
        self.pass_time(3.1)
        self.assertEqual(self.fleet.pick(["llm"]), A)

    def test_headers(self) -> None:
        """A poll has Accept and User-Agent headers, but no Upgrade and no cookies."""
        asked: list[Any] = []

        class Curious(Resource):
            isLeaf = True

            def render(self, request: Request) -> bytes:
                asked.append((request.method, request.uri, request.requestHeaders))
                return json.dumps({}).encode()

        self.start([parse_address("http://192.0.2.1/node/")], http=StubTreq(Curious()))
        method, uri, headers = asked[0]
        self.assertEqual((method, uri), (b"GET", b"/node/info"))
        self.assertEqual(headers.getRawHeaders("accept"), ["application/json"])
        self.assertRegex(headers.getRawHeaders("user-agent")[0], "^infernet-router/")
        self.assertFalse(headers.hasHeader("upgrade"))
        self.assertFalse(headers.hasHeader("cookie"))

    def test_log_levels(self) -> None:
        """A malformed report is a warning in the log, not an error of the router."""
        self.nodes[A].info = b"\xff"
        self.start([A])
        self.pass_time(5)
        levels = [LogLevel.levelWithName(line.partition(":")[0]) for line in self.lines]
        self.assertEqual(levels, [LogLevel.warn])
