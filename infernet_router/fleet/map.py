"""Map: the state of every node, and how long a job would wait there, in one letter each."""

from bisect import bisect_right
from collections import Counter
from math import inf
from string import ascii_letters

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.load import Loads
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.roster import Roster
from infernet_router.fleet.steps import Steps

WAITS = (1.0, 3.0, 10.0, 30.0, 60.0)
"""The seconds at which one level of waiting ends and the next begins."""

STATES = (State.UP.value, State.SUSPECT.value, "drained", State.DOWN.value, State.UNKNOWN.value)
"""The states in the order of their letters, with `drained` for up or suspect nodes that an operator
drained. Each has one letter for each level of waiting."""

_LEVELS = len(WAITS) + 1
_LETTERS = {
    state: ascii_letters[number * _LEVELS : (number + 1) * _LEVELS]
    for number, state in enumerate(STATES)
}
_DRAINED = _LETTERS["drained"]

_STEP = 2048
"""How many nodes are looked at in one step: about a millisecond."""

_MAX_SETS = 24
"""The most sets of containers that are told apart."""


@frozen
class Map:
    """All nodes at one instant."""

    membership: int
    """Changes whenever nodes are added, removed or respelled: otherwise the nodes are the same."""
    nodes: tuple[Node, ...]
    letters: str
    """By node: its letter. Where the node is down or unknown, the level of waiting is 0."""

    @property
    def addresses(self) -> list[NodeAddress]:
        """By node: its address."""
        return [node.address for node in self.nodes]


@frozen
class Grouping:
    """The nodes by the set of containers that they run, or ran until they went down."""

    sets: list[tuple[str, ...]]
    """The sets of most nodes first, then an empty one for all other nodes."""
    of: list[int]
    """By node: the position of its set."""


def draw(roster: Roster, loads: Loads, now: float) -> Steps[Map]:
    """Look at all nodes."""
    by_index, membership = roster.by_index[:], roster.membership
    letters: list[str] = []
    for start in range(0, len(by_index), _STEP):
        some = by_index[start : start + _STEP]
        stop = start + len(some)
        jobs, rates = loads.all_jobs(start, stop, now), loads.all_rates(start, stop)
        for node, here, rate in zip(some, jobs, rates, strict=True):
            if node is None:
                continue
            state = node.state
            if state is State.DOWN or state is State.UNKNOWN:
                letters.append(_LETTERS[state][0])
                continue
            level = bisect_right(WAITS, here / rate if rate else inf)
            drained = node.override is Tier.DRAINED
            letters.append(_DRAINED[level] if drained else _LETTERS[state][level])
        yield
    return Map(membership, tuple(filter(None, by_index)), "".join(letters))


def group(roster: Roster, nodes: tuple[Node, ...]) -> Steps[Grouping]:
    """Group nodes by the containers that they run."""
    sets: list[tuple[str, ...]] = []
    for start in range(0, len(nodes), _STEP):
        for node in nodes[start : start + _STEP]:
            sets.append(tuple(sorted(roster.last_containers(node))))
        yield
    counts = Counter(sets)
    counts.pop((), None)
    most = [containers for containers, _ in counts.most_common(_MAX_SETS)]
    position = {containers: number for number, containers in enumerate(most)}
    return Grouping([*most, ()], [position.get(each, len(most)) for each in sets])
