"""Tests of infernet_router.sources.address_file."""

import os
from collections.abc import Iterable
from pathlib import Path

from infernet_router import files
from infernet_router.addresses import DnsSource, NodeAddress
from infernet_router.sources import reading
from infernet_router.sources.address_file import AddressFile, NoFile
from infernet_router.sources.joining import BadSource
from tests.doubles import addresses
from tests.sources.case import EXAMPLE, FileTestCase


class WaitingTests(FileTestCase):
    """The file is to be waited for."""

    def assert_waits(self, reason: str) -> None:
        """The file is not good yet, which is logged once; then it is, and its nodes are there."""
        file = self.file(waits=True)
        file.startService()
        self.addCleanup(file.stopService)
        self.pass_time(10)
        self.assert_logged(f"warn: cannot update the addresses of {self.path}, keeping 0: {reason}")
        if self.path.is_dir():
            self.path.rmdir()
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assert_fleet("192.0.2.1")
        self.assert_logged(
            f"info: {self.path} works again", f"info: {self.path}: 1 added, 0 removed, 1 in all"
        )

    def test_waits_for_file(self) -> None:
        """A missing file is waited for."""
        self.assert_waits(f"there is no {self.path}: {EXAMPLE}")

    def test_waits_for_address(self) -> None:
        """An empty file is waited for."""
        self.path.touch()
        self.assert_waits(f"{self.path} holds no address: {EXAMPLE}")

    def test_waits_for_good_lines(self) -> None:
        """While the file has bad lines, none of its lines is used."""
        self.path.write_text("192.0.2.7\n<html>\n")
        self.assert_waits(
            f"{self.path}, line 2: '<html>': it contains a character that no address may have"
        )

    def test_waits_for_directory(self) -> None:
        """A directory in place of the file is waited for to go."""
        self.path.mkdir()
        self.assert_waits(
            f"{self.path} is a directory, not a file of addresses. If docker made it in place of a"
            f" missing file to mount, remove it, create a file, and {EXAMPLE}"
        )


class AddressFileTests(FileTestCase):
    def setUp(self) -> None:
        super().setUp()
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
        file = self.file(may_be_missing=may_be_missing)
        file.startService()
        self.addCleanup(lambda: file.running and file.stopService())
        self.lines.clear()
        return file

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
        """A file that is written in several steps is not taken for whole in between."""
        self.start()
        with self.path.open("w") as file:
            self.pass_time(0.6)
            self.assert_fleet("192.0.2.1", "192.0.2.2")
            file.write("192.0.2.3\n")
            file.flush()
            self.pass_time(0.5)
            self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.pass_time()
        self.assert_fleet("192.0.2.3")
        self.assert_logged(
            f"info: {self.path}: 1 added, 0 removed, 3 in all",
            f"info: {self.path}: 0 added, 2 removed, 1 in all",
        )

    def test_written_slowly(self) -> None:
        """While a file is being written, its lines are added once they are complete."""
        self.start()
        texts = [f"192.0.2.{number}" for number in range(30, 40)]
        with self.path.open("w") as file:
            for text in texts:
                file.write(text[:-1])
                file.flush()
                self.pass_time(0.4)
                file.write(text[-1:] + "\n")
            fleet = set(map(str, self.fleet.addresses))
            self.assertLessEqual({"192.0.2.1", "192.0.2.2", *texts[:7]}, fleet)
            self.assertNotIn("192.0.2.3", fleet)
        self.pass_time()
        self.assert_fleet(*texts)

    def rewrite(self, *texts: str) -> None:
        """Write the file anew every 0.25 seconds, 2 seconds long, each time with another text."""
        for number in range(8):
            self.path.write_text(f"# {number}\n" + "".join(f"{text}\n" for text in texts))
            self.pass_time(0.2)
            self.clock.advance(0.05)

    def test_rewritten(self) -> None:
        """A file that is rewritten all the time is read within 2 seconds, whole."""
        self.start()
        self.rewrite("192.0.2.1", "192.0.2.3")
        self.assert_fleet("192.0.2.1", "192.0.2.3")
        self.rewrite("192.0.2.3")
        self.assert_fleet("192.0.2.3")
        self.lines.clear()
        self.rewrite("192.0.2.3", "a b")
        self.assertIn("'a b': there is a blank inside", self.lines[0])
        self.assertEqual(len([line for line in self.lines if "warn" in line]), 1)

    def test_never_quiet(self) -> None:
        """A file that is written to at every moment loses no node, as it is never seen whole."""
        self.start()
        read_file = files.read_file

        def read(path: Path, most: int) -> bytes:
            content = read_file(path, most)
            with path.open("a") as file:
                file.write("# more\n")
            return content

        self.patch(reading, "read_file", read)
        self.path.write_text("192.0.2.3\n")
        self.pass_time()
        self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")

    def test_hanging(self) -> None:
        """While the file system hangs, the nodes stay and it is said; then reading goes on."""
        self.start()
        self.threads.hangs = True
        self.path.write_text("192.0.2.3\n")
        self.pass_time(70)
        self.assert_logged(
            f"warn: cannot update the addresses of {self.path}, keeping 2: cannot read {self.path}:"
            " the file system did not answer within 5 seconds"
        )
        self.assertEqual(len(self.threads.kept), 2)
        self.threads.go_on()
        self.pass_time()
        self.assert_fleet("192.0.2.3")
        self.assert_logged(
            f"info: {self.path} works again", f"info: {self.path}: 1 added, 2 removed, 1 in all"
        )

    def test_stopped_while_hanging(self) -> None:
        """It can be stopped while the file system hangs."""
        file = self.start()
        self.threads.hangs = True
        self.pass_time(1)
        self.successResultOf(file.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.threads.go_on()

    def test_told_while_reading(self) -> None:
        """What read_again is told while the file is being read is done afterwards."""
        file = self.start()
        self.threads.hangs = True
        self.pass_time(1)
        self.path.write_text("192.0.2.3\n")
        file.read_again()
        self.threads.go_on()
        self.assert_fleet("192.0.2.3")

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
        self.assert_kept(f"{self.path} holds no address: {EXAMPLE}")

    def test_vanished(self) -> None:
        """When the file is removed, the nodes stay."""
        self.start()
        self.path.unlink()
        self.assert_kept(f"there is no {self.path}: {EXAMPLE}")

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
