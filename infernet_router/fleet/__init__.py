"""The fleet: what is known of every node, and which is best now; the pure core."""

from infernet_router.fleet.candidates import Tier
from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.fleet import Among, CameUp, Change, Event, Fleet, NoNode, States
from infernet_router.fleet.load import Weights
from infernet_router.fleet.view import NodeView, State

__all__ = [
    "Among",
    "CameUp",
    "Change",
    "Event",
    "Fleet",
    "NoNode",
    "NodeView",
    "RunningContainer",
    "State",
    "States",
    "Tier",
    "Weights",
]
