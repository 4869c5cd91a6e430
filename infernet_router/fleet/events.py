"""Events: what happens to nodes, as the fleet tells its followers and is told by clients."""

from enum import Enum, StrEnum, auto

import msgspec
from attrs import frozen

from infernet_router.addresses import NodeAddress


@frozen
class CameUp:
    """A node came up that was down or unknown."""

    away: float | None
    """How many seconds it was down; None if it was unknown."""


class Event(Enum):
    """What happened to a node."""

    ADDED = auto()
    REMOVED = auto()
    RESPELLED = auto()
    """Its address is now written differently, and this spelling is used from now on."""
    UP = auto()
    SUSPECT = auto()
    DOWN = auto()


class Outcome(StrEnum):
    """What came of a job, as its client says."""

    FAILED = "failed"
    UNREACHABLE = "unreachable"
    DONE = "done"


class Change(msgspec.Struct, frozen=True, gc=False):
    """An event of one node."""

    event: Event
    address: NodeAddress
    at: float = 0.0
    """When the node came to this state, on the fleet's clock."""
    reason: str = ""
    """Why it is down or suspect."""
