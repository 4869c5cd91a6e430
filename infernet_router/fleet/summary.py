"""Summary: how many nodes are in which state, with what operators ordered, in steps."""

from collections import Counter

from attrs import frozen

from infernet_router.fleet.node import State
from infernet_router.fleet.roster import Roster
from infernet_router.fleet.steps import Steps

_STEP = 65_536
"""How many nodes' reports are looked at in one step: about a millisecond."""


@frozen
class Summary:
    """All nodes at one instant."""

    serving: Counter[State]
    """How many nodes without a drain order are in each state."""
    drained: Counter[State]
    """How many nodes with one are."""
    overridden: int
    """How many addresses an operator's order is for, also of nodes that are not in the fleet."""
    oldest_report: float
    """The age in seconds of the oldest report of a node that is not down; 0 without any."""


def summarize(roster: Roster, now: float) -> Steps[Summary]:
    """Count all nodes."""
    drained = Counter(node.state for node in roster.drained)
    serving = roster.by_state - drained
    oldest = now
    for start in range(0, len(roster.reported_at), _STEP):
        oldest = min(oldest, min(roster.reported_at[start : start + _STEP]))
        yield
    return Summary(serving, drained, len(roster.orders), now - oldest)
