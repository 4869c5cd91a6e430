"""Tests of a router started by twistd whose sources change: a file, a Node Explorer, DNS."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.programs import ROOT, TROUBLE, Node, Program, Router, until


class Explorer(ThreadingHTTPServer):
    """A Node Explorer that lists the nodes on `ports`, and answers 500 while there are none."""

    def __init__(self, test: SynchronousTestCase) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.ports: Sequence[int] | None = None
        self.asked: list[str] = []
        serving = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        for end in (self.server_close, serving.join, self.shutdown):  # the last is called first
            test.addCleanup(end)


class Answering(BaseHTTPRequestHandler):
    """One request to a Node Explorer."""

    server: Explorer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        nodes = [{"ip": "127.0.0.1", "port": port} for port in self.server.ports or ()]
        self.send_response(200 if nodes else 500)
        self.end_headers()
        self.wfile.write(json.dumps({"data": nodes}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.ips = self.folder / "ips.txt"
        self.nodes = [Node(self, self.folder, "llm") for _ in range(2)]
        self.first, self.second = (node.address for node in self.nodes)

    def router(self, *flags: str, **variables: str) -> Router:
        return Router(self, self.folder, *flags, variables=variables)

    def replace(self, path: Path, text: str) -> None:
        """Replace a file atomically."""
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(path)

    def assert_picks(self, router: Router, *addresses: str) -> None:
        """Soon, these and only these nodes are handed out."""
        until(
            lambda: {router.pick("llm") for _ in range(20)} == set(addresses),
            f"handing out {addresses}",
        )

    def assert_clean(self, router: Router) -> None:
        self.assertNotRegex(router.output(), TROUBLE)

    def test_file(self) -> None:
        """Every kind of change to the file is seen; a node that stays keeps its state."""
        self.ips.write_text(f"{self.first}\n")
        router = self.router()
        self.assert_picks(router, self.first)
        with self.ips.open("a") as file:
            file.write(f"{self.second}\n")
        self.assert_picks(router, self.first, self.second)
        self.replace(self.ips, f"{self.second}\n")
        removed = f"{self.ips}: 0 added, 1 removed, 1 in all"
        until(lambda: removed in router.output(), "the removal of a node")
        self.assertEqual({router.pick("llm") for _ in range(20)}, {self.second})
        for folder, address in (("..1", self.second), ("..2", self.first)):
            (self.folder / folder).mkdir()
            (self.folder / folder / "ips.txt").write_text(address)
        (self.folder / "..data").symlink_to("..1")
        (self.folder / "link").symlink_to("..data/ips.txt")
        (self.folder / "link").replace(self.ips)
        (self.folder / "..data_tmp").symlink_to("..2")
        (self.folder / "..data_tmp").replace(self.folder / "..data")
        self.assert_picks(router, self.first)
        self.assertEqual(router.output().count(f"{self.second} is up"), 1)
        self.assert_clean(router)

    def test_bad_file(self) -> None:
        """When the file becomes bad or missing, the nodes stay and one line is logged."""
        self.ips.write_text(f"{self.first}\n")
        router = self.router()
        self.assert_picks(router, self.first)
        self.ips.write_text(f"{self.second}\nftp://x\n")
        bad = f"{self.ips}, line 2: 'ftp://x': the scheme must be http or https, not 'ftp'"
        until(lambda: bad in router.output(), "a log line about the bad file")
        self.assert_picks(router, self.first)
        self.ips.unlink()
        missing = f"keeping 1: there is no {self.ips}: "
        until(lambda: missing in router.output(), "a log line about the missing file")
        self.assert_picks(router, self.first)
        self.ips.write_text(f"{self.second}\n")
        self.assert_picks(router, self.second)
        for line in (bad, missing, f"{self.ips} works again"):
            self.assertEqual(router.output().count(line), 1, line)
        self.assert_clean(router)

    def test_rewritten_file(self) -> None:
        """A file that is rewritten again and again is read; so is one that was a pipe meanwhile."""
        self.ips.write_text(f"{self.first}\n")
        router = self.router()
        self.assert_picks(router, self.first)
        numbers = count()

        def is_replaced() -> bool:
            self.ips.write_text(f"# {next(numbers)}\n{self.second}\n")
            sleep(0.2)
            return {router.pick("llm") for _ in range(20)} == {self.second}

        until(is_replaced, "handing out the second")
        self.ips.unlink()
        os.mkfifo(self.ips)
        until(lambda: "is a pipe" in router.output(), "a line about the pipe")
        self.replace(self.ips, f"{self.first}\n")
        self.assert_picks(router, self.first)
        self.assert_clean(router)

    def test_hangup(self) -> None:
        """SIGHUP makes the router read the file; SIGTERM still ends the router."""
        self.ips.write_text(f"{self.first}\n")
        router = self.router()
        self.assert_picks(router, self.first)
        self.ips.write_text(f"{self.second}\n")
        router.signal(signal.SIGHUP)
        self.assert_picks(router, self.second)
        router.signal(signal.SIGHUP)
        router.signal(signal.SIGTERM)
        self.assertIn(router.ended(), (0, -signal.SIGTERM, 128 + signal.SIGTERM))
        self.assert_clean(router)

    def test_explorer(self) -> None:
        """The nodes of a Node Explorer are used, alone or with a file that is created later."""
        explorer = Explorer(self)
        router = self.router(API_URL=explorer.url)
        failed = f"cannot update the addresses of {explorer.url}, keeping 0: HTTP 500"
        until(lambda: failed in router.output(), "a log line about the failure")
        self.assertEqual(
            router.get("/api/v1/ip?container=llm"), (503, {"error": "no node is known"})
        )
        explorer.ports = [self.nodes[0].port]
        self.assert_picks(router, self.first)
        self.assertEqual(set(explorer.asked), {"/api/nodes?minutes_past=60"})
        for line in (failed, f"{explorer.url} works again"):
            self.assertEqual(router.output().count(line), 1, line)
        self.ips.write_text(f"{self.first}\n{self.second}\n")
        self.assert_picks(router, self.first, self.second)
        self.assertEqual(router.output().count(f"{self.first} is up"), 1)
        self.assert_clean(router)

    def test_no_source(self) -> None:
        """A file given with --ips must exist, even if there is another source."""
        router = self.router("--ips", "ips.txt", "--node-explorer", "http://127.0.0.1:1")
        self.assertEqual(router.ended(), 1)
        self.assertIn("/ips.txt: write the addresses of your nodes into it", router.output())

    def write_zone(self, **records: dict[str, list[list[object]]]) -> None:
        """Make the name server serve these records, by type and name."""
        self.replace(self.folder / "zone", json.dumps(records))

    def name_server(self) -> tuple[Program, int]:
        """A running name server, and the port it listens on."""
        program = str(Path(__file__).with_name("name_server.py"))
        server = Program(
            self,
            self.folder,
            *(sys.executable, program, str(self.folder / "zone")),
            variables={"PYTHONPATH": str(ROOT)},
        )
        return server, int(until(lambda: server.output().endswith("\n") and server.output()))

    def test_dns(self) -> None:
        """The nodes follow the DNS records of a name, and stay while no records are found."""
        ports = [node.port for node in self.nodes]
        service = "_infernet._tcp.nodes.invalid"
        targets: list[list[list[object]]] = [[[0, 0, port, "localhost"]] for port in ports]
        many: list[list[object]] = [[f"127.0.1.{number}"] for number in range(1, 65)]
        hosts: dict[str, list[list[object]]] = {"nodes.invalid": [["127.0.0.1"]]}
        self.write_zone(A=hosts, SRV={service: targets[1]})
        server, port = self.name_server()
        first = f"dns://nodes.invalid:{ports[0]}"
        self.ips.write_text(f"{first}\ndns+srv://{service}\n")
        router = self.router("--resolver", f"127.0.0.1:{port}")
        self.assert_picks(router, self.first, f"localhost:{ports[1]}")
        self.write_zone(A=hosts, SRV={service: targets[0]})
        self.assert_picks(router, self.first, f"localhost:{ports[0]}")
        self.write_zone(A={}, SRV={service: targets[0]})
        nothing = f"cannot update the addresses of {first}, keeping 1: it has no A or AAAA record"
        until(lambda: nothing in router.output(), "a log line about the missing records")
        self.write_zone(A={"nodes.invalid": many}, SRV={})
        until(lambda: f"{first}: 64 added, 1 removed" in router.output(), "an answer over TCP")
        server.kill()
        silent = f"{first}, keeping 64: no name server replied when asked for A records"
        until(lambda: silent in router.output(), "a log line about the silent name server")
        self.ips.write_text(f"{self.second}\n")
        self.assert_picks(router, self.second)
        self.assertIn(f"{first}: dropped, 64 removed", router.output())
        router.signal(signal.SIGTERM)
        router.ended()
        self.assertNotRegex(router.output(), "DNSDatagramProtocol|UDP Port")
        self.assert_clean(router)

    def test_dns_targets(self) -> None:
        """SRV targets that only the given name server knows are handed out as IP addresses."""
        service = "llm.service.invalid"
        records: list[list[object]] = [[0, 0, node.port, "n.node.invalid"] for node in self.nodes]
        self.write_zone(A={"n.node.invalid": [["127.0.0.1"], ["0.0.0.0"]]}, SRV={service: records})
        _, port = self.name_server()
        self.ips.write_text(f"dns+srv://{service}\n")
        router = self.router("--resolver", f"127.0.0.1:{port}")
        self.assert_picks(router, self.first, self.second)
        self.assertIn("0.0.0.0 is not the address of a node", router.output())
        self.assert_clean(router)
