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

STRIDE = 15
"""How many numbers there are for each node. The first is when one job is left there; then:"""

_RATE = 1
"""The jobs a second that it is believed to get done while it has any."""
_PRICE = 2
"""That rate to the power -0.6, times the doubt."""
_HAD = 3
"""The jobs at its last report; nan while that means nothing."""
_TRAVELLING = 4
"""The jobs that had not reached it"""
_AT = 5
"""at this time."""
_WEIGHT = 6
"""What its jobs weigh on average."""
_PENDING = 7
"""What it said was pending."""
_DONE = 8
"""The jobs that it got done"""
_BUSY = 9
"""in so many seconds in which it had any, as far as it is remembered."""
_DONE_LATELY = 10
"""The same, of the last few jobs."""
_BUSY_LATELY = 11
_SIGHTS = 12
"""How often it was seen at work lately,"""
_CHANCES = 13
"""and how often it should have been."""
_ASSIGNED = 14
"""The jobs handed to it since its last report."""


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


class Loads:
    """
    The queues of the nodes of a fleet, each at a place of its own.

    The jobs in a queue grow by each that is handed to the node, and drain at its rate while there
    is more than one. When the last one ends is not known, so the chance that it is still there
    decays. Each report puts the jobs right, and what they were off by tells how fast the node is.

    A report counts jobs, whatever each of them costs, so they are taken to cost what the jobs
    handed to the node lately cost on average.

    The numbers of a node stand together in one array: spread over objects, most of those a pick
    reads in a large fleet would have to be fetched from main memory, one after the other.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._numbers = array("d")
        self._free: list[int] = []

    def add(self) -> int:
        """The place of a node that nothing is known of: a multiple of STRIDE."""
        place = self._free.pop() if self._free else len(self._numbers)
        self._numbers[place : place + STRIDE] = array("d", [0.0] * STRIDE)
        self._numbers[place + _HAD] = nan
        self._numbers[place + _WEIGHT] = 1.0
        self._set_rate(place)
        self._set_jobs(place, 0.0, 0.0)
        return place

    def remove(self, place: int) -> None:
        """Forget the node at a place; another may get it."""
        self._free.append(place)

    def jobs(self, place: int, now: float) -> float:
        """The jobs that wait or run at a node at `now`; the part of a job is the chance of one."""
        ahead = (self._numbers[place] - now) * self._numbers[place + _RATE]
        return ahead + 1.0 if ahead > 0.0 else exp(ahead)

    def rate(self, place: int) -> float:
        """Jobs a second that a node is believed to get done while it has any."""
        return self._numbers[place + _RATE]

    def cheapest(self, places: Iterable[int], now: float, weight: float, random: Random) -> int:
        """
        Where it costs all users least to hand out a job of this weight, ties broken at random.

        The cost is the jobs that would then be there over the node's rate to the power 0.6. A node
        that should have been seen at work far more often than it was costs several times as much.
        """
        numbers = self._numbers
        best, lowest, ties = -1, inf, 1
        for place in places:
            ahead = (numbers[place] - now) * numbers[place + _RATE]
            cost = ((ahead + 1.0 if ahead > 0.0 else exp(ahead)) + weight) * numbers[place + _PRICE]
            if cost < lowest:
                best, lowest, ties = place, cost, 1
            elif cost == lowest:
                ties += 1
                if random.random() * ties < 1.0:
                    best = place
        return best

    def cheapest_first(
        self, places: Collection[int], now: float, weight: float, count: int, order: int
    ) -> list[int]:
        """
        The `count` places where such a job costs least, as `cheapest` has it, best first.

        Ties stand in the order of their places' exclusive or with `order`, the same in each call.
        It takes as long as one look at each place, unless most of them are wanted: they are not
        all put in order.
        """
        numbers = self._numbers
        costs = [(self.jobs(place, now) + weight) * numbers[place + _PRICE] for place in places]
        ties = [place ^ order for place in places]
        return [place for _, _, place in nsmallest(count, zip(costs, ties, places, strict=True))]

    def assign(self, place: int, now: float, weight: float) -> None:
        """A job of this weight is handed to a node."""
        numbers = self._numbers
        if numbers[place] > now:  # the same as below, in fewer steps: this is done for each request
            numbers[place] += weight / numbers[place + _RATE]
        else:
            self._set_jobs(place, now, self.jobs(place, now) + weight)
        numbers[place + _ASSIGNED] += weight
        numbers[place + _TRAVELLING] = self._travelling(place, now) + weight
        numbers[place + _AT] = now
        numbers[place + _WEIGHT] += (weight - numbers[place + _WEIGHT]) * _MIXTURE

    def reported(self, place: int, now: float, pending: float) -> None:
        """
        A node says that `pending` jobs wait or run there, as Weights.of_pending counts them.

        Those handed to it just now are not all among them: they are on their way.
        """
        numbers = self._numbers
        jobs = pending * numbers[place + _WEIGHT] + self._travelling(place, now)
        had, assigned = numbers[place + _HAD], numbers[place + _ASSIGNED]
        if not isnan(had):
            left = self.jobs(place, now)
            changed = pending != numbers[place + _PENDING]
            kept = exp(-1 / _REMEMBERED)
            numbers[place + _SIGHTS] *= kept
            numbers[place + _CHANCES] *= kept
            if changed or assigned:
                numbers[place + _SIGHTS] += changed and pending > 0
                numbers[place + _CHANCES] += min(1.0, left)
            self._learn(place, had + assigned - jobs, had + assigned - left)
        self._set_rate(place)
        self._set_jobs(place, now, jobs)
        numbers[place + _HAD] = jobs
        numbers[place + _ASSIGNED] = 0.0
        numbers[place + _PENDING] = pending

    def lost(self, place: int) -> None:
        """A node gave no report: nothing can be learned from the time until its next."""
        self._numbers[place + _HAD] = nan

    def _travelling(self, place: int, now: float) -> float:
        """The jobs that were handed to a node and have not reached it at `now`."""
        numbers = self._numbers
        return numbers[place + _TRAVELLING] * exp(min(0.0, numbers[place + _AT] - now) / _TRAVEL)

    def _learn(self, place: int, done: float, expected: float) -> None:
        """
        Since the last report, so many jobs got done, where the rate had so many expected.

        So the rate is right when expected and done are equal in the long run, which holds also
        for a queue that was empty at times. Jobs that came around the router count as not done,
        those that never came as done: that is how its queue drains, as the router sees it. But
        when more came around it than got done, that says nothing of how slow the node is.
        """
        if expected <= 0.0:
            return
        done = max(done, 0.0)
        numbers = self._numbers
        each = numbers[place + _WEIGHT]
        busy = expected / numbers[place + _RATE]
        kept = exp(-expected / each / _MEMORY)
        numbers[place + _DONE] = numbers[place + _DONE] * kept + done
        numbers[place + _BUSY] = numbers[place + _BUSY] * kept + busy
        kept = exp(-expected / each / _LATELY)
        done_lately = numbers[place + _DONE_LATELY] * kept + done
        busy_lately = numbers[place + _BUSY_LATELY] * kept + busy
        numbers[place + _DONE_LATELY] = done_lately
        numbers[place + _BUSY_LATELY] = busy_lately
        usual = busy_lately * numbers[place + _DONE] / numbers[place + _BUSY]
        if (done_lately - usual) ** 2 > _CHANGED * max(usual, each) * each:
            numbers[place + _DONE] = done_lately
            numbers[place + _BUSY] = busy_lately
        self._pace.learn(min(done, _CREDIBLE * expected + _PRIOR * each), busy)

    def _set_rate(self, place: int) -> None:
        """Settle on a node's rate, from what was learned and what is believed of every node."""
        numbers = self._numbers
        usual = self._pace.rate
        prior = _PRIOR * numbers[place + _WEIGHT]
        rate = (numbers[place + _DONE] + prior) / (numbers[place + _BUSY] + prior / usual)
        highest = usual * (_UNSEEN + _SEEN * numbers[place + _SIGHTS])
        rate = min(max(rate, usual * _SLOWEST), highest)
        numbers[place + _RATE] = rate
        chances = 1.0 + _EXPECTED * numbers[place + _CHANCES]
        doubt = max(1.0, chances / (1.0 + numbers[place + _SIGHTS]))
        numbers[place + _PRICE] = rate**-_SPEED_EXPONENT * doubt

    def _set_jobs(self, place: int, now: float, jobs: float) -> None:
        """So many jobs are at a node at `now`."""
        ahead = jobs - 1.0 if jobs > 1.0 else log(jobs) if jobs > 0.0 else -inf
        self._numbers[place] = now + ahead / self._numbers[place + _RATE]
