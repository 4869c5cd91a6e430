"""What happens to nodes during the demo: they are killed, stalled, broken and drained."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from infernet_router.demo.rule import INTERVAL
from infernet_router.testing import ServedNode

AWAY = 10.0
"""Seconds after which a node is all right again."""
_MOST_AWAY = 3
"""The most nodes that something happens to at a time, so that the others can do the work."""

LOOK_AT_FIRST = (
    "Both fleets get the same jobs. Least pending sends every job to one node until its next poll: "
    "watch its bars grow one by one."
)
_NEWS = {
    "killed": (
        "Node {n} was killed. The router finds out within 1 to 3 s, least pending within "
        f"{INTERVAL:g} s; until then, clients have to try again."
    ),
    "stalled": (
        "Node {n} stands still and answers nothing. Watch whose queue grows there until a poll "
        "times out. Its jobs go on when it does."
    ),
    "broken": (
        "The container of node {n} crashed: each job fails at once, so its queue is empty. Least "
        "pending takes that for the best node; the router does not."
    ),
    "drained": (
        "Node {n} is drained: the router gives it no more jobs, and it ends those it has. The "
        "public router cannot do that without a restart."
    ),
}
_BACK = {
    "killed": "Node {n} is back, with an empty queue: least pending sends all jobs there.",
    "stalled": "Node {n} goes on with its jobs.",
    "broken": "Node {n} works again. The router tries it with one job, and then with more.",
    "drained": "Node {n} gets jobs again: the order to drain it ended by itself.",
}


@define(eq=False)
class Pair:
    """A node of the left fleet and its equal in the right one."""

    number: int
    left: ServedNode
    right: ServedNode
    state: str = ""
    """What happened to it: a word, or empty while it is all right."""
    until: float = 0.0
    """When it is all right again."""


class Story:
    """
    Makes things happen to pairs of nodes.

    :param drain: called with an address and seconds; returns why the router refuses, or "".
    :param tell: called with each new text.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        drain: Callable[[str, float], Awaitable[str]],
        tell: Callable[[str], object],
        reactor: Any,
    ) -> None:
        self._pairs = pairs
        self._drain = drain
        self._tell = tell
        self._reactor = reactor
        self._order = cycle(pairs)
        self._next: Any = None
        self._returns: list[Any] = []
        self.text = LOOK_AT_FIRST
        """What there is to look at."""

    async def happen(self, what: str, away: float = AWAY) -> None:
        """
        Have something happen to the next node.

        :param what: killed, stalled, broken or drained.
        :param away: seconds until it is all right again.
        """
        if sum(bool(pair.state) for pair in self._pairs) >= _MOST_AWAY:
            self._say(f"Wait: {_MOST_AWAY} nodes are away, and the others have to do the work.")
            return
        pair = next(pair for pair in self._order if not pair.state)
        pair.state, pair.until = what, self._reactor.seconds() + away
        if what == "drained" and (refusal := await self._refusal(pair, away)):
            pair.state = ""
            self._say(f"Node {pair.number} is not drained: {refusal}")
            return
        for node in (pair.left, pair.right):
            await _begin(node, what)
        self._returns = [call for call in self._returns if call.active()]
        self._returns.append(self._reactor.callLater(away, self._end, pair))
        self._say(_NEWS[what].format(n=pair.number))

    def follow(self, acts: Iterator[tuple[float, str, float]]) -> None:
        """Have things happen by themselves: (seconds to wait before it, what, seconds away)."""
        for wait, what, away in acts:
            self._next = self._reactor.callLater(wait, self._act, what, away, acts)
            break

    def act(self, what: str, away: float = AWAY) -> None:
        """Have something happen; see `happen`."""
        happening = Deferred.fromCoroutine(self.happen(what, away))
        happening.addErrback(lambda failure: self._say(f"It could not happen: {failure.value}"))

    def stop(self) -> None:
        """Nothing happens any more."""
        for call in (self._next, *self._returns):
            if call is not None and call.active():
                call.cancel()

    async def _refusal(self, pair: Pair, away: float) -> str:
        """Why the router does not drain a node; empty when it does."""
        try:
            return await self._drain(pair.left.address, away)
        except Exception as error:  # the demo goes on
            return f"the router did not answer ({error})"

    def _act(self, what: str, away: float, acts: Iterator[tuple[float, str, float]]) -> None:
        self.act(what, away)
        self.follow(acts)

    def _end(self, pair: Pair) -> None:
        what, pair.state = pair.state, ""
        try:
            for node in (pair.left, pair.right):
                _end(node, what)
        except CannotListenError as error:
            self._say(f"Node {pair.number} cannot come back: {error}")
            return
        self._say(_BACK[what].format(n=pair.number))

    def _say(self, text: str) -> None:
        self.text = text
        self._tell(text)


async def _begin(served: ServedNode, what: str) -> None:
    match what:
        case "killed":
            await served.kill()
        case "stalled":
            served.node.pause()
        case "broken":
            served.node.failing = 1.0
            served.node.crash()


def _end(served: ServedNode, what: str) -> None:
    match what:
        case "killed":
            served.revive()
        case "stalled":
            served.node.resume()
        case "broken":
            served.node.failing = 0.0
