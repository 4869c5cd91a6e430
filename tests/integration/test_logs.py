"""Tests of what a router logs to: a pipe that nobody reads, and a file that is moved."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import FOREGROUND, TWISTD, environment
from tests.integration.programs import TROUBLE, Program, until

PATIENCE = 60.0


class LogTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "ips.txt").write_text("127.0.0.1:1\n")
        short = Path(mkdtemp())
        self.addCleanup(short.rmdir)
        self.socket = short / "s"
        self.addCleanup(self.socket.unlink, missing_ok=True)
        self.addCleanup((short / "s.lock").unlink, missing_ok=True)

    def answer(self) -> bytes:
        """What the router answers, or nothing before it listens."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(self.socket))
            except OSError:
                return b""
            client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return client.recv(100)


class StuckTests(LogTestCase):
    def start(self, *flags: str) -> tuple[subprocess.Popen[bytes], int]:
        """A router whose output is a full pipe, and the end of this that is to be read."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"full\n" * 100)
        except BlockingIOError:
            os.set_blocking(writer, True)
        router = subprocess.Popen(
            [TWISTD, *FOREGROUND, *flags],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
        )
        os.close(writer)
        self.addCleanup(router.wait)
        self.addCleanup(router.kill)
        return router, reader

    def rest(self, reader: int) -> str:
        """What is read until the pipe is closed."""
        with os.fdopen(reader, "rb") as output:
            return output.read().decode()

    def test_serves(self) -> None:
        """A router whose output nobody reads serves, and stops; read late, nothing is missing."""
        router, reader = self.start("--listen", f"unix:{self.socket}")
        until(self.answer, "an answer")
        os.set_blocking(reader, True)
        read = b""
        while b"listening on" not in read:
            read += os.read(reader, 1 << 16)
        router.send_signal(signal.SIGTERM)
        router.send_signal(signal.SIGTERM)
        self.assertEqual(router.wait(PATIENCE), -signal.SIGTERM)
        text = read.decode() + self.rest(reader)
        self.assertIn("infernet-router ", text)
        self.assertTrue(text.endswith("Server Shut Down.\n"), text[-200:])
        self.assertNotRegex(text, TROUBLE)

    def test_stops(self) -> None:
        """A router whose output nobody reads can be stopped, and ends when it cannot start."""
        router, reader = self.start("--listen", f"unix:{self.socket}")
        self.addCleanup(os.close, reader)
        until(self.answer, "an answer")
        router.send_signal(signal.SIGTERM)
        self.assertEqual(router.wait(PATIENCE), -signal.SIGTERM)
        for flags in (("--ips", "nowhere"), ("--interval", "x")):
            router, reader = self.start(*flags)
            self.addCleanup(os.close, reader)
            self.assertEqual(router.wait(PATIENCE), 1)


class FileTests(LogTestCase):
    def test_moved(self) -> None:
        """The log of a daemon goes on in a new file after it was moved, when SIGUSR1 comes."""
        log, old, pid = (self.folder / name for name in ("log", "log.1", "pid"))
        files = (f"--pidfile={pid}", f"--logfile={log}")
        flags = ("infernet-router", "--listen", f"unix:{self.socket}")
        starter = Program(self, self.folder, TWISTD, *files, *flags)
        self.assertEqual(starter.ended(), 0, starter.output())
        number = int(until(lambda: pid.exists() and pid.read_text()))
        self.addCleanup(self.kill, number)
        until(lambda: "127.0.0.1:1 is down" in log.read_text(), "a poll")
        log.replace(old)
        os.kill(number, signal.SIGUSR1)
        until(log.exists, "a new file")
        os.kill(number, signal.SIGTERM)
        until(lambda: log.read_text().endswith("Server Shut Down.\n"), "the last line")
        text = old.read_text()
        places = [text.index(words) for words in ("infernet-router ", "listening on", "is down")]
        self.assertEqual(places, sorted(places))
        self.assertNotRegex(text + log.read_text(), TROUBLE)

    def kill(self, number: int) -> None:
        """End a daemon that is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
