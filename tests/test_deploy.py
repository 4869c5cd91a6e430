"""Tests of the files in deploy/: each is held against the program that reads it."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from infernet_router.options import Options

_DEPLOY = Path(__file__).parent.parent / "deploy"
_DOCS = Path(__file__).parent.parent / "docs"


def _check(program: str, *arguments: str | Path) -> None:
    """
    Run a program that checks a file; skip the test, and say so, where it is not installed.

    :raises AssertionError: with its output, when it finds something wrong.
    """
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        raise SkipTest(f"{program} is not installed: {_DEPLOY} is not checked with it")
    ran = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


class PrometheusTests(SynchronousTestCase):
    """deploy/prometheus"""

    def test_rules(self) -> None:
        """The alerts fire when they should, and not otherwise."""
        _check("promtool", "test", "rules", _DEPLOY / "prometheus/rules_test.yml")

    def test_config(self) -> None:
        """Prometheus accepts its configuration, with the rules."""
        _check("promtool", "check", "config", _DEPLOY / "prometheus/prometheus.yml")

    def test_runbooks(self) -> None:
        """Each alert is tested, and has a section in the documentation."""
        tested = (_DEPLOY / "prometheus/rules_test.yml").read_text()
        sections = re.findall(r"^#+ (.*)$", (_DOCS / "troubleshooting.md").read_text(), re.M)
        (rules,) = _documents(_DEPLOY / "prometheus/rules.yml")
        alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        self.assertTrue(alerts)
        for alert in alerts:
            name = alert["alert"]
            self.assertIn(f"alertname: {name}\n", tested)
            self.assertIn(name, sections)
            runbook = f"docs/troubleshooting.md#{name.lower()}"
            self.assertEqual(alert["annotations"]["runbook_url"], runbook)


class GrafanaTests(SynchronousTestCase):
    """deploy/grafana"""

    def test_dashboard(self) -> None:
        """Prometheus can parse every expression of the dashboard, and no panel hides another."""
        dashboard = json.loads((_DEPLOY / "grafana/dashboard.json").read_text())
        expressions = [
            target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            for panel in dashboard["panels"]
            for target in panel.get("targets", ())
        ]
        self.assertGreater(len(expressions), 20)
        places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
        self.assertEqual(len(places), len(set(places)))
        rules = [
            {"record": f"dashboard:{number}", "expr": expression}
            for number, expression in enumerate(expressions)
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            _check("promtool", "check", "rules", file.name)


class KubernetesTests(SynchronousTestCase):
    """deploy/kubernetes"""

    def test_manifests(self) -> None:
        """Kubernetes knows every field."""
        checker = Path(sys.executable).parent / "kubernetes-validate"
        _check(str(checker), "--strict", "--quiet", _DEPLOY / "kubernetes/router.yaml")

    def test_options(self) -> None:
        """The router knows the options, and its containers' ports are those it serves on."""
        container = self.deployments()["infernet-router"]["template"]["spec"]["containers"][0]
        environ = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        Options(environ).parseOptions(container["args"])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.assertEqual(ports["http"], 4000)
        self.assertIn(f"--metrics=tcp:{ports['metrics']}", container["args"])

    def test_redis(self) -> None:
        """The routers reach the Redis, and nobody else does; both have the same password."""
        documents = _documents(_DEPLOY / "kubernetes/router.yaml")
        (policy,) = (each["spec"] for each in documents if each["kind"] == "NetworkPolicy")
        deployments = self.deployments()
        router, redis = deployments["infernet-router"], deployments["infernet-router-redis"]
        self.assertEqual(router["replicas"], 3)
        self.assertEqual(policy["podSelector"], redis["selector"])
        self.assertEqual(policy["ingress"][0]["from"], [{"podSelector": router["selector"]}])
        containers = [each["template"]["spec"]["containers"][0] for each in (router, redis)]
        secrets = [container["env"][0]["valueFrom"] for container in containers]
        self.assertEqual(secrets[0], secrets[1])
        port = {"name": "redis", "containerPort": 6379}
        self.assertEqual(containers[1]["ports"], [port])
        services = [each["metadata"]["name"] for each in documents if each["kind"] == "Service"]
        url = containers[0]["env"][1]["value"]
        self.assertIn(url, [f"redis://:$(REDIS_PASSWORD)@{name}:6379" for name in services])

    def deployments(self) -> dict[str, Any]:
        """The deployments, by name."""
        return {
            document["metadata"]["name"]: document["spec"]
            for document in _documents(_DEPLOY / "kubernetes/router.yaml")
            if document["kind"] == "Deployment"
        }

    def test_monitor(self) -> None:
        """The monitor selects the pods of the deployment, and gives the job its name."""
        (monitor,) = _documents(_DEPLOY / "kubernetes/monitor.yaml")
        labels = self.deployments()["infernet-router"]["selector"]["matchLabels"]
        self.assertEqual(monitor["spec"]["selector"]["matchLabels"], labels)
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        self.assertIn(
            {"targetLabel": "job", "replacement": "infernet-router"}, endpoint["relabelings"]
        )


class ServersTests(SynchronousTestCase):
    """The files for systemd, nginx and Compose"""

    def test_systemd(self) -> None:
        """systemd accepts the units; where they would be installed, there would be a router."""
        with tempfile.TemporaryDirectory() as directory:
            for unit in (_DEPLOY / "systemd").iterdir():
                text = unit.read_text().replace(
                    "/opt/infernet-router/bin/infernet-router", sys.executable
                )
                (Path(directory) / unit.name).write_text(text)
            _check("systemd-analyze", "verify", *sorted(Path(directory).iterdir()))

    def test_systemd_options(self) -> None:
        """The router knows the options of the services."""
        for unit in ("infernet-router.service", "infernet-router@.service"):
            text = (_DEPLOY / "systemd" / unit).read_text().replace("%i", "1")
            (command,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.M)
            Options({}).parseOptions(command.split())

    def test_nginx(self) -> None:
        """nginx accepts both configurations."""
        for name in ("nginx.conf", "nginx-compose.conf"):
            self.check_nginx(_DEPLOY / name)

    def check_nginx(self, path: Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            arguments = ("-g", f"pid {directory}/nginx.pid; error_log stderr;", "-t")
            _check("nginx", *arguments, "-c", path)

    def test_compose(self) -> None:
        """Every file that Compose mounts exists, and the router knows its options."""
        (compose,) = _documents(_DEPLOY / "compose.yaml")
        services = compose["services"]
        for source in _mounted(services):
            if source != "../ips.txt":  # the operator makes it
                self.assertTrue((_DEPLOY / source).exists(), source)
        Options(services["router"]["environment"]).parseOptions(services["router"]["command"])
        self.assertIn("redis", services)
        (scrape,) = _documents(_DEPLOY / "prometheus/prometheus.yml")[0]["scrape_configs"]
        (found,) = scrape["dns_sd_configs"]
        self.assertEqual((found["names"], found["port"]), (["router"], 9100))


def _mounted(services: dict[str, Any]) -> Iterator[str]:
    """The files and directories that services mount."""
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                yield source
