"""Tests of the demo as a program, with a terminal and without."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from socket import create_server

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import environment
from tests.integration.programs import Program, until

COMMAND = (sys.executable, "-m", "infernet_router.demo", "--port", "0")
_HOME = "\x1b[H"
"""What every picture begins with."""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The demo in a terminal of its own, whose keys the test presses."""

    def __init__(
        self, test: SynchronousTestCase, columns: int, lines: int, **variables: str
    ) -> None:
        self._typist, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(terminal)
        kept = environment(**{"TERM": "xterm-256color", "LANG": "C.UTF-8", **variables})
        self._process = subprocess.Popen(
            COMMAND,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={name: value for name, value in kept.items() if name not in ("COLUMNS", "LINES")},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.terminal = terminal
        self._output = b""
        test.addCleanup(os.close, terminal)
        test.addCleanup(os.close, self._typist)
        test.addCleanup(self._kill)

    def press(self, key: str) -> None:
        os.write(self._typist, key.encode())

    def output(self) -> str:
        """What it has printed so far."""
        while select.select([self._typist], [], [], 0)[0]:
            self._output += os.read(self._typist, 65536)
        return self._output.decode()

    def pictures(self) -> list[list[str]]:
        """The lines of each complete picture so far."""
        pictures = self.output().split(_HOME)[2:-1]
        return [_ESCAPE.sub("", picture).split("\r\n") for picture in pictures]

    def shows(self, text: str) -> list[str]:
        """Wait for a picture with this text; returns its lines."""

        def shown() -> list[str]:
            pictures = self.pictures()
            return pictures[-1] if pictures and text in "\n".join(pictures[-1]) else []

        return until(shown, f"{text!r} in a picture")

    def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        # What it prints must be read, or it would wait for that.
        until(lambda: [self.output(), self._process.poll()][1] is not None, "end")
        return self._process.wait()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


class DemoTests(SynchronousTestCase):
    def demo(self, *flags: str, **variables: str) -> Program:
        """The demo without a terminal."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return Program(self, folder, *COMMAND, *flags, variables=variables)

    def until_started(self, demo: Program) -> None:
        until(lambda: "Both fleets get the same jobs." in demo.output(), "start")

    def test_once(self) -> None:
        """With --once, it ends by itself, and the router has won; a pipe gets lines."""
        demo = self.demo("--once")
        self.assertEqual(demo.ended(), 0, demo.output())
        output = demo.output()
        self.assertRegex(output, r"^Status page  http://127\.0\.0\.1:\d+/ ")
        self.assertRegex(output, r'\nTry          curl "http://127\.0\.0\.1:\d+/api/v1/ip\?')
        self.assertRegex(output, r"\n +\d+ s  router: mean \d+\.\d s, p99 \d+\.\d s, \d+ waiting; ")
        for text in (
            "Node 1 was killed",
            "Node 1 is back",
            "log: node 1 is down",
            "Node 3 goes on",
        ):
            self.assertIn(text, output)
        self.assertRegex(output, r"\nWith least pending, a job takes \d+\.\d times as long")
        self.assertNotIn("\x1b", output)
        self.assertNotIn("Keys", output)
        self.assertNotIn("Traceback", output)

    def test_interrupted(self) -> None:
        """Ctrl-C or SIGTERM ends it with the result so far, and --once with exit code 1."""
        for flags, number, code in (
            ((), signal.SIGINT, 0),
            ((), signal.SIGTERM, 0),
            (("--once",), signal.SIGINT, 1),
        ):
            demo = self.demo(*flags)
            self.until_started(demo)
            demo.signal(number)
            self.assertEqual(demo.ended(), code, demo.output())
            self.assertRegex(demo.output(), r"\n(no job was done|least pending  mean)")
            self.assertNotIn("Traceback", demo.output())

    def test_taken(self) -> None:
        """A port that was named and is taken ends it with a message."""
        with create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            demo = self.demo("--port", str(port))
            self.assertEqual(demo.ended(), 1)
        self.assertIn(f"tcp:{port}:interface=127.0.0.1': Address already in use\n", demo.output())
        self.assertEqual(demo.output().count("\n"), 1, demo.output())

    def test_without_rich(self) -> None:
        """Without rich, it says how to install it."""
        code = (
            "import runpy, sys\n"
            "sys.modules['rich'] = None\n"
            "runpy.run_module('infernet_router.demo', run_name='__main__')\n"
        )
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        demo = Program(self, folder, sys.executable, "-c", code)
        self.assertEqual(demo.ended(), 1)
        self.assertEqual(
            demo.output(), "the demo needs rich: pip install 'infernet-router[demo]'\n"
        )

    def test_closed_pipe(self) -> None:
        """When nobody reads its lines any more, it ends."""
        with subprocess.Popen(
            COMMAND,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONUNBUFFERED="1"),
        ) as demo:
            self.addCleanup(demo.kill)
            assert demo.stdout is not None and demo.stderr is not None
            self.assertIn("Status page", demo.stdout.readline())
            demo.stdout.close()
            self.assertEqual(demo.stderr.read(), "")
            self.assertEqual(demo.wait(), 0)

    def test_terminal(self) -> None:
        """Pictures fill a window of 80 by 24 exactly; every key does what it says."""
        terminal = Terminal(self, 80, 24)
        first = terminal.shows("k kill")
        self.assertRegex(first[1], "^Status page  http://127")
        for key, text in (
            ("k", "Node 1 was killed"),
            ("s", "Node 2 stands still"),
            ("b", "The container of node 3 crashed"),
            ("d", "Wait: 3 nodes are away"),
            ("+", "load: 70%"),
            ("-", "load: 60%"),
        ):
            terminal.press(key)
            terminal.shows(text)
        for picture in terminal.pictures():
            self.assertEqual(len(picture), 24)
            self.assertLessEqual(max(map(len, picture)), 80)
            self.assertTrue(picture[-1].startswith("k kill"), picture[-1])
            self.assertEqual(picture[1], first[1])
        terminal.press("q")
        self.assert_clean_end(terminal)

    def test_interrupt_key(self) -> None:
        """Ctrl-C is a key, which ends it; without colours the picture has none."""
        terminal = Terminal(self, 120, 40, NO_COLOR="1")
        self.assertEqual(len(terminal.shows("k kill")), 40)
        terminal.press("\x03")
        self.assert_clean_end(terminal)
        self.assertNotRegex(terminal.output(), r"\x1b\[[0-9;]*3[0-9]")

    def test_dumb_terminal(self) -> None:
        """A terminal that cannot be drawn on gets wrapped lines, and keys work there too."""
        terminal = Terminal(self, 60, 24, TERM="dumb")
        until(lambda: "Keys " in terminal.output(), "keys")
        terminal.press("k")
        until(lambda: "Node 1 was killed" in terminal.output(), "kill")
        terminal.press("q")
        self.assertEqual(terminal.ended(), 0, terminal.output())
        self.assertNotIn("\x1b", terminal.output())
        self.assertLessEqual(max(map(len, terminal.output().splitlines())), 80)

    def assert_clean_end(self, terminal: Terminal) -> None:
        """It ended with 0; the terminal is as it was, and shows the result."""
        self.assertEqual(terminal.ended(), 0, terminal.output())
        self.assertEqual(termios.tcgetattr(terminal.terminal), terminal.before)
        after = terminal.output().rpartition("\x1b[?1049l")[2]
        self.assertRegex(after, "least pending  mean|no job was done")
        self.assertNotIn("Traceback", terminal.output())
