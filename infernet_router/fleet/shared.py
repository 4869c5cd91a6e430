"""A fleet that several routers share: tells what this one does, and hears what the others do."""

from typing import Protocol

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.events import Outcome
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.node import State


class Follower(Protocol):
    """What is told, at once, of all that the others have to know."""

    def assigned(self, address: NodeAddress, weight: float, jobs: int) -> None:
        """So many jobs of this weight were assigned to a node here."""

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        """A client reported the outcome of a job here."""


class SharedFleet(Fleet):
    """
    A fleet that several routers share; its parameters are those of Fleet.

    It chooses as a Fleet does. What the other routers do is recorded as if it had been done here,
    except that its follower is not told, as they know it already.
    """

    follower: Follower | None = None

    def _assign(self, index: int, now: float, weight: float, jobs: int) -> NodeAddress:
        address = super()._assign(index, now, weight, jobs)
        if self.follower is not None:
            self.follower.assigned(address, weight, jobs)
        return address

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        super().told(address, outcome)
        if self.follower is not None:
            self.follower.told(address, outcome)

    def assigned_elsewhere(
        self, address: NodeAddress, weight: float, jobs: int, *, is_followed: bool = True
    ) -> None:
        """
        Record that another router assigned so many jobs of this weight to a node just now.

        :param is_followed: whether those who follow assignments are told.
        """
        node = self._roster.nodes.get(address)
        if node is not None:
            self._loads.assign(node.index, self._seconds(), weight, jobs)
            if is_followed:
                self._assignments.write(node.address)

    def told_elsewhere(self, address: NodeAddress, outcome: Outcome) -> None:
        """Record the outcome of a job that a client reported to another router."""
        super().told(address, outcome)

    def is_outdated(self, address: NodeAddress, at: float) -> bool:
        """Whether a report that a node made then would be ignored, as newer things are known."""
        node = self._roster.nodes.get(address)
        return node is None or node.is_outdated(at)

    def missed_elsewhere(
        self, address: NodeAddress, reason: str, at: float, *, is_confirmed: bool
    ) -> bool:
        """
        Record a failed poll of another router. Returns whether the node went down.

        The node is suspect then, as it may be the router that fails. It is down when another poll
        confirms that. A poll that ended before the last report changes nothing.

        :param at: when the poll ended, on the fleet's clock.
        :param is_confirmed: whether polls of two routers failed since the last report.
        """
        node = self._roster.nodes.get(address)
        if node is None or not node.is_there or (node.reported_at or at) > at:
            return False
        node.reason = reason
        self._loads.lost(node.index)
        if node.state is State.UP:
            self._roster.set_state(node, State.SUSPECT)
        if not is_confirmed:
            return False
        self._roster.set_state(node, State.DOWN)
        return True
