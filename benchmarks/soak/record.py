"""The record of a soak: what every node truly was, and so how wrong the answers of a router are."""

from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import inf

from attrs import define, field

_REMEMBERED = 50
"""Changes of a node that are kept: minutes, where the oldest that matters is some seconds ago."""


class Fault(StrEnum):
    """Why an address should not be handed out."""

    REMOVED = "removed"
    DOWN = "down"
    WITHOUT = "without the container"


@define
class _Node:
    """One node as it truly was."""

    removed: float | None = -inf
    """Since when it is not listed, or None while it is."""
    offers: deque[tuple[float, frozenset[str]]] = field(
        factory=lambda: deque([(-inf, frozenset())], _REMEMBERED)
    )
    """What it has offered and since when, the newest last; nothing while it was down."""

    def last_offered(self, containers: frozenset[str]) -> float:
        """When it last offered all these at once: infinite if it does, minus that if never."""
        until = inf
        for since, offered in reversed(self.offers):
            if containers <= offered:
                return until
            until = since
        return -inf


class Record:
    """
    What every node truly was, told as it happens, against which addresses are checked.

    Times are in seconds, on one clock.

    :param allowed: how long after the fact an address may still be handed out.
    """

    def __init__(self, allowed: Mapping[Fault, float]) -> None:
        self.allowed = allowed
        self.checked = 0
        """How many addresses were handed out."""
        self.late = {fault: array("d") for fault in Fault}
        """How long after the fact an address was handed out, each time that it was."""
        self._nodes: dict[str, _Node] = {}

    def listed(self, addresses: Iterable[str]) -> None:
        """The router may now know of these nodes."""
        for address in addresses:
            self._nodes.setdefault(address, _Node()).removed = None

    def removed(self, addresses: Iterable[str], now: float) -> None:
        """These are no longer listed, if they were."""
        for address in addresses:
            node = self._nodes.setdefault(address, _Node())
            if node.removed is None:
                node.removed = now

    def offers(self, address: str, containers: frozenset[str], now: float) -> None:
        """A node offers these containers from now on; none of them when it is down."""
        self._nodes.setdefault(address, _Node()).offers.append((now, containers))

    def handed_out(self, address: str, containers: frozenset[str], asked: float) -> str | None:
        """
        An address was handed out for a job that needs all these containers.

        What happened after the router was asked counts in its favour.

        :return: what is wrong with that, in words, if it is more than is allowed.
        """
        self.checked += 1
        node = self._nodes.get(address, _Node())
        offered = node.last_offered(containers)
        ends = {
            Fault.REMOVED: inf if node.removed is None else node.removed,
            Fault.WITHOUT if node.offers[-1][1] else Fault.DOWN: offered,
        }
        wrong = None
        for fault, end in ends.items():
            if (late := asked - end) > 0:
                self.late[fault].append(late)
                if late > self.allowed[fault]:
                    wrong = f"{address} for {sorted(containers)}: {fault} for {late:.2f} s"
        return wrong

    def wrong(self, fault: Fault) -> int:
        """How often an address was handed out later than is allowed."""
        return sum(late > self.allowed[fault] for late in self.late[fault])
