"""
Load: estimates each node's queue at this instant, and what one more job there would cost.

A report is seconds old when it is used. The literature has two answers to stale load information,
and this module uses both. The first is to correct the reported number for what is known to have
happened since (Dahlin, "Interpreting stale load information", IEEE TPDS 11(10), 2000; Zhou, Shroff
and Wierman, "Asymptotically optimal load balancing in large-scale heterogeneous systems with
multiple dispatchers", 2020, whose dispatchers keep local estimates between updates). The second is
to compare a random sample only (Mitzenmacher, "How useful is old information?", IEEE TPDS 11(1),
2000; see `candidates`). Queues are compared by the time they take, and a node that seems too good
is not trusted at once, as in Prequal (Wydrowski et al., "Load is not what you should balance", NSDI
2024), which sends live probes where this module has a model.

Work is counted in jobs of weight 1, time in seconds.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping
from heapq import nsmallest
from math import exp, inf, isnan, log, nan
from random import Random

import msgspec
from attrs import field, frozen

_TRAVEL = 0.1
"""Mean seconds from the router's answer to the job's arrival at the node: a host name lookup, a
connection and a POST."""

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

_UNSEEN = 1.0
"""The highest rate, as a multiple of the fleet's, of a node that was never seen at work: a node
that fails every job at once has an empty queue, too."""

_SEEN = 0.5
"""How much each report that shows it at work adds to that: some nodes are ten times as fast."""

_EXPECTED = 0.25
"""A node is doubted when, of the reports that should show jobs, less than this share do. A healthy
node shows far more, even one that is faster than the others."""

_REMEMBERED = 40.0
"""How many recent reports count for that; after this many, a doubted node is tried again."""

_SLOWEST = 0.02
"""The lowest rate of a node, as a multiple of the fleet's: one that seems to have stopped is still
tried."""

_SPEED_EXPONENT = 0.6
"""The power of a node's rate that divides its cost. 1 is best for the job itself, but delays later
jobs. 1/2 is best for all when nodes are chosen without knowing their queues (Bell and Stidham,
"Individual versus social optimization in the allocation of customers to alternative servers", 1983:
optimal static shares leave spare capacities in proportion to the square roots of the speeds), and
the rule here is one step of policy improvement from there (Krishnan, "Joining the right queue: a
state-dependent decision rule", 1990). In simulations the best value lies between the two."""

_MIXTURE = 0.1
"""The share of a new job in the moving average of the weight of a node's jobs."""


@frozen
class Weights:
    """What jobs cost; an ordinary job costs 1."""

    jobs: Mapping[str, float] = field(factory=dict)
    """By container, what one job for it costs; 1 for a container that is not listed."""

    pending: Mapping[str, float] = field(factory=dict)
    """By kind of pending jobs, what each costs; 1 for a kind that is not listed."""

    def of_job(self, containers: Collection[str]) -> float:
        """What one job for all these containers costs: the sum over them."""
        if not self.jobs:
            return float(len(containers))
        return sum([self.jobs.get(container, 1.0) for container in containers])

    def of_pending(self, pending: Mapping[str, int]) -> float:
        """What the pending jobs of a report cost."""
        return sum([count * self.pending.get(kind, 1.0) for kind, count in pending.items()])


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


class _History(msgspec.Struct, gc=False):
    """What is remembered of one node, to learn from its next report."""

    reported: float = nan
    """Jobs at its last report; NaN when the next report cannot be compared with it."""
    pending: float = 0.0
    """The pending jobs in its last report."""
    assigned: float = 0.0
    """Jobs assigned to it since its last report."""
    travelling: float = 0.0
    """Jobs assigned to it that had not reached it at `travelling_at`."""
    travelling_at: float = 0.0
    mean_weight: float = 1.0
    """The mean weight of its jobs."""
    done: float = 0.0
    """Jobs that it finished in `busy` seconds of work; older ones count less."""
    busy: float = 0.0
    done_lately: float = 0.0
    """The same over the last few jobs only."""
    busy_lately: float = 0.0
    sights: float = 0.0
    """Recent reports that showed it at work."""
    chances: float = 0.0
    """Recent reports that should have shown it at work."""
    weight: float = 1.0
    """An operator's: it gets this many times the share of an ordinary node."""


class Loads:
    """
    The queues of the nodes of a fleet; each node is known by an index.

    A queue grows by each job that is assigned to the node, and drains at the node's rate while it
    holds more than one job. When the last job ends is unknown, so from one job on, the estimate
    decays exponentially. Each report corrects the estimate, and the size of the correction shows
    how fast the node is.

    A report has the number of jobs but not what they cost. Each is assumed to cost the average of
    the jobs assigned to the node lately.

    A pick reads three numbers of each candidate. They are kept in arrays, so that those of
    neighbours share cache lines; the rest of what is known of a node is in its _History.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._one_left_at = array("d")
        """When one job will be left at each node."""
        self._rates = array("d")
        """The estimated jobs a second that each node finishes while it has any."""
        self._prices = array("d")
        """What multiplies the jobs at each node to give the cost: rate ** -0.6 * doubt / weight."""
        self._histories: list[_History] = []
        self._free: list[int] = []

    def add(self) -> int:
        """Add a new node; returns its index."""
        if self._free:
            index = self._free.pop()
        else:
            index = len(self._histories)
            for numbers in (self._one_left_at, self._rates, self._prices):
                numbers.append(0.0)
            self._histories.append(_History())
        self._settle_rate(index)
        self._set_jobs(index, 0.0, 0.0)
        return index

    def remove(self, index: int) -> None:
        """Forget a node; a new one may get its index."""
        self._histories[index] = _History()
        self._free.append(index)

    def jobs(self, index: int, now: float) -> float:
        """The jobs that wait or run at a node at `now`; a fraction is the chance of one more."""
        ahead = (self._one_left_at[index] - now) * self._rates[index]
        return ahead + 1.0 if ahead > 0.0 else exp(ahead)

    def rate(self, index: int) -> float:
        """The estimated jobs a second that a node finishes while it has any."""
        return self._rates[index]

    def assigned(self, index: int) -> float:
        """The jobs assigned to a node since its last report."""
        return self._histories[index].assigned

    def doubt(self, index: int) -> float:
        """The factor, at least 1, on the cost of a node that is too rarely seen at work."""
        history = self._histories[index]
        return max(1.0, (1.0 + _EXPECTED * history.chances) / (1.0 + history.sights))

    def set_weight(self, index: int, weight: float) -> None:
        """Divide a node's price by this from now on."""
        self._histories[index].weight = weight
        self._set_price(index)

    def cheapest(self, indices: Iterable[int], now: float, weight: float, random: Random) -> int:
        """
        The node where a job of this weight costs all users least; ties are broken at random.

        The cost is the jobs that would then be there, divided by the node's rate to the power 0.6
        and by its weight, and multiplied by its doubt.
        """
        one_left_at, rates, prices = self._one_left_at, self._rates, self._prices
        best, lowest, ties = -1, inf, 1
        for index in indices:
            ahead = (one_left_at[index] - now) * rates[index]
            cost = ((ahead + 1.0 if ahead > 0.0 else exp(ahead)) + weight) * prices[index]
            if cost < lowest:
                best, lowest, ties = index, cost, 1
            elif cost == lowest:
                ties += 1
                if random.random() * ties < 1.0:
                    best = index
        return best

    def cheapest_first(
        self, indices: Collection[int], now: float, weight: float, count: int, order: int
    ) -> list[int]:
        """
        The `count` nodes where a job of this weight costs least, as in `cheapest`, best first.

        Ties are ordered by the exclusive or of index and `order`, the same way in each call. This
        takes about as long as looking at each node once, unless most of them are wanted.
        """
        prices = self._prices
        costs = [(self.jobs(index, now) + weight) * prices[index] for index in indices]
        ties = [index ^ order for index in indices]
        return [index for _, _, index in nsmallest(count, zip(costs, ties, indices, strict=True))]

    def assign(self, index: int, now: float, weight: float) -> None:
        """Assign a job of this weight to a node."""
        history = self._histories[index]
        if self._one_left_at[index] > now:  # the same as below in fewer steps, once a request
            self._one_left_at[index] += weight / self._rates[index]
        else:
            self._set_jobs(index, now, self.jobs(index, now) + weight)
        history.assigned += weight
        history.travelling = _travelling(history, now) + weight
        history.travelling_at = now
        history.mean_weight += (weight - history.mean_weight) * _MIXTURE

    def reported(self, index: int, at: float, pending: float) -> None:
        """
        Learn from a report that a node made at `at`.

        Jobs assigned to it just before are still on their way, and are added to those it reported.

        :param pending: what the jobs that wait or run there cost, as in Weights.of_pending.
        """
        history = self._histories[index]
        jobs = pending * history.mean_weight + _travelling(history, at)
        if not isnan(history.reported):
            left = self.jobs(index, at)
            changed = pending != history.pending
            kept = exp(-1 / _REMEMBERED)
            history.sights *= kept
            history.chances *= kept
            if changed or history.assigned:
                history.sights += changed and pending > 0
                history.chances += min(1.0, left)
            had = history.reported + history.assigned
            self._learn(history, self._rates[index], had - jobs, had - left)
        self._settle_rate(index)
        self._set_jobs(index, at, jobs)
        history.reported = jobs
        history.assigned = 0.0
        history.pending = pending

    def told(self, index: int, done: bool) -> None:
        """Learn that a job of a node was done or was not, which counts like one report."""
        history = self._histories[index]
        history.chances += 1
        history.sights += done
        self._set_price(index)

    def lost(self, index: int) -> None:
        """A node did not report: its next report cannot be compared with its last."""
        self._histories[index].reported = nan

    def _learn(self, history: _History, rate: float, done: float, expected: float) -> None:
        """
        Learn from the `done` jobs that a node finished since its last report, `expected` by its
        rate.

        The rate is right when done and expected are equal in the long run, even if the queue is
        empty at times. Jobs that bypass the router look like jobs not done, and jobs that are never
        submitted look like jobs done: the rate is that at which the queue drains as seen from here.
        But when more jobs bypassed the router than were finished, this does not show how slow the
        node is.
        """
        if expected <= 0.0:
            return
        done = max(done, 0.0)
        each = history.mean_weight
        busy = expected / rate
        kept = exp(-expected / each / _MEMORY)
        history.done = history.done * kept + done
        history.busy = history.busy * kept + busy
        kept = exp(-expected / each / _LATELY)
        history.done_lately = history.done_lately * kept + done
        history.busy_lately = history.busy_lately * kept + busy
        usual = history.busy_lately * history.done / history.busy
        if (history.done_lately - usual) ** 2 > _CHANGED * max(usual, each) * each:
            history.done = history.done_lately
            history.busy = history.busy_lately
        self._pace.learn(min(done, _CREDIBLE * expected + _PRIOR * each), busy)

    def _settle_rate(self, index: int) -> None:
        """Set a node's rate from its own history and the pace of the fleet."""
        history = self._histories[index]
        usual = self._pace.rate
        prior = _PRIOR * history.mean_weight
        rate = (history.done + prior) / (history.busy + prior / usual)
        highest = usual * (_UNSEEN + _SEEN * history.sights)
        self._rates[index] = min(max(rate, usual * _SLOWEST), highest)
        self._set_price(index)

    def _set_price(self, index: int) -> None:
        price = self._rates[index] ** -_SPEED_EXPONENT * self.doubt(index)
        self._prices[index] = price / self._histories[index].weight

    def _set_jobs(self, index: int, now: float, jobs: float) -> None:
        """Set the jobs that are at a node at `now`."""
        ahead = jobs - 1.0 if jobs > 1.0 else log(jobs) if jobs > 0.0 else -inf
        self._one_left_at[index] = now + ahead / self._rates[index]


def _travelling(history: _History, now: float) -> float:
    """The jobs assigned to a node that have not reached it at `now`."""
    return history.travelling * exp(min(0.0, history.travelling_at - now) / _TRAVEL)
