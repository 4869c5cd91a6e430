"""
Signals: end or stop the process once, at any moment of its life.

This imports nothing else of the router, so that signals are handled before everything is loaded.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

_STOPS = (signal.SIGTERM, signal.SIGINT)


def prepare_signals() -> None:
    """
    Ignore SIGHUP and SIGUSR1, and end on SIGTERM, until the router has its own handlers.

    SIGHUP would end the process, as SIGUSR1 would where the log is not a file; and SIGTERM would
    not if it is process 1 of a container.
    """
    for number, handler in (
        (signal.SIGHUP, signal.SIG_IGN),
        (signal.SIGUSR1, signal.SIG_IGN),
        (signal.SIGTERM, end),
    ):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A context in which SIGINT ends the process at once, without a traceback."""
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end(number: int, _: FrameType | None) -> None:
    """End as the signal does by default, or with 0 as process 1, which survives that."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(0)


def stop_once() -> None:
    """
    Make the signals that stop the running reactor do so once; later ones are ignored.

    Twisted's reactor prints a traceback when it is stopped twice.
    """
    first = iter([True])
    for number in _STOPS:
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _if_first(first, handler))


def _if_first(first: Iterator[bool], handler: Handler) -> Handler:
    def stop(number: int, frame: FrameType | None) -> None:
        if next(first, False):  # in one step, as another signal may interrupt this
            handler(number, frame)

    return stop
