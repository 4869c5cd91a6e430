"""Tests of infernet_router.demo.demo, over loopback."""

from pathlib import Path
from random import Random
from socket import create_server
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from infernet_router.demo.demo import SPEEDS, Demo
from infernet_router.options import CannotStart

log = Logger(namespace="infernet_router.invalid")


class DemoTests(TestCase):
    def setUp(self) -> Any:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        folder = Path(self.mktemp())
        folder.mkdir()
        self.told: list[str] = []
        self.demo = Demo(reactor, folder, Random(1), port=0, tell=self.told.append)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.demo.stop()))
        return Deferred.fromCoroutine(self.demo.start())

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(self.reactor, 0.02)

    async def test_jobs(self) -> None:
        """Both fleets are equal and get the same jobs, which end."""
        demo = self.demo
        for pair in demo.pairs:
            ours, other = pair.left.node, pair.right.node
            self.assertEqual((ours.speed, ours.containers), (other.speed, other.containers))
            ours.speed = other.speed = 100.0
        self.assertEqual([pair.number for pair in demo.pairs], list(range(1, len(SPEEDS) + 1)))
        demo.submit_jobs()
        await self.until(lambda: min(demo.ours.done, demo.others.done) >= 3)
        demo.end_jobs()
        await self.until(lambda: not demo.ours.waiting and not demo.others.waiting)
        self.assertEqual(demo.ours.done, demo.others.done)
        for side, nodes in (
            (demo.ours, [pair.left.node for pair in demo.pairs]),
            (demo.others, [pair.right.node for pair in demo.pairs]),
        ):
            self.assertEqual(sum(node.done for node in nodes), side.done)
        self.assertEqual((demo.ours.retries, demo.problems), (0, []))

    async def test_all_dead(self) -> None:
        """When all nodes are dead, jobs wait, and that is no problem."""
        for pair in self.demo.pairs:
            await pair.left.kill()
            await pair.right.kill()
        self.demo.submit_jobs()
        await self.until(lambda: min(self.demo.ours.retries, self.demo.others.retries) >= 3)
        self.assertEqual(self.demo.problems, [])
        self.assertGreater(self.demo.ours.waiting, 0)

    async def test_log(self) -> None:
        """The router's messages name nodes by number; its bugs are problems."""
        await self.demo.pairs[2].left.kill()
        await self.until(lambda: self.demo.log)
        self.assertIn("node 3 is down: ", self.demo.log[-1])
        self.assertEqual(self.told[-1], f"log: {self.demo.log[-1]}")
        log.critical("a bug")
        self.assertEqual(self.demo.problems, ["a bug"])

    async def test_drain(self) -> None:
        """The router drains a node when it is told to."""
        await self.demo.story.happen("drained", 60.0)
        self.assertEqual(self.demo.pairs[0].state, "drained", self.demo.story.text)
        self.assertIn(" drained node 1 until ", "\n".join(self.demo.log))

    def test_load(self) -> None:
        """The load has bounds."""
        self.demo.change_load(1)
        self.assertEqual(self.told[-1], "load: 70% of what the nodes can do")
        for _ in range(9):
            self.demo.change_load(1)
        self.assertEqual(self.demo.load, 1.0)
        for _ in range(20):
            self.demo.change_load(-1)
        self.assertEqual(self.demo.load, 0.1)


class PortTests(TestCase):
    def demo(self, **options: Any) -> Demo:
        from twisted.internet import reactor

        folder = Path(self.mktemp())
        folder.mkdir()
        demo = Demo(reactor, folder, Random(1), **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(demo.stop()))
        return demo

    async def test_taken(self) -> None:
        """A demo finds other ports when those it would have are taken, and says so."""
        with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as other:
            ports = one.getsockname()[1], other.getsockname()[1]
            demo = self.demo(ports=ports)
            self.assertEqual((demo.is_running, demo.seconds), (False, 0.0))
            await demo.start()
        self.assertEqual(
            demo.notes,
            [
                f"port {ports[0]} is taken, so the router has another one",
                f"port {ports[1]} is taken, so the status page has another one",
            ],
        )
        self.assertNotIn(f":{ports[0]}/", demo.api)
        self.assertNotIn(f":{ports[1]}/", demo.status_page)

    async def test_named(self) -> None:
        """A port that was named is the router's, or it does not start."""
        with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as other:
            port, admin_port = one.getsockname()[1], other.getsockname()[1]
            demo = self.demo(port=port, ports=(0, admin_port))
            starting = Deferred.fromCoroutine(demo.start())
            starting.addCallbacks(self.fail, lambda failure: failure.trap(CannotStart))
            await starting
        self.assertEqual(len(demo.notes), 1)
