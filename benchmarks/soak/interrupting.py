"""Interrupts the router in a soak test: its process is stopped, and its clock is set."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.soak.record import Record

PRELOADED = str(Path(__file__).with_name("preloaded"))
"""To be in the router's PYTHONPATH: SIGUSR2 then sets the time of its `time.time`."""


_STOPS = (6.0, 2.0, 0.3)
"""Seconds for which the router is stopped."""


class Interruptions:
    """
    Stops the router for some seconds, or sets its clock, again and again.

    :param send: sends a signal to the router.
    """

    def __init__(
        self, send: Callable[[signal.Signals], None], record: Record, random: Random
    ) -> None:
        self._send = send
        self._record = record
        self._random = random
        self.stops = 0
        """How often it was stopped."""
        self.steps = 0
        """How often its clock was set."""

    async def keep_interrupting(self) -> None:
        """
        Interrupt it until cancelled.

        It begins with the longest stop: what comes after it takes most memory.
        """
        await asyncio.sleep(1.0)
        await self._stop(max(_STOPS))
        while True:
            await asyncio.sleep(self._random.uniform(2.0, 6.0))
            if self._random.random() < 0.5:
                self.steps += 1
                self._send(signal.SIGUSR2)
            else:
                await self._stop(self._random.choice(_STOPS))

    async def _stop(self, seconds: float) -> None:
        """Stop it for so long."""
        self.stops += 1
        self._record.pause()
        self._send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._send(signal.SIGCONT)
            self._record.resume()
