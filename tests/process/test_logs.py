"""Tests of infernet_router.process.logs."""

import os
import signal
from pathlib import Path
from threading import Event
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import files
from infernet_router.process.logs import CannotLog, Log, RotatedFile, open_log
from tests.doubles import logged

PATIENCE = 60.0
TWISTD: dict[str, Any] = {
    "logger": None,
    "syslog": False,
    "logfile": None,
    "nodaemon": True,
    "debug": False,
}
"""Options of twistd."""


class LogTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """An event is written as a line, whatever characters it has; one without text is not."""
        written: list[bytes] = []
        observer = Log(written.append)
        log = Logger("router", observer=observer)
        log.info("größer {what}", what="\udcff")
        log.info("")
        self.assertTrue(observer.writer.flush(PATIENCE))
        (line,) = filter(None, written)
        self.assertTrue(line.endswith("[router#info] größer \\udcff\n".encode()), line)

    def test_format(self) -> None:
        """Another function may format events."""
        written: list[bytes] = []
        observer = Log(written.append, lambda event: f"{event['log_level'].name}\n")
        Logger("router", observer=observer).emit(LogLevel.warn, "x")
        self.assertTrue(observer.writer.flush(PATIENCE))
        self.assertEqual(b"".join(written), b"warn\n")

    def test_dropped(self) -> None:
        """Lines that cannot be written are counted, and one line says how many."""
        fails = [True]

        def write(data: bytes) -> None:
            if fails:
                raise OSError(28, "No space left on device")

        observer = Log(write)
        lines = logged(self, "infernet_router.process.logs")
        log = Logger("router", observer=observer)
        log.info("lost")
        self.assertTrue(observer.writer.flush(PATIENCE))
        self.assertEqual((observer.lines_dropped, lines), (1, []))
        fails.clear()
        log.info("written")
        self.assertTrue(observer.writer.flush(PATIENCE))
        self.assertEqual(
            lines, ["warn: 1 lines of the log were dropped, as they could not be written"]
        )


class OpenLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(exist_ok=True)
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before or signal.SIG_DFL)

    def open(self, **options: object) -> Log:
        opened = open_log(TWISTD | options)
        assert opened is not None
        return opened

    def write(self, opened: Log, text: str) -> None:
        Logger("router", observer=opened).info(text)
        self.assertTrue(opened.writer.flush(PATIENCE))

    def texts(self, path: Path) -> list[str]:
        """The texts in a log file."""
        return [line.rpartition("] ")[2] for line in path.read_text().splitlines()]

    def test_twistd(self) -> None:
        """What twistd logs to by its --logger and --syslog is left to it."""
        self.assertIsNone(open_log(TWISTD | {"logger": print}))
        self.assertIsNone(open_log(TWISTD | {"syslog": True}))

    def test_standard_output(self) -> None:
        """In the foreground, the log goes to standard output; a daemon has a file."""
        reader, writer = os.pipe()
        before = os.dup(1)
        os.dup2(writer, 1)
        os.close(writer)
        try:
            for options in ({}, {"logfile": "-"}, {"nodaemon": False, "debug": True}):
                self.write(self.open(**options), "hello")
        finally:
            os.dup2(before, 1)
            os.close(before)
        with os.fdopen(reader) as output:
            self.assertEqual(output.read().count("hello"), 3)
        self.addCleanup(os.chdir, Path.cwd())
        self.path.mkdir()
        os.chdir(self.path)
        self.write(self.open(nodaemon=False), "hello")
        self.assertEqual(self.texts(self.path / "twistd.log"), ["hello"])

    def rotate(self, opened: Log) -> None:
        signal.raise_signal(signal.SIGUSR1)
        self.assertTrue(opened.writer.flush(PATIENCE))

    def test_moved(self) -> None:
        """After a file was moved, SIGUSR1 makes the log go on in a new one with the same mode."""
        opened = self.open(logfile=str(self.path))
        self.path.chmod(0o640)
        old = self.path.with_name(f"{self.path.name}-1")
        for text in ("first", "second"):
            self.write(opened, text)
            self.path.replace(old)
            self.write(opened, "while it was moved")
            self.rotate(opened)
            self.write(opened, "afterwards")
            self.assertEqual(self.texts(old)[-2:], [text, "while it was moved"])
            self.assertEqual(self.texts(self.path), ["afterwards"])

    def test_size(self) -> None:
        """A long file is rotated, unless it was moved before: then others do that."""
        opened = self.open(logfile=str(self.path))
        for _ in range(3):
            self.write(opened, "x" * 600_000)
        self.assertTrue(Path(f"{self.path}.1").exists())
        self.path.replace(self.path.with_name(f"{self.path.name}-1"))
        self.rotate(opened)
        for _ in range(3):
            self.write(opened, "x" * 600_000)
        self.assertFalse(Path(f"{self.path}.2").exists())

    def test_created(self) -> None:
        """A new file that is there already, as logrotate creates it, is used."""
        opened = self.open(logfile=str(self.path))
        self.write(opened, "first")
        self.path.replace(self.path.with_name(f"{self.path.name}-1"))
        self.path.touch(0o600)
        self.rotate(opened)
        self.write(opened, "second")
        self.assertEqual(self.texts(self.path), ["second"])

    def test_not_moved(self) -> None:
        """A file that nobody has moved is rotated, as twistd does."""
        opened = self.open(logfile=str(self.path))
        for text in ("first", "second", "third"):
            self.write(opened, text)
            self.rotate(opened)
        self.assertEqual(self.texts(self.path), [])
        self.assertEqual(self.texts(Path(f"{self.path}.3")), ["first"])

    def test_cannot_rotate(self) -> None:
        """When no new file can be made, the log goes on in the old one, and says so."""
        folder = self.path
        folder.mkdir()
        opened = self.open(logfile=str(folder / "log"))
        lines = logged(self, "infernet_router.process.logs")
        old = folder.with_name(f"{folder.name}-1")
        folder.replace(old)
        self.rotate(opened)
        self.write(opened, "hello")
        self.assertEqual(
            lines, [f"warn: cannot begin a new {folder}/log: No such file or directory"]
        )
        self.assertEqual(self.texts(old / "log")[-1], "hello")

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is refused, with the reason."""
        with self.assertRaises(CannotLog) as caught:
            self.open(logfile="/nowhere/log")
        self.assertEqual(
            str(caught.exception),
            "cannot open /nowhere/log for the log: No such file or directory",
        )

    def test_pipe(self) -> None:
        """A pipe, as /dev/stdout may be, cannot be a log file; the reason says what works."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        with self.assertRaises(CannotLog) as caught:
            self.open(logfile=f"/dev/fd/{writer}")
        self.assertEqual(
            str(caught.exception),
            f"cannot open /dev/fd/{writer} for the log: it is a pipe;"
            " leave --logfile out, or use -, to log to standard output",
        )

    def test_hanging(self) -> None:
        """A file that cannot be opened in time is refused."""
        answers = Event()
        self.addCleanup(answers.set)
        self.patch(files, "PATIENCE", 0.01)
        self.patch(RotatedFile, "fromFullPath", lambda _: answers.wait())
        with self.assertRaises(CannotLog) as caught:
            self.open(logfile="log")
        self.assertEqual(
            str(caught.exception),
            "cannot open log for the log: the file system did not answer within 0.01 seconds",
        )
