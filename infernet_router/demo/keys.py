"""Reads single keys from the terminal, and leaves it as it was."""

import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

CTRL_C = "\x03"
_MOST = 64
_CONTROLS = 6
"""The place of the control characters in what tcgetattr returns."""


@contextmanager
def keys_read(
    reactor: Any, pressed: Callable[[str], object], descriptor: int = 0
) -> Iterator[bool]:
    """
    A context in which each key that is pressed is read, Ctrl-C included; gives whether it is.

    It is not where there is no terminal, or while this program is in the background of it.

    :param pressed: called with each key.
    :param descriptor: the terminal; by default the standard input.
    """
    if not _can_read(descriptor):
        yield False
        return
    before = termios.tcgetattr(descriptor)
    reader = _Reader(descriptor, reactor, pressed)
    try:
        tty.setcbreak(descriptor)
        # As a key, Ctrl-C does not interrupt the `make` that runs this; as a signal, it would.
        now = termios.tcgetattr(descriptor)
        off = bytes([os.fpathconf(descriptor, "PC_VDISABLE")])
        now[_CONTROLS][termios.VINTR] = now[_CONTROLS][termios.VSUSP] = off
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        reactor.addReader(reader)
        yield True
    finally:
        reactor.removeReader(reader)
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _can_read(descriptor: int) -> bool:
    if not os.isatty(descriptor):
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # it is not the terminal of this session, which could stop this process
        return True


@implementer(IReadDescriptor)
class _Reader:
    """Reads what is typed. It does not make the terminal non-blocking, as the output shares it."""

    def __init__(self, descriptor: int, reactor: Any, pressed: Callable[[str], object]) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self._pressed = pressed

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "keys"

    def doRead(self) -> None:
        try:
            read = os.read(self._descriptor, _MOST)
        except OSError:
            read = b""
        if not read:  # the terminal is gone
            self._reactor.removeReader(self)
            self._pressed(CTRL_C)
        for key in read.decode("ascii", "ignore"):
            self._pressed(key)

    def connectionLost(self, reason: Any) -> None:
        """The reactor stops."""
