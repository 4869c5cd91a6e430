"""Tests of the examples in the documentation: a router gives the answers that they show."""

import json
import os
import re
import shlex
import subprocess
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks.loopback.programs import environment
from tests.integration.programs import ROOT, Node, Router, until

_PROGRAM = re.compile(r"^```(\w+)\n((?:.*\n)*?[^`\n]*ROUTER ?= ?(?:.*\n)*?)```$", re.MULTILINE)
_DECISION = re.compile("Infernet-Decision: (.+)")
_EXAMPLE = re.compile(r"^```console\n\$ (curl .*)\n((?:.*\n)*?)```$", re.MULTILINE)


def info(pending: int, *containers: str, **descriptions: str) -> dict[str, object]:
    """The answer of a node with these containers and jobs to GET /info."""
    return {
        "containers": [
            {"id": id, "external": True, "description": descriptions.get(id, "")}
            for id in containers
        ],
        "pending": {"offchain": pending, "onchain": 0},
    }


class ExampleTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Start the nodes in the examples, one of them down, and a router."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        model, about = "hf/org/name:q4", "A language model"
        best = Node(
            self,
            folder,
            knobs={
                "info": info(0, "llm", "prover", llm=about),
                "resources": {
                    "llm": {"version": "0.1.0", "service_id": "llm", "compute_capability": []}
                },
                "models": {"llm": [model]},
            },
        )
        knobs = {"info": info(1000, "llm", llm=about), "models": {"llm": []}}
        busy = Node(self, folder, "llm", knobs=knobs)  # the best node refuses jobs for llm
        self.names = {"10.0.0.7:4000": best.address, "10.0.0.2:4000": busy.address}
        (folder / "ips.txt").write_text(f"{best.address}\n{busy.address}\n127.0.0.1:1\n")
        self.router = Router(self, folder, "--interval", "3600")
        health = (200, {"status": "healthy", "up": 2, "suspect": 0, "down": 1, "unknown": 0})
        until(lambda: self.router.get("/health") == health, "up")
        until(lambda: len(self.router.get("/api/v1/resources")[1]) == 2, "resources")
        support = f"/api/v1/resources?model_id={model}"
        until(lambda: len(self.router.get(support)[1]) == 2, "support for the model")

    def run_curl(self, command: str) -> tuple[str, str]:
        """The body that a curl command prints, after the head with -i."""
        curl, *flags, url = shlex.split(command)
        target = url.removeprefix("http://localhost:4000")
        known = set(flags) <= {"-i", "-X", "POST"}
        self.assertTrue(curl == "curl" and known and target[0] == "/", command)
        client = HTTPConnection("127.0.0.1", self.router.port, timeout=60)
        client.request("POST" if "POST" in flags else "GET", target)
        answer = client.getresponse()
        body = answer.read().decode()
        client.close()
        headers = [f"{name}: {value}" for name, value in answer.getheaders()]
        head = [f"HTTP/1.1 {answer.status} {answer.reason}", *headers] if "-i" in flags else []
        return "\n".join(head), body

    def test_examples(self) -> None:
        """Each curl command prints the headers and the body that are shown below it."""
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        examples = [found for page in pages for found in _EXAMPLE.findall(page.read_text())]
        self.assertGreater(len(examples), 10)
        for command, shown in examples:
            head, body = self.run_curl(self.as_here(command))
            for made in _DECISION.findall(head):
                self.names.update(dict.fromkeys(_DECISION.findall(shown), made))
            shown_head, _, shown_body = self.as_here(shown).rpartition("\n\n" if body else "\n")
            self.assertLessEqual({*shown_head.split("\n")}, {*head.split("\n")}, command)
            self.assertEqual(body == "", "POST" in command, command)
            answer = json.loads(body or "null")
            if shown_body:
                self.assertEqual(answer, json.loads(shown_body), command)

    def as_here(self, text: str) -> str:
        """An example, with the names that the router and the nodes have here."""
        for documented, actual in self.names.items():
            text = text.replace(documented, actual)
        return text


class Restarting(ThreadingHTTPServer):
    """
    A router as its clients see it while it restarts, and then the one at this port.

    It answers the first request with nothing, the next five with a 503, and passes on the others.
    """

    def __init__(self, router: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.router = router
        self.asked = 0


class Passing(BaseHTTPRequestHandler):
    """Answers a request as Restarting says."""

    server: Restarting

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.asked == 1:
            return
        if self.server.asked <= 6:
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"error":"the first polls are not back yet"}')
            return
        client = HTTPConnection("127.0.0.1", self.server.router, timeout=60)
        client.request(self.command, self.path)
        answer = client.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        client.close()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class ClientTests(SynchronousTestCase):
    """
    The clients in the documentation.

    The router restarts at first. Of four nodes, the three with few jobs do not do them: one is
    dead, one refuses jobs, and at one they fail. So the client gets to the fourth, busy node in the
    end.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        dead, crashed = (
            Node(self, self.folder, "llm", knobs=knobs) for knobs in ({}, {"failing": 1.0})
        )
        refusing = Node(self, self.folder, knobs={"info": info(0, "llm")})
        self.good = Node(self, self.folder, "llm", knobs={"info": info(1000, "llm")})
        nodes = (dead, crashed, refusing, self.good)
        (self.folder / "ips.txt").write_text("\n".join(node.address for node in nodes))
        polls = ("--interval=3600", "--busy-interval=3600")
        metrics = "--metrics=tcp:0:interface=127.0.0.1"
        self.router = Router(self, self.folder, *polls, metrics)
        until(lambda: self.router.get("/health")[1].get("up") == 4, "up")
        dead.kill()
        self.front = Restarting(self.router.port)
        self.addCleanup(self.front.server_close)
        self.addCleanup(self.front.shutdown)
        Thread(target=self.front.serve_forever, daemon=True).start()

    def assert_works(self, language: str, *command: str, before: str = "") -> str:
        """
        The client in this language ends with the result of the good node; returns what it logs.

        :param before: what goes before the program.
        """
        programs = dict(_PROGRAM.findall((ROOT / "docs" / "clients.md").read_text()))
        address = f"127.0.0.1:{self.front.server_port}"
        program = before + programs[language].replace("localhost:4000", address)
        name = {"javascript": "client.mjs"}.get(language, "client")
        (self.folder / name).write_text(program)
        done = subprocess.run(
            (*command, name),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(self.good.address, done.stdout)
        outcomes = re.findall(r"outcomes_total\{outcome=\"(\w+)\"\} (\d)", self.metrics())
        expected = {"done": "1", "failed": "2", "unreachable": "1"}
        self.assertEqual(dict(outcomes), expected, done.stderr)
        self.assertNotIn("Traceback", self.router.output())
        return done.stderr

    def metrics(self) -> str:
        """What the router counted."""
        (port,) = re.findall(r"listening on 127\.0\.0\.1:(\d+) for", self.router.output())
        client = HTTPConnection("127.0.0.1", int(port), timeout=60)
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
        client.close()
        return text

    def test_curl(self) -> None:
        """The program for curl submits its job to another node when one fails."""
        if which("curl") is None:
            raise SkipTest("curl is missing: apt-get install curl")
        before = 'sleep() { echo "waits $1 s" >&2; command sleep "$1"; }\n'
        log = self.assert_works("sh", "sh", before=before)
        self.assertEqual(log.count("waits 0 s"), 5, log)  # as Retry-After says

    def test_python(self) -> None:
        """The program in Python submits its job to another node when one fails."""
        self.assert_works("python", sys.executable)

    def test_javascript(self) -> None:
        """The program in JavaScript submits its job to another node when one fails."""
        if which("node") is None:
            raise SkipTest("node is missing: apt-get install nodejs")
        self.assert_works("javascript", "node")


class MigratingTests(SynchronousTestCase):
    """The scripts for the machines of Terraform deployments."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "cron.d").mkdir(parents=True)
        for name in ("aws", "curl"):  # as if the cloud answered with the content of the file "list"
            command = self.folder / name
            command.write_text(f"#!/bin/sh\nexec cat {self.folder}/list\n")
            command.chmod(0o755)

    def run_script(self, text: str) -> str:
        """Run a script in the place of root's home; returns the list of nodes."""
        path = f"{self.folder}:{os.environ['PATH']}"
        here = text.replace("/root", str(self.folder)).replace("/etc", str(self.folder))
        subprocess.run(
            ("bash", "-c", here), env=environment(PATH=path), check=False, stderr=subprocess.DEVNULL
        )
        return (self.folder / "ips.txt").read_text()

    def test_update(self) -> None:
        """The list is written in place when it changes, and stays when it cannot be had."""
        page = (ROOT / "docs" / "migrating.md").read_text()
        scripts = re.findall(r"^```sh\n(cat << 'END'(?:.*\n)*?)```$", page, re.MULTILINE)
        self.assertEqual(len(scripts), 2)
        for script in scripts:
            (self.folder / "ips.txt").unlink(missing_ok=True)
            (self.folder / "list").unlink(missing_ok=True)
            self.assertEqual(self.run_script(script), "")
            (cron,) = (self.folder / "cron.d").iterdir()
            update = cron.read_text().removeprefix("* * * * * root ")
            before = (self.folder / "ips.txt").stat()
            nodes = "192.0.2.1:4000\n192.0.2.2:4000\n"
            for content in (nodes, ""):
                (self.folder / "list").write_text(content)
                self.assertEqual(self.run_script(update), nodes)
            (self.folder / "list").unlink()
            self.assertEqual(self.run_script(update), nodes)
            self.assertEqual((self.folder / "ips.txt").stat().st_ino, before.st_ino)
