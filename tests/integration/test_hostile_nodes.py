"""Tests of a router with hostile nodes: good ones are up, bad ones down, and memory stays flat."""

import json
import re
import signal
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.hostile_nodes import (
    AUTHORITY,
    BAD,
    FLAPPING,
    FORGED,
    LIMITED,
    NODES,
    ODD,
    TIMEOUT,
)
from tests.integration.programs import HostileNodes, Node, Router, until

SPREAD = 32 * 1024 * 1024
"""The most by which the peak memory may exceed the memory once all nodes are known, in bytes: less
than half a MiB for each node."""

DESCRIPTORS = 20
"""The most descriptors that are not connections to nodes."""


class HostileNodesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def test_among_good_ones(self) -> None:
        """Each node is up or down as it should be, for the right reason; nothing is forged."""
        hostile = HostileNodes(self, self.folder)
        good = [Node(self, self.folder, "llm", "prover") for _ in range(3)]
        addresses = {node.address for node in good}
        ips = self.folder / "ips.txt"
        ips.write_text("\n".join((good[0].address, *hostile.addresses.values(), *addresses)))
        flags = ("--interval", "0.5", "--timeout", str(TIMEOUT), "--ca-file", AUTHORITY)
        router = Router(self, self.folder, *flags)
        until(lambda: router.get("/health")[1].get("up", 0) >= len(addresses) + len(ODD), "up")
        until(lambda: router.get("/health")[1]["down"] >= len(BAD), "down")

        picks = set()

        def polled(end: int) -> bool:
            """Whether the flapping node was polled this often; records the address handed out."""
            picks.add(router.pick("llm"))
            return hostile.flaps >= end

        until(partial(polled, hostile.flaps + 8), "polls")
        settled = router.memory()["VmRSS"]
        until(partial(polled, hostile.flaps + 24), "more polls")
        self.assertLess(router.memory()["VmHWM"] - settled, SPREAD)
        self.assertLess(router.descriptors(), len(NODES) + len(good) + DESCRIPTORS)
        self.assertEqual(picks, addresses)
        self.assertEqual(router.get("/health")[1]["unknown"], len(LIMITED))
        self.assert_not_forged(router, hostile)
        router.signal(signal.SIGTERM)
        router.ended()
        self.assert_log(router.output(), hostile, addresses)

    def assert_not_forged(self, router: Router, hostile: HostileNodes) -> None:
        """The answers contain what the nodes sent, correctly escaped."""
        forger, id = hostile.addresses["forger"], "odd" + FORGED
        twice = hostile.addresses["twice"]
        for path, part, said in (
            ("/api/v1/containers", id, {"id": id, "count": 1, "description": FORGED}),
            ("/api/v1/resources", forger, {id: {FORGED: FORGED}}),
            ("/api/v1/resources?model_id=m", forger, {id: {"supported": True, "error": FORGED}}),
            ("/api/v1/resources?model_id=m", twice, {"odd": {"supported": True}}),
        ):
            with urlopen(f"http://127.0.0.1:{router.port}{path}") as response:
                body = response.read()
            self.assertGreaterEqual(min(body.removesuffix(b"\n")), 0x20)
            answer = json.loads(body)
            if isinstance(answer, list):
                answer = {entry["id"]: entry for entry in answer}
            self.assertEqual(answer[part], said)
        status, answer = router.get("/api/v1/ip?container=llm&container=odd")
        self.assertEqual((status, answer["error"].isprintable()), (503, True))

    def assert_log(self, log: str, hostile: HostileNodes, good: set[str]) -> None:
        """The log has the right lines for each node, and no others."""
        self.assertNotRegex(log, "Traceback|Unhandled|#error|#critical")
        self.assertTrue(all(line.isprintable() for line in log.split("\n")))
        names = {address: name for name, address in hostile.addresses.items()}
        said: dict[str, list[str]] = {name: [] for name in (*names.values(), *good)}
        for address, what in re.findall(r"#(?:info|warn)\] (\S+:\d+) (.*)", log):
            said[names.get(address, address)].append(what)
        self.assertEqual(
            {name: said[name] for name in BAD},
            {name: [f"is down: {node.reason}"] for name, node in BAD.items()},
        )
        for name in LIMITED:
            self.assertEqual(
                said[name],
                ["has not reported yet: it limits the rate of requests (HTTP 429)"],
            )
        for name in (*ODD, *good):
            self.assertIn("is up: ", said[name][0])
            self.assertNotIn(" down: ", "".join(said[name]))
        states = [what.split()[1].rstrip(":") for what in said[FLAPPING] if "resources" not in what]
        self.assertEqual(states, ["up", *["down", "back"] * hostile.flaps][: len(states)])
        self.assertIn(hostile.flaps - len(states), (0, 1))
