"""What the tests of the demo share: nodes without sockets."""

from typing import Any

from attrs import define
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from infernet_router.demo.story import Pair
from infernet_router.testing import SimulatedNode


@define
class Place:
    """Stands in for a ServedNode."""

    address: str
    node: SimulatedNode
    dead: bool = False
    taken: OSError | None = None
    """Why it can neither be killed nor revived."""

    async def kill(self) -> None:
        if self.taken:
            raise self.taken
        self.dead = True
        self.node.crash()

    def revive(self) -> None:
        if self.taken:
            raise CannotListenError("192.0.2.1", 4000, self.taken)
        self.dead = False


def place(clock: Clock, number: int = 1, *containers: str) -> Any:
    """A node at 192.0.2.NUMBER:4000, whose jobs take a second."""
    return Place(f"192.0.2.{number}:4000", SimulatedNode(clock, containers or ["llm"]))


def pairs(clock: Clock, count: int) -> list[Pair]:
    """Pairs of nodes, numbered from 1."""
    return [
        Pair(number, place(clock, number), place(clock, 100 + number))
        for number in range(1, count + 1)
    ]
