"""The routers with which the one in a soak test shares its fleet, and a Redis that misbehaves."""

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from random import Random

from benchmarks.loopback.programs import Router
from benchmarks.loopback.redis_server import Redis

_GARBAGE = (b"", b"garbage", b"\x93" * 1000, b"\x81" + b"\xa1x" * 1_000_000)
_CHANNEL = "infernet-router:1"


class Peers:
    """
    Other routers for the same list of nodes, which are killed again and again, as is Redis.

    :param folder: holds the list, `ips.txt`.
    :param flags: of each router, as of the one that is tested.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        flags: tuple[str, ...],
        variables: Mapping[str, str],
        random: Random,
    ) -> None:
        self._folder = folder
        self._random = random
        self.redis = Redis()
        self._flags = (*flags, f"--ips={folder / 'ips.txt'}", f"--redis={self.redis.url}")
        self._variables = variables
        self._routers = [self._start(number) for number in range(count)]
        self.disturbances = 0
        """How often a router or Redis was disturbed."""

    def _start(self, number: int) -> Router:
        folder = self._folder / f"peer{number}"
        folder.mkdir(exist_ok=True)
        return Router(folder, *self._flags, variables=self._variables)

    async def keep_disturbing(self) -> None:
        """Disturb Redis and the routers until cancelled; Redis is there again then."""
        while True:
            await asyncio.sleep(self._random.uniform(2.0, 8.0))
            self.disturbances += 1
            match self._random.randrange(5):
                case 0:
                    self.redis.kill()
                    try:
                        await asyncio.sleep(self._random.uniform(0.0, 8.0))
                    finally:
                        await asyncio.to_thread(self.redis.start)
                case 1:
                    self.redis.signal(signal.SIGSTOP)
                    try:
                        await asyncio.sleep(self._random.uniform(0.1, 6.0))
                    finally:
                        self.redis.signal(signal.SIGCONT)
                case 2:
                    self._ask("FLUSHALL")
                case 3:
                    self._ask("PUBLISH", _CHANNEL, self._random.choice(_GARBAGE))
                case _:
                    await self._replace(self._random.randrange(len(self._routers)))

    def _ask(self, *words: str | bytes) -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: self.redis.ask(*words))

    async def _replace(self, number: int) -> None:
        """End a router, one way or another, and start another."""
        self._routers[number].signal(self._random.choice((signal.SIGKILL, signal.SIGTERM)))
        await asyncio.to_thread(self._routers[number].ended)
        await asyncio.sleep(self._random.uniform(0.0, 3.0))
        self._routers[number] = self._start(number)

    def close(self) -> None:
        """Kill all of them."""
        for router in self._routers:
            router.kill()
        self.redis.close()
