"""Tests that Prometheus itself can scrape a router and answer what deploy/ asks of it."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.programs import ROOT, Program, Router, until

PROMETHEUS = shutil.which("prometheus")
DEPLOY = ROOT / "deploy"
CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: infernet-router
    static_configs:
      - targets: ["127.0.0.1:%d"]
"""


def get(port: int, path: str, **parameters: str) -> Any:
    """The decoded response of a server on this machine."""
    return json.loads(read(port, path, **parameters))


def read(port: int, path: str, **parameters: str) -> bytes:
    """The body of a server's response with status 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"{path}?{urlencode(parameters)}")
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return body
    finally:
        connection.close()


def port(program: Program | Router, pattern: str) -> int:
    """The port that a program prints."""
    until(lambda: re.search(pattern, program.output()), pattern)
    return int(re.findall(pattern, program.output())[0])


def expressions() -> list[str]:
    """Those of the dashboard, over ten seconds."""
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


class PrometheusTests(SynchronousTestCase):
    def setUp(self) -> None:
        if PROMETHEUS is None:
            raise SkipTest("prometheus is not installed: nothing scrapes a router in this test")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        nodes = Program(
            self,
            folder,
            *(sys.executable, "-m", "infernet_router.testing", "--nodes", "6", "--port", "0"),
            *("--containers", "llm,prover"),
            variables={"PYTHONPATH": str(ROOT)},
        )
        until(lambda: "Ctrl-C" in nodes.output(), "the nodes")
        addresses = re.findall(r"^127\.\S+:\d+$", nodes.output(), re.M)
        (folder / "ips.txt").write_text("\n".join((*addresses, "127.0.0.1:1", "")))
        self.router = Router(self, folder, "--admin", "tcp:0:interface=127.0.0.1")
        self.admin = port(self.router, r"listening on 127\.0\.0\.1:(\d+) for operators")
        until(lambda: self.router.pick("llm"), "a node that is up")
        config = folder / "prometheus.yml"
        config.write_text(CONFIG % (json.dumps(str(DEPLOY / "prometheus/rules.yml")), self.admin))
        self.prometheus = Program(
            self,
            folder,
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage",
        )
        self.port = port(self.prometheus, r'"Listening on" address=127\.0\.0\.1:(\d+)')
        until(lambda: "Server is ready" in self.prometheus.output(), "Prometheus")

    def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus answers, while clients ask the router for nodes."""
        self.router.pick("llm", "prover")
        self.router.pick("nothing")
        return get(self.port, f"/api/v1/{path}", **parameters)["data"]

    def test_scraped(self) -> None:
        """Each expression of the dashboard has data, each alert is evaluated, and decisions are
        found by the ids that Prometheus keeps."""
        for expression in expressions():
            if "infernet_router_replicas_" in expression:  # there is one router only
                self.assertEqual(self.result(expression), [])
            else:
                until(partial(self.result, expression), expression)
        rules = until(self.evaluated, "the evaluation of all rules")
        self.assertEqual({rule["health"] for rule in rules}, {"ok"}, rules)
        exemplar = until(self.exemplar, "an exemplar")
        id = exemplar["labels"]["decision"]
        decision = get(self.admin, f"/admin/v1/decisions/{id}")
        self.assertEqual(decision["id"], id)
        self.assertNotIn("level=error", self.prometheus.output())

    def test_promtool(self) -> None:
        """promtool finds nothing wrong with a running router's metrics."""
        self.router.pick("nothing")
        for path in ("/metrics", "/metrics/nodes"):
            metrics = read(self.admin, path)
            self.assertGreater(metrics.count(b"\ninfernet_router_"), 10)
            checked = subprocess.run(
                ("promtool", "check", "metrics"), input=metrics, capture_output=True, check=False
            )
            self.assertEqual((checked.returncode, checked.stderr + checked.stdout), (0, b""))

    def result(self, expression: str) -> Any:
        """What Prometheus knows of an expression now; empty without data."""
        return self.ask("query", query=expression)["result"]

    def evaluated(self) -> list[dict[str, Any]]:
        """All rules, once each was evaluated."""
        (group,) = self.ask("rules")["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    def exemplar(self) -> Any:
        """An exemplar of the responses to clients, once there is one."""
        query = "infernet_router_request_seconds_bucket"
        found = self.ask("query_exemplars", query=query, start="0", end="9999999999")
        return found and found[0]["exemplars"][0]
