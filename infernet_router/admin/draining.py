"""Draining: waits until a node that gets no job any more has finished those it had."""

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from infernet_router.addresses import NodeAddress
from infernet_router.admin.shown import is_ordered_drained
from infernet_router.fleet import Fleet, NodeView, State

_QUIET = 2
"""Reports in a row without pending jobs after which a node is drained: the last job may still have
been on its way when the first of them was made."""

_LOOK = 0.25
"""Seconds between two looks at a node; it reports once a second at most."""


def is_drained(view: NodeView) -> bool:
    """
    Whether a node that gets no job has none left.

    Nobody knows what a node does that is down or did not answer in time.
    """
    is_quiet = view.quiet >= _QUIET and not view.assigned
    return is_ordered_drained(view) and view.state is State.UP and is_quiet


@frozen
class Drainer:
    """Waits for nodes to be drained."""

    fleet: Fleet
    clock: IReactorTime

    def wait(self, address: NodeAddress, seconds: float) -> Deferred[NodeView | None]:
        """
        A node once it is drained, the order is lifted, or this time is over; None when it is not in
        the fleet any more.
        """
        return Deferred.fromCoroutine(self._wait(address, seconds))

    async def _wait(self, address: NodeAddress, seconds: float) -> NodeView | None:
        end = self.clock.seconds() + seconds
        while True:
            view = self.fleet.view(address)
            left = end - self.clock.seconds()
            if view is None or is_drained(view) or not is_ordered_drained(view) or left <= 0:
                return view
            await deferLater(self.clock, min(_LOOK, left))
