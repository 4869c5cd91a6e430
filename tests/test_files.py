"""Tests of infernet_router.files."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import files
from infernet_router.files import BadFile, OffLoop, TooSlow, in_thread, in_time, read_file


class ReadFileTests(SynchronousTestCase):
    def assert_bad(self, path: Path, reason: str) -> None:
        with self.assertRaises(BadFile) as caught:
            read_file(path, 2**20)
        self.assertEqual(str(caught.exception), reason)

    def test_read(self) -> None:
        """A file is read up to the limit."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 2**20)
        self.assertEqual(read_file(path, 2**20), b"x" * 2**20)
        path.write_bytes(b"x" * (2**20 + 1))
        self.assert_bad(path, f"{path} is larger than 1 MiB")

    def test_special(self) -> None:
        """Pipes, sockets, devices and directories are refused, and are not opened."""
        path = Path(self.mktemp())
        os.mkfifo(path)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(self.id()[-50:])
            for special in (path, Path(self.id()[-50:]), Path("/dev/zero")):
                self.assert_bad(special, f"{special} is a pipe, a socket or a device, not a file")
        self.assert_bad(Path("/"), "/ is a directory, not a file")

    def test_becomes_special(self) -> None:
        """A pipe that takes the place of a file at the last moment is refused."""
        path = Path(self.mktemp())
        os.mkfifo(path)
        self.patch(files, "check_file", lambda *_: None)
        self.assert_bad(path, f"{path} is a pipe, a socket or a device, not a file")

    def test_endless(self) -> None:
        """A file that has more than its size says is read up to the limit."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 2**21)
        self.patch(files, "_check", lambda *_: None)
        self.assert_bad(path, f"{path} is larger than 1 MiB")

    def test_no_data(self) -> None:
        """A file whose data is not there yet is refused, not waited for."""
        path = Path(self.mktemp())
        os.mkfifo(path)
        end = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, end)
        self.patch(files, "_check", lambda *_: None)
        self.assert_bad(path, f"cannot read {path}: it has no data yet")


class InTimeTests(SynchronousTestCase):
    def test_result(self) -> None:
        """What the call returns is returned, and what it raises is raised."""
        self.assertEqual(in_time(lambda: 7), 7)
        with self.assertRaises(ZeroDivisionError):
            in_time(lambda: 1 // 0)

    def test_hangs(self) -> None:
        """A call that hangs is given up."""
        ends = Event()
        self.addCleanup(ends.set)
        self.patch(files, "PATIENCE", 0.01)
        with self.assertRaises(TooSlow):
            in_time(ends.wait)


class InThreadTests(SynchronousTestCase):
    def test_result(self) -> None:
        """The Deferred fires in the reactor's thread with what the call returns or raises."""
        for call, check in (
            (lambda: 7, lambda deferred: self.assertEqual(self.successResultOf(deferred), 7)),
            (lambda: 1 // 0, lambda deferred: self.failureResultOf(deferred, ZeroDivisionError)),
        ):
            called = Event()
            calls: list[Callable[[], object]] = []

            class Reactor:
                def callFromThread(
                    self,
                    function: Callable[[Any], object],
                    result: Any,
                    calls: list[Callable[[], object]] = calls,
                    called: Event = called,
                ) -> None:
                    calls.append(lambda: function(result))
                    called.set()

            deferred = in_thread(Reactor(), call)
            called.wait()
            self.assertNoResult(deferred)
            calls[0]()
            check(deferred)


class OffLoopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.started: list[Deferred[Any]] = []

    def start(self, _: object) -> Deferred[Any]:
        self.started.append(Deferred())
        return self.started[-1]

    def test_result(self) -> None:
        """A call's result is passed on, or what it raised; nothing stays scheduled."""
        off_loop = OffLoop[int](self.start, self.clock)
        call = off_loop.run(lambda: 7)
        self.started[0].callback(7)
        self.assertEqual(self.successResultOf(call), 7)
        call = off_loop.run(lambda: 7)
        self.started[1].errback(ZeroDivisionError())
        self.failureResultOf(call, ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hangs(self) -> None:
        """A call that hangs is given up after 5 seconds, and the next ones at once."""
        off_loop = OffLoop[int](self.start, self.clock)
        call = off_loop.run(lambda: 7)
        self.clock.advance(4.9)
        self.assertNoResult(call)
        self.clock.advance(0.1)
        failure = self.failureResultOf(call, TooSlow)
        self.assertEqual(str(failure.value), "the file system did not answer within 5 seconds")
        self.failureResultOf(off_loop.run(lambda: 7), TooSlow)
        self.assertEqual(len(self.started), 1)
        self.started[0].callback(7)
        call = off_loop.run(lambda: 8)
        self.started[1].callback(8)
        self.assertEqual(self.successResultOf(call), 8)

    def test_pile(self) -> None:
        """While calls hang, others are tried at longer and longer intervals, four in all."""
        off_loop = OffLoop[int](self.start, self.clock)
        counts = []
        for _ in range(200):
            off_loop.run(lambda: 7).addErrback(lambda failure: failure.trap(TooSlow))
            counts.append(len(self.started))
            self.clock.advance(60)
        self.assertEqual([counts.index(number) for number in (1, 2, 3, 4)], [0, 1, 5, 21])
        self.assertEqual(counts[-1], 4)
