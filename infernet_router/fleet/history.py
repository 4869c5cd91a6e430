"""History: when nodes went up and down lately, and why."""

from array import array

from attrs import frozen

from infernet_router.fleet.node import State

_KEPT = 65_536
"""How many transitions are kept, of all nodes together: 26 bytes each."""

_SHOWN = 20
"""The most transitions of one node that are shown."""

_MAX_TEXTS = 1000
"""The most different reasons of which only one copy is kept; most nodes go down for a few."""

_STATES = tuple(State)


@frozen
class Transition:
    """A node entered a state."""

    time: float
    """When, on the fleet's clock."""
    state: State
    reason: str
    """Why it is down or suspect; empty otherwise."""


class History:
    """
    The last transitions of all nodes: a ring, in which each entry links to the one before it of the
    same node. A node that never changes has no entry.
    """

    def __init__(self) -> None:
        self._count = 0
        """How many transitions there were."""
        self._times = array("d")
        self._states = array("b")
        self._links = array("q")
        """The number of the node's transition before this one, counted from 1; 0 without one."""
        self._reasons: list[str] = []
        self._texts: dict[str, str] = {}
        self._last = dict[int, int]()
        """By index of a node: the number of its last transition."""

    def add(self, index: int, now: float, state: State, reason: str) -> None:
        """Record that a node entered a state."""
        if len(self._texts) >= _MAX_TEXTS:
            self._texts.clear()
        reason = self._texts.setdefault(reason, reason)
        slot = self._count % _KEPT
        self._count += 1
        link = self._last.get(index, 0)
        self._last[index] = self._count
        if slot == len(self._times):
            self._times.append(now)
            self._states.append(_STATES.index(state))
            self._links.append(link)
            self._reasons.append(reason)
        else:
            self._times[slot] = now
            self._states[slot] = _STATES.index(state)
            self._links[slot] = link
            self._reasons[slot] = reason

    def forget(self, index: int) -> None:
        """A node was removed; another may get its index."""
        self._last.pop(index, None)

    def of(self, index: int) -> list[Transition]:
        """The last transitions of a node, newest first."""
        transitions: list[Transition] = []
        number = self._last.get(index, 0)
        while number > max(self._count - _KEPT, 0) and len(transitions) < _SHOWN:
            slot = (number - 1) % _KEPT
            state = _STATES[self._states[slot]]
            transitions.append(Transition(self._times[slot], state, self._reasons[slot]))
            number = self._links[slot]
        return transitions
