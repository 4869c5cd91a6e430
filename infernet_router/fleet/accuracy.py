"""Accuracy: how far estimates are from the next reports, and whether choices still look right."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from math import inf, isnan, nan
from statistics import fmean, median

from attrs import define, frozen

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
"""The upper bounds of the buckets of `queue_error_jobs`, in jobs; above the last is one more."""

_RECENT = 1000
"""How many of the last reports show the recent error."""

_SOME = 0.5
"""A report shows how good the estimate was only if so many jobs were expected or reported: the
estimate for an idle node is always right."""

_AT_ONCE = 16
"""The most choices that wait for reports at the same time."""


@frozen
class RecentError:
    """|expected - reported| jobs, over the last 1000 reports with jobs expected or reported."""

    mean: float
    median: float
    share_within_one: float
    """The share of reports in which it is at most one job."""


@define(eq=False)
class _Choice:
    """A choice of which the compared nodes have not all reported yet."""

    costs: list[float]
    """What the job cost at each compared node, that chosen first; corrected by the reports."""
    prices: Sequence[float]
    waiting: int
    """How many nodes have not reported yet."""


class Accuracy:
    """How right the estimates and choices of a fleet were, as far as reports show."""

    def __init__(self) -> None:
        self.errors = array("Q", bytes(8 * (len(BOUNDS) + 1)))
        """How many reports were in each bucket of BOUNDS: those alone, not those below."""
        self.error_sum = 0.0
        """The sum of |expected - reported| over these reports, in jobs."""
        self.choices = 0
        """How many choices were checked against the next reports of the compared nodes."""
        self.still_best = 0
        """For how many of them the chosen node would be chosen again."""
        self._recent = array("f")
        self._next = 0
        self._waiting: dict[int, list[tuple[_Choice, int]]] = {}
        """By index of a node: the choices that wait for its report, and its place in each."""
        self._choices = 0
        """How many choices wait."""

    @property
    def reports(self) -> int:
        """How many reports could be compared with an estimate."""
        return sum(self.errors)

    @property
    def recent(self) -> RecentError | None:
        """The recent error; None while no report had jobs expected or reported."""
        errors = self._recent
        if not errors:
            return None
        within = sum(error <= 1.0 for error in errors) / len(errors)
        return RecentError(fmean(errors), median(errors), within)

    @property
    def still_best_share(self) -> float | None:
        """
        The share of the checked choices that would be the same; None before the first.

        Of 32 random nodes, 3 % would be the best. A fifth is usual in a busy fleet, where several
        nodes are nearly as good as the best one.
        """
        return self.still_best / self.choices if self.choices else None

    @property
    def has_room(self) -> bool:
        """Whether another choice can be watched: a few at the same time are enough."""
        return self._choices < _AT_ONCE

    def watch(
        self, indices: Sequence[int], costs: Sequence[float], prices: Sequence[float]
    ) -> None:
        """
        Check a choice once each compared node has reported or failed to. Call this while there is
        room.

        Each report shows how wrong the estimate was, and so what the job really cost. The choice is
        still best if, at these costs, no other node was cheaper.

        :param indices: the nodes compared, that chosen first.
        """
        self._choices += 1
        choice = _Choice(list(costs), prices, len(indices))
        for place, index in enumerate(indices):
            self._waiting.setdefault(index, []).append((choice, place))

    def reported(self, index: int, expected: float, reported: float, weight: float) -> None:
        """
        A node reported so many jobs.

        :param expected: how many the estimate was; NaN if there was none.
        :param weight: the mean weight of its jobs.
        """
        error = reported - expected
        if not isnan(error):
            size = abs(error)
            self.errors[bisect_left(BOUNDS, size)] += 1
            self.error_sum += size
            if expected > _SOME or reported > _SOME:
                if len(self._recent) < _RECENT:
                    self._recent.append(size)
                else:
                    self._recent[self._next] = size
                    self._next = (self._next + 1) % _RECENT
        if index in self._waiting:
            self._settle(index, error * weight)

    def lost(self, index: int) -> None:
        """A node failed to report, or was removed."""
        if index in self._waiting:
            self._settle(index, nan)

    def _settle(self, index: int, error: float) -> None:
        """Correct what jobs cost at a node; NaN takes the node out of the comparison."""
        for choice, place in self._waiting.pop(index):
            if isnan(error):
                choice.costs[place] = inf
            else:
                choice.costs[place] += error * choice.prices[place]
            choice.waiting -= 1
            if choice.waiting:
                continue
            self._choices -= 1
            chosen, *others = choice.costs
            if chosen < inf and min(others, default=inf) < inf:
                self.choices += 1
                self.still_best += chosen <= min(others)
