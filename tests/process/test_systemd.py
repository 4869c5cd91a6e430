"""Tests of infernet_router.process.systemd."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.systemd import Systemd, notifier, watchdog_seconds


class SystemdTests(SynchronousTestCase):
    """The state of the router as systemd is told it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.is_ready = True
        self.is_alive = True
        self.status = "2 of 3 nodes up"

    def start(self, watchdog: float | None = None) -> Systemd:
        """Start the service under test."""
        service = Systemd(
            self.clock,
            self.sent.append,
            is_ready=lambda: self.is_ready,
            is_alive=lambda: self.is_alive,
            status=lambda: self.status,
            watchdog=watchdog,
        )
        service.startService()
        return service

    def test_ready(self) -> None:
        """systemd is told that the router is ready once the first polls are back, and only then."""
        self.is_ready = False
        self.start()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.sent, [b"STATUS=2 of 3 nodes up"])
        self.is_ready = True
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.sent[1:], [b"READY=1"])

    def test_status(self) -> None:
        """A status is sent when it differs from the last."""
        self.start()
        self.status = "3 of 3 nodes up"
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.sent, [b"READY=1\nSTATUS=2 of 3 nodes up", b"STATUS=3 of 3 nodes up"])

    def test_watchdog(self) -> None:
        """The watchdog is fed twice in its time, while polls go out."""
        self.start(watchdog=1.0)
        self.sent.clear()
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.sent, [b"WATCHDOG=1"] * 4)
        self.is_alive = False
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.sent, [b"WATCHDOG=1"] * 4)

    def test_stop(self) -> None:
        """systemd is told that the router stops, and nothing after that."""
        service = self.start(watchdog=10.0)
        service.stopService()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.sent[-1], b"STOPPING=1")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NotifierTests(SynchronousTestCase):
    """The socket of systemd."""

    def receiver(self, address: str) -> socket.socket:
        """A socket in the place of systemd's."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(address)
        receiver.settimeout(10)
        return receiver

    def test_path(self) -> None:
        """Datagrams go to the socket that NOTIFY_SOCKET names."""
        # mktemp is too long in a deep folder: a socket's path has 107 bytes at most.
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = f"{folder.name}/notify"
        receiver = self.receiver(path)
        notify = notifier({"NOTIFY_SOCKET": path})
        assert notify is not None
        notify(b"READY=1")
        self.assertEqual(receiver.recv(100), b"READY=1")

    def test_abstract(self) -> None:
        """A leading @ names an abstract socket."""
        name = f"infernet-router-test-{os.getpid()}"
        receiver = self.receiver(f"\0{name}")
        notify = notifier({"NOTIFY_SOCKET": f"@{name}"})
        assert notify is not None
        notify(b"READY=1")
        self.assertEqual(receiver.recv(100), b"READY=1")

    def test_nobody_listens(self) -> None:
        """A socket that is gone, or whose queue is full, does not stop the router."""
        notify = notifier({"NOTIFY_SOCKET": str(Path(self.mktemp()).absolute())})
        assert notify is not None
        notify(b"READY=1")
        name = f"infernet-router-full-{os.getpid()}"
        receiver = self.receiver(f"\0{name}")
        notify = notifier({"NOTIFY_SOCKET": f"@{name}"})
        assert notify is not None
        for _ in range(10_000):
            notify(b"WATCHDOG=1")
        self.assertEqual(receiver.recv(100), b"WATCHDOG=1")

    def test_without_systemd(self) -> None:
        """Without NOTIFY_SOCKET, or with one of another kind, there is nobody to tell."""
        self.assertIsNone(notifier({}))
        self.assertIsNone(notifier({"NOTIFY_SOCKET": "vsock:2:1234"}))


class WatchdogTests(SynchronousTestCase):
    """The watchdog that systemd asks for."""

    def test_seconds(self) -> None:
        """WATCHDOG_USEC has microseconds, for the process that WATCHDOG_PID names."""
        self.assertEqual(watchdog_seconds({"WATCHDOG_USEC": "30000000"}), 30.0)
        mine = {"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}
        self.assertEqual(watchdog_seconds(mine), 0.5)

    def test_none(self) -> None:
        """Without a usable WATCHDOG_USEC, or for another process, there is no watchdog."""
        others = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
        for environ in (
            {},
            others,
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "9" * 5000},
            {"WATCHDOG_USEC": "soon"},
        ):
            self.assertIsNone(watchdog_seconds(environ))
