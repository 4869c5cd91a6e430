"""Calls functions on SIGHUP."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads


class HangupListener(Service):
    """
    Calls functions whenever the process gets SIGHUP, while this runs.

    :param heard: each called in the reactor's thread.
    """

    def __init__(self, reactor: IReactorFromThreads, *heard: Callable[[], object]) -> None:
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
        for heard in self._heard:
            self._reactor.callFromThread(heard)
