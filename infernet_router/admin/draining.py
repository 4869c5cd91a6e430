"""Draining: waits until a node that gets no job any more has finished those it had."""

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from infernet_router.addresses import NodeAddress
from infernet_router.admin.shown import is_ordered_drained
from infernet_router.fleet import Fleet, NodeView, State

if TYPE_CHECKING:
    from infernet_router.admin.replication import Replication

_ON_ITS_WAY = 2.0
"""Seconds that a client may take to send its job to the node that it was given. Reports that are
made sooner do not show that the node has no job left."""

_LOOK = 0.25
"""Seconds between two looks at a node; it reports once a second at most."""


@frozen
class Drainer:
    """Waits for nodes to be drained."""

    fleet: Fleet
    clock: IReactorTime
    replication: "Replication | None" = None
    """What shares the fleet with other routers."""

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
            if view is None or not is_ordered_drained(view) or left <= 0:
                return view
            if self.waits_for(view) is None:
                return view
            await deferLater(self.clock, min(_LOOK, left))

    def waits_for(self, view: NodeView) -> str | None:
        """
        Why a node may still have jobs, or get some; None once it is drained.

        It is drained when its last two reports show no pending job, and both were made so long
        after its last job was handed out, and after all routers knew the order, that every client
        had the time to send its job. Nobody knows what a node does that is down.
        """
        if not is_ordered_drained(view):
            return "there is no order to drain it"
        if view.state is not State.UP:
            return f"it is {view.state.value}" + (f": {view.reason}" if view.reason else "")
        last = view.assigned_at
        if self.replication is not None:
            known_at = self.replication.order_known_at(view.address)
            if known_at is None and self.replication.is_alone:
                why = self.replication.why_alone
                return f"this router is alone, and others may not know the order: {why}"
            if known_at is None:
                return "not all routers have said that they know the order"
            last = max(last, known_at)
        if view.pending:
            jobs = "job was" if view.pending == 1 else "jobs were"
            return f"{view.pending} {jobs} pending in its last report"
        if view.quiet_since is None or view.quiet_since < last + _ON_ITS_WAY:
            return (
                "it needs two reports without a job, made"
                f" {_ON_ITS_WAY:.0f} s or more after its last job was handed out"
            )
        return None
