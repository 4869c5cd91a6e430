"""Tests of a router started by twistd, with hostile clients."""

import contextlib
import json
import os
import re
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import trustme
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.programs import limited_twistd, listening_ports
from tests.integration.programs import Node, Router, until

Connect = Callable[[], socket.socket]

PATIENCE = 30.0
"""Seconds that a client waits for a response: long, for busy machines."""

HOST = b"Host: r.invalid\r\n"
LAST = HOST + b"Connection: close\r\n\r\n"
RESOURCES = b"GET /api/v1/resources HTTP/1.1\r\n"
DESCRIPTION = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
TRAIL = b"\r\n\r\nGET /forged HTTP/1.1\r\n" + HOST + b"\r\n"
"""Sent after an invalid request, and must not be interpreted."""

REFUSED = (
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    (400, b"forged"),
    (400, b"GET /\r\n"),
    (400, b"GET /api/v1/ip\0 HTTP/1.1\r\n" + LAST),
    (400, b"GET /api/v1/ip\xff HTTP/1.1\r\n" + LAST),
    (400, b"GET /api/v1/ip\x1b[2J HTTP/1.1\r\n" + LAST),
    (400, b"GET /a HTTP/1.1\rforged\r\n" + LAST),
    (400, b"GET / HTTP/1.1\nHost: r.invalid\n\n"),
    (400, b"GET http://forged@r.invalid/ HTTP/1.1\r\n" + LAST),
    (400, b"<script>forged</script> / HTTP/1.1\r\n" + LAST),
    (400, "FÖRGED / HTTP/1.1\r\n".encode() + LAST),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + LAST),
    (400, b"GET / HTTP/1.1\r\nHost: <forged>\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nX-Forged: a\0b\r\n" + LAST),
    (400, b"GET / HTTP/1.1\r\nX-Forged: a\n b\r\n" + LAST),
    (400, b"GET / HTTP/1.1\r\n forged\r\n" + LAST),
    (400, b"GET / HTTP/1.1\r\nforged\r\n" + LAST),
    (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + LAST),
    (400, b"POST / HTTP/1.1\r\nContent-Length: forged\r\n" + LAST),
    (400, CHUNKED + b"Content-Length: 0\r\n" + LAST + b"0\r\n\r\n"),
    (400, CHUNKED.replace(b"1.1", b"1.0") + LAST + b"0\r\n\r\n"),
    (400, CHUNKED + LAST + b"forged\r\n"),
    (400, CHUNKED + LAST + b"1\r\naforged\r\n"),
    (400, CHUNKED + LAST + b"0\r\nforged\r\n"),
    (400, CHUNKED + LAST + b"0;" + b"forged" * 1000),
    (413, CHUNKED + LAST + b"10001\r\n" + b"a" * 65_537),
    (413, CHUNKED + LAST + b"0\r\n" + b"Forged: a\r\n" * 60_000),
    (413, b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n" + LAST + b"a"),
    (413, b"POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n" + LAST + b"a" * 300_000),
    (413, b"PUT / HTTP/1.1\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n" + LAST),
    (414, b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n" + LAST),
    (414, b"GET /" + b"a" * 65_536),
    (431, b"GET / HTTP/1.1\r\nX-Forged: " + b"a" * 65_536),
    (431, b"GET / HTTP/1.1\r\n" + b"X-Forged: a\r\n" * 101 + LAST),
    (501, b"GET / HTTP/1.1\r\nTransfer-Encoding: forged, chunked\r\n" + LAST),
    (501, b"FORGED" * 10_000 + b" / HTTP/1.1\r\n" + LAST),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    (505, b"GET / HTTP/9.9\r\n" + LAST),
)
"""Invalid requests, and the status of the response to each."""

ANSWERED = (
    (200, b"GET /openapi.json HTTP/1.0\r\n\r\n"),
    (200, b"GET /openapi.json HTTP/1.1\r\nExpect: 100-continue\r\n" + LAST),
    (200, b"GET /openapi.json HTTP/1.1\r\nConnection: TE, Close\r\nHost:\r\n\r\n"),
    (200, b"GET http://r.invalid:4000/openapi.json HTTP/1.1\r\n" + LAST),
    (200, b"GET /openapi.json HTTP/1.1\r\nContent-Length: 2\r\n" + LAST + b"{}"),
    (404, CHUNKED + LAST + b"2;forged\r\n{}\r\n0\r\nForged: a\r\n\r\n"),
    (400, b"GET /api/v1/ip?container=%ff HTTP/1.1\r\n" + LAST),
    (400, b"GET /api/v1/ip?" + b"container=a&" * 1000 + b" HTTP/1.1\r\n" + LAST),
    (400, b"GET /%ff HTTP/1.1\r\n" + LAST),
    (503, b"GET /api/v1/ip?container=%00%0a<forged>%1b[2J HTTP/1.1\r\n" + LAST),
    (404, b"GET /a%0d%0aX-Forged:%201%00<script> HTTP/1.1\r\n" + LAST),
    (405, b"$FORGED^ /api/v1/ip HTTP/1.1\r\n" + LAST),
)
"""Odd requests, and the status of the response to each."""


class HostileClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.node = Node(self, self.folder, "llm")
        (self.folder / "ips.txt").write_text(self.node.address)

    def router(self, *flags: str, **variables: str) -> Router:
        """A router with one node that is up."""
        router = Router(self, self.folder, "--timeout=30", *flags, variables=variables)
        until(lambda: f"{self.node.address} is up" in router.output(), "up")
        return router

    def connect(self, router: Router, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", router.port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(sent)
        return client

    def rest(self, client: socket.socket) -> bytes:
        """Everything received until the connection ends, in whatever way."""
        received = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while piece := client.recv(65_536):
                received += piece
        return received

    def assert_answer(self, status: int, received: bytes, sent: bytes) -> dict[str, str]:
        """Check that one response was received, and the connection ended; returns its headers."""
        head, _, body = received.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        self.assertRegex(line, rf"\AHTTP/1\.[01] {status} [A-Z]", sent[:80])
        headers = dict(field.split(": ", 1) for field in fields)
        self.assertEqual(len(headers), len(fields), fields)
        self.assertEqual(headers["Content-Type"], "application/json", sent[:80])
        self.assertEqual(headers["Content-Length"], str(len(body)), sent[:80])
        self.assertEqual(headers["Cache-Control"], "no-store", sent[:80])
        self.assertEqual(headers["Connection"], "close", sent[:80])
        self.assertRegex(body, rb"\A([ -~]+\n)?\Z", sent[:80])
        if status != 200:
            self.assertEqual(list(json.loads(body)), ["error"], sent[:80])
        return headers

    def serve(self, **variables: str) -> tuple[Router, tuple[Connect, ...]]:
        """A router on an endpoint of each kind, and functions that connect to these."""
        certificate = trustme.CA().issue_cert("localhost")
        pem = self.folder / "router.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        router = self.router(
            *("--listen", "tcp:0:interface=127.0.0.1"),
            *("--listen", "unix:r.sock"),
            *("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"),
            **variables,
        )
        plain, encrypted = listening_ports(router.output())
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def tcp() -> socket.socket:
            return socket.create_connection(("127.0.0.1", int(plain)), PATIENCE)

        def unix() -> socket.socket:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE)
            client.connect(os.path.relpath(self.folder / "r.sock"))
            return client

        def tls() -> socket.socket:
            client = socket.create_connection(("127.0.0.1", int(encrypted)), PATIENCE)
            return context.wrap_socket(client)

        return router, (tcp, unix, tls)

    def test_refused(self) -> None:
        """Every request gets one response; nothing of it is logged, and nothing is stored."""
        spool = self.folder / "tmp"
        spool.mkdir()
        router, endpoints = self.serve(TMPDIR=str(spool))
        for connect in endpoints:
            for status, sent in REFUSED + ANSWERED:
                trail = TRAIL if (status, sent) in REFUSED else b""
                with connect() as client:
                    client.sendall(sent + trail)
                    headers = self.assert_answer(status, self.rest(client), sent)
                allowed = {"GET", "HEAD"} if status == 405 else {""}
                self.assertEqual(set(headers.get("Allow", "").split(", ")), allowed)
        self.assertNotRegex(router.output(), r"(?i)forged|Traceback|Error|failure")
        self.assertEqual(list(spool.iterdir()), [])

    def test_half_closed(self) -> None:
        """A client that closes its writing half gets all answers, and then the end."""
        router, (tcp, unix, _) = self.serve()
        body = HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        slow = b"GET /api/v1/ip?container=llm&model_id=a HTTP/1.1\r\n" + body
        for connect in (tcp, unix):
            with connect() as client:
                client.sendall(slow + b"{}" + DESCRIPTION * 2)
                client.shutdown(socket.SHUT_WR)
                received = self.rest(client)
            self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", received), [b"503", b"200", b"200"])
            self.assertTrue(received.endswith(b"}\n"))
            with connect() as client:
                client.sendall(slow)
                self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
                client.sendall(b"{}" + DESCRIPTION[:-2] + b"Connection: close\r\n\r\n")
                received = self.rest(client)
            self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", received), [b"503", b"200"])
        proxied = Router(self, self.folder, "--listen", "haproxy:tcp:0:interface=127.0.0.1")
        with self.connect(
            proxied, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + DESCRIPTION
        ) as client:
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(self.rest(client).startswith(b"HTTP/1.1 200 OK\r\n"))
        idle = router.descriptors()
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                self.connect(router).shutdown(socket.SHUT_WR)
        until(lambda: router.descriptors() <= idle, "the end of half-closed connections")

    def test_half_open(self) -> None:
        """A thousand incomplete heads take little memory, and end with a timeout."""
        router = self.router()
        router.pick("llm")
        before = router.memory()["VmHWM"]
        slow = [self.connect(router, DESCRIPTION[: 1 + n % 40]) for n in range(1000)]
        for _ in range(100):
            self.assertEqual(router.pick("llm"), self.node.address)
        self.assertLess(router.memory()["VmHWM"] - before, 30e6)
        for byte in DESCRIPTION[1:]:
            slow[0].settimeout(1)
            with contextlib.suppress(TimeoutError):
                self.assert_answer(408, self.rest(slow[0]), b"trickle")
                break
            slow[0].sendall(bytes([byte]))
        else:
            self.fail("a head may trickle in for ever")
        for client in slow[1:]:
            self.assert_answer(408, self.rest(client), b"half")

    def test_body(self) -> None:
        """A client that sends a large body before it reads gets the response."""
        router, endpoints = self.serve()
        before = router.memory()["VmHWM"]
        for connect in endpoints:
            with connect() as client:
                client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n" + LAST)
                with self.assertRaises((ConnectionError, ssl.SSLError)):
                    for _ in range(1024):
                        client.sendall(bytes(1024 * 1024))
                self.assert_answer(413, self.rest(client), b"POST")
        self.assertLess(router.memory()["VmHWM"] - before, 20e6)

    def test_never_reads(self) -> None:
        """A client that sends requests but never reads is paused, and takes little memory."""
        router, endpoints = self.serve()
        router.pick("llm")
        before = router.memory()["VmHWM"]
        for connect in endpoints:
            with connect() as greedy:
                greedy.settimeout(1)
                with self.assertRaises(TimeoutError):
                    for _ in range(1000):
                        greedy.sendall(DESCRIPTION * 1000)
                self.assertEqual(router.pick("llm"), self.node.address)
                self.assertLess(router.memory()["VmHWM"] - before, 20e6)
                greedy.settimeout(PATIENCE)
                received = b""
                while received.count(b'"openapi"') < 100:
                    received += greedy.recv(1024 * 1024)

    def test_long_answers(self) -> None:
        """Long responses that are not read take little memory; those that are read are complete."""
        said = {"llm": {"version": "x" * 60_000}}
        node = Node(self, self.folder, "llm", interface="", knobs={"resources": said})
        addresses = [f"127.0.1.{number}:{node.port}" for number in range(1, 51)]
        (self.folder / "ips.txt").write_text("\n".join([self.node.address, *addresses]))
        router, endpoints = self.serve()
        everything = dict.fromkeys(addresses, said) | {self.node.address: {}}
        until(lambda: router.get("/api/v1/resources") == (200, everything), "all resources")
        before = router.memory()["VmHWM"]
        for connect in endpoints:
            clients = []
            for _ in range(100):
                clients.append(connect())
                self.addCleanup(clients[-1].close)
                clients[-1].sendall((RESOURCES + HOST + b"\r\n") * 2 + RESOURCES + LAST)
                self.assertEqual(clients[-1].recv(1), b"H")
            for _ in range(20):
                self.assertIsNotNone(router.pick("llm"))
            answers = self.rest(clients[0])
            self.assertEqual(answers.count(b"TTP/1.1 200 OK\r\n"), 3)
            self.assertEqual(answers.count(b'"version"'), 150)
            for client in clients:
                client.close()
        until(lambda: router.descriptors() < 100, "the end of all connections")
        self.assertNotRegex(router.output(), "Traceback|Unhandled")
        self.assertLess(router.memory()["VmHWM"] - before, 80e6)

    def test_crowd(self) -> None:
        """Clients over the descriptor limit get a 503, or are disconnected, while all are busy."""
        router = Router(self, self.folder, twistd=limited_twistd(self.folder, 400))
        until(lambda: f"{self.node.address} is up" in router.output(), "up")
        served = [self.connect(router, DESCRIPTION) for _ in range(135)]
        for client in served:
            self.assertEqual(client.recv(16), b"HTTP/1.1 200 OK\r")
            client.sendall(DESCRIPTION[:4])
        for _ in range(30):
            client = self.connect(router, DESCRIPTION + bytes(200_000))
            headers = self.assert_answer(503, self.rest(client), DESCRIPTION)
            self.assertEqual(headers["Retry-After"], "1")
            client.close()
        served[0].sendall(DESCRIPTION[4:] + DESCRIPTION[:4])
        until(lambda: b"HTTP/1.1 200 OK\r\n" in served[0].recv(65_536), "another answer")
        silent = []
        for _ in range(40):
            with contextlib.suppress(ConnectionError):
                silent.append(self.connect(router))
        for client in silent:
            self.assertEqual(self.rest(client), b"")
        served.pop().close()
        until(lambda: router.pick("llm"), "room")
        self.assertEqual(router.output().count("clients are connected: others are refused"), 1)
        self.assertNotIn("Traceback", router.output())

    def test_idle_crowd(self) -> None:
        """Clients that are idle make room for others."""
        router = Router(self, self.folder, twistd=limited_twistd(self.folder, 400))
        until(lambda: f"{self.node.address} is up" in router.output(), "up")
        for _ in range(200):
            with contextlib.suppress(ConnectionError):
                self.connect(router, DESCRIPTION).recv(1)
        for _ in range(200):
            until(lambda: router.pick("llm"), "room")
        self.assertEqual(router.output().count("idle connections are closed to make room"), 1)
        self.assertNotIn("Traceback", router.output())
