"""Tests of infernet_router.testing.node."""

import json
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.reports import Container, decode_report
from infernet_router.testing import SimulatedContainer, SimulatedJob, SimulatedNode


class SimulatedNodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = SimulatedNode(
            self.clock,
            ["llm", SimulatedContainer("inner", external=False, description="help")],
            speed=2.0,
            slots=2,
            random=Random(1),
        )
        self.http: Any = StubTreq(self.node)

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and body of the node's response."""
        response = self.successResultOf(self.http.get(f"http://node.invalid{path}"))
        return response.code, self.successResultOf(response.content())

    def post(self, body: bytes) -> tuple[int, Any]:
        """The status and the decoded body of the node's response to a job."""
        response = self.successResultOf(self.http.post("http://node.invalid/api/jobs", data=body))
        return response.code, json.loads(self.successResultOf(response.content()))

    def job(self, *containers: str) -> bytes:
        return json.dumps({"containers": containers, "data": {}}).encode()

    def pending(self) -> int:
        """The pending jobs in GET /info."""
        return decode_report(self.get("/info")[1]).pending["offchain"]

    def test_info(self) -> None:
        """GET /info has all keys of a real node, and is a valid report."""
        status, body = self.get("/info")
        self.assertEqual(status, 200)
        self.assertEqual(
            json.loads(body),
            {
                "chain": {"address": "", "enabled": False},
                "containers": [
                    {"id": "llm", "external": True, "description": "", "image": ""},
                    {"id": "inner", "external": False, "description": "help", "image": ""},
                ],
                "pending": {"offchain": 0, "onchain": 0},
                "version": "1.4.0",
            },
        )
        self.assertIn(Container("llm", external=True), decode_report(body).containers)
        self.assertEqual(self.node.polls, 1)

    def test_jobs(self) -> None:
        """Jobs run in their slots, wait in order, and count as pending until they end."""
        ids = [self.post(self.job("llm"))[1]["id"] for _ in range(3)]
        self.assertEqual((self.pending(), self.node.running), (3, 2))
        self.clock.advance(0.5)
        self.assertEqual((self.pending(), self.node.running, self.node.done), (1, 1, 2))
        self.assertEqual(
            json.loads(self.get(f"/api/jobs?id={ids[0]}&id={ids[2]}&id=unknown")[1]),
            [
                {
                    "id": ids[0],
                    "status": "success",
                    "result": {"container": "llm", "output": {}},
                },
                {"id": ids[2], "status": "running", "result": None},
            ],
        )
        self.assertEqual(json.loads(self.get("/api/jobs")[1]), ids)

    def test_refused_jobs(self) -> None:
        """A job is refused in the same cases as by a real node."""
        for body in (
            b"",
            b"[]",
            b"\xff",
            b'{"containers":["\xff"],"data":{}}',
            b'{"containers":["llm"]}',
            b'{"containers":1,"data":{}}',
            b'{"containers":[1],"data":{}}',
            b'{"containers":[["llm"]],"data":{}}',
            b'{"containers":["llm"],"data":' + b"[" * 100_000,
        ):
            answer = (400, {"error": "a job has containers and data"})
            self.assertEqual(self.post(body), answer, body[:50])
        for containers in ([], ["other"], ["llm", "other"], ["inner", "llm"]):
            self.assertEqual(self.post(self.job(*containers))[0], 405, containers)
        self.assertEqual(self.post(self.job("llm", "inner"))[0], 200)

    def test_head(self) -> None:
        """HEAD has the headers of GET, without a body."""
        for path in ("/info", "/health", "/api/jobs", "/other"):
            status, body = self.get(path)
            with capturedLogs() as logged:
                response = self.successResultOf(self.http.head(f"http://node.invalid{path}"))
            self.assertEqual(self.successResultOf(response.content()), b"")
            self.assertEqual(response.code, status)
            self.assertEqual(response.headers.getRawHeaders("content-length"), [str(len(body))])
            self.assertEqual([event for event in logged if "HEAD" in str(event)], [])
        self.assertEqual(self.node.polls, 2)

    def test_failing(self) -> None:
        """A node whose jobs fail ends them immediately, and has none pending."""
        self.node.failing = 1.0
        job = self.node.submit(["llm"])
        self.assertEqual((job.status, job.finished, self.pending()), ("failed", 0.0, 0))

    def test_speed(self) -> None:
        """Attributes may be changed while it runs."""
        self.node.speed, self.node.slots, self.node.work = 0.5, 1, lambda: 3.0
        jobs = [self.node.submit(["llm"]) for _ in range(2)]
        self.clock.pump([1] * 12)
        self.assertEqual([job.finished for job in jobs], [6, 12])

    def test_silent(self) -> None:
        """A silent node accepts a request and never responds."""
        self.node.silent = True
        self.assertNoResult(self.http.get("http://node.invalid/info"))
        self.assertEqual(self.node.polls, 1)

    def test_info_attributes(self) -> None:
        """GET /info can have any status and body."""
        self.node.status, self.node.info = 500, b"<html>"
        self.assertEqual(self.get("/info"), (500, b"<html>"))

    def test_other_routes(self) -> None:
        """It has /health and /resources, and nothing else."""
        self.node.resources = {"llm": {"version": "0.1.0"}}
        self.assertEqual(self.get("/health"), (200, b'{"status":"healthy"}'))
        self.assertEqual(self.get("/resources"), (200, b'{"llm":{"version":"0.1.0"}}'))
        self.assertEqual(self.get("/other")[0], 404)

    def test_models(self) -> None:
        """It answers which of its containers support a model."""
        self.node.models = {"llm": ["a/b:c d"], "other": []}
        for path in ("/resources?model_id=a/b:c+d", "/resources?model_id=a%2Fb%3Ac%20d"):
            self.assertEqual(
                json.loads(self.get(path)[1]),
                {"llm": {"supported": True}, "other": {"supported": False}},
            )
        self.node.resources = {"llm": {}}
        self.assertEqual(json.loads(self.get("/resources?model_id=")[1]), {"llm": {}})

    def test_forgets(self) -> None:
        """It remembers the last 1000 jobs that ended."""
        self.node.failing = 1.0
        jobs = [self.node.submit(["llm"]) for _ in range(1001)]
        self.assertEqual(json.loads(self.get("/api/jobs")[1]), [job.id for job in jobs[1:]])

    def test_work(self) -> None:
        """A job may say how much work it is; what is impossible is not read."""
        for work, seconds in ((3.0, 1.5), (4, 2.0), ("x", 0.5), (-1, 0.5), (10**400, 0.5)):
            body = json.dumps({"containers": ["llm"], "data": {"work": work}}).encode()
            self.assertEqual(self.post(body)[0], 200)
            for when, running in ((seconds - 0.25, 1), (0.25, 0)):
                self.clock.advance(when)
                self.assertEqual(self.node.running, running, work)

    def test_pause(self) -> None:
        """A paused node answers nothing and works on nothing; afterwards it goes on."""
        ended: list[SimulatedJob] = []
        self.node.ended = ended.append
        jobs = [self.node.submit(["llm"]) for _ in range(3)]
        self.clock.advance(0.25)
        for _ in range(2):
            self.node.pause()
        self.assertNoResult(self.http.get("http://node.invalid/info"))
        self.node.submit(["llm"])
        self.clock.advance(60)
        self.assertEqual((self.node.running, self.node.pending, ended), (2, 4, []))
        for _ in range(2):
            self.node.resume()
        self.clock.advance(0.25)
        self.assertEqual(ended, jobs[:2])
        self.assertEqual(self.pending(), 2)
        self.clock.advance(0.5)
        self.assertEqual(ended[:3], jobs)

    def test_crash(self) -> None:
        """A crash loses all jobs, those of a paused node as well; the next ones run."""
        ended: list[tuple[str, str]] = []
        self.node.ended = lambda job: ended.append((job.id, job.status))
        jobs = [self.node.submit(["llm"]) for _ in range(3)]
        self.clock.advance(0.25)
        self.node.pause()
        self.node.crash()
        self.assertEqual(ended, [(job.id, "lost") for job in jobs])
        self.assertEqual(self.pending(), 0)
        self.assertEqual(json.loads(self.get("/api/jobs")[1]), [])
        self.node.submit(["llm"])
        self.node.crash()
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.node.done, 0)
