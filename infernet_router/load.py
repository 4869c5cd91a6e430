"""
Load: what one node's queue looks like now, from what its last report said and what came after.

A report is seconds old when it is used. The literature has two answers to stale load, and this
module stands on both: correct the number for what is known to have happened since (Dahlin,
"Interpreting stale load information", IEEE TPDS 11(10), 2000; Zhou, Shroff and Wierman,
"Asymptotically optimal load balancing in large-scale heterogeneous systems with multiple
dispatchers", 2020, whose dispatchers keep local estimates between updates), and let chance limit
who is compared (Mitzenmacher, "How useful is old information?", IEEE TPDS 11(1), 2000; see
`fleet`). That queues are compared by the time they take, and a node that seems too good is not
believed at once, is as in Prequal (Wydrowski et al., "Load is not what you should balance", NSDI
2024), which has live probes where this has a model.

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
"""Seconds a job is on its way, on average: a name look-up, a connection and a POST of a client."""

_MEMORY = 120.0
"""Jobs whose ends tell how fast a node is: good to a tenth, and they pass in minutes."""

_PRIOR = 4.0
"""Jobs' worth of belief that a node is like the others: gone after a few of its own."""

_CREDIBLE = 2.0
"""How many times what was expected of a node counts for the fleet's pace: no node alone, whatever
it says of its queue, may change what is believed of the others."""

_LATELY = 10.0
"""Jobs whose ends tell how fast a node is just now."""

_CHANGED = 5.0
"""How far that is off when the node has changed, squared, over the variance that chance makes:
less would take chance for change, more would be slow to see one."""

_UNSEEN = 1.0
"""How fast a node may seem that was never seen at work, in the fleet's speed: one that fails every
job at once has an empty queue, too."""

_SEEN = 0.5
"""What each sight of a node at work adds to that: nodes ten times as fast exist, too."""

_EXPECTED = 0.25
"""The part of the reports, of those that should find jobs, that do so or else the node is doubted:
far fewer than chance lets a sound node miss, also one that is faster than the others."""

_REMEMBERED = 40.0
"""Reports for which it counts how often a node was seen at work: then it is given a new chance."""

_SLOWEST = 0.02
"""How slow a node may seem, in the fleet's speed: one that seems to stand still is tried again."""

_SPEED_EXPONENT = 0.6
"""How much speed counts. 1 would serve the job at hand best and delay those after it; 1/2 is best
for all when nodes are chosen without a look (Bell and Stidham, "Individual versus social
optimization in the allocation of customers to alternative servers", 1983: optimal static shares
leave spare capacities in proportion to the roots of the speeds) and one step of policy improvement
is made from there (Krishnan, "Joining the right queue: a state-dependent decision rule", 1990).
Simulated, the best lies between."""

_MIXTURE = 0.1
"""The part of a new job in the mean weight of a node's jobs."""


@frozen
class Weights:
    """What jobs cost; an ordinary one costs 1."""

    jobs: Mapping[str, float] = field(factory=dict)
    """By container, what one job for it costs; 1 if it is not here."""

    pending: Mapping[str, float] = field(factory=dict)
    """By kind of pending jobs, as a report names it, what each counts for; 1 if it is not here."""

    def of_job(self, containers: Collection[str]) -> float:
        """What one job for all these containers costs: the sum."""
        if not self.jobs:
            return float(len(containers))
        return sum([self.jobs.get(container, 1.0) for container in containers])

    def of_pending(self, pending: Mapping[str, int]) -> float:
        """How many jobs the pending ones of a report count for."""
        return sum([count * self.pending.get(kind, 1.0) for kind, count in pending.items()])


class Pace:
    """
    How fast the nodes of a fleet drain their queues, taken together.

    It is what is believed of a node nothing is known of, and what others are measured against.
    """

    _MEMORY = 2000
    """Reports: the mean of all nodes follows no single one, and all of them within the hour."""

    _STANDSTILL = 1e-6
    """The least rate, jobs a second: one in eleven days."""

    def __init__(self) -> None:
        self._done = _PRIOR
        self._busy = _PRIOR

    @property
    def rate(self) -> float:
        """Jobs a second that a busy node gets done; 1 until something is known."""
        return max(self._done / self._busy, self._STANDSTILL)

    def learn(self, done: float, busy: float) -> None:
        """A node that was busy for so many seconds got so many jobs done."""
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
