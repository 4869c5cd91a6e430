"""Tests of infernet_router.admin.overview."""

from infernet_router import __version__
from infernet_router.fleet import Outcome, Tier
from tests.admin.case import FILE, A, AdminTestCase, B, C

PATH = "/admin/v1/overview"


class OverviewTests(AdminTestCase):
    def problems(self) -> list[str]:
        self.clock.advance(1)
        return [problem["text"] for problem in self.read(PATH)["problems"]]

    def test_fields(self) -> None:
        """It says how the router and its nodes are."""
        overview = self.read(PATH)
        self.assertEqual(overview["version"], __version__)
        self.assertEqual(overview["started"], "1970-01-01T00:16:40.000Z")
        self.assertEqual(
            overview["nodes"], {"up": 2, "suspect": 0, "down": 1, "unknown": 0, "drained": 0}
        )
        self.assertEqual(overview["replicas"], {"members": 1, "alone": False})
        for name in ("requests_per_second", "decisions_per_second", "overrides"):
            self.assertEqual(overview[name], 0)
        self.assertEqual(overview["poll_interval_seconds"], 3.0)
        self.assertEqual(overview["oldest_report_seconds"], 0.0)
        self.assertIn("queue_error_jobs", overview)
        self.assertIn("p99_seconds", overview)

    def test_cached(self) -> None:
        """It is made once a second for all; who has it already gets 304."""
        first = self.ask(PATH)
        self.fleet.missed(A, "HTTP 500")
        second = self.ask(PATH)
        self.assertEqual((first.body, first.headers["etag"]), (second.body, second.headers["etag"]))
        for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
            answer = self.ask(PATH, headers={"If-None-Match": known})
            self.assertEqual((answer.status, answer.body), (304, b""))
        self.clock.advance(1)
        answer = self.ask(PATH, headers={"If-None-Match": first.headers["etag"]})
        self.assertEqual(answer.status, 200)

    def test_problems(self) -> None:
        """Each problem is named, with a link."""
        self.assertEqual(self.problems(), ["1 of 3 nodes is down"])
        self.fleet.override(B, Tier.DRAINED)
        self.sources.failed(FILE, "it is bad")
        self.interval = 4.0
        self.assertEqual(
            self.problems(),
            [
                "1 of 3 nodes is down",
                "no node that runs 'prover' gets jobs",
                "/ips.txt: it is bad",
                "nodes are polled every 4.0 s only, as --max-polls is so low",
            ],
        )
        self.sources.named(FILE, [A, C], flaw="1 bad")
        self.interval = 3.0
        self.fleet.missed(A, "HTTP 500")
        self.assertEqual(
            self.problems(),
            ["none of 2 nodes can be used", "2 of 2 nodes are down", "/ips.txt: 1 bad"],
        )

    def test_doubted(self) -> None:
        """Nodes that seem to fail their jobs are named; those that are down are not."""
        for _ in range(3):
            self.fleet.told(A, Outcome.FAILED)
            self.fleet.told(C, Outcome.FAILED)
        one = "1 of 3 nodes is in doubt: clients reported 3 failed jobs"
        self.assertEqual(self.problems()[1], one)
        for _ in range(3):
            self.fleet.told(B, Outcome.FAILED)
        two = "2 of 3 nodes are in doubt: they seem to fail their jobs"
        self.assertEqual(self.problems()[1], two)
        found = self.read("/admin/v1/nodes?sort=doubt&order=desc&limit=1")["nodes"][0]
        self.assertEqual(found["in_doubt"], "clients reported 3 failed jobs")
        for node in (A, B):
            self.fleet.told(node, Outcome.DONE)
        self.assertEqual(self.problems(), ["1 of 3 nodes is down"])

    def test_late(self) -> None:
        """Old reports and a late reactor are problems, and so is an empty fleet."""
        self.traffic.lateness = 0.3
        self.clock.advance(100)
        lines = self.problems()
        self.assertEqual(lines[1:], ["the oldest report is 101 s old", "the router is 0.3 s late"])
        self.fleet.replace([])
        self.assertEqual(self.problems()[0], "no node is known")
