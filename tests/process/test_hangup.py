"""Tests of infernet_router.process.hangup."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.hangup import HangupListener


class HangupListenerTests(SynchronousTestCase):
    def test_hangup(self) -> None:
        """SIGHUP calls the functions in the reactor; stopping restores the handler there was."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before or signal.SIG_DFL)
        calls: list[Callable[[], object]] = []
        heard: list[str] = []

        class Reactor:
            def callFromThread(self, callable: Callable[[], object]) -> None:
                calls.append(callable)

        reactor: Any = Reactor()
        listener = HangupListener(reactor, lambda: heard.append("one"), lambda: heard.append("two"))
        listener.startService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((len(calls), heard), (2, []))
        for call in calls:
            call()
        self.assertEqual(heard, ["one", "two"])
        listener.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(len(calls), 2)
