"""Tests of infernet_router.demo.show; tests.integration.test_demo runs it in a terminal."""

from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from socket import create_server
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from infernet_router.demo.show import Show


class ShowTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.output = StringIO()

    async def shown(
        self, until: Callable[[Show], object], *, port: int = 0, once: bool = False
    ) -> int:
        """Show the demo in lines until something is true; returns the exit code."""
        folder = Path(self.mktemp())
        folder.mkdir()
        with redirect_stdout(self.output):
            show = Show(self.reactor, folder, Namespace(once=once, seed=1, port=port), draws=False)
            showing = Deferred.fromCoroutine(show.run())
            while not until(show) and not showing.called:
                await deferLater(self.reactor, 0.02)
            show.quit()
            show.quit()
            return await showing

    async def test_lines(self) -> None:
        """It says where to look, and at the end who was faster."""
        code = await self.shown(lambda show: show.demo.is_running and show.demo.ours.done)
        self.assertEqual(code, 0)
        lines = self.output.getvalue().splitlines()
        self.assertTrue(lines[0].startswith("Status page  http://127.0.0.1:"), lines)
        self.assertTrue(lines[1].startswith("Try          curl "), lines)
        self.assertTrue(lines[2].startswith("Both fleets get the same jobs."), lines)
        self.assertRegex(lines[-3], "^this router    mean ")

    async def test_problems(self) -> None:
        """A problem is told, and makes the exit code 1."""

        def has_problem(show: Show) -> bool:
            if show.demo.is_running:
                show.demo.problems.append("the router answered 500")
            return show.demo.is_running

        self.assertEqual(await self.shown(has_problem), 1)
        self.assertIn("\nfailed: the router answered 500\n", self.output.getvalue())

    async def test_cut_short(self) -> None:
        """A run with --once that is cut short has not shown anything: exit code 1."""
        self.assertEqual(await self.shown(lambda show: show.demo.is_running, once=True), 1)

    async def test_cannot_listen(self) -> None:
        """A port that is taken ends it with a message."""
        with create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertEqual(await self.shown(lambda show: False, port=port), 1)
        self.assertIn("Address already in use", self.output.getvalue())
