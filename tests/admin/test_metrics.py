"""Tests of infernet_router.admin.metrics."""

import re
import subprocess
from pathlib import Path
from shutil import which
from unittest import skipUnless

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from infernet_router.api.routes import PATHS
from infernet_router.fleet import Tier
from tests.admin.case import A, AdminTestCase
from tests.admin.test_replication import Replicas
from tests.doubles import addresses, report

OPEN = {"Accept": "application/openmetrics-text; version=1.0.0"}
DEPLOY = Path(__file__).parents[2] / "deploy"
PROMTOOL = which("promtool")

NAMES = {
    *("requests", "decisions", "no_node", "polls", "node_transitions", "outcomes"),
    *("rate_limited", "connections_refused", "source_errors", "nodes", "container_nodes"),
    *("container_jobs", "container_capacity_jobs_per_second", "oldest_report_age_seconds"),
    *("poll_interval_seconds", "overrides", "connections", "build_info", "request_seconds"),
    *("source_last_success_timestamp_seconds", "poll_seconds", "reactor_delay_seconds"),
    *("queue_error_jobs", "choices_checked", "choices_still_best", "shadow_wait_seconds"),
    *("shadow_samples", "log_lines_dropped", "admin_actions"),
}


class MetricsTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.counts.name_paths(PATHS)

    def samples(self, text: str) -> dict[str, float]:
        """The series in a text, by name and labels."""
        return {
            sample.name.removeprefix("infernet_router_")
            + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in families(text)
            for sample in family.samples
        }

    def series(self) -> dict[str, float]:
        self.clock.advance(1)
        return self.samples(self.ask("/metrics").body.decode())

    def test_names(self) -> None:
        """There are the metrics that dashboards rely on."""
        answer = self.ask("/metrics")
        self.assertEqual(answer.headers["content-type"].split(";")[0], "text/plain")
        names = {family.name for family in families(answer.body.decode())}
        ours = {n.removeprefix("infernet_router_") for n in names if n.startswith("infernet")}
        self.assertEqual(ours, NAMES)
        self.assertIn("process_resident_memory_bytes", names)

    def test_values(self) -> None:
        """Each metric has the numbers that were counted."""
        counts = self.counts
        counts.answered(b"/api/v1/ip", 200, 0.0004)
        counts.answered(b"/nothing", 404, 0.3)
        counts.no_node["excluded"] += 1
        counts.outcomes["failed"] += 2
        counts.acted("drain", "done")
        counts.rate_limited = 3
        counts.refused = 4
        counts.polled("timeout", 3.0)
        self.sources.failed("http://explorer.invalid", "HTTP 500")
        got = self.series()
        for name, value in {
            "requests_total|200|/api/v1/ip": 1,
            "requests_total|404|other": 1,
            "request_seconds_bucket|0.0005|/api/v1/ip": 1,
            "request_seconds_bucket|0.1|other": 0,
            "request_seconds_bucket|+Inf|other": 1,
            "request_seconds_sum|other": 0.3,
            "no_node_total|excluded": 1,
            "no_node_total|none_up": 0,
            "outcomes_total|failed": 2,
            "admin_actions_total|drain|done": 1,
            "rate_limited_total": 3,
            "connections_refused_total": 4,
            "polls_total|timeout": 1,
            "polls_total|tls": 0,
            "poll_seconds_count": 1,
            "source_errors_total|explorer": 1,
            "source_errors_total|file": 0,
            "source_last_success_timestamp_seconds|explorer": 0,
            "source_last_success_timestamp_seconds|file": 1001,
            "node_transitions_total|up": 2,
            "node_transitions_total|down": 1,
            "nodes|up": 2,
            "nodes|down": 1,
            "nodes|drained": 0,
            "container_nodes|llm|up": 2,
            "container_nodes|prover|up": 1,
            "oldest_report_age_seconds": 1,
            "poll_interval_seconds": 3,
            "connections|client": 2,
            "connections|node": 3,
            "overrides": 0,
        }.items():
            self.assertEqual(got[name], value, name)

    def test_bounded(self) -> None:
        """There are fewer than 600 series, however many nodes, containers and states there are."""
        many = addresses(*(f"198.51.{n // 250}.{n % 250}:4000" for n in range(2000)))
        self.fleet.replace(many)
        for number, address in enumerate(many):
            self.fleet.observed(
                address, report("llm", *(f"c{(number * 7 + k) % 90}" for k in range(5)))
            )
            if number % 5 == 1:
                self.fleet.missed(address, "timeout", timed_out=True)
            if number % 5 == 2:
                self.fleet.override(address, Tier.DRAINED)
        for path in PATHS:
            for code in (200, 400, 404, 405, 429, 503):
                self.counts.answered(path, code, 0.001)
        got = self.series()
        self.assertLess(len(got), 600)
        named = {name.split("|")[1] for name in got if name.startswith("container_jobs|")}
        self.assertEqual(len(named), 51)
        self.assertLessEqual({"llm", "other"}, named)

    def test_never_falls(self) -> None:
        """A container that is not named any more takes nothing from the others' number."""
        for _ in range(5):
            self.fleet.pick(["prover"])
        self.assertEqual(self.series()["decisions_total|prover"], 5)
        self.fleet.pick(["prover"])
        self.fleet.replace([A])
        got = self.series()
        self.assertEqual(got["decisions_total|other"], 1)
        self.assertNotIn("decisions_total|prover", got)
        self.assertEqual(self.series()["decisions_total|other"], 1)

    def test_many_containers(self) -> None:
        """Decisions for containers beyond the first thousand count as others."""
        self.fleet.observed(A, report(*(f"c{number}" for number in range(1100))))
        for number in range(1100):
            self.fleet.pick([f"c{number}"])
        got = self.series()
        decided = {name: n for name, n in got.items() if name.startswith("decisions_total")}
        self.assertLess(len(decided), 60)
        self.assertEqual(sum(decided.values()), 1100)

    def test_records(self) -> None:
        """What was decided shows, and how right it was."""
        for _ in range(10):
            address = self.fleet.pick(["llm"])
            self.clock.advance(1)
            self.fleet.observed(address, report("llm"))
        got = self.series()
        self.assertEqual(got["decisions_total|llm"], 10)
        self.assertEqual(got["queue_error_jobs_bucket|+Inf"], self.records.accuracy.reports)
        self.assertGreater(got["queue_error_jobs_bucket|1.0"], 0)
        self.assertGreater(got["queue_error_jobs_sum"], 0)
        self.assertEqual(got["choices_checked_total"], self.records.accuracy.choices)
        self.assertEqual(got["choices_still_best_total"], self.records.accuracy.still_best)
        self.assertGreater(got["shadow_samples_total"], 0)
        for rule in ("router", "two_choices", "least_pending"):
            self.assertGreaterEqual(got[f"shadow_wait_seconds_total|{rule}"], 0)
        self.assertEqual(got["log_lines_dropped_total"], 7)

    def test_openmetrics(self) -> None:
        """OpenMetrics has a decision for each bucket, and a newer one the next time."""
        histogram, bucket = self.counts.answered(b"/api/v1/ip", 200, 0.0004) or self.fail()
        histogram.examples[bucket] = "7-1-0-abc", 0.0004
        answer = self.ask("/metrics", headers=OPEN)
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text"))
        text = answer.body.decode()
        self.assertTrue(text.endswith("# EOF\n"))
        found = [
            (sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
            for family in open_families(text)
            for sample in family.samples
            if sample.exemplar
        ]
        self.assertEqual(found, [("0.0005", {"decision": "7-1-0-abc"}, 0.0004)])
        self.assertIsNotNone(self.counts.answered(b"/api/v1/ip", 200, 0.0004))

    def test_head(self) -> None:
        """HEAD has the length and no body."""
        answer = self.ask("/metrics", method="HEAD")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 1000)

    @skipUnless(PROMTOOL, "promtool is missing: apt-get install prometheus")
    def test_promtool(self) -> None:
        """promtool finds nothing wrong."""
        self.counts.answered(b"/api/v1/ip", 200, 0.0004)
        for path in ("/metrics", "/metrics/nodes"):
            checked = subprocess.run(
                ["promtool", "check", "metrics"],
                input=self.ask(path, host=None).body,
                capture_output=True,
                check=False,
            )
            self.assertEqual((checked.returncode, checked.stderr + checked.stdout), (0, b""))


class DeployedTests(AdminTestCase):
    """deploy/ and a router that shares its fleet."""

    replication = Replicas()

    def test_deployed(self) -> None:
        """The dashboard and the alerts use only metrics, and labels, that there are."""
        self.sources.failed("http://explorer.invalid", "HTTP 500")
        self.counts.answered(b"/api/v1/ip", 200, 0.0004)
        got: dict[str, set[str]] = {}
        for family in families(self.ask("/metrics").body.decode()):
            for sample in family.samples:
                got.setdefault(sample.name, {"instance"}).update(sample.labels)
        used = 0
        for file in ("grafana/dashboard.json", "prometheus/rules.yml"):
            text = (DEPLOY / file).read_text().replace('\\"', '"')
            for name, labels in re.findall(r"\b(infernet_router_\w+)(?:\{([^}]*)\})?", text):
                self.assertIn(name, got, file)
                self.assertLessEqual(set(re.findall(r"(\w+)[=!]~?\"", labels)), got[name], name)
                used += 1
        self.assertGreater(used, 40)
