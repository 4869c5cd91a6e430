"""Views: one node as the fleet sees it at an instant, for all who look at it from outside."""

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.candidates import Tier


class State(StrEnum):
    """What the last poll of a node came to."""

    UNKNOWN = "unknown"
    """Its first poll is not back."""
    UP = "up"
    DOWN = "down"


@frozen(kw_only=True)
class NodeView:
    """One node at an instant. Times are in seconds, instants on the fleet's clock."""

    address: NodeAddress
    state: State
    since: float
    """When it came into this state."""
    reason: str
    """Why it is down; empty while it is not."""
    containers: Mapping[str, bool]
    """While it is up: each container it runs, and whether that is external."""
    pending: int | None
    """Jobs that its last report counted, each as one; None before the first report."""
    report_age: float | None
    """Since its last report; None before the first."""
    jobs: float
    """The estimate of the jobs that wait or run there now."""
    assigned: float
    """Jobs handed to it since its last report, by weight."""
    rate: float
    """Jobs a second that it is believed to finish while it has any."""
    doubt: float
    """The factor, 1 or more, on its cost because it is too seldom seen at work."""
    tier: Tier
    weight: float
    """An operator's: it gets that many times the share of an ordinary node."""
