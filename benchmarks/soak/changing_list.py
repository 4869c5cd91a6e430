"""The router's list of nodes in a soak, which changes all the time."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks.soak.record import Record

SPOILT = ("", "# nothing\n", "127.1.0.1:4000\nhttp://a b/\n", "\xff\0\n", None)
"""Lists that change nothing; the last is no file at all."""


@frozen
class ChangingList:
    """The router's list of nodes, which changes all the time."""

    path: Path
    addresses: Sequence[str]
    """Of all nodes."""
    record: Record
    random: Random

    def write(self, addresses: Sequence[str], replace: bool = False) -> None:
        """List these nodes, in a file that is written anew or replaced."""
        self.record.listed(addresses)
        target = self.path.with_suffix(".new") if replace else self.path
        target.write_text("".join(f"{address}  # a node\n\n" for address in addresses))
        target.replace(self.path)
        gone = set(self.addresses).difference(addresses)
        self.record.removed(gone, asyncio.get_running_loop().time())

    async def keep_changing(self, hang_up: Callable[[], None]) -> None:
        """Another tenth of the nodes is away each time; but now and then the list is spoilt."""
        while True:
            # Longer than the router takes to see a change: one that is gone again is none.
            await asyncio.sleep(self.random.uniform(3.0, 5.0))
            if self.random.random() < 0.3:
                spoilt = self.random.choice(SPOILT)
                if spoilt is None:
                    self.path.unlink(missing_ok=True)
                else:
                    self.path.write_text(spoilt)
            else:
                stay = self.random.sample(self.addresses, len(self.addresses) * 9 // 10)
                self.write(stay, replace=self.random.random() < 0.5)
            if self.random.random() < 0.3:
                hang_up()
