"""Tests of a router whose clock is set back, that is stopped for a while, or asked very early."""

import signal
import time
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import listening_ports
from benchmarks.soak.interrupting import PRELOADED
from tests.integration.programs import TROUBLE, Node, Program, Router, until
from tests.integration.test_command import COMMANDS


class TimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.ips = self.folder / "ips.txt"

    def wait_for(self, text: str, router: Program) -> None:
        """Wait until a router has logged this."""
        until(lambda: text in router.output(), text)

    def test_set_back(self) -> None:
        """After the clock was set back by a day, polls go on, and changes of ips.txt are read."""
        node = Node(self, self.folder, "llm")
        self.ips.write_text(f"{node.address}\n")
        flags = ("--interval", "0.2", "--listen", "tcp:0:interface=127.0.0.1")
        routers = [
            Program(self, self.folder, *command, *flags, variables={"PYTHONPATH": PRELOADED})
            for command in COMMANDS
        ]
        for router in routers:
            self.wait_for(f"{node.address} is up", router)
            router.signal(signal.SIGUSR2)
        node.kill()
        self.ips.write_text(f"{node.address}\n127.0.0.1:1\n")
        for router in routers:
            for text in (f"{node.address} is down: connection refused", "1 added, 0 removed, 2 in"):
                self.wait_for(text, router)
            self.assertRegex(router.output().splitlines()[0], r"^\d{4}-")
            self.assertNotRegex(router.output(), TROUBLE)

    def test_stopped(self) -> None:
        """After a pause, answers that came meanwhile are read before any node is given up."""
        nodes = Node(self, self.folder, "llm", interface="")
        count = 12
        self.ips.write_text("".join(f"127.7.0.{n}:{nodes.port}\n" for n in range(1, count + 1)))
        router = Router(self, self.folder, "--interval", "0.2", "--timeout", "3")
        until(lambda: router.output().count(" is up: ") == count, "up")
        nodes.signal(signal.SIGSTOP)
        time.sleep(0.5)  # all polls are in flight
        router.signal(signal.SIGSTOP)
        nodes.signal(signal.SIGCONT)
        time.sleep(4)
        router.signal(signal.SIGCONT)
        for _ in range(10):
            status, states = router.get("/health")
            self.assertEqual((status, states["up"], states["suspect"]), (200, count, 0))
            time.sleep(0.05)
        self.assertNotIn("down", router.output())
        self.assertNotRegex(router.output(), TROUBLE)

    def test_early(self) -> None:
        """A request that comes before the first polls are back is answered with a node."""
        node = Node(self, self.folder, "llm")
        self.ips.write_text(f"{node.address}\n")
        router = Router(self, self.folder)
        (port,) = until(lambda: listening_ports(router.output()), "listening")
        clients = [HTTPConnection("127.0.0.1", port) for _ in range(2)]
        for client, path in zip(clients, ("ip", "ips"), strict=True):
            client.request("GET", f"/api/v1/{path}?container=llm")
        bodies = []
        for client in clients:
            bodies.append(client.getresponse().read().decode())
            client.close()
        self.assertEqual(bodies, [f'{{"ip":"{node.address}"}}\n', f'["{node.address}"]\n'])
