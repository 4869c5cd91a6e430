"""Tests of how operators steer a router started by twistd."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import environment
from benchmarks.soak.interrupting import PRELOADED
from tests.integration.programs import TROUBLE, Node, Router, until

CTL = Path(sys.executable).with_name("infernet-router-ctl")


class SteeringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.nodes = Node(self, self.folder, "llm", interface="")
        self.a, self.b = (f"127.9.0.{number}:{self.nodes.port}" for number in (1, 2))
        (self.folder / "ips.txt").write_text(f"{self.a}\n{self.b} weight=2\n")
        (self.folder / "tokens").write_text("bob operator b0b\nalice viewer al1ce\n")
        # A relative path: a socket's has 107 bytes at most.
        self.socket = (self.folder / "admin.sock").relative_to(Path.cwd())
        self.audit = self.folder / "state" / "audit.jsonl"

    def start(self, **variables: str) -> Router:
        """A router whose nodes are up."""
        router = Router(
            self, self.folder, "--interval", "0.3", "--busy-interval", "0.3", "--admin",
            "unix:admin.sock", "--admin-tokens", "tokens", "--state", "state", variables=variables,
        )  # fmt: skip
        until(lambda: router.output().count(" is up: ") == 2, "up")
        return router

    def ctl(self, words: str, token: str = "b0b") -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        variables = {"INFERNET_ROUTER_URL": f"unix:{self.socket}"}
        if token:
            variables["INFERNET_ROUTER_ADMIN_TOKEN"] = token
        ran = subprocess.run(
            [CTL, *words.split()],
            env=environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return ran.returncode, ran.stdout.removeprefix("infernet-router-ctl: ").rstrip("\n")

    def json(self, words: str) -> Any:
        code, output = self.ctl(f"{words} --json")
        self.assertEqual(code, 0, output)
        return json.loads(output)

    def state(self, address: str) -> str:
        return str(self.json(f"node {address}")["state"])

    def test_steers(self) -> None:
        """A drained node gets no job, over restarts too, until the drain is ended."""
        router = self.start()
        self.assertEqual(self.json(f"node {self.b}")["weight"], 2.0)
        code, output = self.ctl(f"drain {self.a} --wait --reason kernel")
        self.assertEqual((code, output.splitlines()[-1]), (0, "drained: safe to delete"))
        code, output = self.ctl(f"drain {self.b}")
        words = "no up node would be left that runs 'llm': --force drains it all the same"
        self.assertEqual((code, output), (1, words))
        self.assertEqual({router.pick("llm") for _ in range(20)}, {self.b})
        self.assertEqual(self.ctl(f"weight {self.b} 0.5"), (0, f"{self.b}: weight=0.5 by bob"))
        router.kill()
        router = self.start()
        self.assertEqual((self.state(self.a), self.state(self.b)), ("drained", "up"))
        self.assertEqual(self.json(f"node {self.b}")["weight"], 0.5)
        self.assertEqual(self.ctl(f"drain {self.b} --force")[0], 0)
        status, body = router.get("/api/v1/ip?container=llm")
        self.assertEqual(
            (status, body), (503, {"error": "every up node that runs 'llm' is drained"})
        )
        self.assertEqual(self.ctl(f"undrain {self.b}"), (0, f"{self.b}: weight=0.5 by bob"))
        self.assertEqual(self.ctl(f"undrain {self.a}")[0], 0)
        self.assertEqual(self.ctl(f"undrain {self.a}")[0], 1)
        until(lambda: router.pick("llm") == self.a, "a job")
        self.assertEqual([row["address"] for row in self.json("overrides")["overrides"]], [self.b])
        verbs = [json.loads(line)["verb"] for line in self.audit.read_text().splitlines()]
        self.assertEqual(verbs, ["put", "put", "put", "put", "put", "delete"])
        self.assertEqual(len(self.json("audit")["audit"]), 6)
        self.assertNotRegex(router.output(), TROUBLE)

    def test_ends(self) -> None:
        """An override ends in time although the clock was set back by a day."""
        router = self.start(PYTHONPATH=PRELOADED, SOAK_HOSTS="/dev/null")
        self.assertEqual(self.ctl(f"drain {self.a} --for 2s")[0], 0)
        router.signal(signal.SIGUSR2)
        until(lambda: f"the override of {self.a} is over" in router.output(), "the end")
        self.assertEqual(self.state(self.a), "up")
        until(lambda: '"expire"' in self.audit.read_text(), "the entry")
        router.kill()
        self.start()
        self.assertEqual(self.json("overrides")["overrides"], [])
        self.assertNotRegex(router.output(), TROUBLE)

    def test_refuses(self) -> None:
        """Who may not change anything is refused, and nothing is changed that cannot be kept."""
        router = self.start()
        words = "alice may not do this: it takes the role operator"
        self.assertEqual(self.ctl(f"drain {self.a}", "al1ce"), (1, words))
        self.assertEqual(self.ctl(f"drain {self.a}", "wr0ng"), (1, "the token is wrong"))
        self.assertEqual(self.ctl(f"drain {self.a}", "")[0], 1)
        self.assertEqual(self.ctl("drain")[0], 2)
        self.assertEqual(self.ctl("nodes --url http://127.0.0.1:1", "")[0], 3)
        (self.folder / "state").rename(self.folder / "gone")
        code, output = self.ctl(f"drain {self.a}")
        self.assertEqual(code, 1)
        self.assertIn("the order is not in force: cannot write to", output)
        self.assertEqual(self.state(self.a), "up")
        self.assertEqual(self.json("overrides")["overrides"], [])
        for token in ("b0b", "al1ce", "wr0ng"):
            self.assertNotIn(token, router.output())
        self.assertNotRegex(router.output(), TROUBLE)

    def test_bad_state(self) -> None:
        """A state directory that cannot be used ends the start, with the reason."""
        self.start()
        other = Router(self, self.folder, "--state", "state")
        self.assertEqual(other.ended(), 1)
        self.assertIn("each needs a state directory of its own", other.output())
        (self.folder / "bad").mkdir()
        (self.folder / "bad" / "overrides.json").write_text('{"format":1,"orders":[{"hue":1}]}')
        for flags in ((), ("--admin", "unix:other.sock")):
            other = Router(self, self.folder, "--state", "bad", *flags)
            self.assertEqual(other.ended(), 1)
            words = "overrides.json, order 1 is damaged, or of a newer release: "
            self.assertIn(words, other.output())
            self.assertNotIn("Traceback", other.output())
