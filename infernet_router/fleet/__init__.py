"""The fleet: the state and load of every node, and the choice of the best; it does no I/O."""

from infernet_router.fleet.candidates import Tier
from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.events import CameUp, Change, Event, Outcome
from infernet_router.fleet.fleet import Among, Fleet, States
from infernet_router.fleet.load import Weights
from infernet_router.fleet.no_node import NoNode, Reason
from infernet_router.fleet.node import State
from infernet_router.fleet.view import NodeView

__all__ = [
    "Among",
    "CameUp",
    "Change",
    "Event",
    "Fleet",
    "NoNode",
    "NodeView",
    "Outcome",
    "Reason",
    "RunningContainer",
    "State",
    "States",
    "Tier",
    "Weights",
]
