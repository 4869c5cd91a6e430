"""Tests of infernet_router.demo.view."""

from io import BytesIO, TextIOWrapper
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.view import draw
from tests.demo.case import pairs


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pairs = pairs(self.clock, 8)
        self.demo: Any = SimpleNamespace(
            pairs=self.pairs,
            ours=self.side([], done=0),
            others=self.side([], done=0),
            story=SimpleNamespace(text="Look at node 3: " + "it stands still " * 7),
            log=[f"message {number} " + "x" * 100 for number in range(20)],
            notes=[],
            api="http://127.0.0.1:4000/api/v1/ip",
            status_page="http://127.0.0.1:4001/",
            token="5f0c2a1b",
            load=0.5,
            began=0.0,
            seconds=83.2,
        )

    def side(self, times: list[float], done: int, trend: list[float] | None = None) -> Any:
        return SimpleNamespace(times=times, done=done, waiting=4, retries=2, trend=trend or [])

    def drawn(self, width: int, height: int, encoding: str = "utf-8") -> list[str]:
        """The lines of a picture, checked for its size."""
        file = TextIOWrapper(BytesIO(), encoding=encoding)
        console = Console(file=file, width=width, height=height, force_terminal=True)
        lines = draw(self.demo, console).plain.split("\n")
        self.assertEqual(len(lines), height)
        self.assertLessEqual(max(map(len, lines)), width)
        return [line.rstrip() for line in lines]

    def test_figures(self) -> None:
        """Both sides stand beside each other, with the ratio of their times."""
        self.demo.ours = self.side([0.5, 1.5], done=9)
        self.demo.others = self.side([2.0, 8.0], done=7)
        lines = self.drawn(80, 24)
        self.assertTrue(lines[0].endswith(" 1:23"))
        self.assertIn(
            "Status page  http://127.0.0.1:4001/  (token to change things: 5f0c2a1b)", lines
        )
        self.assertIn('Try          curl "http://127.0.0.1:4000/api/v1/ip?container=llm"', lines)
        mean, p99 = (
            next(line.split() for line in lines if line.startswith(name))
            for name in ("mean", "99th")
        )
        self.assertEqual(mean[3:], ["1.0", "s", "5.0", "s", "5.0", "times", "as", "long"])
        self.assertEqual(p99[2:], ["1.5", "s", "8.0", "s", "5.3", "times", "as", "long"])
        self.assertEqual(
            lines[-1], "k kill  s stall  b break  d drain a node   + - load: 50%   q quit"
        )

    def test_bars(self) -> None:
        """A bar has a character for each job, or less when that would be too long."""
        for _ in range(3):
            self.pairs[1].left.node.submit(["llm"])
        self.assertIn("2  1.0  llm          ███ 3                         ·", self.drawn(80, 24))
        self.assertIn(
            "2  1.0  llm          ### 3                         -", self.drawn(80, 24, "ascii")
        )
        for _ in range(300):
            self.pairs[1].right.node.submit(["llm"])
        [row] = [line for line in self.drawn(80, 24) if line.startswith("2 ")]
        self.assertEqual(row.split()[3:], ["█", "3", "█" * 23, "300"])

    def test_states(self) -> None:
        """What happened to a node stands in its row, with the time that it is away."""
        self.pairs[3].state, self.pairs[3].until = "killed", 90.0
        self.assertIn("4  1.0  killed 7 s   ·                             ·", self.drawn(80, 24))

    def test_sizes(self) -> None:
        """Every window is filled exactly, and its lines stay where they are."""
        for width, height in ((20, 2), (40, 12), (80, 24), (81, 25), (120, 40), (300, 90)):
            lines = self.drawn(width, height)
            self.assertTrue(lines[-1].startswith("k kill"), (width, height))
        rows = [line.partition(" ")[0] for line in self.drawn(80, 24)]
        self.demo.ours = self.side([1.0], 1, [1.0] * 300)
        self.demo.story.text = "short"
        self.assertEqual([line.partition(" ")[0] for line in self.drawn(80, 24)][:16], rows[:16])

    def test_log(self) -> None:
        """Log messages are wrapped; the last ones are shown, more of them in a high window."""
        self.assertEqual(
            [line[:16].rstrip() for line in self.drawn(80, 24)[-4:-1]],
            ["log: message 19", "x" * 16, "x" * 16],
        )
        shown = [line for line in self.drawn(120, 50) if line.startswith("log: ")]
        self.assertEqual(len(shown), 12)
        self.assertIn("log: message 19 ", shown[-1])

    def test_whole_messages(self) -> None:
        """A message of the log is shown whole or not at all, unless it is longer than the room."""
        self.demo.log = ["first " + "x" * 75, "second " + "x" * 75]
        shown = [line[:11] for line in self.drawn(80, 24)[-4:-1]]
        self.assertEqual([line for line in shown if line.strip()], ["log: second", "x" * 11])
        self.demo.log = ["long " + "x" * 1000]
        self.assertEqual(self.drawn(80, 24)[-4][:9], "log: long")

    def test_same_words(self) -> None:
        """What the picture counts has the words that the last lines have."""
        lines = self.drawn(80, 24)
        for words in ("jobs waiting         4", "retries              2"):
            self.assertEqual(sum(line.startswith(words) for line in lines), 1, words)

    def test_notes(self) -> None:
        """Ports that were taken are said."""
        self.demo.notes = ["port 4000 is taken, so the router has another one"]
        self.assertIn(
            "Note         port 4000 is taken, so the router has another one", self.drawn(80, 24)
        )

    def test_trend(self) -> None:
        """The trends of both sides have one scale; long ones are averaged to fit."""
        self.demo.ours = self.side([1.0], 1, [1.0, 2.0])
        self.demo.others = self.side([1.0], 1, [0.0, 8.0])
        self.assertIn("trend, up to 8.0 s   ▁▂                            ▁█", self.drawn(80, 24))
        self.demo.others = self.side([1.0], 1, [8.0] * 100)
        [row] = [line for line in self.drawn(80, 24) if line.startswith("trend")]
        self.assertEqual(row.split()[-1], "█" * 25)
        high = [line[51:].rstrip() for line in self.drawn(80, 40)]
        self.assertEqual(high.count("█" * 25), 6)
