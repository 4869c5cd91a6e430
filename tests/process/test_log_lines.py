"""Tests of infernet_router.process.log_lines."""

import json
from typing import Any, cast

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.process.log_lines import LEVELS, json_line, line_format


class LinesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []
        self.log = Logger("router", observer=cast(Any, self.write))

    def write(self, event: Any) -> None:
        """Keep what an event becomes."""
        if line := json_line({**event, "log_time": 1.5}):
            self.lines.append(line)

    def last(self) -> Any:
        """The last line, which is an object."""
        line = self.lines[-1]
        self.assertEqual((line.count("\n"), line[-1]), (1, "\n"))
        return json.loads(line)


class JSONTests(LinesTestCase):
    def test_fields(self) -> None:
        """A line has the time, the level, the event, the sentence, and the event's fields."""
        self.log.warn("{node} is down: {reason}", event="node.down", node=LEVELS, reason="a\nb")
        self.assertEqual(
            self.last(),
            {
                "t": "1970-01-01T00:00:01.500Z",
                "level": "warn",
                "event": "node.down",
                "msg": f"{LEVELS} is down: a\nb",
                "node": list(LEVELS),
                "reason": "a\nb",
            },
        )

    def test_values(self) -> None:
        """Anything can be logged: numbers stay numbers, and the rest becomes text."""

        class Odd:
            def __str__(self) -> str:
                raise ValueError

        values = {"a": 1, "b": 1.5, "c": None, "d": True, "e": 2**70, "f": "\udcff", "g": Odd()}
        self.log.info("x", **values, h=float("nan"), t="own")
        last = self.last()
        self.assertEqual([last[name] for name in "abcd"], [1, 1.5, None, True])
        self.assertEqual((last["e"], last["f"], last["g"]), (str(2**70), "\\udcff", "a Odd"))
        self.assertEqual((last["h"], last["event"]), (None, "other"))
        self.assertEqual(last["t"], "1970-01-01T00:00:01.500Z")

    def test_nothing(self) -> None:
        """An event without text is no line."""
        self.log.info("")
        self.assertEqual(self.lines, [])

    def test_failure(self) -> None:
        """A failure has its traceback, in the same line."""
        try:
            raise ZeroDivisionError("oh")
        except ZeroDivisionError:
            self.log.failure("broken", event="internal.error")
        self.assertEqual((self.last()["level"], self.last()["msg"]), ("error", "broken"))
        self.assertIn("ZeroDivisionError: oh", self.last()["traceback"])


class LevelTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """Events below the level are left out, and those of Twisted's old log are information."""
        for position, level in enumerate(LEVELS):
            for form in ("text", "json"):
                format_event = line_format(form, level)
                shown = [
                    name
                    for name in (*LEVELS, "critical")
                    if format_event(
                        {
                            "log_level": LogLevel.lookupByName(name),
                            "log_format": "x",
                            "log_time": 0.0,
                        }
                    )
                ]
                self.assertEqual(shown, [*LEVELS[position:], "critical"])
        self.assertIsNone(line_format("text", "warn")({"log_format": "x", "log_time": 0.0}))
