"""The router's list of nodes in a soak test, which changes constantly."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks.soak.record import Record

SPOILT = ("", "# nothing\n", "127.1.0.1:4000\nhttp://a b/\n", "\xff\0\n", None)
"""Contents of the file that the router must ignore; None deletes it."""


@frozen
class ChangingList:
    """The router's list of nodes, which changes constantly."""

    path: Path
    addresses: Sequence[str]
    """The addresses of nodes that are added and removed."""
    staying: Sequence[str]
    """The addresses of nodes that stay."""
    record: Record
    random: Random

    def write(self, addresses: Sequence[str], replace: bool = False) -> None:
        """List these nodes and those that stay, by rewriting the file or by replacing it."""
        listed = [*addresses, *self.staying]
        self.record.listed(listed)
        target = self.path.with_suffix(".new") if replace else self.path
        target.write_text("".join(f"{address}  # a node\n\n" for address in listed))
        target.replace(self.path)
        gone = set(self.addresses).difference(addresses)
        self.record.removed(gone, self.record.now)

    async def keep_changing(self, hang_up: Callable[[], None]) -> None:
        """Now list all but a random tenth of the nodes, now corrupt or delete the file."""
        while True:
            # Longer than the router takes to notice a change, so that it sees every one.
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
