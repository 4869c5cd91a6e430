"""The map of nodes: what the status page draws, as short as it can be said."""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from infernet_router.admin.results import Results
from infernet_router.fleet import STATES, WAITS, Fleet, Map, Steps

_STEP = 4096
"""How many addresses are encoded in one step."""


class NodeMap:
    """
    Makes the map of nodes, at most once a second.

    :param started: when the router started, in seconds since the epoch: tells its lists of
        addresses from those of its predecessor.
    """

    def __init__(self, fleet: Fleet, results: Results, started: float) -> None:
        self._fleet = fleet
        self._results = results
        self._started = started

    def make(self, known: str | None, *, is_grouped: bool) -> Deferred[bytes]:
        """
        The map as JSON.

        :param known: the `list` of the map that the reader has: if the nodes are still the same,
            their addresses are left out.
        :param is_grouped: whether to add the sets of containers that the nodes run.
        """

        def make(drawn: Map) -> Deferred[bytes]:
            tag = f"{self._started:.3f}-{drawn.membership}"
            has_addresses = known != tag
            name = NodeMap, drawn.membership, has_addresses, is_grouped
            return self._results.once(
                name,
                lambda: self._encoded(
                    drawn, tag, has_addresses=has_addresses, is_grouped=is_grouped
                ),
            )

        return self._results.once(NodeMap, self._fleet.map).addCallback(make)

    def _encoded(
        self, drawn: Map, tag: str, *, has_addresses: bool, is_grouped: bool
    ) -> Steps[bytes]:
        shown: dict[str, Any] = {"list": tag, "states": STATES, "waits": WAITS}
        shown["letters"] = drawn.letters
        if has_addresses:
            shown["addresses"] = addresses = []
            for start in range(0, len(drawn.nodes), _STEP):
                addresses += [str(node.address) for node in drawn.nodes[start : start + _STEP]]
                yield
        if is_grouped:
            grouping = yield from self._fleet.grouping(drawn)
            shown["sets"], shown["set_of"] = grouping.sets, grouping.of
        yield
        return msgspec.json.encode(shown)
