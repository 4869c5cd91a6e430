"""A node's account: its jobs at the last report and since, to learn from its next report."""

from math import exp, nan

import msgspec

from infernet_router.fleet.speed import Speed

TRAVEL = 0.1
"""Mean seconds from the router's answer to the job's arrival at the node: a host name lookup, a
connection and a POST."""


class Account(msgspec.Struct, gc=False):
    """The last report of a node, the jobs assigned to it since, and how fast it is."""

    reported: float = nan
    """Jobs at its last report; NaN when the next report cannot be compared with it."""
    pending: float = 0.0
    """The pending jobs in its last report."""
    assigned: float = 0.0
    """Jobs assigned to it since its last report."""
    travelling: float = 0.0
    """Jobs assigned to it that had not reached it at `travelling_at`."""
    travelling_at: float = 0.0
    """When the last job was assigned to it."""
    mean_weight: float = 1.0
    """The mean weight of its jobs."""
    speed: Speed = msgspec.field(default_factory=Speed)
    share: float = 1.0
    """The multiple of an ordinary node's jobs that an operator's override gives it."""

    def still_travelling(self, now: float) -> float:
        """The jobs assigned to the node that have not reached it at `now`."""
        return self.travelling * exp(min(0.0, self.travelling_at - now) / TRAVEL)
