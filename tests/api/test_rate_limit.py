"""Tests of infernet_router.api.rate_limit."""

import json
from ipaddress import ip_network
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.api.clients import Clients, Proxy
from infernet_router.api.rate_limit import RateLimited
from infernet_router.counting import Counts
from tests.doubles import ask

IP = "/api/v1/ip"
REFUSED = {"error": "too many requests: the limit is 2 a minute for a path"}


class Api(Resource):
    """Answers every request with 200."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"answer"


class RateLimitedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limit(2)

    def limit(self, limit: int, *proxies: Proxy) -> None:
        clients, self.counts = Clients(proxies), Counts()
        self.root = RateLimited(Api(), limit, clients, self.clock.seconds, counts=self.counts)

    def status(self, path: str = IP, peer: str = "192.0.2.1", **headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.root, path, peer, headers=names).status

    def test_limit(self) -> None:
        """Requests up to the limit are answered; the next gets a JSON 429 that names the limit."""
        for _ in range(2):
            self.assertEqual(ask(self.root, IP).body, b"answer")
        answer = ask(self.root, IP)
        self.assertEqual((answer.status, json.loads(answer.body)), (429, REFUSED))
        self.assertEqual(answer.headers.get_all("content-type"), ["application/json"])
        self.assertEqual(answer.headers.get_all("cache-control"), ["no-store"])
        self.assertEqual(answer.headers.get_all("content-length"), [str(len(answer.body))])
        self.assertTrue(answer.body.endswith(b"}\n"))
        self.assertEqual(answer.headers.get_all("retry-after"), ["30"])

    def test_head(self) -> None:
        """HEAD counts like GET, and its 429 has no body."""
        for _ in range(2):
            self.assertEqual(ask(self.root, IP, method="HEAD").status, 200)
        answer = ask(self.root, IP, method="HEAD")
        self.assertEqual((answer.status, answer.body), (429, b""))
        self.assertEqual(answer.headers.get_all("retry-after"), ["30"])
        length = str(len(ask(self.root, IP).body))
        self.assertEqual(answer.headers.get_all("content-length"), [length])

    def test_again(self) -> None:
        """One more request is answered whenever a `limit`th of a minute has passed."""
        self.status()
        self.status()
        for _ in range(3):
            self.clock.advance(29.9)
            self.assertEqual(self.status(), 429)
            self.clock.advance(0.12)
            self.assertEqual(self.status(), 200)
        self.clock.advance(60)
        self.assertEqual([self.status() for _ in range(3)], [200, 200, 429])
        self.assertEqual(self.counts.rate_limited, 4)

    def test_refused_costs_nothing(self) -> None:
        """Requests over the limit do not count: a client that never pauses gets its full rate."""
        answered = 0
        for _ in range(6000):
            answered += self.status() == 200
            self.clock.advance(0.1)
        self.assertEqual(answered, 2 + 19, "two at once, then one after each half a minute")

    def test_retry_after(self) -> None:
        """A request after Retry-After is answered; Retry-After is at most a second too long."""
        random = Random(1)
        for limit in (1, 7, 59, 60, 61, 1000):
            self.limit(limit)
            for _ in range(20):
                self.clock.advance(random.random())
                while (answer := ask(self.root, IP)).status == 200:
                    pass
                (seconds,) = answer.headers.get_all("retry-after", [])
                self.assertGreaterEqual(int(seconds), 1)
                self.assertLessEqual(int(seconds), 60 / limit + 1)
                self.clock.advance(int(seconds))
                self.assertEqual(self.status(), 200)

    def test_paths(self) -> None:
        """Each path has its own count, however it is spelt; unknown paths share one."""
        self.status()
        self.assertEqual([self.status(f"/{IP}?x"), self.status("/api/v1%2Fi%70")], [200, 429])
        self.assertEqual(self.status("/api/v1/ips"), 200)
        for path, status in (
            ("/x", 200),
            ("/favicon.ico", 200),
            ("/y", 429),
            ("/api/v1/ip/", 429),
            ("/", 200),
        ):
            self.assertEqual(self.status(path), status)

    def test_health(self) -> None:
        """/health and the probes have no limit."""
        for _ in range(10):
            self.assertEqual([self.status("/health"), self.status("//health?x")], [200, 200])
            self.assertEqual([self.status("/livez"), self.status("/readyz")], [200, 200])

    def test_clients(self) -> None:
        """Each IPv4 address and each IPv6 /64 network has its own count."""
        self.limit(1)
        for peer, status in (
            ("192.0.2.1", 200),
            ("192.0.2.2", 200),
            ("192.0.2.1", 429),
            ("::ffff:192.0.2.1", 429),
            ("2001:db8::1", 200),
            ("2001:db8::ffff:0:0:1", 429),
            ("2001:db8:0:1::1", 200),
            ("c000:201::", 200),
            ("unix", 200),
            ("unix", 429),
        ):
            self.assertEqual(self.status(peer=peer), status, peer)

    def test_proxy(self) -> None:
        """Each client of a trusted proxy has its own count."""
        self.limit(1, ip_network("10.0.0.0/8"))
        for client, status in (("198.51.100.1", 200), ("198.51.100.2", 200), ("198.51.100.1", 429)):
            self.assertEqual(self.status(peer="10.0.0.1", X_Forwarded_For=client), status)
            self.assertEqual(self.status(peer=client, X_Forwarded_For="203.0.113.1"), 429)

    def test_bounded(self) -> None:
        """The least recently seen client is forgotten first, when there are too many."""
        self.root = RateLimited(Api(), 1, Clients(), self.clock.seconds, counted=100)
        for number in range(100):
            self.assertEqual(self.status(peer=f"192.0.2.{number}"), 200)
            self.assertEqual(self.status(peer="192.0.2.0"), 429)
        self.assertEqual(self.status(peer="198.51.100.1"), 200)
        self.assertEqual(self.status(peer="192.0.2.0"), 429)
        self.assertEqual(self.status(peer="192.0.2.1"), 200)
