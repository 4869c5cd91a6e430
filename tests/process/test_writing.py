"""Tests of infernet_router.process.writing."""

import contextlib
import os
import sys
from io import StringIO, TextIOWrapper
from threading import Event
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process import writing
from infernet_router.process.writing import (
    LineWriter,
    StandardStream,
    descriptor_writer,
    flush_all,
    unblock_standard_streams,
)

PATIENCE = 60.0


class File:
    """What is written to it, once it may be."""

    def __init__(self) -> None:
        self.written = b""
        self.is_open = Event()
        self.is_asked = Event()
        self.error: OSError | None = None

    def write(self, data: bytes) -> None:
        self.is_asked.set()
        self.is_open.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        self.written += data


class LineWriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = File()
        self.addCleanup(self.file.is_open.set)
        self.said: list[int] = []
        self.writer = LineWriter(self.file.write, self.said.append)

    def test_writes(self) -> None:
        """Lines are written in order."""
        self.file.is_open.set()
        lines = [b"%d\n" % number for number in range(20_000)]
        for line in lines:
            self.writer.write(line)
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual(self.file.written, b"".join(lines))
        self.assertEqual((self.writer.dropped, self.said), (0, []))

    def test_stuck(self) -> None:
        """While nothing can be written, a MiB waits and the rest is dropped, which is said once."""
        for _ in range(1100):
            self.writer.write(b"x" * 1023 + b"\n")
        self.assertEqual(self.writer.dropped, 76)
        self.assertFalse(self.writer.flush(0.0))
        self.assertEqual(self.said, [])
        self.file.is_open.set()
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual(len(self.file.written), 2**20)
        self.assertEqual(self.said, [76])
        self.writer.write(b"later\n")
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual((self.writer.dropped, self.said), (76, [76]))

    def test_long_line(self) -> None:
        """A line longer than the limit is written if nothing else waits."""
        self.file.is_open.set()
        self.writer.write(b"x" * 2**21)
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual(len(self.file.written), 2**21)

    def test_error(self) -> None:
        """Lines that cannot be written are counted, and later ones are written."""
        self.file.error = OSError(28, "No space left on device")
        self.file.is_open.set()
        self.writer.write(b"lost\n")
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual((self.writer.dropped, self.said), (1, []))
        self.file.error = None
        self.writer.write(b"written\n")
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual((self.file.written, self.said), (b"written\n", [1]))

    def test_call(self) -> None:
        """A function is called after the lines before it, and before the lines after it."""
        seen: list[bytes] = []
        self.writer.write(b"1\n")
        self.writer.call(lambda: seen.append(self.file.written))
        self.writer.write(b"2\n")
        self.file.is_open.set()
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual((seen, self.file.written), ([b"1\n"], b"1\n2\n"))

    def test_end(self) -> None:
        """At the end, each line is written before the call returns."""
        self.file.is_open.set()
        self.writer.end()
        for number in range(100):
            self.writer.write(b"%d\n" % number)
            self.assertTrue(self.file.written.endswith(b"%d\n" % number))

    def test_stuck_end(self) -> None:
        """At the end, a writer that is stuck is waited for a second in all."""
        self.patch(writing, "_LAST", 0.01)
        self.writer.end()
        for _ in range(100):
            self.writer.write(b"x\n")
        flush_all()
        self.assertEqual(self.file.written, b"")

    def test_fork(self) -> None:
        """After a fork, the child writes its own lines only."""
        self.writer.write(b"parent\n")
        self.file.is_asked.wait(PATIENCE)
        self.writer.restart()
        self.writer.write(b"child\n")
        self.file.is_open.set()
        self.assertTrue(self.writer.flush(PATIENCE))
        self.assertEqual(self.file.written.count(b"child\n"), 1)


class DescriptorWriterTests(SynchronousTestCase):
    def test_nonblocking(self) -> None:
        """Everything is written, even to a pipe that another process has made non-blocking."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.set_blocking(writer, False)
        lines = LineWriter(descriptor_writer(writer), lambda _: None)
        lines.write(b"x" * 2**20)
        read = b""
        while len(read) < 2**20:
            read += os.read(reader, 2**16)
        self.assertTrue(lines.flush(PATIENCE))
        os.close(writer)
        self.assertEqual(lines.dropped, 0)


class StandardStreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        for name in ("stdout", "stderr"):  # which are as before after each test
            self.patch(sys, name, getattr(sys, name))

    def pipe(self) -> tuple[int, TextIOWrapper]:
        """The reading end of a pipe, and a stream that writes to it."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        stream = os.fdopen(writer, "w", encoding="utf-8")
        self.addCleanup(stream.close)
        return reader, stream

    def test_full(self) -> None:
        """Printing to a pipe that nobody reads goes on."""
        reader, stream = self.pipe()
        self.patch(sys, "stdout", stream)
        unblock_standard_streams()
        printed: Any = sys.stdout
        self.assertIsInstance(printed, StandardStream)
        for _ in range(3000):
            print("x" * 1000)
        self.assertGreater(printed.writer.dropped, 0)
        os.set_blocking(reader, False)
        while not printed.writer.flush(0.001):
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 2**16)

    def test_stream(self) -> None:
        """It is a text stream, to the same descriptor."""
        reader, stream = self.pipe()
        standard = StandardStream(stream)
        print("größer", end="", file=standard)
        self.assertEqual(os.read(reader, 100).decode(), "größer")
        self.assertEqual((standard.encoding, standard.fileno()), ("utf-8", stream.fileno()))
        self.assertTrue(standard.writable())
        self.assertFalse(standard.isatty())

    def test_twice(self) -> None:
        """A stream is replaced once; one that is closed or no file stays."""
        _, stream = self.pipe()
        for name, value in (("stdout", stream), ("stderr", StringIO())):
            self.patch(sys, name, value)
        unblock_standard_streams()
        first, other = sys.stdout, sys.stderr
        unblock_standard_streams()
        self.assertIs(sys.stdout, first)
        self.assertIsInstance(other, StringIO)
        self.patch(sys, "stdout", None)
        unblock_standard_streams()
        self.assertIsNone(sys.stdout)
