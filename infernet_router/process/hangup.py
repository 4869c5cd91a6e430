"""Calls a function on SIGHUP."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads


class HangupListener(Service):
    """
    Calls a function whenever the process gets SIGHUP, while this runs.

    :param heard: called in the reactor's thread.
    """

    def __init__(self, reactor: IReactorFromThreads, heard: Callable[[], object]) -> None:
        self._reactor = reactor
        self._heard = heard
        self._before: Any = signal.SIG_DFL

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._hear)

    def stopService(self) -> None:
        """Restore the signal handler there was before."""
        super().stopService()
        signal.signal(signal.SIGHUP, self._before or signal.SIG_DFL)

    def _hear(self, *_: object) -> None:
        self._reactor.callFromThread(self._heard)
