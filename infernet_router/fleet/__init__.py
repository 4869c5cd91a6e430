"""The fleet: the state and load of every node, and the choice of the best; it does no I/O."""

from infernet_router.fleet.accuracy import BOUNDS, RecentError
from infernet_router.fleet.among import Among
from infernet_router.fleet.catalogue import RunningContainer
from infernet_router.fleet.containers import ContainerView
from infernet_router.fleet.decisions import KEPT, Compared, Decision
from infernet_router.fleet.events import CameUp, Change, Event, Outcome
from infernet_router.fleet.explanations import Explanation
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.history import Transition
from infernet_router.fleet.map import STATES, WAITS, Grouping, Map
from infernet_router.fleet.no_node import NoNode, Reason
from infernet_router.fleet.node import State
from infernet_router.fleet.orders import MAX_REASON, BadOrder, Order, decode_order, encode_order
from infernet_router.fleet.overrides import MAX_OVERRIDES, Overrides
from infernet_router.fleet.records import Records
from infernet_router.fleet.roster import States
from infernet_router.fleet.steps import Steps, finish
from infernet_router.fleet.view import NodeView
from infernet_router.fleet.weights import Weights
from infernet_router.fleet.whatif import Forecast

__all__ = [
    "BOUNDS",
    "KEPT",
    "MAX_OVERRIDES",
    "MAX_REASON",
    "STATES",
    "WAITS",
    "Among",
    "BadOrder",
    "CameUp",
    "Change",
    "Compared",
    "ContainerView",
    "Decision",
    "Event",
    "Explanation",
    "Fleet",
    "Forecast",
    "Grouping",
    "Map",
    "NoNode",
    "NodeView",
    "Order",
    "Outcome",
    "Overrides",
    "Reason",
    "RecentError",
    "Records",
    "RunningContainer",
    "State",
    "States",
    "Steps",
    "Tier",
    "Transition",
    "Weights",
    "decode_order",
    "encode_order",
    "finish",
]
