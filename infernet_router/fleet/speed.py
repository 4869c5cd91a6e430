"""Speed: learns how fast each node drains its queue, from how the queue changed between reports."""

from math import exp

import msgspec

_MEMORY = 120.0
"""How many of its last jobs determine a node's rate: enough to be accurate to a tenth, and done
within minutes."""

_PRIOR = 4.0
"""The weight, in jobs, of the prior belief that a node is as fast as the others: a few of its own
jobs outweigh it."""

_CREDIBLE = 2.0
"""The most finished jobs that one report may add to the fleet's pace, as a multiple of the expected
number: whatever a single node reports, the estimates for the others hardly change."""

_LATELY = 10.0
"""How many of its last jobs show how fast a node is right now."""

_CHANGED = 5.0
"""A node's speed has changed when the jobs it finished lately are off by this much: the square of
the difference, divided by the variance due to chance. A lower threshold would mistake chance for a
change, a higher one would notice a change late."""

_STANDSTILL = 4.0
"""A node that finished no job for longer than so many jobs used to take stood still: the rest of
the time says nothing of how fast it is."""

_FASTEST = 20.0
"""The highest rate of a node, as a multiple of the fleet's: some nodes are ten times as fast."""

_SLOWEST = 0.02
"""The lowest rate of a node, as a multiple of the fleet's: one that seems to have stopped is still
tried."""


class Pace:
    """
    How fast the nodes of a fleet drain their queues, on average.

    A new node is assumed to be this fast, and the rate of every node is bounded by multiples of it.
    """

    _MEMORY = 2000
    """How many reports count: no single node sways the mean, and it follows changes within an
    hour."""

    _STANDSTILL = 1e-6
    """The lowest rate, in jobs a second: one job in eleven days."""

    def __init__(self) -> None:
        self._done = _PRIOR
        self._busy = _PRIOR

    @property
    def rate(self) -> float:
        """Jobs a second that a busy node finishes; 1 at first."""
        return max(self._done / self._busy, self._STANDSTILL)

    def learn(self, done: float, busy: float) -> None:
        """Learn that a node finished `done` jobs in `busy` seconds of work."""
        self._done += done - self._done / self._MEMORY
        self._busy += busy - self._busy / self._MEMORY


class Speed(msgspec.Struct, gc=False):
    """What was learned of how fast one node is."""

    done: float = 0.0
    """Jobs that it finished in `busy` seconds of work; older ones count less."""
    busy: float = 0.0
    done_lately: float = 0.0
    """The same over the last few jobs only."""
    busy_lately: float = 0.0
    unconfirmed_done: float = 0.0
    """Jobs that it seems to have finished since a report last showed jobs."""
    unconfirmed_busy: float = 0.0
    """The seconds of work in which it seems to have finished them."""
    standing: float = 0.0
    """Seconds since it last finished a job, while its reports showed jobs."""

    def learn(
        self,
        pace: Pace,
        rate: float,
        each: float,
        done: float,
        expected: float,
        *,
        is_busy: bool,
        is_used: bool,
    ) -> None:
        """
        Learn that the node finished `done` jobs since its last report; its rate predicted
        `expected`.

        The rate is right when done and expected are equal in the long run, even if the queue is
        empty at times. Jobs that bypass the router look like jobs not done, and jobs that are never
        submitted look like jobs done: the rate is that at which the queue drains as seen from here.
        But a queue that only others filled, and that grew, does not show how slow the node is.

        An empty queue shows only that the node was fast enough, or that it fails its jobs: this is
        unconfirmed until a report shows jobs again. Time in which it finished no job counts in full
        until it finishes one, and up to a limit from then on, as the node may have stood still.

        :param pace: that of the fleet, which learns the same.
        :param each: the mean weight of the node's jobs.
        :param is_busy: whether its report shows jobs.
        :param is_used: whether jobs were assigned to it since its last report.
        """
        if expected <= 0.0 or (done < 0.0 and not is_used):
            return
        done = max(done, 0.0)
        busy = expected / rate
        if is_busy and not done:
            self.standing += busy
            return
        if self.standing:
            usual = self.done / self.busy if self.done else pace.rate
            busy += min(self.standing, _STANDSTILL * each / usual)
            self.standing = 0.0
        pace.learn(min(done, _CREDIBLE * busy * rate + _PRIOR * each), busy)
        self.unconfirmed_done += done
        self.unconfirmed_busy += busy
        if not is_busy:
            return
        done, busy = self.unconfirmed_done, self.unconfirmed_busy
        self.unconfirmed_done = self.unconfirmed_busy = 0.0
        jobs = busy * rate / each
        kept = exp(-jobs / _MEMORY)
        self.done = self.done * kept + done
        self.busy = self.busy * kept + busy
        kept, part = exp(-jobs / _LATELY), min(1.0, _LATELY / jobs)
        self.done_lately = self.done_lately * kept + done * part
        self.busy_lately = self.busy_lately * kept + busy * part
        if self._has_changed(self.busy_lately, each):
            self.done = self.done_lately
            self.busy = self.busy_lately

    @property
    def is_learned(self) -> bool:
        """Whether what was seen of the node counts more than the prior belief."""
        return self.done >= _PRIOR

    def rate(self, pace: Pace, each: float) -> float:
        """The estimated jobs a second, if its jobs have this mean weight."""
        done, busy = self.done, self.busy + self.standing
        if self.standing:
            busy_lately = self.busy_lately + self.standing
            if self._has_changed(busy_lately, each):
                done, busy = self.done_lately, busy_lately
        usual = pace.rate
        prior = _PRIOR * each
        rate = (done + prior) / (busy + prior / usual)
        return min(max(rate, usual * _SLOWEST), usual * _FASTEST)

    def _has_changed(self, busy_lately: float, each: float) -> bool:
        """Whether it finished its last jobs, in this many seconds, at another speed than before."""
        usual = busy_lately * self.done / self.busy if self.busy else 0.0
        return (self.done_lately - usual) ** 2 > _CHANGED * max(usual, each) * each
