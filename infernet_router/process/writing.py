"""Writes lines in a thread, so that a pipe nobody reads or a slow disk never stops the process."""

import atexit
import os
import sys
from collections import deque
from collections.abc import Callable
from io import TextIOBase
from select import POLLOUT, poll
from threading import Condition, Thread
from time import monotonic
from typing import TextIO
from weakref import WeakSet

_MOST_WAITING = 1 << 20
"""The most bytes that wait to be written; then lines are dropped."""

_BATCH = 1 << 16
"""How many bytes are written at once, unless a line is longer."""

_LAST = 1.0
"""Seconds that the last lines have to be written when the process ends."""


class LineWriter:
    """
    Writes lines in a thread, which starts with the first line.

    Setting O_NONBLOCK on standard output instead would do so for every process that shares it.

    :param write: writes bytes, and may block or raise OSError.
    :param said: called in the thread with the number of lines that were dropped, once there is room
        again.
    """

    def __init__(self, write: Callable[[bytes], object], said: Callable[[int], object]) -> None:
        self._write = write
        self._said = said
        self.dropped = 0
        """Lines that were dropped, as they could not be written in time or at all."""
        self._unsaid = 0
        """How many of these were not said."""
        self._end: float | None = None
        """When to stop waiting for lines to be written, once the process ends."""
        self.restart()
        _writers.add(self)

    def restart(self) -> None:
        """Begin without lines and without a thread, as after a fork."""
        self._changed = Condition()  # reentrant: a signal handler may log in the middle of a call
        self._waiting = deque[bytes | Callable[[], object]]()
        self._size = 0
        """The bytes that wait or are being written."""
        self._is_writing = False
        self._thread: Thread | None = None

    def write(self, line: bytes) -> None:
        """Write a line soon, or drop it if too many wait. This never blocks."""
        with self._changed:
            if self._size and self._size + len(line) > _MOST_WAITING:
                self._drop(1)
                return
            self._size += len(line)
            self._put(line)
        if self._end is not None:
            self.flush(self._end - monotonic())

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the thread, after the lines before."""
        with self._changed:
            self._put(function)

    def flush(self, seconds: float = _LAST) -> bool:
        """Wait until all lines are written, at most so long; returns whether they are."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing, max(0.0, seconds)
            )

    def end(self) -> None:
        """Wait for the lines so far and for each further one to be written, for a second in all."""
        self._end = monotonic() + _LAST
        self.flush()

    def _put(self, item: bytes | Callable[[], object]) -> None:
        self._waiting.append(item)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._unsaid += count

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                self._is_writing = True
                lines, function = self._next()
            unsaid = 0
            try:
                if function is not None:
                    function()
                self._write(b"".join(lines))
            except Exception:  # whatever breaks, later lines are written if they can be
                with self._changed:
                    self._drop(len(lines))
            else:
                with self._changed:
                    unsaid, self._unsaid = self._unsaid, 0
            with self._changed:
                self._size -= sum(map(len, lines))
            if unsaid:
                self._said(unsaid)

    def _next(self) -> tuple[list[bytes], Callable[[], object] | None]:
        """The lines to write next, and a function to call before."""
        lines: list[bytes] = []
        size = 0
        while self._waiting and size < _BATCH:
            item = self._waiting[0]
            if not isinstance(item, bytes):
                if lines:
                    break
                self._waiting.popleft()
                return [], item
            lines.append(item)
            size += len(item)
            self._waiting.popleft()
        return lines, None


class StandardStream(TextIOBase):
    """
    Standard output or error, which never blocks who writes to it.

    :param stream: the stream whose place it takes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.writer = LineWriter(descriptor_writer(stream.fileno()), lambda _: None)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text:
            self.writer.write(text.encode(self.encoding, "backslashreplace"))
        return len(text)


def unblock_standard_streams() -> None:
    """Make standard output and error never block, for what is printed beside the log."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, StandardStream):
            continue
        try:
            stream.flush()
            setattr(sys, name, StandardStream(stream))
        except (AttributeError, OSError):  # it is closed, or it is no file
            continue


def descriptor_writer(descriptor: int) -> Callable[[bytes], None]:
    """A function that writes bytes to a descriptor, and blocks until it has."""

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # another process has set O_NONBLOCK
                waiter = poll()
                waiter.register(descriptor, POLLOUT)
                waiter.poll()

    return write


_writers: WeakSet[LineWriter] = WeakSet()


def flush_all() -> None:
    """Wait until all lines are written, for a second in all."""
    end = monotonic() + _LAST
    for writer in tuple(_writers):
        writer.flush(end - monotonic())


def _restart_all() -> None:
    for writer in tuple(_writers):
        writer.restart()


atexit.register(flush_all)
# A fork has no copy of the threads: the process that it copies writes the lines there are.
os.register_at_fork(before=flush_all, after_in_child=_restart_all)
