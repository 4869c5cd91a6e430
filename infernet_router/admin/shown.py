"""Shown: how operators see a node, a number and an instant, in JSON."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic, time
from typing import Any

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import NodeView, State, Tier

_LEAST = 1e-6
"""The least number that is shown. Estimates of jobs get ever smaller, but never 0."""


class Shown(StrEnum):
    """The state of a node as operators see it; each node is in exactly one."""

    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"
    UNKNOWN = "unknown"
    DRAINED = "drained"
    """It is up or suspect, and gets no job by an operator's order."""


_SHOWN = {State.UP: Shown.UP, State.SUSPECT: Shown.SUSPECT, State.DOWN: Shown.DOWN}


def state_of(view: NodeView) -> Shown:
    """The state of a node as operators see it."""
    return shown(view.state, is_drained=is_ordered_drained(view))


def shown(state: State, *, is_drained: bool) -> Shown:
    """
    A state as operators see it.

    :param is_drained: whether an operator ordered that the node gets no job.
    """
    if is_drained and state in (State.UP, State.SUSPECT):
        return Shown.DRAINED
    return _SHOWN.get(state, Shown.UNKNOWN)


def is_ordered_drained(view: NodeView) -> bool:
    """Whether an operator ordered that a node gets no job, whatever its state."""
    return view.override is Tier.DRAINED


def rounded(number: float) -> float:
    """A number with four significant digits; 0 for one that is next to nothing."""
    return float(f"{number:.4g}") if abs(number) >= _LEAST else 0.0


def rfc3339(seconds: float) -> str:
    """An instant, in seconds since the epoch, to the millisecond."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Viewer:
    """
    Shows nodes.

    :param sources_of: the names of the sources that name an address.
    :param seconds: the monotonic time, in seconds, on which the fleet's instants are.
    :param now: the time of day, in seconds since the epoch.
    :param override_of: the override for an address, as it is shown; None if there is none.
    """

    def __init__(
        self,
        sources_of: Callable[[NodeAddress], list[str]],
        seconds: Callable[[], float] = monotonic,
        now: Callable[[], float] = time,
        override_of: Callable[[NodeAddress], dict[str, Any] | None] = lambda _: None,
    ) -> None:
        self._sources_of = sources_of
        self._seconds = seconds
        self._now = now
        self._override_of = override_of

    def instant(self, at: float) -> str:
        """The time of day of an instant on the fleet's clock."""
        return rfc3339(self._now() - (self._seconds() - at))

    def node(self, view: NodeView) -> dict[str, Any]:
        """A node."""
        utilization = view.utilization
        return {
            "address": str(view.address),
            "state": state_of(view).value,
            "since": self.instant(view.since),
            "reason": view.reason,
            "containers": list(view.containers),
            "pending": view.pending,
            "jobs": rounded(view.jobs),
            "rate": rounded(view.rate),
            "report_age_seconds": None if view.report_age is None else round(view.report_age, 3),
            "assigned": rounded(view.assigned),
            "doubt": rounded(view.doubt),
            "in_doubt": view.in_doubt,
            "utilization": None if utilization is None else rounded(utilization),
            "weight": view.weight,
            "override": self._override_of(view.address),
            "sources": self._sources_of(view.address),
        }
