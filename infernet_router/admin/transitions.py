"""Transitions: remembers the ups and downs of nodes, as the fleet's journal tells them."""

from collections import deque
from collections.abc import Iterator

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Change, Event, Fleet

_KEPT = 20_000
"""How many are remembered, those of all nodes together."""

_STATES = {Event.UP: "up", Event.SUSPECT: "suspect", Event.DOWN: "down"}


class Transitions:
    """The last changes of the state of nodes."""

    def __init__(self, fleet: Fleet) -> None:
        self._changes = fleet.follow_changes()
        self._last: deque[Change] = deque(maxlen=_KEPT)
        self.counts = dict.fromkeys(_STATES.values(), 0)
        """How many there were, by the state that nodes came to."""

    def read(self) -> None:
        """Read what the journal has; call it at least now and then."""
        for change in self._changes.read():
            if change.event in _STATES:
                self.counts[_STATES[change.event]] += 1
                self._last.append(change)

    def of(self, address: NodeAddress) -> Iterator[tuple[float, str, str]]:
        """When a node came to which state and why, newest first."""
        self.read()
        for change in reversed(self._last):
            if change.address == address:
                yield change.at, _STATES[change.event], change.reason
