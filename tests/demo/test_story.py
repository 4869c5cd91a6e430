"""Tests of infernet_router.demo.story."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.demo.story import AWAY, Story
from tests.demo.case import pairs


class StoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pairs = pairs(self.clock, 5)
        self.told: list[str] = []
        self.drained: list[tuple[str, float]] = []
        self.refusal = ""
        self.story = Story(self.pairs, self.drain, self.told.append, self.clock)

    async def drain(self, address: str, seconds: float) -> str:
        self.drained.append((address, seconds))
        return self.refusal

    def happens(self, what: str, away: float = AWAY) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.story.happen(what, away)))

    def test_killed(self) -> None:
        """A killed node is dead on both sides until it is away no more."""
        one = self.pairs[0]
        self.happens("killed", 5.0)
        self.assertEqual((one.state, one.until), ("killed", 5.0))
        self.assertEqual([served.dead for served in self.both(0)], [True, True])
        self.clock.advance(5.0)
        self.assertEqual([served.dead for served in self.both(0)], [False, False])
        self.assertEqual(one.state, "")
        self.assertIn("Node 1 was killed.", self.told[0])
        self.assertIn("Node 1 is back", self.told[1])
        self.assertEqual(self.story.text, self.told[1])

    def test_stalled(self) -> None:
        """A stalled node answers nothing, and goes on with its jobs later."""
        for served in self.both(0):
            served.node.submit(["llm"])
        self.happens("stalled", 5.0)
        self.assertEqual([served.node.silent for served in self.both(0)], [True, True])
        self.clock.advance(5.0)
        self.assertEqual([served.node.silent for served in self.both(0)], [False, False])
        self.clock.advance(1.0)
        self.assertEqual([served.node.done for served in self.both(0)], [1, 1])

    def test_broken(self) -> None:
        """On a broken node all jobs fail, those it has as well, until it works again."""
        for served in self.both(0):
            served.node.submit(["llm"])
        self.happens("broken")
        for served in self.both(0):
            self.assertEqual(served.node.pending, 0)
            self.assertEqual(served.node.submit(["llm"]).status, "failed")
        self.clock.advance(AWAY)
        for served in self.both(0):
            self.assertEqual(served.node.submit(["llm"]).status, "running")

    def test_drained(self) -> None:
        """The router is asked to drain a node; if it refuses, the reason is told."""
        self.happens("drained", 5.0)
        self.assertEqual(self.drained, [("192.0.2.1:4000", 5.0)])
        self.assertEqual(self.pairs[0].state, "drained")
        self.clock.advance(5.0)
        self.assertEqual(self.pairs[0].state, "")
        self.refusal = "no other node runs 'llm'"
        self.happens("drained")
        self.assertEqual(self.pairs[1].state, "")
        self.assertEqual(self.told[-1], "Node 2 is not drained: no other node runs 'llm'")

    def test_most_away(self) -> None:
        """Each time it is the next node, and never more than three at a time."""
        for _ in range(4):
            self.happens("stalled")
        self.assertEqual([pair.state for pair in self.pairs], ["stalled"] * 3 + ["", ""])
        self.assertEqual(
            self.told[-1], "Wait: 3 nodes are away, and the others have to do the work."
        )
        self.clock.advance(AWAY)
        for _ in range(3):
            self.happens("stalled")
        self.assertEqual(
            [pair.state for pair in self.pairs], ["stalled", "", "", "stalled", "stalled"]
        )

    def test_cannot_return(self) -> None:
        """A node whose port was taken meanwhile stays away, and the demo goes on."""
        one: Any = self.pairs[0].left
        self.happens("killed")
        one.taken = OSError("taken")
        self.clock.advance(AWAY)
        self.assertIn("Node 1 cannot come back: ", self.story.text)
        next_one: Any = self.pairs[1].left
        next_one.taken = OSError("no")
        self.story.act("killed")
        self.assertEqual(self.story.text, "It could not happen: no")

    def test_follow(self) -> None:
        """What is planned happens one after the other, and nothing more once it is stopped."""
        self.story.follow(iter([(3.0, "killed", 1.0), (4.0, "stalled", 9.0), (4.0, "broken", 9.0)]))
        self.clock.pump([2.9, 0.1])
        self.assertEqual(self.pairs[0].state, "killed")
        self.clock.pump([1.0, 3.0])
        self.assertEqual([pair.state for pair in self.pairs[:2]], ["", "stalled"])
        self.story.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ends(self) -> None:
        """A plan may end; one that was never made can be stopped."""
        self.story.stop()
        self.story.follow(iter([(1.0, "killed", 1.0)]))
        self.clock.pump([1.0, 1.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """What cannot be done is told."""

        async def drain(*_: object) -> str:
            raise OSError("no connection")

        story = Story(self.pairs, drain, self.told.append, self.clock)
        story.act("drained")
        self.assertEqual(
            story.text, "Node 1 is not drained: the router did not answer (no connection)"
        )
        self.assertEqual(self.pairs[0].state, "")

    def both(self, place: int) -> list[Any]:
        return [self.pairs[place].left, self.pairs[place].right]
