"""Tests of infernet_router.admin.scraped."""

import json

from tests.admin.case import AdminTestCase


class ScrapedTests(AdminTestCase):
    def test_probes(self) -> None:
        """Probes are on both endpoints; the one for programs has nothing else."""
        for root in (None, self.metrics_root()):
            self.assertEqual(self.read("/livez", root=root), {"status": "alive"})
            self.assertEqual(self.read("/readyz", root=root), {"status": "ready"})
            self.assertEqual(self.ask("/metrics", root=root).status, 200)
        for path in ("/admin/v1/overview", "/metrics/nodes", "/", "/api/v1/ip"):
            answer = self.ask(path, root=self.metrics_root())
            self.assertEqual(answer.status, 404, path)

    def test_scraped_by_name(self) -> None:
        """The endpoint for programs may be reached by any name."""
        answer = self.ask("/metrics", root=self.metrics_root(), host="router.invalid")
        self.assertEqual(answer.status, 200)

    def test_head(self) -> None:
        """HEAD has the headers of GET, and no body."""
        for root in (None, self.metrics_root()):
            got, head = (self.ask("/metrics", root=root, method=m) for m in ("GET", "HEAD"))
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertGreater(len(got.body), 1000)
            self.assertEqual(head.headers["content-type"], got.headers["content-type"])

    def test_format(self) -> None:
        """The format is one that the request accepts; anything gets Prometheus' text."""
        for accept, kind in (
            (
                "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
                "application/openmetrics-text",
            ),
            ("\xff;;q=,", "text/plain"),
            ("", "text/plain"),
        ):
            answer = self.ask("/metrics", headers={"Accept": accept})
            self.assertEqual(answer.headers["content-type"].partition(";")[0], kind, accept)

    def test_errors(self) -> None:
        """Errors are JSON on both endpoints."""
        for root in (None, self.metrics_root()):
            answer = self.ask("/nothing", root=root)
            self.assertEqual(answer.status, 404)
            self.assertEqual(json.loads(answer.body), {"error": "no such path: '/nothing'"})

    def test_shutdown(self) -> None:
        """While the router shuts down it is alive, but not ready."""
        self.readiness.closing()
        self.assertEqual(self.ask("/livez", root=self.metrics_root()).status, 200)
        self.assertEqual(self.ask("/readyz", root=self.metrics_root()).status, 503)
