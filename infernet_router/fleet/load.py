"""
Load: estimates each node's queue at this instant, and what one more job there would cost.

A report is seconds old when it is used. The literature has two answers to stale load information,
and this module uses both. The first is to correct the reported number for what is known to have
happened since (Dahlin, "Interpreting stale load information", IEEE TPDS 11(10), 2000; Zhou, Shroff
and Wierman, "Asymptotically optimal load balancing in large-scale heterogeneous systems with
multiple dispatchers", 2020, whose dispatchers keep local estimates between updates). The second is
to compare a random sample only (Mitzenmacher, "How useful is old information?", IEEE TPDS 11(1),
2000; see `candidates`). Comparing queues by the time they take, and not believing at once a node
that seems too good, is as in Prequal (Wydrowski et al., "Load is not what you should balance",
NSDI 2024), which sends live probes where this module has a model.

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
"""Mean seconds from an answer to the job's arrival: a name look-up, a connection and a POST."""

_MEMORY = 120.0
"""How many of a node's last jobs tell how fast it is: enough for a tenth, and done in minutes."""

_PRIOR = 4.0
"""The weight, in jobs, of the belief that a node is like the others: a few of its own outweigh
it."""

_CREDIBLE = 2.0
"""The most that one report may add to the fleet's pace, as a multiple of what was expected: no
single node, whatever it says of its queue, may change what is believed of the others."""

_LATELY = 10.0
"""How many of a node's last jobs tell how fast it is just now."""

_CHANGED = 5.0
"""A node has changed its speed when the jobs it did lately are off by so much: the square of the
difference over the variance that chance makes. A lower bound would take chance for change, a higher
one would see a change late."""

_UNSEEN = 1.0
"""The highest rate, as a multiple of the fleet's, of a node that was never seen at work: a node
that fails every job at once has an empty queue, too."""

_SEEN = 0.5
"""What each report that shows it at work adds to that: some nodes are ten times as fast."""

_EXPECTED = 0.25
"""A node is doubted when fewer than this share of the reports that should show jobs do show some.
A healthy node shows far more, also one that is faster than the others."""

_REMEMBERED = 40.0
"""How many reports count for that; after so many a doubted node is tried again."""

_SLOWEST = 0.02
"""The lowest rate of a node, as a multiple of the fleet's: one that seems to have stopped is still
tried."""

_SPEED_EXPONENT = 0.6
"""How much a node's speed counts. 1 is best for the job at hand, and delays those after it. 1/2 is
best for all when nodes are chosen without knowing their queues (Bell and Stidham, "Individual
versus social optimization in the allocation of customers to alternative servers", 1983: optimal
static shares leave spare capacities in proportion to the square roots of the speeds), and the rule
here is one step of policy improvement from there (Krishnan, "Joining the right queue: a
state-dependent decision rule", 1990). In simulations the best value lies between the two."""

_MIXTURE = 0.1
"""The share of a new job in the moving average of the weight of a node's jobs."""


@frozen
class Weights:
    """What jobs cost; an ordinary job costs 1."""

    jobs: Mapping[str, float] = field(factory=dict)
    """By container, what one job for it costs; 1 for a container that is not listed."""

    pending: Mapping[str, float] = field(factory=dict)
    """By kind of pending jobs, what each counts for; 1 for a kind that is not listed."""

    def of_job(self, containers: Collection[str]) -> float:
        """What one job for all these containers costs: the sum over them."""
        if not self.jobs:
            return float(len(containers))
        return sum([self.jobs.get(container, 1.0) for container in containers])

    def of_pending(self, pending: Mapping[str, int]) -> float:
        """How many ordinary jobs the pending ones of a report amount to."""
        return sum([count * self.pending.get(kind, 1.0) for kind, count in pending.items()])


class Pace:
    """
    How fast the nodes of a fleet drain their queues, on average.

    A node of which nothing is known is believed to be as fast, and the rates of all are bounded by
    multiples of it.
    """

    _MEMORY = 2000
    """How many reports count: no single node sways the mean, and it follows all within an hour."""

    _STANDSTILL = 1e-6
    """The least rate, jobs a second: one in eleven days."""

    def __init__(self) -> None:
        self._done = _PRIOR
        self._busy = _PRIOR

    @property
    def rate(self) -> float:
        """Jobs a second that a busy node finishes; 1 until something is known."""
        return max(self._done / self._busy, self._STANDSTILL)

    def learn(self, done: float, busy: float) -> None:
        """A node that was busy for `busy` seconds finished `done` jobs."""
        self._done += done - self._done / self._MEMORY
        self._busy += busy - self._busy / self._MEMORY


class _History(msgspec.Struct, gc=False):
    """What is remembered of one node, to learn from its next report."""

    reported: float = nan
    """Jobs at its last report; NaN when the next report cannot be compared with it."""
    pending: float = 0.0
    """What its last report said was pending."""
    assigned: float = 0.0
    """Jobs handed to it since its last report."""
    travelling: float = 0.0
    """Jobs that had not reached it at `travelling_at`."""
    travelling_at: float = 0.0
    mean_weight: float = 1.0
    """What its jobs weigh on average."""
    done: float = 0.0
    """Jobs that it finished in `busy` seconds of having any, older ones counting for less."""
    busy: float = 0.0
    done_lately: float = 0.0
    """The same over the last few jobs only."""
    busy_lately: float = 0.0
    sights: float = 0.0
    """Recent reports that showed it at work."""
    chances: float = 0.0
    """Recent reports that should have shown it at work."""
    weight: float = 1.0
    """The operator's: it gets that many times the share of an ordinary node."""


class Loads:
    """
    The queues of the nodes of a fleet; each node is known by an index.

    A queue grows by each job that is handed to the node, and drains at the node's rate while it
    holds more than one job. When the last job ends is unknown, so the estimate decays from one job
    to none. Each report corrects the estimate, and the size of the correction tells how fast the
    node is.

    A report counts jobs whatever each of them costs, so they are taken to cost what the jobs
    handed to the node lately cost on average.

    A pick reads three numbers of each candidate. They are kept in arrays, so that those of
    neighbours share cache lines; all else that is known of a node is in an object of its own.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._one_left_at = array("d")
        """When one job will be left at each node."""
        self._rates = array("d")
        """The jobs a second that each node is believed to finish while it has any."""
        self._prices = array("d")
        """What multiplies the jobs at each node to give the cost: rate ** -0.6 * doubt / weight."""
        self._histories: list[_History] = []
        self._free: list[int] = []

    def add(self) -> int:
        """The index of a new node, of which nothing is known."""
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
        """Forget a node; another one may get its index."""
        self._histories[index] = _History()
        self._free.append(index)

    def jobs(self, index: int, now: float) -> float:
        """The jobs that wait or run at a node at `now`; a fraction is the chance of one more."""
        ahead = (self._one_left_at[index] - now) * self._rates[index]
        return ahead + 1.0 if ahead > 0.0 else exp(ahead)

    def rate(self, index: int) -> float:
        """The jobs a second that a node is believed to finish while it has any."""
        return self._rates[index]

    def assigned(self, index: int) -> float:
        """The jobs handed to a node since its last report."""
        return self._histories[index].assigned

    def doubt(self, index: int) -> float:
        """The factor, 1 or more, on the cost of a node that is too seldom seen at work."""
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
        and by its weight. It is several times as high for a node that is doubted.
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
        The `count` nodes where such a job costs least, as `cheapest` has it, best first.

        Ties are ordered by the exclusive or of their index and `order`, the same in each call.
        The time is about that of looking at each node once, unless most of them are wanted.
        """
        prices = self._prices
        costs = [(self.jobs(index, now) + weight) * prices[index] for index in indices]
        ties = [index ^ order for index in indices]
        return [index for _, _, index in nsmallest(count, zip(costs, ties, indices, strict=True))]

    def assign(self, index: int, now: float, weight: float) -> None:
        """A job of this weight is handed to a node."""
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
        A node said at `at` that `pending` jobs wait or run there, as Weights.of_pending has it.

        Jobs handed to it just before are still on their way, and come on top of these.
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

    def lost(self, index: int) -> None:
        """A node gave no report: its next one says nothing of the time before."""
        self._histories[index].reported = nan

    def _learn(self, history: _History, rate: float, done: float, expected: float) -> None:
        """
        Since the last report, a node finished `done` jobs, where `rate` made us expect `expected`.

        The rate is right when expected and done are equal in the long run, also for a queue that
        is empty at times. Jobs that reach the node around the router look like jobs not done, and
        jobs that are never submitted look like jobs done: that is how its queue drains as seen from
        here. But when more arrived around the router than were finished, that says nothing of how
        slow the node is.
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
        """Set a node's rate from what was learned of it and what is believed of every node."""
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
    """The jobs that were handed to a node and have not reached it at `now`."""
    return history.travelling * exp(min(0.0, history.travelling_at - now) / _TRAVEL)
