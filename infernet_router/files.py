"""
Reads the files that options name, any of which may hang, or never end.

A read from a network file system that hangs cannot be interrupted. So it runs in a daemon thread,
which neither the reactor nor the end of the process waits for.
"""

import os
from collections.abc import Callable
from errno import EACCES
from pathlib import Path
from queue import Empty, SimpleQueue
from stat import S_ISDIR, S_ISREG
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

PATIENCE = 5.0
"""Seconds that a file system has to answer."""

_ANOTHER = 60.0
"""Seconds after which a hanging call no longer prevents the next one: the path may lead elsewhere
by now. Each further call waits four times as long."""

_MOST_HANGING = 4
"""The most calls that hang at the same time."""

Value = TypeVar("Value")


class BadFile(Exception):
    """A file that cannot be used; the message names it, and says why."""


class NoSuchFile(BadFile):
    """There is no file at this path."""


class IsDirectory(BadFile):
    """There is a directory at this path."""


class TooSlow(Exception):
    """The file system does not answer; the message says for how long."""

    def __init__(self) -> None:
        super().__init__(f"the file system did not answer within {PATIENCE:g} seconds")


def check_file(path: Path, most: int) -> None:
    """
    Refuse what is not a regular file of at most `most` bytes.

    :raises BadFile: when it is refused.
    """
    try:
        _check(path, path.stat(), most)
    except OSError as error:
        raise _bad(path, error) from None


def read_file(path: Path, most: int) -> bytes:
    """
    Read a regular file of at most `most` bytes.

    :raises BadFile: when it is anything else, or cannot be read.
    """
    try:
        check_file(path, most)
        # Should it have become a pipe meanwhile, opening it does not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", 0) as file:
            _check(path, os.fstat(file.fileno()), most)
            content = bytearray()
            while chunk := file.read(min(1 << 20, most + 1 - len(content))):
                content += chunk
            if chunk is None:
                raise BadFile(f"cannot read {path}: it has no data yet")
    except OSError as error:
        raise _bad(path, error) from None
    if len(content) > most:  # files in /proc say that they are empty
        raise _too_large(path, most)
    return bytes(content)


def in_time(call: Callable[[], Value]) -> Value:
    """
    Return what a call returns, or raise what it raises; it runs in a thread.

    :raises TooSlow: when it takes too long. The thread may then go on for ever.
    """
    results = SimpleQueue[Callable[[], Value]]()
    _start(call, results.put)
    try:
        result = results.get(timeout=PATIENCE)
    except Empty:
        raise TooSlow from None
    return result()


def in_thread(reactor: Any, call: Callable[[], Value]) -> Deferred[Value]:
    """Run a call in a thread; the Deferred fires with what it returns or raises."""
    deferred: Deferred[Any] = Deferred()

    def ended(result: Callable[[], Value]) -> None:
        try:
            deferred.callback(result())
        except Exception:
            deferred.errback(Failure())

    _start(call, lambda result: reactor.callFromThread(ended, result))
    return deferred


class OffLoop(Generic[Value]):
    """
    Runs calls in threads, one at a time, and gives up those that hang.

    :param in_thread: runs a call in a thread, as `in_thread` does.
    """

    def __init__(
        self, in_thread: Callable[[Callable[[], Any]], Deferred[Any]], clock: IReactorTime
    ) -> None:
        self._in_thread = in_thread
        self._clock = clock
        self._hanging = 0
        """Calls that were started and have not ended."""
        self._next = 0.0
        """When another call may be started although some hang."""

    def run(self, call: Callable[[], Value]) -> Deferred[Value]:
        """
        Run a call; the Deferred fires with what it returns or raises.

        It fails with TooSlow when the call takes too long, and at once while an earlier one hangs.
        """
        now = self._clock.seconds()
        if self._hanging and (self._hanging == _MOST_HANGING or now < self._next):
            return fail(TooSlow())
        self._next = now + _ANOTHER * 4**self._hanging
        self._hanging += 1
        answer: Deferred[Any] = Deferred()
        self._in_thread(call).addBoth(self._ended, answer)
        answer.addTimeout(PATIENCE, self._clock)
        answer.addErrback(_raise_too_slow)
        return answer

    def _ended(self, result: object, answer: Deferred[Any]) -> None:
        self._hanging -= 1
        if not answer.called:
            answer.callback(result)


def _raise_too_slow(failure: Failure) -> Failure:
    if failure.check(TimedOut):
        raise TooSlow
    return failure


def _start(call: Callable[[], Value], ended: Callable[[Callable[[], Value]], object]) -> None:
    """Run a call in a thread, which then passes on a function that returns or raises its result."""

    def run() -> None:
        try:
            value = call()
        except BaseException as error:
            problem = error
            ended(lambda: _raise(problem))
        else:
            ended(lambda: value)

    Thread(target=run, daemon=True).start()


def _raise(error: BaseException) -> Any:
    raise error


def _check(path: Path, status: os.stat_result, most: int) -> None:
    if S_ISDIR(status.st_mode):
        raise IsDirectory(f"{path} is a directory, not a file")
    if not S_ISREG(status.st_mode):
        raise BadFile(f"{path} is a pipe, a socket or a device, not a file")
    if status.st_size > most:
        raise _too_large(path, most)


def _too_large(path: Path, most: int) -> BadFile:
    return BadFile(f"{path} is larger than {most // 2**20} MiB")


def _bad(path: Path, error: OSError) -> BadFile:
    """What a user is told instead of this error."""
    if isinstance(error, FileNotFoundError):
        return NoSuchFile(f"cannot read {path}: {error.strerror}")
    advice = "; make it readable" if error.errno == EACCES else ""
    return BadFile(f"cannot read {path}: {error.strerror}{advice}")
