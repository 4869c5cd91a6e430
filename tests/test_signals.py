"""Tests of infernet_router.signals."""

import os
import signal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.signals import end, ending_at_once, prepare_signals, stop_once

NUMBERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        for number in NUMBERS:
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before or signal.SIG_DFL)

    def test_prepare(self) -> None:
        """From the first moment, SIGHUP and SIGUSR1 are ignored, and SIGTERM has a handler."""
        prepare_signals()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        self.assertEqual(signal.getsignal(signal.SIGTERM), end)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)

    def test_prepared(self) -> None:
        """Handlers that are there stay."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        prepare_signals()
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)

    def test_end(self) -> None:
        """SIGINT ends the process as a signal does by default; process 1 exits with 0."""
        killed: list[Any] = []
        self.patch(os, "kill", lambda *arguments: killed.append(arguments))
        with self.assertRaises(SystemExit) as caught, ending_at_once():
            signal.raise_signal(signal.SIGINT)
        self.assertEqual(killed, [(os.getpid(), signal.SIGINT)])
        self.assertEqual(caught.exception.code, 0)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)

    def test_stop_once(self) -> None:
        """Only the first of the signals that stop the reactor reaches it."""
        heard: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
        stop_once()
        for number in (signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual(heard, [signal.SIGTERM])
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)
