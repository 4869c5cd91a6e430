"""Tests of the examples in the documentation: a router gives the answers that they show."""

import json
import re
import shlex
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import ROOT, Node, Router, until

_PROGRAM = re.compile(r"^```python\n((?:.*\n)*?ROUTER = (?:.*\n)*?)```$", re.MULTILINE)
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

    def test_program(self) -> None:
        """The Python example submits its job to another node when the best one refuses it."""
        (program,) = _PROGRAM.findall((ROOT / "docs" / "api.md").read_text())
        names = {"__name__": "example"}
        exec(program.replace("localhost:4000", f"127.0.0.1:{self.router.port}"), names)
        self.assertEqual(names["node"], self.names["10.0.0.2:4000"])
        self.assertNotIn("Traceback", self.router.output())
