"""Tests of infernet_router.demo.keys, with a terminal that the test plays."""

import os
import termios
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.keys import CTRL_C, keys_read


class KeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactor()
        self.pressed: list[str] = []

    def test_terminal(self) -> None:
        """Keys are read one by one, Ctrl-C included; afterwards the terminal is as before."""
        typist, terminal = os.openpty()
        self.addCleanup(os.close, terminal)
        before = termios.tcgetattr(terminal)
        with keys_read(self.reactor, self.pressed.append, terminal) as reads:
            self.assertTrue(reads)
            [reader] = self.reactor.getReaders()
            self.assertEqual(reader.fileno(), terminal)
            os.write(typist, b"k\x03\xff+")
            reader.doRead()
            self.assertEqual(self.pressed, ["k", CTRL_C, "+"])
            self.assertFalse(termios.tcgetattr(terminal)[3] & termios.ECHO)
        self.assertEqual(termios.tcgetattr(terminal), before)
        self.assertEqual(self.reactor.getReaders(), [])
        os.close(typist)

    def test_gone(self) -> None:
        """When the terminal is gone, that counts as Ctrl-C."""
        typist, terminal = os.openpty()
        self.addCleanup(os.close, terminal)
        with keys_read(self.reactor, self.pressed.append, terminal):
            [reader] = self.reactor.getReaders()
            os.close(typist)
            reader.doRead()
            self.assertEqual(self.pressed, [CTRL_C])
            self.assertEqual(self.reactor.getReaders(), [])

    def test_no_terminal(self) -> None:
        """Nothing is read from what is no terminal."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        with keys_read(self.reactor, self.pressed.append, reading) as reads:
            self.assertFalse(reads)
            self.assertEqual(self.reactor.getReaders(), [])
