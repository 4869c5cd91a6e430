"""
A simulated Infernet node, for tests, demos and benchmarks of routers and clients.

`SimulatedNode` is a twisted.web resource that implements the part of a node's HTTP API that routers
and clients use. Serve it with twisted.web's Site, or pass it to treq.testing.StubTreq:

    node = SimulatedNode(reactor, ["llm"], speed=2.0, slots=4)
    reactor.listenTCP(4001, Site(node))

Its behaviour is set by attributes, which may be changed while it runs.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

_REMEMBERED = 1000
"""Finished jobs that a node remembers."""


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
    """`running` from submission to end, then `success` or `failed`."""


class SimulatedNode(Resource):
    """
    A node with one first-in, first-out queue, of which up to `slots` jobs run concurrently.

    It answers GET and HEAD of /info, /health, /resources (also with model_id) and /api/jobs, and
    POST of /api/jobs.

    :param clock: times the jobs.
    :param containers: ids, or SimulatedContainers for further attributes.
    :param speed: seconds of work done per second in each slot.
    :param slots: the number of jobs that run concurrently.
    :param work: gives the work of the next job, in seconds at speed 1; by default 1 second.
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
        self.running = 0
        """The number of jobs that run now."""
        self.done = 0
        """The number of jobs that succeeded."""
        self._waiting: deque[SimulatedJob] = deque()
        self._jobs: dict[str, SimulatedJob] = {}
        self._finished: deque[str] = deque()

    @property
    def pending(self) -> int:
        """The number of jobs that wait or run."""
        return len(self._waiting) + self.running

    def submit(self, containers: Iterable[str]) -> SimulatedJob:
        """Submit a job."""
        job = SimulatedJob(str(uuid4()), tuple(containers), self._clock.seconds())
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
            containers = msgspec.json.decode(body, type=_Submission).containers
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 400, {"error": "a job has containers and data"}
        known = {container.id: container.external for container in self.containers}
        if not containers or any(container not in known for container in containers):
            return 405, {"error": "container not supported"}
        if not known[containers[0]]:
            return 405, {"error": "first container is not external"}
        return 200, {"id": self.submit(containers).id}

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
        while self._waiting and self.running < self.slots:
            self.running += 1
            self._clock.callLater(self.work() / self.speed, self._end, self._waiting.popleft())

    def _end(self, job: SimulatedJob) -> None:
        self.running -= 1
        self.done += 1
        self._finish(job, "success")
        self._run_next()

    def _finish(self, job: SimulatedJob, status: str) -> None:
        job.status = status
        job.finished = self._clock.seconds()
        self._finished.append(job.id)
        if len(self._finished) > _REMEMBERED:
            del self._jobs[self._finished.popleft()]
