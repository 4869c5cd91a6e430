"""Takes long-lived objects out of garbage collection (gc.freeze), so that none delays an answer."""

import gc

from twisted.application.service import Service

from infernet_router.fleet import Event, Fleet

_ALL = 2
"""The oldest generation: its collection goes over all objects that are not frozen."""

_MANY = 1000
"""New nodes that are worth freezing: to go over the objects of so many takes milliseconds."""


class Freezer(Service):
    """
    Freezes the objects of the program when it starts, and those of the nodes later.

    A full collection takes about 20 ms, and 60 with 10,000 nodes, during which no request is
    answered. With the long-lived objects frozen it takes less than 1 ms, and with 2,000 kept
    connections, of ten objects each, 10 ms. It is rare, as neither polls nor requests leave cycles.

    The objects of the nodes are frozen just after a full collection, when none of them is garbage.
    Short-lived objects such as connections are frozen with them, and cycles among these would never
    be freed. So before the objects of many new nodes are frozen, everything is unfrozen and
    collected once.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._new = 0
        """Nodes that were added since the last freeze."""
        self._thawed = True

    def startService(self) -> None:
        super().startService()
        self._changes = self._fleet.follow_changes()
        gc.freeze()
        gc.callbacks.append(self._collected)

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._collected)
        self._changes.close()
        gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        """Called by gc when a collection begins or ends."""
        if phase != "stop":
            return
        self._new += sum(change.event is Event.ADDED for change in self._changes.read())
        if info["generation"] != _ALL or self._new < _MANY:
            return
        if self._thawed:
            gc.freeze()
            self._new = 0
        else:
            gc.unfreeze()
        self._thawed = not self._thawed
