"""Tests of a router started by twistd, with nodes in processes of their own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from unittest import skipUnless

import trustme
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import FOREGROUND, TWISTD, environment, listening_ports
from tests.integration.programs import IPV6, TROUBLE, Node, Program, Router, until

AS_SYSTEMD = """
import os, sys

os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A program that passes a descriptor to another as systemd does."""


class RouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def list_nodes(self, *nodes: Node | str) -> None:
        """Write ips.txt."""
        lines = [node if isinstance(node, str) else node.address for node in nodes]
        (self.folder / "ips.txt").write_text("".join(f"{line}\n" for line in lines))

    def node(self, *containers: str, port: int = 0) -> Node:
        return Node(self, self.folder, *containers, port=port)

    def router(self, *flags: str, **variables: str) -> Router:
        return Router(self, self.folder, *flags, variables=variables)

    def assert_clean(self, router: Router) -> None:
        """Nothing in the log looks like an error."""
        self.assertNotRegex(router.output(), TROUBLE)

    def test_answers(self) -> None:
        """It answers with a node that runs the requested containers, or says why there is none."""
        llm, both = self.node("llm"), self.node("llm", "prover")
        self.list_nodes(llm, f"http://{both.address}/", "127.0.0.1:1")
        router = self.router()
        self.assertEqual(
            until(lambda: router.pick("llm", "prover"), "an answer"), f"http://{both.address}"
        )
        picks = [until(lambda: router.pick("llm"), "an answer") for _ in range(30)]
        self.assertEqual(set(picks), {llm.address, f"http://{both.address}"})
        status, headers = router.get("/api/v1/ip?container=llm&container=prover", "HEAD")
        body = f'{{"ip":"http://{both.address}"}}\n'
        self.assertEqual((status, headers["Content-Length"]), (200, str(len(body))))
        self.assertEqual(router.get("/api/v1/ip"), (400, {"error": "No containers specified"}))
        self.assertEqual(router.get("/api/v1/ip?container=x")[0], 503)
        self.assertEqual(router.get("/api/v1/")[0], 404)
        self.assertEqual(router.get("/api/v1/ip?container=llm", "POST")[0], 405)
        self.assertIn("127.0.0.1:1 is down: connection refused", router.output())
        self.assert_clean(router)

    def test_weights(self) -> None:
        """The cost of a job depends on the weights of its containers."""
        both, prover = self.node("llm", "prover"), self.node("prover")
        self.list_nodes(both, prover)
        router = self.router("--job-weight", "llm=1000", "--interval", "3600")
        until(lambda: router.output().count(" is up: ") == 2, "up")
        self.assertEqual(router.pick("llm"), both.address)
        self.assertEqual({router.pick("prover") for _ in range(20)}, {prover.address})

    def test_killed_and_back(self) -> None:
        """A node that is killed is not handed out until it is back."""
        lost, other = self.node("llm"), self.node("llm")
        self.list_nodes(lost, other)
        router = self.router("--interval", "0.2")
        until(lambda: router.pick("llm") == lost.address, "up")
        lost.kill()
        until(lambda: f"{lost.address} is down: connection refused" in router.output(), "down")
        self.assertEqual({router.pick("llm") for _ in range(30)}, {other.address})
        self.node("llm", port=lost.port)
        until(lambda: router.pick("llm") == lost.address, "back")
        self.assertRegex(router.output(), rf"{lost.address} is back after \d+\.\d s: version")
        self.assertEqual(router.output().count(f"{lost.address} is down: "), 1)
        self.assert_clean(router)

    def test_frozen_and_back(self) -> None:
        """A node that hangs is down after the timeout; the others stay up."""
        frozen, other = self.node("llm"), self.node("llm")
        self.list_nodes(frozen, other)
        router = self.router("--interval", "0.2", "--timeout", "3")
        until(lambda: {router.pick("llm") for _ in range(10)} == {frozen.address, other.address})
        frozen.signal(signal.SIGSTOP)
        until(lambda: f"{frozen.address} is down: timeout after 3 s" in router.output(), "down")
        self.assertEqual({router.pick("llm") for _ in range(30)}, {other.address})
        frozen.signal(signal.SIGCONT)
        until(lambda: router.pick("llm") == frozen.address, "back")
        self.assertNotIn(f"{other.address} is down", router.output())

    def assert_ends(self, number: signal.Signals) -> None:
        """The signal ends the router: requests in flight are answered, and the log is clean."""
        node, silent = self.node("llm"), self.node("llm")
        self.list_nodes(node, silent)
        silent.signal(signal.SIGSTOP)
        router = self.router("--interval", "0.2")
        until(lambda: router.pick("llm"), "an answer")
        clients = [HTTPConnection("127.0.0.1", router.port) for _ in range(3)]
        for client in clients:
            client.request("GET", "/api/v1/ip?container=llm")
            client.getresponse().read()
        for client in clients[1:]:
            client.request("GET", "/api/v1/ip?container=llm")
        router.signal(number)
        for client in clients[1:]:
            self.assertEqual(client.getresponse().status, 200)
        self.assertIn(router.ended(), (0, -number, 128 + number))
        for client in clients:
            client.close()
        self.assert_clean(router)

    def test_sigterm(self) -> None:
        """SIGTERM ends it cleanly."""
        self.assert_ends(signal.SIGTERM)

    def test_sigint(self) -> None:
        """SIGINT ends it cleanly."""
        self.assert_ends(signal.SIGINT)

    def test_bad_start(self) -> None:
        """Whatever prevents the start is printed in one line, with exit code 1."""
        missing = self.router()
        missing.ended()
        self.list_nodes("127.0.0.1:1")
        with socket.create_server(("", 0)) as taken:
            port = taken.getsockname()[1]
            (self.folder / "no.pem").write_text("no certificate")
            for router, reason in (
                (missing, "/ips.txt: write the addresses of your nodes into it"),
                (
                    self.router("--port", str(port)),
                    f"cannot listen on 'tcp:{port}': Address already in use",
                ),
                (self.router("--port", "70000"), "--port must be a whole number from 1 to 65535"),
                (
                    self.router("--port", "1", "--listen", "tcp:0"),
                    "--port and --listen: give one of them",
                ),
                (
                    self.router(REFRESH_INTERVAL="nan"),
                    "REFRESH_INTERVAL must be a number of seconds from 0.1 to 86400",
                ),
                (self.router("--ca-file", "no.pem"), "no.pem holds no PEM certificate"),
                (self.router("--listen", "nonsense:1"), "cannot listen on 'nonsense:1': "),
                (
                    self.router("--listen", "unix:no/socket"),
                    "cannot listen on 'unix:no/socket': No such file or directory",
                ),
            ):
                self.assertEqual(router.ended(), 1, router.output())
                found = [line for line in router.output().splitlines() if reason in line]
                self.assertEqual(len(found), 1, router.output())
                self.assertIn("infernet-router: ", found[0])
                self.assertNotIn("Traceback", router.output())

    def test_port(self) -> None:
        """It serves on PORT; a flag beats the variable."""
        self.list_nodes("127.0.0.1:1")
        with socket.create_server(("", 0)) as first, socket.create_server(("", 0)) as second:
            ports = [free.getsockname()[1] for free in (first, second)]
        by_variable = Program(
            self, self.folder, TWISTD, *FOREGROUND, variables={"PORT": str(ports[0])}
        )
        until(lambda: listening_ports(by_variable.output()) == [ports[0]], "listening")
        by_flag = self.router("--port", str(ports[1]), PORT=str(ports[0]))
        self.assertEqual(by_flag.port, ports[1])

    @skipUnless(IPV6, "there is no ::1")
    def test_listen(self) -> None:
        """It serves on any Twisted endpoint: IPv6, a Unix socket, TLS."""
        node = self.node("llm")
        self.list_nodes(node)
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        pem = self.folder / "router.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        router = self.router(
            *("--listen", "tcp6:0:interface=\\:\\:1"),
            *("--listen", "unix:router.sock"),
            *("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"),
        )
        pattern = r"listening on (?:\[::1\]:|127\.0\.0\.1:)?(\S+)(?: \(.*\))?\n"
        until(lambda: len(re.findall(pattern, router.output())) == 3, "listening")
        six, unix, tls = re.findall(pattern, router.output())
        context = create_default_context()
        authority.configure_trust(context)
        ipv6 = HTTPConnection("::1", int(six))
        encrypted = HTTPSConnection("localhost", int(tls), context=context)
        local = HTTPConnection("localhost")
        local.sock = socket.socket(socket.AF_UNIX)
        # A relative path, as that of a Unix socket has at most 107 bytes.
        local.sock.connect(os.path.relpath(self.folder / unix))
        until(lambda: f"{node.address} is up" in router.output(), "up")
        for connection in (ipv6, encrypted, local):
            connection.request("GET", "/api/v1/ip?container=llm")
            answer = connection.getresponse()
            self.assertEqual(answer.read().decode(), f'{{"ip":"{node.address}"}}\n')
            connection.close()
        router.signal(signal.SIGTERM)
        router.ended()
        self.assert_clean(router)

    def test_systemd(self) -> None:
        """It serves on a socket that systemd opened."""
        self.list_nodes("127.0.0.1:1")
        with socket.create_server(("127.0.0.1", 0)) as opened:
            port = opened.getsockname()[1]
            router = Program(
                self,
                self.folder,
                *(sys.executable, "-c", AS_SYSTEMD, str(opened.fileno())),
                *(TWISTD, *FOREGROUND),
                *("--listen", "systemd:domain=INET:index=0"),
                variables={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "router"},
                files=[opened.fileno()],
            )
        until(lambda: listening_ports(router.output()) == [port], "listening")
        client = HTTPConnection("127.0.0.1", port)
        client.request("GET", "/api/v1/ip")
        self.assertEqual(client.getresponse().status, 400)
        client.close()

    def test_daemon(self) -> None:
        """Without -n it runs in the background, where host names are looked up too."""
        node = self.node("llm")
        self.list_nodes(f"localhost:{node.port}")
        flags = ["infernet-router", "--listen", "unix:router.sock"]
        subprocess.run([TWISTD, *flags], cwd=self.folder, env=environment(), check=True)
        pid_file = self.folder / "twistd.pid"
        self.addCleanup(self.stop_daemon)
        log = self.folder / "twistd.log"
        until(lambda: f"localhost:{node.port} is up" in log.read_text(), "up")
        self.stop_daemon()
        until(lambda: not pid_file.exists(), "the end")

    def stop_daemon(self) -> None:
        """End the router in the background if it is still running."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "twistd.pid").read_text()), signal.SIGTERM)

    def test_help(self) -> None:
        """`twistd --help` lists it on one line."""
        listed = subprocess.run([TWISTD, "--help"], capture_output=True, text=True, check=True)
        self.assertRegex(
            listed.stdout,
            r"\n +infernet-router +Tell clients which Infernet node to send a job to\.",
        )
