"""Counting: plain numbers of what happened, added where it happens and read when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

OTHER = "other"
"""The label of whatever has no label of its own."""

_SECONDS = (
    *(0.0001, 0.0002, 0.0003, 0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
"""Bounds of histograms of times, in seconds: close enough to estimate a percentile."""


class Histogram:
    """
    How many values were at most each bound.

    :param bounds: the bounds, ascending; values above the last one are counted too.
    """

    __slots__ = ("bounds", "counts", "examples", "total")

    def __init__(self, bounds: Sequence[float] = _SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many values each bucket has; the last one is for those above all bounds."""
        self.total = 0.0
        """The sum of all values."""
        self.examples: list[tuple[str, float] | None] = [None] * len(self.counts)
        """What names one value in each bucket, and that value; None where one is wanted."""

    def add(self, value: float) -> int:
        """Count a value; returns the number of its bucket."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        return bucket


class _Path:
    """The responses to requests for one path."""

    __slots__ = ("codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        """By status code, how many there were."""
        self.seconds = Histogram()


class Counts:
    """
    What happened since the router started.

    Counting takes less than a microsecond, so it is never off.
    """

    def __init__(self) -> None:
        self.paths: dict[str, _Path] = {OTHER: _Path()}
        """The responses, by path of a route."""
        self._by_path: dict[bytes, _Path] = {}
        self.no_node = Counter[str]()
        """How often no node could be chosen, by reason."""
        self.outcomes = Counter[str]()
        """The outcomes that clients reported."""
        self.actions = Counter[tuple[str, str]]()
        """What operators did or tried, by action and result."""
        self.rate_limited = 0
        """Requests over the rate limit."""
        self.refused = 0
        """Connections of clients over the limit."""
        self.polls = Counter[str]()
        """Polls that ended, by result."""
        self.poll_seconds = Histogram()
        """How long they took."""
        self.source_errors = Counter[str]()
        """How often a source failed, by kind."""

    def name_paths(self, paths: Iterable[bytes]) -> None:
        """Count the responses to requests for these paths one by one."""
        for path in paths:
            self._by_path[path] = self.paths[path.decode()] = _Path()

    def answered(self, path: bytes, code: int, seconds: float) -> tuple[Histogram, int] | None:
        """
        Count a response.

        :param path: the request's path as sent.
        :param seconds: the time from the request's head to the end of the response.
        :return: the histogram and bucket that want an example, if they do.
        """
        counted = self._by_path.get(path) or self._find(path)
        counted.codes[code] = counted.codes.get(code, 0) + 1
        histogram = counted.seconds
        # The same as histogram.add, without the call, once a request.
        bucket = bisect_left(histogram.bounds, seconds)
        histogram.counts[bucket] += 1
        histogram.total += seconds
        return (histogram, bucket) if histogram.examples[bucket] is None else None

    def _find(self, path: bytes) -> _Path:
        """What counts a path that is not written as in the routes."""
        plain = b"/" + unquote_to_bytes(path).lstrip(b"/")
        return self._by_path.get(plain) or self.paths[OTHER]

    def polled(self, result: str, seconds: float) -> None:
        """Count a poll that ended."""
        self.polls[result] += 1
        self.poll_seconds.add(seconds)

    def acted(self, action: str, result: str) -> None:
        """Count what an operator did or tried; action and result are two of a few fixed words."""
        self.actions[action, result] += 1
