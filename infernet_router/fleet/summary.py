"""Summary: counts the nodes by state, with what operators ordered, in steps."""

from collections import Counter

from attrs import frozen

from infernet_router.fleet.groups import Tier
from infernet_router.fleet.node import State
from infernet_router.fleet.roster import Roster
from infernet_router.fleet.steps import Steps

_STEP = 4096
"""How many nodes are looked at in one step: about a millisecond."""


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
    serving, drained = Counter[State](), Counter[State]()
    oldest = now
    for start in range(0, len(roster.by_index), _STEP):
        for node in roster.by_index[start : start + _STEP]:
            if node is None:
                continue
            state = node.state
            if node.override is Tier.DRAINED:
                drained[state] += 1
            else:
                serving[state] += 1
            at = node.reported_at
            if at is not None and at < oldest and state is not State.DOWN:
                oldest = at
        yield
    return Summary(serving, drained, len(roster.orders), now - oldest)
