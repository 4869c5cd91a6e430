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
from collections.abc import Iterable, Sequence
from math import exp, inf, isnan, log, nan
from random import Random
from typing import Protocol

from infernet_router.fleet.account import TRAVEL, Account
from infernet_router.fleet.doubt import Doubt
from infernet_router.fleet.sorting import lowest_first
from infernet_router.fleet.speed import Pace
from infernet_router.fleet.steps import Steps

_UNMOVED = 0.5
"""The chance that the number of pending jobs differs from that of the last report, when jobs were
assigned in between and the node is healthy. If it never differs, these may be jobs that crashed
with their container."""

_SPEED_EXPONENT = 0.6
"""Costs are divided by a node's rate to this power. 1 is best for the job itself, but delays later
jobs. 1/2 is best for all when nodes are chosen without knowing their queues (Bell and Stidham,
"Individual versus social optimization in the allocation of customers to alternative servers", 1983:
optimal static shares leave spare capacities in proportion to the square roots of the speeds), and
the rule here is one step of policy improvement from there (Krishnan, "Joining the right queue: a
state-dependent decision rule", 1990). In simulations the best value lies between the two."""

_MIXTURE = 0.1
"""The share of a new job in the moving average of the weight of a node's jobs."""


class Witness(Protocol):
    """Is told about the loads of nodes; Records describes what each call means."""

    def priced(self, index: int, rate: float, price: float) -> None: ...

    def reported(
        self,
        index: int,
        at: float,
        *,
        expected: float,
        pending: float,
        weight: float,
        busy: float,
        is_used: bool,
    ) -> None: ...

    def lost(self, index: int) -> None: ...


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
    neighbours share cache lines; the rest of what is known of a node is in its Account.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._one_left_at = array("d")
        """When one job will be left at each node."""
        self._rates = array("d")
        """The estimated jobs a second that each node finishes while it has any."""
        self._prices = array("d")
        """What multiplies the jobs at each node to give the cost: rate ** -0.6 * doubt / share."""
        self._accounts: list[Account] = []
        self._doubts: list[Doubt] = []
        self._doubted: set[int] = set()
        """The nodes that seem to fail all jobs."""
        self.in_doubt: set[int] = set()
        """The same, with those that get a job next to try them."""
        self._free: list[int] = []
        self.witness: Witness | None = None

    def add(self) -> int:
        """Add a new node; returns its index."""
        if self._free:
            index = self._free.pop()
        else:
            index = len(self._accounts)
            for numbers in (self._one_left_at, self._rates, self._prices):
                numbers.append(0.0)
            self._accounts.append(Account())
            self._doubts.append(Doubt())
        self._settle_rate(index)
        self._set_jobs(index, 0.0, 0.0)
        return index

    def remove(self, index: int) -> None:
        """Forget a node; a new one may get its index."""
        self._accounts[index] = Account()
        self._doubts[index] = Doubt()
        self._doubted.discard(index)
        self.in_doubt.discard(index)
        self._free.append(index)

    @property
    def size(self) -> int:
        """One more than the highest index."""
        return len(self._accounts)

    def jobs(self, index: int, now: float) -> float:
        """The jobs that wait or run at a node at `now`; a fraction is the chance of one more."""
        ahead = (self._one_left_at[index] - now) * self._rates[index]
        return ahead + 1.0 if ahead > 0.0 else exp(ahead)

    def all_jobs(self, start: int, stop: int, now: float) -> list[float]:
        """The jobs at each of the nodes with these indices, as in `jobs`."""
        nodes = zip(self._one_left_at[start:stop], self._rates[start:stop], strict=True)
        return [
            ahead + 1.0 if (ahead := (one_left_at - now) * rate) > 0.0 else exp(ahead)
            for one_left_at, rate in nodes
        ]

    def all_rates(self, start: int, stop: int) -> list[float]:
        """The rate of each of the nodes with these indices; 0 for one that is doubted."""
        rates = list(self._rates[start:stop])
        for index in self._doubted:
            if start <= index < stop:
                rates[index - start] = 0.0
        return rates

    def rate(self, index: int) -> float:
        """The estimated jobs a second that a node finishes while it has any."""
        return self._rates[index]

    def price(self, index: int) -> float:
        """What multiplies the jobs at a node to give the cost."""
        return self._prices[index]

    def pending(self, index: int) -> float:
        """The pending jobs in a node's last report, weighted by kind."""
        return self._accounts[index].pending

    def is_learned(self, index: int) -> bool:
        """Whether a node's rate is based more on its own jobs than on the fleet's average."""
        return self._accounts[index].speed.is_learned

    def assigned(self, index: int) -> float:
        """The jobs assigned to a node since its last report."""
        return self._accounts[index].assigned

    def assigned_at(self, index: int) -> float:
        """When the last job was assigned to a node; 0 if none was."""
        return self._accounts[index].travelling_at

    def doubt(self, index: int) -> float:
        """The evidence that a node fails its jobs, as a multiple of what it takes to doubt it."""
        return self._doubts[index].share

    def is_doubted(self, index: int) -> bool:
        """Whether a node seems to fail all jobs, so that it costs 1000 times as much."""
        return index in self._doubted

    def evidence(self, index: int) -> str:
        """In words, what the evidence against a node consists of."""
        return self._doubts[index].words

    def looks(self, index: int) -> tuple[float, ...]:
        """Seconds after a job was assigned to a node at which to poll it; empty for no hurry."""
        return self._doubts[index].looks

    def failed(self, index: int, now: float) -> None:
        """A client said that a node failed its job."""
        self._doubts[index].failed(now)
        self._set_price(index)

    def suspected(self, index: int, now: float) -> None:
        """A container of a node seems to have crashed."""
        self._doubts[index].crashed(now)
        self._set_price(index)

    def finished(self, index: int) -> None:
        """A client said that a node did its job."""
        self._doubts[index].seen_at_work()
        self._set_price(index)

    def share(self, index: int) -> float:
        """How many times the jobs of an ordinary node a node gets, by its weight."""
        return self._accounts[index].share

    def set_share(self, index: int, share: float) -> None:
        """Divide a node's price by this from now on."""
        self._accounts[index].share = share
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

    def cheapest_of(
        self,
        indices: Iterable[int],
        now: float,
        weight: float,
        random: Random,
        costs: list[float],
    ) -> int:
        """The same as `cheapest`, which it repeats; puts the costs into a list, in 0.5 µs."""
        one_left_at, rates, prices = self._one_left_at, self._rates, self._prices
        best, lowest, ties = -1, inf, 1
        for index in indices:
            ahead = (one_left_at[index] - now) * rates[index]
            cost = ((ahead + 1.0 if ahead > 0.0 else exp(ahead)) + weight) * prices[index]
            costs.append(cost)  # faster than a bound method, as Python 3.11 specialises it
            if cost < lowest:
                best, lowest, ties = index, cost, 1
            elif cost == lowest:
                ties += 1
                if random.random() * ties < 1.0:
                    best = index
        return best

    def cost(self, index: int, now: float, weight: float) -> float:
        """What a job of this weight costs at a node, as in `cheapest`."""
        return (self.jobs(index, now) + weight) * self._prices[index]

    def cheapest_first(
        self, indices: Sequence[int], now: float, weight: float, count: int, order: int
    ) -> Steps[list[int]]:
        """
        The `count` nodes where a job of this weight costs least, as in `cheapest`, best first.

        The order of ties is the same in each call with the same `order`; see `sorting`.
        """
        one_left_at, rates, prices = self._one_left_at, self._rates, self._prices

        def costs(some: Sequence[int]) -> list[float]:
            return [
                ((ahead + 1.0 if ahead > 0.0 else exp(ahead)) + weight) * prices[index]
                for index in some
                for ahead in ((one_left_at[index] - now) * rates[index],)
            ]

        return lowest_first(indices, costs, count, order)

    def assign(self, index: int, now: float, weight: float, jobs: int = 1) -> None:
        """Assign so many jobs of this weight to a node."""
        account = self._accounts[index]
        added = weight * jobs
        if self._one_left_at[index] > now:  # the same as below in fewer steps, once a request
            self._one_left_at[index] += added / self._rates[index]
        else:
            self._set_jobs(index, now, self.jobs(index, now) + added)
        account.assigned += added
        # As in Account.still_travelling, without the call.
        arrived = exp(min(0.0, account.travelling_at - now) / TRAVEL)
        account.travelling = account.travelling * arrived + added
        account.travelling_at = now
        account.mean_weight += (weight - account.mean_weight) * _MIXTURE
        if self._doubts[index].assigned(now):
            self._set_price(index)

    def reported(self, index: int, at: float, pending: float) -> None:
        """
        Learn from a report that a node made at `at`.

        Jobs assigned to it just before are still on their way, and are added to those it reported.

        :param pending: the jobs that wait or run there, weighted as in Weights.of_pending.
        """
        account = self._accounts[index]
        travelling = account.still_travelling(at)
        jobs = pending * account.mean_weight + travelling
        expected = busy = nan
        if not isnan(account.reported):
            left = self.jobs(index, at)
            if pending and pending != account.pending:
                self._doubts[index].seen_at_work()
            elif pending:
                self._doubts[index].unseen(_UNMOVED if account.assigned else 0.0, at)
            else:
                arrived = (left - travelling) / account.mean_weight
                self._doubts[index].unseen(min(max(arrived, 0.0), 1.0), at)
            had = account.reported + account.assigned
            expected = max(left - travelling, 0.0) / account.mean_weight
            busy = (had - left) / self._rates[index]
            account.speed.learn(
                self._pace,
                self._rates[index],
                account.mean_weight,
                had - jobs,
                had - left,
                is_busy=pending > 0,
                is_used=account.assigned > 0,
            )
        if self.witness is not None:
            self.witness.reported(
                index,
                at,
                expected=expected,
                pending=pending,
                weight=account.mean_weight,
                busy=busy,
                is_used=account.assigned > 0,
            )
        self._settle_rate(index)
        self._set_jobs(index, at, jobs)
        account.reported = jobs
        account.assigned = 0.0
        account.pending = pending

    def lost(self, index: int) -> None:
        """A node did not report: its next report cannot be compared with its last."""
        self._accounts[index].reported = nan
        if self.witness is not None:
            self.witness.lost(index)

    def _settle_rate(self, index: int) -> None:
        """Set a node's rate to what was learned of it."""
        account = self._accounts[index]
        self._rates[index] = account.speed.rate(self._pace, account.mean_weight)
        self._set_price(index)

    def _set_price(self, index: int) -> None:
        factor = self._doubts[index].factor
        if self._doubts[index].wait:
            self.in_doubt.add(index)
        else:
            self.in_doubt.discard(index)
        if factor > 1.0:
            self._doubted.add(index)
        else:
            self._doubted.discard(index)
        price = self._rates[index] ** -_SPEED_EXPONENT * factor
        self._prices[index] = price / self._accounts[index].share
        if self.witness is not None:
            self.witness.priced(index, self._rates[index], self._prices[index])

    def _set_jobs(self, index: int, now: float, jobs: float) -> None:
        """Set the jobs that are at a node at `now`."""
        ahead = jobs - 1.0 if jobs > 1.0 else log(jobs) if jobs > 0.0 else -inf
        self._one_left_at[index] = now + ahead / self._rates[index]
