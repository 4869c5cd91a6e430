"""One of the two sides of the demo: clients submit jobs, and measure how long they take."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from statistics import fmean
from typing import Any

from attrs import define, field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from infernet_router.testing import ServedNode, SimulatedJob

WINDOW = 120.0
"""Seconds over which job times are averaged."""
TREND = 10.0
"""Seconds over which one point of the trend is averaged."""
_TREND_POINTS = 300
_TIMEOUT = 3.0
_PAUSES = (0.5, 1.0, 2.0)
"""Seconds from a failed attempt to the next; the last one repeats."""
_ATTEMPTS = 100
_EXCLUDED = 4
"""The nodes that a client remembers to avoid."""


@frozen
class Job:
    """A job that both sides get."""

    containers: tuple[str, ...]
    work: float
    """Seconds it takes at speed 1."""


@define
class _Attempts:
    """One job at one side."""

    submitted: float
    failed: deque[str] = field(factory=lambda: deque(maxlen=_EXCLUDED))
    """The addresses of nodes that failed it."""


class Unable(Exception):
    """No node can do the job now."""


class Problem(Exception):
    """A job went wrong; the message says how."""


Ask = Callable[[Sequence[str], Sequence[str]], Awaitable[str]]
"""Given containers and addresses to avoid, returns the address of a node; raises Unable."""


class Side:
    """
    A fleet, the clients that submit jobs to it, and how these fare.

    :param served: the nodes.
    :param ask: which node to submit a job to.
    :param problems: gets one line for each job that went wrong.
    """

    def __init__(
        self,
        served: Sequence[ServedNode],
        ask: Ask,
        http: HTTPClient,
        reactor: Any,
        problems: list[str],
    ) -> None:
        self.served = served
        self._ask = ask
        self._http = http
        self._reactor = reactor
        self._nodes = {one.address: one.node for one in served}
        for one in served:
            one.node.ended = self._job_ended
        self._waiters: dict[str, Deferred[SimulatedJob]] = {}
        self._running: dict[Deferred[None], _Attempts] = {}
        self._ended: deque[tuple[float, float]] = deque()
        self.trend: deque[float] = deque(maxlen=_TREND_POINTS)
        """The mean job time around each second, in seconds."""
        self.done = 0
        """Jobs that succeeded."""
        self.retries = 0
        """Attempts that failed: the node was dead, lost the job or failed it."""
        self._stopped = False
        self._problems = problems

    @property
    def waiting(self) -> int:
        """Jobs without a result."""
        return len(self._running)

    @property
    def times(self) -> list[float]:
        """Seconds that jobs took which ended lately, in ascending order."""
        since = self._reactor.seconds() - WINDOW
        while self._ended and self._ended[0][0] < since:
            self._ended.popleft()
        return sorted(seconds for _, seconds in self._ended)

    @property
    def times_so_far(self) -> list[float]:
        """The same, and those of the jobs that still wait, until now."""
        now = self._reactor.seconds()
        return sorted([*self.times, *(now - job.submitted for job in self._running.values())])

    def submit(self, job: Job) -> None:
        """Submit a job. If an attempt fails, the client tries again, elsewhere if it can."""
        attempts = _Attempts(self._reactor.seconds())
        running = Deferred.fromCoroutine(self._run(job, attempts))
        if not running.called:
            self._running[running] = attempts
            running.addBoth(lambda _: self._running.pop(running, None))

    def sample(self) -> None:
        """Add a point to the trend."""
        since = self._reactor.seconds() - TREND
        lately = [seconds for at, seconds in self._ended if at >= since]
        if lately or self.trend:
            self.trend.append(fmean(lately) if lately else self.trend[-1])

    def stop(self) -> None:
        """Cancel all jobs; that is no problem."""
        self._stopped = True
        for running in tuple(self._running):
            running.cancel()

    async def _run(self, job: Job, attempts: _Attempts) -> None:
        try:
            for attempt in range(_ATTEMPTS):
                if await self._attempt(job, attempts):
                    now = self._reactor.seconds()
                    self._ended.append((now, now - attempts.submitted))
                    self.done += 1
                    return
                if self._stopped:
                    return
                self.retries += 1
                await deferLater(self._reactor, _PAUSES[min(attempt, len(_PAUSES) - 1)])
            self._problems.append(f"a job for {', '.join(job.containers)} failed everywhere")
        except Problem as problem:
            self._problems.append(str(problem))
        except CancelledError:
            pass

    async def _attempt(self, job: Job, attempts: _Attempts) -> bool:
        """Whether the job succeeded."""
        try:
            address = await self._ask(job.containers, tuple(attempts.failed))
        except Unable:
            attempts.failed.clear()
            return False
        try:
            id = await self._submit_to(address, job)
        except Exception:  # refused, broken, timed out: the node is at fault
            attempts.failed.append(address)
            return False
        known = self._nodes[address].job(id)
        if known is not None and known.status == "running":
            waiter: Deferred[SimulatedJob] = Deferred()
            self._waiters[id] = waiter
            known = await waiter
        if known is not None and known.status == "success":
            return True
        attempts.failed.append(address)
        return False

    async def _submit_to(self, address: str, job: Job) -> str:
        """Submit a job to a node; returns its id."""
        body = {"containers": job.containers, "data": {"work": job.work}}
        posted = self._http.post(f"http://{address}/api/jobs", json=body)
        response = await posted.addTimeout(_TIMEOUT, self._reactor)
        content = await response.json().addTimeout(_TIMEOUT, self._reactor)
        return str(content["id"])

    def _job_ended(self, job: SimulatedJob) -> None:
        waiter = self._waiters.pop(job.id, None)
        if waiter is not None:
            waiter.callback(job)


def percentile(times: Sequence[float], part: float) -> float:
    """The value that this part of the times, which are in ascending order, does not exceed."""
    return times[max(0, ceil(part * len(times)) - 1)]
