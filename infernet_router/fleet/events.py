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


class Why(StrEnum):
    """Why no node could be chosen."""

    NO_NODE_KNOWN = "no_node_known"
    FIRST_POLLS = "first_polls"
    """The first polls are not back yet."""
    NONE_UP = "none_up"
    NOT_RUNNING = "not_running"
    """No up node runs one of the containers."""
    NOT_EXTERNAL = "not_external"
    NOT_TOGETHER = "not_together"
    """No single node runs all of the containers, and takes jobs for one of them."""
    MODEL = "model"
    """None of the candidates supports the model."""
    EXCLUDED = "excluded"
    DRAINED = "drained"


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
