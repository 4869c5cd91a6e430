"""Tests of infernet_router.demo; tests.integration.test_demo runs it as a program."""

from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from infernet_router.demo import Demo, summary, view


class DemoTests(TestCase):
    def setUp(self) -> Any:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        folder = Path(self.mktemp())
        folder.mkdir()
        self.demo = Demo(reactor, folder, port=0, random=Random(1))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.demo.stop()))
        return Deferred.fromCoroutine(self.demo.start())

    def drawn(self) -> str:
        """The view, as text."""
        console = Console(width=100)
        with console.capture() as capture:
            console.print(view(self.demo))
        return capture.get()

    async def test_jobs(self) -> None:
        """Jobs go to the nodes that the router hands out, and end; the view shows them."""
        for place in self.demo.places:
            place.node.speed = 20.0
        await self.demo.submit_jobs(2.0)
        self.assertEqual(self.demo.problems, [])
        self.assertGreater(len(self.demo.seconds), 0)
        self.assertEqual(sum(self.demo.handed_out.values()), len(self.demo.seconds))
        self.assertEqual(
            {place.address: place.node.done for place in self.demo.places},
            {place.address: self.demo.handed_out[place.address] for place in self.demo.places},
        )
        drawn = self.drawn()
        for place in self.demo.places:
            self.assertIn(place.address, drawn)
        self.assertIn(f"{len(self.demo.seconds)} jobs done, median ", drawn)
        self.assertIn(f'curl "{self.demo.api}?container=llm"', drawn)

    async def test_problems(self) -> None:
        """A job that fails is a problem, and so is one that no node accepts."""
        self.demo.places[0].node.failing = 1.0
        self.demo.places[1].node.failing = 1.0
        self.demo.places[2].node.containers = []
        await self.demo.submit_jobs(1.5)
        self.assertIn("failed", " ".join(self.demo.problems))
        self.assertIn(f"{len(self.demo.problems)} failed", summary(self.demo))

    async def test_stop_early(self) -> None:
        """Stopping ends the jobs that still run; they are not problems."""
        for place in self.demo.places:
            place.node.silent = True
        submitting = Deferred.fromCoroutine(self.demo.submit_jobs(None))
        submitting.addErrback(lambda failure: failure.trap(CancelledError))
        await deferLater(self.reactor, 1.0)
        submitting.cancel()
        await self.demo.stop()
        self.assertEqual(self.demo.problems, [])
