"""Shows the running demo, as pictures or lines, and does what keys say."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.live import Live
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from infernet_router.demo.demo import Demo
from infernet_router.demo.figures import line, verdict
from infernet_router.demo.keys import CTRL_C, keys_read
from infernet_router.demo.story import AWAY
from infernet_router.demo.view import addresses, draw, keys_of
from infernet_router.options import CannotStart

_ONCE = 17.0
"""Seconds in which jobs are submitted with --once."""
_PATIENCE = 60.0
"""Seconds to wait then for the router's jobs."""
_PICTURES, _LINES = 0.25, 5.0
"""Seconds between two pictures, and two lines."""
_ACTS = ((25.0, "killed", AWAY), (25.0, "stalled", AWAY), (25.0, "broken", AWAY))
"""What happens by itself, over and over; see Story.follow."""
_ACTS_ONCE = ((3.0, "killed", 4.0), (5.0, "broken", 4.0), (5.0, "stalled", 3.0))
_MOST_PROBLEMS = 10
_INDENT = " " * 8
_KEYS = {"k": "killed", "s": "stalled", "b": "broken", "d": "drained"}


class Show:
    """
    The running demo, as a person sees and steers it.

    :param draws: whether it draws pictures; otherwise it prints lines.
    """

    def __init__(self, reactor: Any, folder: Path, options: Any, *, draws: bool) -> None:
        self._reactor = reactor
        self._once = options.once
        self._draws = draws
        self._wraps = sys.stdout.isatty()
        self._console = Console(force_terminal=draws)
        self._ending: Deferred[None] = Deferred()
        self._hurries = False
        self.demo = Demo(reactor, folder, Random(options.seed), options.port, self._tell)

    def quit(self) -> None:
        """End the demo, without waiting for jobs."""
        self._hurries = True
        self._end()

    async def run(self) -> int:
        """Run it to its end; returns the exit code."""
        demo = self.demo
        try:
            with keys_read(self._reactor, self._pressed) as has_keys:
                await demo.start()
                with self._shown(has_keys):
                    await self._submit_jobs()
            won, lines = verdict(demo.ours, demo.others)
            lines += [f"failed: {problem}" for problem in demo.problems[:_MOST_PROBLEMS]]
            self._print(*lines)
            cut = self._once and self._hurries
            return 1 if demo.problems or cut or (self._once and not won) else 0
        except CannotListenError as error:
            self._print(f"cannot listen on {error.interface}:{error.port}: {error.socketError}")
        except CannotStart as error:
            self._print(str(error))
        finally:
            await demo.stop()
        return 1

    async def _submit_jobs(self) -> None:
        """Submit jobs until the end; with --once, wait for those of the router."""
        self.demo.submit_jobs()
        self.demo.story.follow(iter(_ACTS_ONCE) if self._once else cycle(_ACTS))
        timer = self._reactor.callLater(_ONCE, self._end) if self._once else None
        await self._ending
        if timer is not None and timer.active():
            timer.cancel()
        self.demo.end_jobs()
        end = self._reactor.seconds() + _PATIENCE
        while self._once and not self._hurries and self.demo.ours.waiting:
            if self._reactor.seconds() > end:
                self.demo.problems.append(f"{self.demo.ours.waiting} jobs did not end")
                break
            await deferLater(self._reactor, 0.05)

    @contextmanager
    def _shown(self, has_keys: bool) -> Iterator[None]:
        """A context in which pictures are drawn, or lines printed."""
        live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

        def show() -> None:
            if self._draws:
                live.update(draw(self.demo, self._console), refresh=True)
            else:
                self._tell(line(self.demo.ours, self.demo.others))

        if not self._draws:
            keys = [f"Keys         {keys_of(self.demo)}"] if has_keys else []
            self._print(*addresses(self.demo), *keys, self.demo.story.text)
        showing = LoopingCall(show)
        showing.clock = self._reactor
        with live if self._draws else nullcontext():
            every = _PICTURES if self._draws else _LINES
            showing.start(every, now=self._draws).addErrback(self._cannot_show)
            try:
                yield
            finally:
                if showing.running:
                    showing.stop()

    def _end(self) -> None:
        if not self._ending.called:
            self._ending.callback(None)

    def _cannot_show(self, failure: Failure) -> None:
        self.demo.problems.append(f"cannot show the demo: {failure.value}")
        self.quit()

    def _pressed(self, key: str) -> None:
        if key in ("q", "Q", CTRL_C):
            self.quit()
        elif self.demo.is_running and key in _KEYS:
            self.demo.story.act(_KEYS[key])
        elif key in ("+", "=", "-"):
            self.demo.change_load(-1 if key == "-" else 1)

    def _tell(self, text: str) -> None:
        if not self._draws:
            self._print(f"{self.demo.seconds:4.0f} s  {text}")

    def _print(self, *lines: str) -> None:
        """Print lines, which a terminal gets wrapped; end when nobody reads them any more."""
        try:
            for text in lines:
                if self._wraps:
                    width = shutil.get_terminal_size().columns
                    text = textwrap.fill(text, max(width, 20), subsequent_indent=_INDENT)
                print(text, flush=True)
        except OSError:
            # Python would try to write the rest once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.quit()
