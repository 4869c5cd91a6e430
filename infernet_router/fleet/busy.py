"""Busy: how much of the last minute each node was at work."""

from array import array
from math import exp, isnan, nan

_MEMORY = 60.0
"""Seconds after which a report counts a third of what it did at first."""


class BusyTimes:
    """
    The share of the time in which each node had jobs, averaged over about a minute.

    The time comes from the estimate of its queue between two reports, each of which corrects it.
    """

    def __init__(self) -> None:
        self._shares = array("d")
        """By index; NaN before the second report."""
        self._reported_at = array("d")

    def added(self, index: int) -> None:
        """A node was added."""
        if index == len(self._shares):
            self._shares.append(nan)
            self._reported_at.append(nan)
        self._shares[index] = self._reported_at[index] = nan

    def reported(self, index: int, at: float, busy: float) -> None:
        """A node reported that was at work for `busy` seconds since its last report, or NaN."""
        passed = at - self._reported_at[index]
        self._reported_at[index] = at
        if isnan(busy) or not passed > 0.0:
            return
        share = min(max(busy / passed, 0.0), 1.0)
        old = self._shares[index]
        self._shares[index] = (
            share if isnan(old) else share + (old - share) * exp(-passed / _MEMORY)
        )

    def shares(self, start: int, stop: int) -> "array[float]":
        """The shares of the nodes with these indices; NaN before the second report."""
        return self._shares[start:stop]
