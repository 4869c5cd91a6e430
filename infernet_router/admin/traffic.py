"""Traffic: samples the counters every second, for rates, percentiles and the last 15 minutes."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from infernet_router.admin.shown import rounded
from infernet_router.counting import Counts, Histogram

_TICK = 0.1
"""Seconds between two ticks; how late one is, so late is everything else that the reactor does."""

_SAMPLED = 10
"""Ticks between two samples."""

_WINDOW = 5
"""Samples that rates are taken over, and that one point of the history stands for."""

_POINTS = 180
"""Points of the history: 15 minutes."""

_PROBES = ("/health", "/livez", "/readyz")
"""Paths whose responses say nothing of how long clients wait."""

_PERCENTILE = 0.99


@frozen
class _Sample:
    """The counters at one instant."""

    at: float
    requests: int
    decisions: int
    no_node: int
    slower: tuple[int, ...]
    """How many responses there were in each bucket of time."""


@frozen
class Rates:
    """What happened in a second, over the last few seconds."""

    requests: float
    decisions: float
    no_node: float
    p99: float | None
    """The time in seconds within which 99 % of the requests were answered; None without any."""

    up: int
    """How many nodes are up."""


class Traffic(Service):
    """
    Follows how much the router does, and how late.

    :param decided: returns how many decisions there were.
    :param up: returns how many nodes are up.
    """

    def __init__(
        self,
        counts: Counts,
        decided: Callable[[], int],
        up: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        self._counts = counts
        self._decided = decided
        self._up = up
        self._clock = clock
        self.delay = Histogram()
        """How many seconds late the ticks were."""
        self.lateness = 0.0
        """How many seconds late the last tick was."""
        self._samples: deque[_Sample] = deque(maxlen=_WINDOW + 1)
        self._history: deque[Rates] = deque(maxlen=_POINTS)
        self._ticks = 0
        self._due = 0.0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._due = self._clock.seconds()
        self._stopped = self._loop.start(_TICK)

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        self._loop.stop()
        return self._stopped

    @property
    def rates(self) -> Rates:
        """Over the last seconds."""
        if len(self._samples) < 2:
            return Rates(0.0, 0.0, 0.0, None, self._up())
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at or 1.0
        return Rates(
            (last.requests - first.requests) / seconds,
            (last.decisions - first.decisions) / seconds,
            (last.no_node - first.no_node) / seconds,
            percentile(
                self.delay.bounds,
                [after - before for before, after in zip(first.slower, last.slower, strict=True)],
                _PERCENTILE,
            ),
            self._up(),
        )

    def history(self) -> dict[str, Any]:
        """The last 15 minutes, oldest first."""
        points = self._history
        return {
            "interval_seconds": _WINDOW * _SAMPLED * _TICK,
            "requests_per_second": [rounded(point.requests) for point in points],
            "decisions_per_second": [rounded(point.decisions) for point in points],
            "no_node_per_second": [rounded(point.no_node) for point in points],
            "p99_seconds": [None if one.p99 is None else rounded(one.p99) for one in points],
            "up": [point.up for point in points],
        }

    def _tick(self) -> None:
        now = self._clock.seconds()
        self.lateness = max(0.0, now - self._due)
        self._due = now + _TICK
        self._ticks += 1
        self.delay.add(self.lateness)
        if self._ticks % _SAMPLED:
            return
        self._samples.append(self._sample(now))
        if self._ticks % (_SAMPLED * _WINDOW) == 0:
            self._history.append(self.rates)

    def _sample(self, now: float) -> _Sample:
        paths = self._counts.paths
        asked = [counted.seconds for path, counted in paths.items() if path not in _PROBES]
        return _Sample(
            at=now,
            requests=sum(sum(counted.codes.values()) for counted in paths.values()),
            decisions=self._decided(),
            no_node=self._counts.no_node.total(),
            slower=tuple(map(sum, zip(*(seconds.counts for seconds in asked), strict=True))),
        )


def percentile(bounds: Iterable[float], counts: list[int], share: float) -> float | None:
    """
    The value that this share of all values is at most, interpolated within its bucket.

    :param counts: how many values each bucket has, the last one those above all bounds.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below, seen = total * share, 0.0, 0
    for bound, count in zip(bounds, counts, strict=False):
        if count and seen + count >= wanted:
            return below + (bound - below) * (wanted - seen) / count
        seen += count
        below = bound
    return below
