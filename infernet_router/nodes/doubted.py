"""Doubted: logs that a node seems to fail its jobs."""

from math import inf

from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet

_RETELL = 60.0
"""Seconds until it is logged again that the same node is in doubt."""

log = Logger()


class DoubtLog:
    """Logs each time that a node begins to be in doubt, at most once a minute for each."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._told_at: dict[NodeAddress, float] = {}
        """By node, when it was logged last."""
        self._told = set[NodeAddress]()
        """The nodes in doubt of which that was logged."""

    def look(self, address: NodeAddress) -> None:
        """Log it if a node has come to be in doubt."""
        why = self._fleet.in_doubt(address)
        if not why:
            self._told.discard(address)
            return
        now = self._fleet.now
        if address in self._told or now < self._told_at.get(address, -inf) + _RETELL:
            return
        self._told.add(address)
        self._told_at[address] = now
        log.warn(
            "{node} is in doubt and gets few jobs: {reason}",
            event="node.doubted",
            node=address,
            reason=why,
        )

    def forget(self, address: NodeAddress) -> None:
        """A node was removed."""
        self._told.discard(address)
        self._told_at.pop(address, None)
