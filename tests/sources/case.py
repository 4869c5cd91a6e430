"""A base class of test cases with an address file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infernet_router.addresses import DnsSource
from infernet_router.files import OffLoop
from infernet_router.process import Slices
from infernet_router.sources import reading
from infernet_router.sources.address_file import AddressFile
from tests.doubles import SourceTestCase, Threads

EXAMPLE = """write the addresses of your nodes into it, one a line, such as
    10.0.0.1:4000
    10.0.0.2:4000"""


class FileTestCase(SourceTestCase):
    """Base class: has an address file."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "ips.txt"
        self.threads = Threads()
        self.patch(reading, "_QUIET", 0.001)

    def watch_dns(self, names: Iterable[DnsSource]) -> None:
        """Called with the DNS names in the file."""

    def file(self, *, may_be_missing: bool = False, waits: bool = False) -> AddressFile:
        """What reads the file."""
        off_loop = OffLoop[Any](self.threads, self.clock)
        slices = Slices(self.clock, seconds=self.clock.seconds)
        return AddressFile(
            self.path,
            self.sources,
            self.watch_dns,
            self.clock,
            slices,
            off_loop,
            may_be_missing=may_be_missing,
            waits=waits,
        )

    def pass_time(self, seconds: float = 2.0) -> None:
        """Advance the clock; 2 seconds are enough for any change to be read."""
        self.clock.pump([0.1] * round(seconds / 0.1))
