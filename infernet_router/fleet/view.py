"""Views: what the fleet shows of one node at one instant."""

from collections.abc import Mapping

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.node import State


@frozen(kw_only=True)
class NodeView:
    """A node at one instant. Durations are in seconds, instants on the fleet's clock."""

    address: NodeAddress
    state: State
    since: float
    """When it entered this state."""
    reason: str
    """Why it is down or suspect; empty otherwise."""
    containers: Mapping[str, bool]
    """While it is up or suspect: each container it runs, and whether that is external."""
    pending: int | None
    """The number of pending jobs in its last report; None before the first."""
    report_age: float | None
    """How old its last report is; None before the first."""
    jobs: float
    """The estimated jobs that wait or run there now."""
    assigned: float
    """Jobs assigned to it since its last report, by weight."""
    rate: float
    """The estimated jobs a second that it finishes while it has any."""
    doubt: float
    """The evidence that it fails its jobs, as a multiple of what it takes to give it only a few."""
    utilization: float | None
    """The share of its GPU memory in use, from 0 to 1, as last said; None if that is unknown."""
    tier: Tier
    """The tier it is in now."""
    override: Tier
    """The best tier in which an operator lets it be: DRAINED by a drain order, else NORMAL."""
    weight: float
    """It gets this many times the share of an ordinary node, by an override or its address."""
    quiet_since: float | None = None
    """When it made the report before the last, if neither shows a pending job."""
    in_doubt: str = ""
    """Why it seems to fail its jobs, so that it gets only a few; empty if it does not."""
    assigned_at: float = 0.0
    """When the last job was assigned to it; 0 if none was."""
