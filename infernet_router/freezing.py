"""Freezing: keeps garbage collection off the objects that stay, so that it holds up no answer."""

import gc

from twisted.application.service import Service

from infernet_router.fleet import Event, Fleet

_ALL = 2
"""The generation whose collection goes over all objects that are not frozen."""

_MANY = 1000
"""New nodes that are worth to be frozen: to go over what belongs to so many takes some ms."""


class Freezer(Service):
    """
    Freezes what the program consists of when it starts, and then what belongs to the nodes.

    A collection of all objects takes about 20 ms, and 60 with 10,000 nodes, during which nothing
    is answered. What is frozen is left out; what stays to be looked at takes less than 1 ms.

    The nodes' part is frozen just after such a collection, as then it is no garbage. Frozen with it
    is what is there for the moment, such as connections, and some of that will never be freed. So
    before what belongs to many other nodes is frozen, there is a collection of all.
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
        """A collection began or ended."""
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
