"""Tests of infernet_router.nodes.resources."""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import inf
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Fleet, Tier
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.rate_fields import NO_LIMIT, RateLimit
from infernet_router.nodes.resources import Resources
from tests.doubles import logged, report

A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")


class Nodes(Resource):
    """Nodes by host name, as one resource for StubTreq."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.answers: dict[str, bytes | int] = {}
        """By host, its answer: a body, a status or NOT_DONE_YET; by default `{}`."""
        self.asked: list[tuple[float, str]] = []
        self.waiting: list[Request] = []
        """The requests that have not been answered."""

    def render(self, request: Request) -> bytes | int:
        host = request.getRequestHostname().decode()
        assert request.path == b"/resources", request.path
        self.asked.append((self._clock.seconds(), host))
        answer = self.answers.get(host, b"{}")
        if answer == NOT_DONE_YET:
            self.waiting.append(request)
            request.notifyFinish().addErrback(lambda _: self.waiting.remove(request))
        elif isinstance(answer, int):
            request.setResponseCode(answer)
            return b""
        return answer


class ResourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = Nodes(self.clock)
        self.http: Any = StubTreq(self.nodes)
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.lines = logged(self, "infernet_router.nodes.resources")

    def start(
        self,
        addresses: Iterable[NodeAddress],
        *,
        up: bool = True,
        paces: Paces | None = None,
    ) -> Resources:
        """A running Resources for these nodes."""
        addresses = tuple(addresses)
        self.fleet.replace(addresses)
        if up:
            self.come_up(*addresses)
        resources = Resources(
            self.fleet, self.http, self.clock, Random(1), interval=60.0, paces=paces
        )
        resources.startService()
        self.addCleanup(lambda: resources.running and resources.stopService())
        return resources

    def come_up(self, *addresses: NodeAddress) -> None:
        for address in addresses:
            self.fleet.observed(address, report("llm"))

    def pass_time(self, seconds: float) -> None:
        """Advance the clock in steps of one tick."""
        self.clock.pump([0.1] * round(seconds / 0.1))
        self.http.flush()

    def test_limited(self) -> None:
        """A node that limits the rate of requests is asked once it allows that."""
        paces = Paces()
        paces.add(A).refused(RateLimit(retry_after=200.0), 0.0, 6.0)
        self.start([A], paces=paces)
        self.pass_time(199)
        self.assertEqual(self.nodes.asked, [])
        self.pass_time(2)
        self.assertEqual(len(self.nodes.asked), 1)

    def test_refused(self) -> None:
        """A 429 makes other questions to this node wait, and polls not."""
        paces = Paces()
        pace = paces.add(A)
        self.nodes.answers = {"192.0.2.1": 429}
        self.start([A], paces=paces)
        self.pass_time(0.1)
        self.assertEqual((pace.until, pace.pause), (-inf, 0.0))
        self.assertApproximates(paces.others_until(A), 2.0, 0.2)
        paces.refused(A, NO_LIMIT, 100.0)
        self.assertEqual(paces.others_until(A), 102.0)

    def is_full(self, address: NodeAddress) -> bool:
        view = self.fleet.view(address)
        return view is not None and view.tier is Tier.FULL

    def said(self, resources: Resources) -> dict[str, Any]:
        """The last answers of the nodes, decoded."""
        said = ((str(address), resources.said(address)) for address in self.fleet.addresses)
        return {address: json.loads(bytes(of_one)) for address, of_one in said if of_one}

    def test_said(self) -> None:
        """The last answer of each node is kept as it was received, even when it is empty."""
        self.nodes.answers["192.0.2.1"] = b'{"llm": {"version": "0.1.0", "x": [1, {"y": null}]}}'
        resources = self.start([B, A])
        self.assertEqual(
            self.said(resources),
            {
                "192.0.2.2:4000": {},
                "192.0.2.1:4000": {"llm": {"version": "0.1.0", "x": [1, {"y": None}]}},
            },
        )
        self.assertEqual(self.lines, [])

    def test_once_an_interval(self) -> None:
        """A node is asked at once, then once an interval; stopping leaves no delayed calls."""
        resources = self.start([A])
        self.pass_time(300)
        times = [time for time, _ in self.nodes.asked]
        self.assertIn(len(times), (5, 6))
        self.assertTrue(30 <= times[1] <= 90.1)
        for before, after in pairwise(times[1:]):
            self.assertApproximates(after - before, 60, 0.21)
        self.successResultOf(resources.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_paced(self) -> None:
        """Many new nodes are asked one after another, and then spread over the interval."""
        addresses = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(600)]
        self.start(addresses)
        self.assertEqual(len(self.nodes.asked), 10)
        self.pass_time(12)
        self.assertEqual(len(self.nodes.asked), 600)
        self.assertEqual(len({host for _, host in self.nodes.asked}), 600)
        self.pass_time(90)
        self.nodes.asked.clear()
        self.pass_time(60)
        self.assertApproximates(len(self.nodes.asked), 600, 20)
        seconds = Counter(int(time) for time, _ in self.nodes.asked)
        self.assertLess(max(seconds.values()), 25)

    def test_at_once(self) -> None:
        """At most 64 nodes are asked at the same time; the next when one of them is done."""
        addresses = [parse_address(f"192.0.2.{n}") for n in range(100)]
        self.nodes.answers = {str(address): NOT_DONE_YET for address in addresses}
        self.start(addresses)
        self.pass_time(9.9)
        self.assertEqual(len(self.nodes.asked), 64)
        self.pass_time(1)
        self.assertEqual(len(self.nodes.asked), 100)

    def test_not_up(self) -> None:
        """A node is asked soon after it comes up, and never while it is not up."""
        self.start([A, B], up=False)
        self.pass_time(100)
        self.assertEqual(self.nodes.asked, [])
        self.come_up(B)
        self.pass_time(1.1)
        self.assertEqual([host for _, host in self.nodes.asked], ["192.0.2.2"])
        self.fleet.missed(B, "gone")
        self.pass_time(100)
        self.assertEqual(len(self.nodes.asked), 1)

    def test_down(self) -> None:
        """The last answer of a node is kept while it is down."""
        resources = self.start([A, B])
        self.fleet.missed(A, "gone")
        self.assertEqual(self.said(resources), {"192.0.2.1:4000": {}, "192.0.2.2:4000": {}})

    def test_failing(self) -> None:
        """When requests fail, the last answer is kept for three intervals; one line is logged."""
        self.nodes.answers["192.0.2.1"] = b'{"llm":{}}'
        resources = self.start([A])
        self.pass_time(1)
        self.nodes.answers["192.0.2.1"] = 500
        self.pass_time(170)
        self.assertEqual(self.said(resources), {"192.0.2.1:4000": {"llm": {}}})
        self.pass_time(130)
        self.assertEqual(self.said(resources), {})
        self.assertEqual(
            self.lines,
            ["warn: 192.0.2.1:4000 does not say what its resources are: HTTP 500"],
        )
        self.nodes.answers["192.0.2.1"] = b"{}"
        self.pass_time(61)
        self.assertEqual(self.said(resources), {"192.0.2.1:4000": {}})
        self.nodes.answers["192.0.2.1"] = 404
        self.pass_time(121)
        self.assertEqual(len(self.lines), 2)

    def test_bad(self) -> None:
        """A malformed, oversized or deeply nested answer is ignored, and logged once."""
        deep = b'{"a":{"b":%s1%s}}'
        objects = "they are not an object of objects, by container"
        for number, (body, reason) in enumerate(
            (
                (b"<html>", "they are not JSON"),
                (b"", "they are not JSON"),
                (b'{"a":{"b":"\xff"}}', "they are not JSON"),
                (b'{"a":{"b":NaN}}', "they are not JSON"),
                (b"[]", objects),
                (b'{"llm":[]}', objects),
                (b'{"llm":{"x":%s}}' % (b"9" * 5000), objects),
                (deep % (b"[" * 31, b"]" * 31), "they are nested more than 32 levels deep"),
                (deep % (b"[" * 9999, b"]" * 9999), "they are nested more than 32 levels deep"),
                (b'{"a":{}}' + b" " * 65536, "its answer is larger than 64 KiB"),
                (b'{"a":{"b":"\\ud800"}}', "they are not JSON"),
                (b'{"a":{"b":"\n"}}', "they are not JSON"),
                (b'{"a":{"b":[%d]}}' % 10**309, "they have a number that is out of range"),
                (b'{"a":{"b":%d}}' % -(10**309), "they have a number that is out of range"),
                (b'{"a":{"b":1e999}}', objects),
            )
        ):
            address = parse_address(f"10.0.0.{number}")
            self.nodes.answers[str(address)] = body
            self.lines.clear()
            resources = self.start([address])
            self.pass_time(61)
            self.assertEqual(self.said(resources), {})
            self.assertEqual(
                self.lines, [f"warn: {address} does not say what its resources are: {reason}"]
            )
            resources.stopService()
        self.nodes.answers = {
            "192.0.2.1": deep % (b"[" * 30, b"]" * 30),
            "192.0.2.2": b'{"a":{"b":[%d]}}' % 10**308,
        }
        self.assertEqual(len(self.said(self.start([A, B]))), 2)

    def test_silent(self) -> None:
        """The timeout is ten seconds; it is not logged for a node that is down by then."""
        self.nodes.answers = dict.fromkeys(["192.0.2.1", "192.0.2.2"], NOT_DONE_YET)
        self.start([A, B])
        self.fleet.missed(B, "gone")
        self.pass_time(9.9)
        self.assertEqual(self.lines, [])
        self.pass_time(0.2)
        self.assertEqual(
            self.lines,
            ["warn: 192.0.2.1:4000 does not say what its resources are: timeout after 10 s"],
        )
        self.assertEqual(self.nodes.waiting, [])

    def test_replaced(self) -> None:
        """New nodes are asked, removed ones are not, and the newest spelling is used."""
        resources = self.start([A])
        self.fleet.replace([B, parse_address("http://192.0.2.1:4000")])
        self.come_up(B)
        self.pass_time(0.2)
        self.assertEqual(list(self.said(resources)), ["192.0.2.2:4000", "http://192.0.2.1:4000"])
        self.fleet.replace([B])
        self.nodes.asked.clear()
        self.pass_time(100)
        self.assertEqual({host for _, host in self.nodes.asked}, {"192.0.2.2"})
        self.fleet.replace([B, A])
        self.come_up(A)
        self.assertEqual(list(self.said(resources)), ["192.0.2.2:4000"])

    def test_utilization(self) -> None:
        """A node is full or not by its last answer, and not full once that is stale."""
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)

        def says(used: int) -> None:
            self.nodes.answers["192.0.2.1"] = (
                b'{"llm":{"hardware_capabilities":[{"capability_id":"gpu","gpu_info":['
                b'{"name":"L4","memory_total":1000,"memory_used":%d,"cuda_device_id":0}]}]}}' % used
            )

        says(955)
        self.start([A, B])
        self.assertTrue(self.is_full(A))
        self.assertFalse(self.is_full(B))
        says(900)
        self.pass_time(91)
        self.assertFalse(self.is_full(A))
        says(1000)
        self.pass_time(61)
        self.nodes.answers["192.0.2.1"] = 500
        self.pass_time(110)
        self.assertTrue(self.is_full(A))
        self.pass_time(130)
        self.assertFalse(self.is_full(A))
        self.assertEqual(
            [line for line in self.lines if line.startswith("info")],
            [
                "info: 192.0.2.1:4000 is full: 95.5% of its GPU memory is in use",
                "info: 192.0.2.1:4000 is not full any more: 90.0% of its GPU memory is in use",
                "info: 192.0.2.1:4000 is full: 100.0% of its GPU memory is in use",
                "info: 192.0.2.1:4000 is not full any more:"
                " it does not say how much of its GPU memory is in use",
            ],
        )

    def doubt(self, address: NodeAddress) -> float:
        view = self.fleet.view(address)
        assert view is not None
        return view.doubt

    def test_crashed(self) -> None:
        """A container that said something and no longer does is evidence against its node."""
        self.nodes.answers["192.0.2.1"] = b'{"llm": {}}'
        self.start([A, B])
        self.nodes.answers["192.0.2.1"] = b"{}"
        self.pass_time(91)
        self.assertGreater(self.doubt(A), 0.5)
        self.assertEqual(self.doubt(B), 0.0, "it never said anything")
        before = self.doubt(A)
        self.pass_time(61)
        self.assertEqual(self.doubt(A), before, "it is evidence once")

    def test_not_run_any_more(self) -> None:
        """A container that the node no longer lists is none."""
        self.nodes.answers["192.0.2.1"] = b'{"llm": {}, "prover": {}}'
        self.start([A])
        self.nodes.answers["192.0.2.1"] = b'{"llm": {}}'
        self.pass_time(91)
        self.assertEqual(self.doubt(A), 0.0)

    def test_late_answer(self) -> None:
        """The answer of a removed node is ignored, even if its address was added again."""
        self.fleet = Fleet(self.clock.seconds, Random(1), max_utilization=0.9)
        self.nodes.answers["192.0.2.1"] = NOT_DONE_YET
        self.start([A])
        self.fleet.replace([B])
        self.pass_time(0.2)
        self.fleet.replace([A, B])
        (request,) = self.nodes.waiting
        request.write(
            b'{"a":{"hardware_capabilities":[{"gpu_info":[{"memory_total":9,"memory_used":9}]}]}}'
        )
        request.finish()
        self.http.flush()
        self.assertFalse(self.is_full(A))

    def test_back_while_asked(self) -> None:
        """A node that went down and came back while it was asked is asked again when it is due."""
        self.nodes.answers["192.0.2.1"] = NOT_DONE_YET
        resources = self.start([A])
        self.fleet.missed(A, "connection refused")
        self.pass_time(0.2)
        self.come_up(A)
        self.pass_time(0.2)
        self.assertEqual(len(self.nodes.asked), 1)
        (request,) = self.nodes.waiting
        request.write(b"{}")
        request.finish()
        self.http.flush()
        self.assertEqual(self.said(resources), {"192.0.2.1:4000": {}})
        self.pass_time(91)
        self.assertEqual(len(self.nodes.asked), 2)

    def test_stop_cancels(self) -> None:
        """Stopping cancels the requests in flight, and logs nothing."""
        self.nodes.answers["192.0.2.1"] = NOT_DONE_YET
        resources = self.start([A])
        self.successResultOf(resources.stopService())
        self.http.flush()
        self.assertEqual((self.clock.getDelayedCalls(), self.nodes.waiting), ([], []))
        self.assertEqual(self.lines, [])
