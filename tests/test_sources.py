"""Tests of infernet_router.sources."""

import os
import signal
from collections.abc import Callable, Iterable
from errno import EACCES
from pathlib import Path, PosixPath
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import DnsName, NodeAddress, parse_address
from infernet_router.reports import decode_report
from infernet_router.sources import (
    AddressFile,
    Answer,
    AskedSource,
    BadSource,
    HangupListener,
    NoFile,
    read_address_file,
)
from tests.doubles import SourceTestCase

REPORT = decode_report(
    b'{"containers":[{"id":"llm","external":true}],"pending":{"offchain":0,"onchain":0}}'
)


class Forbidden(PosixPath):
    """A file its reader has no permission to read, even if that is root."""

    def read_bytes(self) -> bytes:
        raise PermissionError(EACCES, "Permission denied")


def addresses(*texts: str) -> tuple[NodeAddress, ...]:
    return tuple(map(parse_address, texts))


class SourcesTests(SourceTestCase):
    def test_union(self) -> None:
        """Sources add up; a node that two name is one, and goes when neither names it."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2"))
        self.sources.named("b", addresses("192.0.2.2", "192.0.2.3"))
        self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.sources.named("a", addresses("192.0.2.1"))
        self.assert_fleet("192.0.2.1", "192.0.2.2", "192.0.2.3")
        self.sources.dropped("b")
        self.assert_fleet("192.0.2.1")

    def test_stays(self) -> None:
        """What is known of a node stays for as long as some source names it."""
        (node,) = addresses("192.0.2.1")
        self.sources.named("a", [node])
        self.fleet.observed(node, REPORT)
        self.sources.named("b", addresses("http://192.0.2.1:80", "192.0.2.2"))
        self.sources.named("a", addresses("192.0.2.3"))
        self.assertEqual(self.fleet.pick(["llm"]), node)

    def test_order(self) -> None:
        """Nodes come as the sources were first heard of, and each names them."""
        self.sources.named("a", addresses("192.0.2.2", "192.0.2.1", "192.0.2.2"))
        self.sources.named("b", addresses("192.0.2.4"))
        self.sources.named("a", addresses("192.0.2.3", "192.0.2.2"))
        self.assert_fleet("192.0.2.3", "192.0.2.2", "192.0.2.4")

    def test_unchanged(self) -> None:
        """Who names the same again, in whatever order, changes nothing."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2"))
        before = self.fleet.addresses
        self.sources.named("a", addresses("192.0.2.2", "192.0.2.1"))
        self.assertIs(self.fleet.addresses, before)
        self.assert_logged("info: a: 2 added, 0 removed, 2 in all")

    def test_text(self) -> None:
        """A node that is written otherwise is handed out so."""
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.named("a", addresses("http://192.0.2.1"))
        self.assert_fleet("http://192.0.2.1")

    def test_changes_are_logged(self) -> None:
        """What changed is counted, for each source."""
        self.sources.named("a", addresses("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.sources.named("a", addresses("192.0.2.3", "192.0.2.4"))
        self.sources.dropped("a")
        self.sources.dropped("b")
        self.assert_logged(
            "info: a: 3 added, 0 removed, 3 in all",
            "info: a: 1 added, 2 removed, 2 in all",
            "info: a: dropped, 2 removed",
        )

    def test_failed(self) -> None:
        """A source that fails keeps its nodes; each problem is told once, and that it is over."""
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.failed("a", "no reason")
        self.sources.failed("a", "no reason")
        self.sources.failed("a", "another")
        self.sources.named("a", addresses("192.0.2.1"))
        self.sources.named("a", addresses("192.0.2.1"))
        self.assert_fleet("192.0.2.1")
        self.assert_logged(
            "info: a: 1 added, 0 removed, 1 in all",
            "warn: cannot renew the addresses of a, 1 stay: no reason",
            "warn: cannot renew the addresses of a, 1 stay: another",
            "info: a is good again",
        )

    def test_flaw(self) -> None:
        """That something of an answer is of no use is told once, until all of it was of use."""
        for flaw in ("1 is bad", "2 are bad", "", "3 are bad"):
            self.sources.named("a", (), flaw)
        self.assert_logged("warn: a: 1 is bad", "warn: a: 3 are bad")


class ReadAddressFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def assert_bad(self, message: str) -> None:
        with self.assertRaises(BadSource) as caught:
            read_address_file(self.path)
        self.assertEqual(str(caught.exception), message)

    def test_good(self) -> None:
        """The addresses are those in the file."""
        self.path.write_bytes(b"\xef\xbb\xbf192.0.2.1:4000\r\n\r\n192.0.2.2:4000 # b\xc3\xa4r")
        self.assertEqual(
            [str(address) for address in read_address_file(self.path)],
            ["192.0.2.1:4000", "192.0.2.2:4000"],
        )

    def test_bad_lines(self) -> None:
        """Every bad line is told with file, number, text and reason."""
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
        """Without a file, it says what to do."""
        self.assert_bad(
            f"there is no {self.path}: copy ips.txt.example to ips.txt and put your nodes in it,"
            " one address a line"
        )

    def test_empty(self) -> None:
        """A file without any address says what to do."""
        self.path.write_text("# nothing yet\n")
        self.assert_bad(
            f"{self.path} holds no address: copy ips.txt.example to ips.txt and put your nodes"
            " in it, one address a line"
        )

    def test_directory(self) -> None:
        """A directory in its place may be one that docker made; only such a one is to go."""
        self.path.mkdir()
        self.assert_bad(
            f"{self.path} is a directory, not a file of addresses. If docker made it, for a file to"
            " mount that was not there, remove it and copy ips.txt.example to ips.txt and put your"
            " nodes in it, one address a line"
        )

    def test_unreadable(self) -> None:
        """A file that cannot be read says why, and what to do if that helps."""
        self.path.touch()
        self.path = Forbidden(self.path)
        self.assert_bad(f"cannot read {self.path}: Permission denied; make it readable")

    def test_endless(self) -> None:
        """What can be read for ever is not read at all."""
        os.mkfifo(self.path)
        reason = "is a pipe or a device, not a file of addresses"
        self.assert_bad(f"{self.path} {reason}")
        self.path = Path("/dev/zero")
        self.assert_bad(f"/dev/zero {reason}")

    def test_large(self) -> None:
        """A file may have 8 MiB."""
        self.path.write_text("192.0.2.1\n")
        for size in (8 * 2**20, 8 * 2**20 + 1):
            with self.path.open("a") as file:
                file.write("#" * (size - self.path.stat().st_size))
            if size > 8 * 2**20:
                self.assert_bad(f"{self.path} is larger than 8 MiB")
            else:
                self.assertEqual(read_address_file(self.path), (parse_address("192.0.2.1"),))

    def test_no_file(self) -> None:
        """A path that leads to no file says why."""
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
        self.names: list[DnsName] = []
        self.known: tuple[NodeAddress, ...] = ()
        """The nodes when names were last handed on."""
        self.trouble: Exception | None = None
        self.path.write_text("192.0.2.1\n192.0.2.2\n")

    def watch_names(self, names: Iterable[DnsName]) -> None:
        self.names, self.known = list(names), self.fleet.addresses
        if self.trouble:
            raise self.trouble

    def start(self, *, may_be_missing: bool = False) -> AddressFile:
        file = AddressFile(self.path, self.sources, self.watch_names, self.clock, may_be_missing)
        file.startService()
        self.addCleanup(lambda: file.running and file.stopService())
        self.lines.clear()
        return file

    def pass_time(self, seconds: float = 2.0) -> None:
        """Let time pass, as much as a change has to be taken if nothing else is said."""
        self.clock.pump([0.1] * round(seconds / 0.1))

    def test_start(self) -> None:
        """What it lists is there from the start on; stopping leaves nothing behind."""
        file = self.start()
        self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.successResultOf(file.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bad_start(self) -> None:
        """A bad or missing file is refused."""
        self.path.write_text("a b\n")
        self.assertRaises(BadSource, self.start)
        self.path.unlink()
        self.assertRaises(NoFile, self.start)

    def test_may_be_missing(self) -> None:
        """A file that may be missing is taken once it is there, and not missed before; a bad one
        is refused all the same."""
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
        """A file that is edited in place is taken, and its changes are counted."""
        self.start()
        self.path.write_text("192.0.2.2\n192.0.2.3\n192.0.2.4\n")
        self.pass_time()
        self.assert_fleet("192.0.2.2", "192.0.2.3", "192.0.2.4")
        self.assert_logged(f"info: {self.path}: 2 added, 1 removed, 3 in all")

    def test_replaced(self) -> None:
        """So is one that is replaced, even by one of the same size and age."""
        self.start()
        other = self.folder / "other"
        other.write_text("192.0.2.1\n192.0.2.3\n")
        status = self.path.stat()
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(self.path)
        self.pass_time()
        self.assert_fleet("192.0.2.1", "192.0.2.3")

    def test_config_map(self) -> None:
        """So is one that is reached over a link to a folder, which is changed to another."""
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
        """A file is not taken while it is being written."""
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
        """The nodes stay, this is why, and that is told once; then the file is good again."""
        kept = f"warn: cannot renew the addresses of {self.path}, 2 stay: {reason}"
        self.pass_time(10)
        self.assert_fleet("192.0.2.1", "192.0.2.2")
        self.assert_logged(kept)
        self.path.write_text("192.0.2.1\n192.0.2.2\n# good\n")
        self.pass_time()
        self.assert_logged(f"info: {self.path} is good again")

    def test_bad(self) -> None:
        """A file that became bad keeps the nodes, and every bad line is told."""
        self.start()
        self.path.write_text("a b\n192.0.2.3\nc d\n")
        self.assert_kept(
            f"{self.path}, line 1: 'a b': there is a blank inside\n"
            f"{self.path}, line 3: 'c d': there is a blank inside"
        )

    def test_empty(self) -> None:
        """So does one that became empty."""
        self.start()
        self.path.write_text("")
        self.assert_kept(
            f"{self.path} holds no address: copy ips.txt.example to ips.txt and put your nodes"
            " in it, one address a line"
        )

    def test_vanished(self) -> None:
        """So does one that vanished."""
        self.start()
        self.path.unlink()
        self.assert_kept(
            f"there is no {self.path}: copy ips.txt.example to ips.txt and put your nodes in it,"
            " one address a line"
        )

    def test_touched(self) -> None:
        """A bad file that is touched is not told to be bad again."""
        self.start()
        self.path.write_text("a b\n")
        self.pass_time()
        self.lines.clear()
        os.utime(self.path, (1, 1))
        self.pass_time()
        self.assert_logged()

    def test_read_again(self) -> None:
        """It can be told to read the file at once, even if that does not seem to have changed."""
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
        """DNS names are handed on, also when there are none any more."""
        self.path.write_text("192.0.2.1\ndns://nodes.invalid:4000\n")
        self.start()
        self.assert_fleet("192.0.2.1")
        self.assertEqual(self.names, [DnsName("", "nodes.invalid", 4000)])
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assertEqual(self.names, [])

    def test_address_for_name(self) -> None:
        """Addresses that replace a name are there before its nodes go."""
        self.path.write_text("dns://nodes.invalid:4000\n")
        self.start()
        self.path.write_text("192.0.2.1\n")
        self.pass_time()
        self.assertEqual((self.names, self.known), ([], addresses("192.0.2.1")))

    def test_broken(self) -> None:
        """Whatever breaks, later changes are taken."""
        self.start()
        self.trouble = RuntimeError("a bug")
        self.path.write_text("192.0.2.3\n")
        self.pass_time()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.trouble = None
        self.path.write_text("192.0.2.3\n192.0.2.4\n")
        self.pass_time()
        self.assert_fleet("192.0.2.3", "192.0.2.4")


class HangupListenerTests(SynchronousTestCase):
    def test_hangup(self) -> None:
        """It does its thing at each SIGHUP, in the reactor; stopped, it gives SIGHUP back."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before or signal.SIG_DFL)
        calls: list[Callable[[], object]] = []
        heard: list[str] = []

        class Reactor:
            def callFromThread(self, callable: Callable[[], object]) -> None:
                calls.append(callable)

        reactor: Any = Reactor()
        listener = HangupListener(reactor, lambda: heard.append("SIGHUP"))
        listener.startService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((len(calls), heard), (1, []))
        calls[0]()
        self.assertEqual(heard, ["SIGHUP"])
        listener.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(len(calls), 1)


class AskedSourceTests(SourceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[float] = []
        self.answer: Answer | Exception = Answer(addresses("192.0.2.1"), seconds=60.0)

    async def ask(self) -> Answer:
        self.asked.append(self.clock.seconds())
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def start(self, ask: Callable[[], Any] | None = None) -> AskedSource:
        source = AskedSource("it", ask or self.ask, self.sources, self.clock)
        source.startService()
        self.addCleanup(lambda: source.running and source.stopService())
        return source

    def test_asks(self) -> None:
        """It is asked at once, and again when its answer is due; stopping leaves nothing."""
        source = self.start()
        self.assert_fleet("192.0.2.1")
        self.answer = Answer(addresses("192.0.2.2"), seconds=5.0, flaw="one is bad")
        self.clock.pump([1.0] * 71)
        self.assertEqual(self.asked, [0, 60, 65, 70])
        self.assert_fleet("192.0.2.2")
        self.assert_logged(
            "info: it: 1 added, 0 removed, 1 in all",
            "warn: it: one is bad",
            "info: it: 1 added, 1 removed, 1 in all",
        )
        self.successResultOf(source.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """While it fails, its nodes stay, it is told once, and it is asked less and less often."""
        self.start()
        self.answer = BadSource("no reason")
        self.clock.pump([1.0] * 250)
        self.assertEqual(self.asked, [0, 60, 61, 63, 67, 75, 91, 123, 183, 243])
        self.assert_fleet("192.0.2.1")
        self.answer = Answer(addresses("192.0.2.1"), seconds=60.0)
        self.clock.pump([1.0] * 120)
        self.assertEqual(self.asked[-2:], [303, 363])
        self.answer = BadSource("no reason")
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.asked[-4:], [423, 424, 426, 430])
        self.assert_logged(
            "info: it: 1 added, 0 removed, 1 in all",
            "warn: cannot renew the addresses of it, 1 stay: no reason",
            "info: it is good again",
            "warn: cannot renew the addresses of it, 1 stay: no reason",
        )

    def test_broken(self) -> None:
        """Whatever breaks, it is asked again."""
        self.answer = RuntimeError("a bug")
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.answer = Answer(addresses("192.0.2.1"), seconds=60.0)
        self.clock.advance(1)
        self.assert_fleet("192.0.2.1")

    def test_stopped(self) -> None:
        """A question in flight is cancelled, and that is no failure."""
        asked: Deferred[Answer] = Deferred()

        async def ask() -> Answer:
            return await asked

        source = self.start(ask)
        self.successResultOf(source.stopService())
        self.assertTrue(asked.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assert_logged()

    def test_late(self) -> None:
        """What is answered to a question that was cancelled is not heard."""
        asked: Deferred[Answer] = Deferred(
            lambda cancelled: cancelled.callback(Answer(addresses("192.0.2.1"), seconds=60.0))
        )

        async def ask() -> Answer:
            return await asked

        source = self.start(ask)
        self.successResultOf(source.stopService())
        self.assert_fleet()

    def test_restart(self) -> None:
        """One that was stopped can be started again."""
        source = self.start()
        self.successResultOf(source.stopService())
        self.clock.advance(100)
        source.startService()
        self.assertEqual(self.asked, [0, 100])
