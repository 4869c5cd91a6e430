"""A simulated node, served over HTTP by twisted.web."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

_REMEMBERED = 1000
"""Finished jobs that a node remembers."""
_MAX_WORK = 86400.0
"""The most seconds of work that a job may ask for."""


@frozen
class SimulatedContainer:
    """One container of a simulated node, as GET /info lists it."""

    id: str
    external: bool = True
    description: str = ""
    image: str = ""


@frozen
class _Submission:
    """The body of POST /api/jobs."""

    containers: tuple[str, ...]
    data: object


@define
class SimulatedJob:
    """A job of a simulated node; times are in seconds on the node's clock."""

    id: str
    containers: tuple[str, ...]
    submitted: float
    finished: float | None = None
    status: str = "running"
    """`running` from submission to end, then `success`, `failed` or `lost` in a crash."""
    work: float | None = None
    """The seconds it takes at speed 1, if the job itself says so."""


class SimulatedNode(Resource):
    """
    A node with one first-in, first-out queue, of which up to `slots` jobs run concurrently.

    It answers GET and HEAD of /info, /health, /resources (also with model_id) and /api/jobs, and
    POST of /api/jobs. A job whose data is `{"work": SECONDS}` takes that long at speed 1.

    :param clock: times the jobs.
    :param containers: ids, or SimulatedContainers for further attributes.
    :param speed: seconds of work done per second in each slot.
    :param slots: the number of jobs that run concurrently.
    :param work: gives the work of the next job that does not say it, in seconds at speed 1; by
        default 1 second.
    :param random: decides which jobs fail.
    """

    isLeaf = True

    def __init__(
        self,
        clock: IReactorTime,
        containers: Iterable[str | SimulatedContainer],
        *,
        speed: float = 1.0,
        slots: int = 1,
        work: Callable[[], float] = lambda: 1.0,
        random: Random | None = None,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._random = random or Random()
        self.containers = [
            SimulatedContainer(container) if isinstance(container, str) else container
            for container in containers
        ]
        self.speed = speed
        self.slots = slots
        self.work = work
        self.version = "1.4.0"
        self.failing = 0.0
        """The share of jobs that fail immediately, as if their container had crashed."""
        self.silent = False
        """Whether it hangs: accepts requests and never responds."""
        self.status = 200
        """The HTTP status of its responses to GET /info."""
        self.info: bytes | None = None
        """The body of its responses to GET /info, in place of its real state."""
        self.resources: dict[str, Any] = {}
        """Its response to GET /resources."""
        self.models: dict[str, Collection[str]] = {}
        """The models that each container supports, for GET /resources?model_id=…"""
        self.polls = 0
        """The number of requests for /info."""
        self.ended: Callable[[SimulatedJob], object] = lambda job: None
        """Called with each job that succeeded, failed or was lost."""
        self.done = 0
        """The number of jobs that succeeded."""
        self._waiting: deque[SimulatedJob] = deque()
        self._running: dict[str, tuple[SimulatedJob, IDelayedCall]] = {}
        self._paused: dict[str, tuple[SimulatedJob, float]] | None = None
        """While it is paused: the jobs that run, and the seconds that each of them still takes."""
        self._jobs: dict[str, SimulatedJob] = {}
        self._finished: deque[str] = deque()

    @property
    def running(self) -> int:
        """The number of jobs that run now."""
        return len(self._running if self._paused is None else self._paused)

    @property
    def pending(self) -> int:
        """The number of jobs that wait or run."""
        return len(self._waiting) + self.running

    def job(self, id: str) -> SimulatedJob | None:
        """The job with this id, or None if the node does not know it."""
        return self._jobs.get(id)

    def pause(self) -> None:
        """Stand still, as a process that gets SIGSTOP: answer nothing, and work on no job."""
        if self._paused is None:
            self.silent = True
            self._paused = {}
            now = self._clock.seconds()
            for id, (job, end) in self._running.items():
                self._paused[id] = job, end.getTime() - now
                end.cancel()
            self._running.clear()

    def resume(self) -> None:
        """Go on after a pause. Requests that came in the pause stay without a response."""
        if self._paused is not None:
            self.silent = False
            for job, seconds in self._paused.values():
                self._run(job, seconds)
            self._paused = None
            self._run_next()

    def crash(self) -> None:
        """Lose all jobs, as a node whose process was killed, and is started again."""
        for _, end in self._running.values():
            end.cancel()
        lost = [job for job in self._jobs.values() if job.status == "running"]
        self._running.clear()
        self._waiting.clear()
        self._jobs.clear()
        self._finished.clear()
        self._paused, self.silent = None, False
        for job in lost:
            job.status, job.finished = "lost", self._clock.seconds()
            self.ended(job)

    def submit(self, containers: Iterable[str], work: float | None = None) -> SimulatedJob:
        """Submit a job."""
        job = SimulatedJob(str(uuid4()), tuple(containers), self._clock.seconds(), work=work)
        self._jobs[job.id] = job
        if self._random.random() < self.failing:
            self._finish(job, "failed")
        else:
            self._waiting.append(job)
            self._run_next()
        return job

    def render(self, request: Request) -> bytes | int:
        """Answer a request."""
        path = request.path.rstrip(b"/")
        if path == b"/info":
            self.polls += 1
        if self.silent:
            return NOT_DONE_YET
        routes: dict[tuple[bytes, bytes], Callable[[Request], tuple[int, Any]]] = {
            (b"GET", b"/info"): self._info,
            (b"GET", b"/health"): lambda _: (200, {"status": "healthy"}),
            (b"GET", b"/resources"): self._resources,
            (b"GET", b"/api/jobs"): self._get_jobs,
            (b"POST", b"/api/jobs"): self._post_job,
        }
        head = request.method == b"HEAD"
        route = routes.get((b"GET" if head else request.method, path))
        status, content = route(request) if route else (404, {"error": "not found"})
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        request.setResponseCode(status)
        request.setHeader("content-type", "application/json")
        request.setHeader("content-length", str(len(body)))
        return b"" if head else body

    def _info(self, request: Request) -> tuple[int, Any]:
        if self.info is not None:
            return self.status, self.info
        return self.status, {
            "chain": {"address": "", "enabled": False},
            "containers": self.containers,
            "pending": {"offchain": self.pending, "onchain": 0},
            "version": self.version,
        }

    def _resources(self, request: Request) -> tuple[int, Any]:
        """What its containers report about themselves, or whether they support a model."""
        model = request.args.get(b"model_id", [b""])[0].decode("utf-8", "replace")
        if not model:
            return 200, self.resources
        return 200, {id: {"supported": model in models} for id, models in self.models.items()}

    def _post_job(self, request: Request) -> tuple[int, Any]:
        """Accept a job, unless its first container is not external."""
        try:
            body = request.content.read() if request.content else b""
            submission = msgspec.json.decode(body, type=_Submission)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 400, {"error": "a job has containers and data"}
        containers = submission.containers
        known = {container.id: container.external for container in self.containers}
        if not containers or any(container not in known for container in containers):
            return 405, {"error": "container not supported"}
        if not known[containers[0]]:
            return 405, {"error": "first container is not external"}
        return 200, {"id": self.submit(containers, _work(submission.data)).id}

    def _get_jobs(self, request: Request) -> tuple[int, Any]:
        """The state of the jobs with these ids, or without `id`, the ids of all jobs."""
        ids = [value.decode("utf-8", "replace") for value in request.args.get(b"id", ())]
        if not ids:
            return 200, list(self._jobs)
        jobs = (self._jobs[id] for id in ids if id in self._jobs)
        return 200, [
            {
                "id": job.id,
                "status": job.status,
                "result": {"container": job.containers[-1], "output": {}}
                if job.status == "success"
                else None,
            }
            for job in jobs
        ]

    def _run_next(self) -> None:
        while self._waiting and self.running < self.slots and self._paused is None:
            job = self._waiting.popleft()
            self._run(job, (self.work() if job.work is None else job.work) / self.speed)

    def _run(self, job: SimulatedJob, seconds: float) -> None:
        self._running[job.id] = job, self._clock.callLater(seconds, self._end, job)

    def _end(self, job: SimulatedJob) -> None:
        del self._running[job.id]
        self.done += 1
        self._finish(job, "success")
        self._run_next()

    def _finish(self, job: SimulatedJob, status: str) -> None:
        job.status = status
        job.finished = self._clock.seconds()
        self._finished.append(job.id)
        if len(self._finished) > _REMEMBERED:
            del self._jobs[self._finished.popleft()]
        self.ended(job)


def _work(data: object) -> float | None:
    """The work that the data of a job asks for; None when it asks for none that is possible."""
    work = data.get("work") if isinstance(data, dict) else None
    if isinstance(work, int | float) and 0 <= work <= _MAX_WORK:
        return float(work)
    return None
