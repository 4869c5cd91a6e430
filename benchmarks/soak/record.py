"""The true state of every node in a soak test over time, to check the router's responses."""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from math import inf
from time import monotonic

from attrs import define, field

_REMEMBERED = 50
"""Changes kept per node: they span minutes, and only the last seconds matter."""


class Fault(StrEnum):
    """A reason why an address should not be handed out."""

    REMOVED = "removed"
    DOWN = "down"
    WITHOUT = "without the container"
    MOVED = "moved to a host without the container"


@define
class _Node:
    """The true state of one node over time."""

    removed: float | None = -inf
    """When it was removed from the list, or None while it is listed."""
    offers: deque[tuple[float, frozenset[str]]] = field(
        factory=lambda: deque([(-inf, frozenset())], _REMEMBERED)
    )
    """When it changed and the containers it ran since then; none while it was down."""

    def last_offered(self, containers: frozenset[str]) -> float:
        """When it last ran all of these: infinity if it does now, -infinity if it never did."""
        until = inf
        for since, offered in reversed(self.offers):
            if containers <= offered:
                return until
            until = since
        return -inf


class Record:
    """
    The true state of every node, recorded as it changes; addresses are checked against it.

    Times are in seconds, on a clock that stands still while the router is stopped.

    :param allowed: how long an address may still be handed out after each fault began.
    :param seconds: the monotonic time.
    """

    def __init__(
        self, allowed: Mapping[Fault, float], seconds: Callable[[], float] = monotonic
    ) -> None:
        self._seconds = seconds
        self._stopped = 0.0
        """For how long the router was stopped."""
        self._since: float | None = None
        """When it was stopped; None while it runs."""
        self.allowed = allowed
        self.checked = 0
        """The number of addresses handed out."""
        self.late = {fault: array("d") for fault in Fault}
        """For each address handed out despite a fault, the time since the fault began."""
        self.moving: set[str] = set()
        """Addresses with a name that may lead to another host at any time."""
        self._nodes: dict[str, _Node] = {}

    @property
    def now(self) -> float:
        """The time."""
        return (self._seconds() if self._since is None else self._since) - self._stopped

    def pause(self) -> None:
        """The router is stopped from now on."""
        self._since = self._seconds()

    def resume(self) -> None:
        """The router runs again."""
        if self._since is not None:
            self._stopped += self._seconds() - self._since
            self._since = None

    def listed(self, addresses: Iterable[str]) -> None:
        """Record that these nodes are in the list."""
        for address in addresses:
            self._nodes.setdefault(address, _Node()).removed = None

    def removed(self, addresses: Iterable[str], now: float) -> None:
        """Record that these nodes are no longer in the list."""
        for address in addresses:
            node = self._nodes.setdefault(address, _Node())
            if node.removed is None:
                node.removed = now

    def offers(self, address: str, containers: frozenset[str], now: float) -> None:
        """Record that a node runs these containers from now on, or none when it is down."""
        self._nodes.setdefault(address, _Node()).offers.append((now, containers))

    def handed_out(self, address: str, containers: frozenset[str], asked: float) -> str | None:
        """
        Check an address that was handed out for a job that needs all these containers.

        Changes since the request was sent do not count against the router.

        :return: what is wrong with the address, or None if it is within what is allowed.
        """
        self.checked += 1
        node = self._nodes.get(address, _Node())
        offered = node.last_offered(containers)
        fault = Fault.WITHOUT if node.offers[-1][1] else Fault.DOWN
        ends = {
            Fault.REMOVED: inf if node.removed is None else node.removed,
            Fault.MOVED if address in self.moving else fault: offered,
        }
        wrong = None
        for fault, end in ends.items():
            if (late := asked - end) > 0:
                self.late[fault].append(late)
                if late > self.allowed[fault]:
                    wrong = f"{address} for {sorted(containers)}: {fault} for {late:.2f} s"
        return wrong

    def wrong(self, fault: Fault) -> int:
        """How often an address was handed out later than allowed."""
        return sum(late > self.allowed[fault] for late in self.late[fault])
