"""Tests of infernet_router.sources.address_file."""

import os
from collections.abc import Iterable
from errno import EACCES
from pathlib import Path, PosixPath

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import DnsSource, NodeAddress, parse_address
from infernet_router.sources.address_file import AddressFile, NoFile, read_address_file
from infernet_router.sources.joining import BadSource
from tests.doubles import SourceTestCase, addresses


class Forbidden(PosixPath):
    """A file that cannot be read for lack of permission, not even by root."""

    def read_bytes(self) -> bytes:
        raise PermissionError(EACCES, "Permission denied")


class ReadAddressFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def assert_bad(self, message: str) -> None:
        with self.assertRaises(BadSource) as caught:
            read_address_file(self.path)
        self.assertEqual(str(caught.exception), message)

    def test_good(self) -> None:
        """The addresses in the file are returned."""
        self.path.write_bytes(b"\xef\xbb\xbf192.0.2.1:4000\r\n\r\n192.0.2.2:4000 # b\xc3\xa4r")
        self.assertEqual(
            [str(address) for address in read_address_file(self.path)],
            ["192.0.2.1:4000", "192.0.2.2:4000"],
        )

    def test_bad_lines(self) -> None:
        """The message lists every bad line with file, number, text and reason."""
        self.path.write_bytes(
            b"192.0.2.1\nftp://x\n# \xff is fine here\nn\xf6de.invalid\ndns://nodes.invalid"
        )
        self.assert_bad(
            f"{self.path}, line 2: 'ftp://x': the scheme must be http or https, not 'ftp'\n"
            f"{self.path}, line 4: 'n\\xf6de.invalid': it is not UTF-8\n"
            f"{self.path}, line 5: 'dns://nodes.invalid': the port is missing, as in"
            " dns://nodes.example.org:4000"
        )

    def test_missing(self) -> None:
        """When the file is missing, the message says what to do."""
        self.assert_bad(
            f"there is no {self.path}: copy ips.txt.example to ips.txt and put your nodes in it,"
            " one address a line"
        )

    def test_empty(self) -> None:
        """When the file has no address, the message says what to do."""
        self.path.write_text("# nothing yet\n")
        self.assert_bad(
            f"{self.path} holds no address: copy ips.txt.example to ips.txt and put your nodes"
            " in it, one address a line"
        )

    def test_directory(self) -> None:
        """A directory is refused; only one that docker made is to be removed."""
        self.path.mkdir()
        self.assert_bad(
            f"{self.path} is a directory, not a file of addresses. If docker made it in place of a"
            " missing file to mount, remove it and copy ips.txt.example to ips.txt and put your"
            " nodes in it, one address a line"
        )

    def test_unreadable(self) -> None:
        """When permission is missing, the message says what to do."""
        self.path.touch()
        self.path = Forbidden(self.path)
        self.assert_bad(f"cannot read {self.path}: Permission denied; make it readable")

    def test_endless(self) -> None:
        """A pipe or a device, from which reading may never end, is refused."""
        os.mkfifo(self.path)
        reason = "is a pipe or a device, not a file of addresses"
        self.assert_bad(f"{self.path} {reason}")
        self.path = Path("/dev/zero")
        self.assert_bad(f"/dev/zero {reason}")

    def test_large(self) -> None:
        """A file of 8 MiB is read, a larger one is refused."""
        self.path.write_text("192.0.2.1\n")
        for size in (8 * 2**20, 8 * 2**20 + 1):
            with self.path.open("a") as file:
                file.write("#" * (size - self.path.stat().st_size))
            if size > 8 * 2**20:
                self.assert_bad(f"{self.path} is larger than 8 MiB")
            else:
                self.assertEqual(read_address_file(self.path), (parse_address("192.0.2.1"),))

    def test_no_file(self) -> None:
        """When the path does not lead to a file, the message says why."""
        self.path.symlink_to(self.path)
        self.assert_bad(f"cannot read {self.path}: Too many levels of symbolic links")
        self.path.unlink()
        self.path.touch()
        self.path /= "ips.txt"
        self.assert_bad(f"cannot read {self.path}: Not a directory")


class AddressFileTests(SourceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "ips.txt"
        self.names: list[DnsSource] = []
        self.known: tuple[NodeAddress, ...] = ()
        """The nodes in the fleet when DNS names were last passed on."""
        self.trouble: Exception | None = None
        self.path.write_text("192.0.2.1\n192.0.2.2\n")

    def watch_dns(self, names: Iterable[DnsSource]) -> None:
        self.names, self.known = list(names), self.fleet.addresses
        if self.trouble:
            raise self.trouble

    def start(self, *, may_be_missing: bool = False) -> AddressFile:
        file = AddressFile(
            self.path, self.sources, self.watch_dns, self.clock, may_be_missing=may_be_missing
        )
        file.startService()
        self.addCleanup(lambda: file.running and file.stopService())
        self.lines.clear()
        return file

    def pass_time(self, seconds: float = 2.0) -> None:
        """Advance the clock; 2 seconds are enough for any change to be read."""
        self.clock.pump([0.1] * round(seconds / 0.1))

    def test_start(self) -> None:
        """The addresses are in the fleet after the start; stopping leaves no delayed calls."""
        file = self.start()
        self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.successResultOf(file.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bad_start(self) -> None:
        """A bad or missing file is refused at the start."""
        self.path.write_text("a b\n")
        self.assertRaises(BadSource, self.start)
        self.path.unlink()
        self.assertRaises(NoFile, self.start)

    def test_may_be_missing(self) -> None:
        """A file that may be missing is read once it exists; a bad file is still refused."""
        self.path.unlink()
        self.start(may_be_missing=True)
        self.pass_time()
        self.assert_logged()
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assert_fleet("192.0.2.1")
        self.path.write_text("a b\n")
        with self.assertRaises(BadSource):
            self.start(may_be_missing=True)

    def test_edited(self) -> None:
        """A file that is edited in place is read, and its changes are counted in the log."""
        self.start()
        self.path.write_text("192.0.2.2\n192.0.2.3\n192.0.2.4\n")
        self.pass_time()
        self.assert_fleet("192.0.2.2", "192.0.2.3", "192.0.2.4")
        self.assert_logged(f"info: {self.path}: 2 added, 1 removed, 3 in all")

    def test_replaced(self) -> None:
        """A file that is replaced is read, even if the new one has the same size and time."""
        self.start()
        other = self.folder / "other"
        other.write_text("192.0.2.1\n192.0.2.3\n")
        status = self.path.stat()
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(self.path)
        self.pass_time()
        self.assert_fleet("192.0.2.1", "192.0.2.3")

    def test_config_map(self) -> None:
        """A file behind a symbolic link to a folder is read when the link changes (Kubernetes)."""
        self.path.unlink()
        for version in ("..1", "..2"):
            (self.folder / version).mkdir()
            (self.folder / version / "ips.txt").write_text(f"192.0.2.{version[-1]}\n")
        (self.folder / "..data").symlink_to("..1")
        self.path.symlink_to("..data/ips.txt")
        self.start()
        self.assert_fleet("192.0.2.1")
        (self.folder / "..data_tmp").symlink_to("..2")
        (self.folder / "..data_tmp").replace(self.folder / "..data")
        self.pass_time()
        self.assert_fleet("192.0.2.2")

    def test_half_written(self) -> None:
        """A file is not read while it is being written."""
        self.start()
        with self.path.open("w") as file:
            for _ in range(10):
                self.pass_time(0.4)
                file.write("192.0.2.3\n")
                file.flush()
            self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.pass_time()
        self.assert_fleet("192.0.2.3")
        self.assert_logged(f"info: {self.path}: 1 added, 2 removed, 1 in all")

    def assert_kept(self, reason: str) -> None:
        """The nodes stay, the reason is logged once, and so is the recovery."""
        kept = f"warn: cannot update the addresses of {self.path}, keeping 2: {reason}"
        self.pass_time(10)
        self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.assert_logged(kept)
        self.path.write_text("192.0.2.1\n192.0.2.2\n# good\n")
        self.pass_time()
        self.assert_logged(f"info: {self.path} works again")

    def test_bad(self) -> None:
        """When the file becomes bad, the nodes stay and every bad line is logged."""
        self.start()
        self.path.write_text("a b\n192.0.2.3\nc d\n")
        self.assert_kept(
            f"{self.path}, line 1: 'a b': there is a blank inside\n"
            f"{self.path}, line 3: 'c d': there is a blank inside"
        )

    def test_empty(self) -> None:
        """When the file becomes empty, the nodes stay."""
        self.start()
        self.path.write_text("")
        self.assert_kept(
            f"{self.path} holds no address: copy ips.txt.example to ips.txt and put your nodes"
            " in it, one address a line"
        )

    def test_vanished(self) -> None:
        """When the file is removed, the nodes stay."""
        self.start()
        self.path.unlink()
        self.assert_kept(
            f"there is no {self.path}: copy ips.txt.example to ips.txt and put your nodes in it,"
            " one address a line"
        )

    def test_touched(self) -> None:
        """A bad file that is touched is not logged again."""
        self.start()
        self.path.write_text("a b\n")
        self.pass_time()
        self.lines.clear()
        os.utime(self.path, (1, 1))
        self.pass_time()
        self.assert_logged()

    def test_read_again(self) -> None:
        """read_again reads the file at once, even if it seems unchanged."""
        file = self.start()
        self.path.write_text("192.0.2.3\n")
        file.read_again()
        self.assert_fleet("192.0.2.3")
        self.path.write_text("a b\n")
        file.read_again()
        file.read_again()
        self.pass_time()
        self.assert_fleet("192.0.2.3")
        self.assertEqual(len([line for line in self.lines if "a b" in line]), 1)

    def test_names(self) -> None:
        """DNS names are passed on, also when there are none any more."""
        self.path.write_text("192.0.2.1\ndns://nodes.invalid:4000\n")
        self.start()
        self.assert_fleet("192.0.2.1")
        self.assertEqual(self.names, [DnsSource("", "nodes.invalid", 4000)])
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assertEqual(self.names, [])

    def test_address_for_name(self) -> None:
        """Addresses that replace a DNS name are added before the nodes of the name are removed."""
        self.path.write_text("dns://nodes.invalid:4000\n")
        self.start()
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assertEqual((self.names, self.known), ([], addresses("192.0.2.1")))

    def test_broken(self) -> None:
        """After an unexpected error, later changes are still read."""
        self.start()
        self.trouble = RuntimeError("a bug")
        self.path.write_text("192.0.2.3\n")
        self.pass_time()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.trouble = None
        self.path.write_text("192.0.2.3\n192.0.2.4\n")
        self.pass_time()
        self.assert_fleet("192.0.2.3", "192.0.2.4")
