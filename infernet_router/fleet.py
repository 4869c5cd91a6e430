"""The fleet: every node the router knows, its state, and which of them to use now."""

from collections.abc import Callable, Iterable
from random import Random

from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.load import Load
from infernet_router.quoting import quoted
from infernet_router.reports import NodeReport


class NoNode(Exception):
    """No node can do the job; the message says why, in words for the client who asked."""


@frozen
class CameUp:
    """A node that was not up is up."""

    away: float | None
    """Seconds since it went down, or None when it had not been down."""


class _Node:
    """One node, and what is known of it."""

    __slots__ = ("address", "containers", "down_since", "load", "reason")

    def __init__(self, address: NodeAddress) -> None:
        self.address = address
        self.load = Load()
        self.containers: dict[str, bool] | None = None
        """While it is up: each container it runs, and whether that is external."""
        self.down_since: float | None = None
        """While it is down: since when, on the fleet's clock."""
        self.reason = ""
        """While it is down: why."""


class Fleet:
    """
    The nodes, each unknown until its first poll is back, then up or down.

    :param seconds: tells the time, in seconds.
    :param random: breaks ties.
    """

    def __init__(self, seconds: Callable[[], float], random: Random) -> None:
        self._seconds = seconds
        self._random = random
        self._nodes: dict[NodeAddress, _Node] = {}
        self._running: dict[str, dict[_Node, bool]] = {}
        self.addresses: tuple[NodeAddress, ...] = ()
        """The nodes' addresses; another tuple whenever the nodes are replaced."""

    def replace(self, addresses: Iterable[NodeAddress]) -> None:
        """Make these the nodes: what is known of one that stays is kept."""
        nodes: dict[NodeAddress, _Node] = {}
        for address in addresses:
            node = nodes[address] = self._nodes.get(address) or _Node(address)
            node.address = address
        for gone in self._nodes.keys() - nodes.keys():
            self._withdraw(self._nodes[gone])
        self._nodes = nodes
        self.addresses = tuple(node.address for node in nodes.values())

    def observed(self, address: NodeAddress, report: NodeReport) -> CameUp | None:
        """A poll brought this report: the node is up. Says so when it was not up before."""
        node = self._nodes.get(address)
        if node is None:
            return None
        came_up = None
        if node.containers is None:
            away = None if node.down_since is None else self._seconds() - node.down_since
            came_up = CameUp(away=away)
            node.down_since = None
        self._withdraw(node)
        node.containers = {container.id: container.external for container in report.containers}
        for container, external in node.containers.items():
            self._running.setdefault(container, {})[node] = external
        node.load.reported(sum(report.pending.values()))
        return came_up

    def missed(self, address: NodeAddress, reason: str) -> bool:
        """A poll brought no report: the node is down. True when it was not down before."""
        node = self._nodes.get(address)
        if node is None:
            return False
        node.reason = reason
        if node.down_since is not None:
            return False
        self._withdraw(node)
        node.down_since = self._seconds()
        return True

    def pick(self, containers: Iterable[str]) -> NodeAddress:
        """
        The best node for a job that needs all these containers; the job is counted as assigned.

        :raises NoNode: when there is none.
        """
        node = self._best(containers)
        node.load.assign()
        return node.address

    def peek(self, containers: Iterable[str]) -> NodeAddress:
        """A node that `pick` might choose now; nothing is counted. Raises as `pick` does."""
        return self._best(containers).address

    def _best(self, containers: Iterable[str]) -> _Node:
        """The candidate with the fewest jobs, ties broken at random."""
        candidates = self._candidates(tuple(dict.fromkeys(containers)))
        fewest = min(node.load.jobs for node in candidates)
        return self._random.choice([node for node in candidates if node.load.jobs == fewest])

    def _candidates(self, containers: tuple[str, ...]) -> list[_Node]:
        """The nodes that are up, run all these containers, and take a job for one of them."""
        running = [self._running.get(container, {}) for container in containers]
        candidates = [
            node
            for node in min(running, key=len, default=())
            if all(node in nodes for nodes in running) and any(nodes[node] for nodes in running)
        ]
        if not candidates:
            raise NoNode(self._why_none(containers))
        return candidates

    def _why_none(self, containers: tuple[str, ...]) -> str:
        """Why no node is a candidate for these containers."""
        if not self._nodes:
            return "no node is known"
        down = [node for node in self._nodes.values() if node.down_since is not None]
        up = sum(node.containers is not None for node in self._nodes.values())
        unknown = len(self._nodes) - len(down) - up
        if up:
            why = self._what_is_missing(containers)
            return f"{why}; the first polls of {unknown} more are not back" if unknown else why
        if unknown:
            return "the first polls are not back yet"
        example = f"{down[0].address} is down: {down[0].reason}"
        return f"no node is up; {example}" + (f"; {len(down) - 1} more" if len(down) > 1 else "")

    def _what_is_missing(self, containers: tuple[str, ...]) -> str:
        """What the nodes that are up lack for these containers."""
        absent = [quoted(container) for container in containers if container not in self._running]
        if absent:
            return f"no up node runs {' or '.join(absent)}"
        if len(containers) == 1:
            return f"no up node takes jobs for {quoted(containers[0])}, which is not external"
        running = [self._running[container] for container in containers]
        together = any(all(node in nodes for nodes in running) for node in running[0])
        return "no single up node " + (
            f"runs {' and '.join(map(quoted, containers))}, of which one must be external"
            if together
            else f"runs all of {', '.join(map(quoted, containers))}"
        )

    def _withdraw(self, node: _Node) -> None:
        """Take a node out of the index: it is no candidate any more."""
        for container in node.containers or ():
            del self._running[container][node]
            if not self._running[container]:
                del self._running[container]
        node.containers = None
