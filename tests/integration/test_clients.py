"""Tests of the router with clients from other projects: infernet-client and schemathesis."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import environment
from tests.integration.programs import Node, Router, until

CLIENT = ("infernet-client==1.4.0", "infernet-ml==2.0.0")
IMPORTED = (
    "aiohttp>=3.9.2,<4",
    "click>=8.1.7,<9",
    "huggingface-hub==0.25.1",
    "pydantic>=2.5.3,<3",
    "python-dotenv>=1,<2",
    "quart>=0.19,<1",
    "ritual-arweave>=0.1,<0.2",
    "setuptools<81",
    "web3>=6.19,<7",
)
"""What the client imports at its start, in the versions required by it, infernet-ml and web3 6."""


class ClientTestCase(SynchronousTestCase):
    """Runs clients against a router in front of a busy node, an idle one, and one that is down."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        resources = {"llm": {"version": "0.1.0", "service_id": "llm"}}
        containers = [{"id": "llm", "external": True}, {"id": "prover", "external": True}]
        self.busy = Node(
            self,
            self.folder,
            knobs={
                "info": {"containers": containers, "pending": {"offchain": 99, "onchain": 0}},
                "resources": resources,
                "models": {"llm": ["hf/org/m:q4 b"]},
            },
        )
        self.idle = Node(self, self.folder, "llm")
        addresses = (self.busy.address, self.idle.address, "127.0.0.1:1")
        (self.folder / "ips.txt").write_text("\n".join(addresses))
        self.router = Router(self, self.folder, "--timeout", "30")
        self.url = f"http://127.0.0.1:{self.router.port}"
        known = {self.busy.address: resources, self.idle.address: {}}
        until(lambda: self.router.get("/api/v1/resources") == (200, known), "resources")

    def run_client(self, *command: str, **variables: str) -> str:
        """Run a command, which must succeed; returns its output."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout


class InfernetClientTests(ClientTestCase):
    """
    The official client.

    Its release on PyPI requires a release of infernet-ml that is not on PyPI. It works with one
    that is, and without the dependencies that it does not import.
    """

    if sys.version_info >= (3, 14):
        skip = "some of what the client imports has no wheels for Python 3.14"

    def test_commands(self) -> None:
        """Every command that asks a router prints what the router knows."""
        # One test, as tests that run in parallel would each install the client.
        python = self.folder / "venv/bin/python"
        self.run_client(sys.executable, "-m", "venv", "venv")
        install = (str(python), "-m", "pip", "install", "--quiet", "--no-compile")
        self.run_client(*install, "--no-deps", *CLIENT)
        self.run_client(*install, *IMPORTED)
        self.client = str(python.with_name("infernet-client"))
        self.assert_containers()
        self.assert_find()
        self.assert_resources()
        self.assert_check_model()

    def ask(self, *command: str) -> Any:
        """The decoded output of a client's command. The extra slash in the URL is intended."""
        return json.loads(self.run_client(self.client, *command, "--url", f"{self.url}/"))

    def assert_containers(self) -> None:
        """`containers` prints the containers that run on the nodes that are up."""
        self.assertEqual(
            self.ask("containers"),
            [
                {"id": "llm", "count": 2, "description": None},
                {"id": "prover", "count": 1, "description": None},
            ],
        )

    def assert_find(self) -> None:
        """`find` prints the nodes that run the containers, best first, up to the number given."""
        best, other = self.idle.address, self.busy.address
        for command, found in (
            (("-c", "llm"), [best, other]),
            (("-c", "llm", "-n", "1"), [best]),
            (("-c", "llm", "-n", "5", "--skip", "1"), [other]),
            (("-c", "llm", "-c", "prover"), [other]),
            (("-c", "no such thing"), []),
        ):
            self.assertEqual(self.ask("find", *command), found)

    def assert_resources(self) -> None:
        """`resources` prints what the containers of each node say about themselves."""
        said = {"llm": {"version": "0.1.0", "service_id": "llm"}}
        self.assertEqual(self.ask("resources"), {self.busy.address: said, self.idle.address: {}})

    def assert_check_model(self) -> None:
        """`check-model` prints which containers support a model."""
        for model, supported in (("hf/org/m:q4 b", True), ("hf/org/other", False)):
            self.assertEqual(
                self.ask("check-model", "-m", model),
                {self.busy.address: {"llm": {"supported": supported}}, self.idle.address: {}},
            )


class SchemathesisTests(ClientTestCase):
    def test_described(self) -> None:
        """All responses, to valid and invalid requests, agree with the OpenAPI document."""
        (self.folder / "schemathesis.toml").write_text(
            # It can make up neither an address nor the id of a decision.
            '[parameters]\n"query.exclude" = "192.0.2.9:4000"\n'
            '[[operations]]\ninclude-path = "/api/v1/outcomes"\nwarnings = false\n'
            '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "4xx", "503"]\n'
        )
        found = self.run_client(
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file=schemathesis.toml",
            "run",
            f"{self.url}/openapi.json",
            "--generation-deterministic",
            "--max-examples=30",
            "--phases=examples,coverage,fuzzing",
            "--no-color",
        )
        self.assertIn("No issues found", found)
        self.assertRegex(found, r"Tested: 1[0-9]\n")
        self.assertNotIn("Traceback", self.router.output())
