"""Tests of infernet_router.api.routes: models, long work, the start, and all other routes."""

import json
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from infernet_router import __version__
from infernet_router.serving import ClosableSite
from tests.doubles import NODE, OTHER, ApiTestCase, report


class ContainersTests(ApiTestCase):
    def test_containers(self) -> None:
        """Containers are listed with how many nodes that are up run them now."""
        self.fleet.observed(NODE, report("llm", internal=("aid",), description="a <model>\n"))
        aid = {"id": "aid", "count": 1, "description": "a <model>\n"}
        llm = {"id": "llm", "count": 1, "description": "a <model>\n"}
        for _ in range(2):
            response = self.ask("/api/v1/containers?n=1")
            self.assertEqual((response.code, response.decoded), (200, [aid, llm]))
        self.assertEqual(list(response.decoded[0]), ["id", "count", "description"])
        self.fleet.observed(OTHER, report("llm"))
        llm["count"] = 2
        self.assertEqual(self.ask("/api/v1/containers").decoded, [aid, llm])
        self.fleet.missed(NODE, "gone")
        llm = {"id": "llm", "count": 1, "description": None}
        self.assertEqual(self.ask("/api/v1/containers").decoded, [llm])

    def test_long(self) -> None:
        """A list of any length is complete, even if containers change while it is read."""
        ids = [f"{number:060}" for number in range(2000)]
        self.fleet.observed(NODE, report("", *ids))
        listed = [each["id"] for each in self.read("/api/v1/containers", lambda: None)]
        self.assertEqual(listed, ["", *ids])

        def change() -> None:
            self.fleet.observed(NODE, report(*ids[1::2], "last"))

        listed = [each["id"] for each in self.read("/api/v1/containers", change)]
        as_before = len(set(ids[::2]) & set(listed))
        self.assertIn(as_before, range(100, 900))
        rest = ids[2 * as_before + 1 :: 2]
        self.assertEqual(listed, ["", *ids[: 2 * as_before], *rest])

        description = "\1" * 10_000
        self.fleet.observed(NODE, report(*ids[:50], description=description))
        listed = self.read("/api/v1/containers", lambda: None)
        self.assertEqual([each["description"] for each in listed], [description] * 50)

    def test_none(self) -> None:
        """The list is empty when no node is up."""
        self.fleet.replace([])
        self.assertEqual(self.ask("/api/v1/containers").decoded, [])


class ModelTests(ApiTestCase):
    """Requests that concern models and resources."""

    def setUp(self) -> None:
        super().setUp()
        self.fleet.observed(OTHER, report("llm", pending=2))
        self.nodes[NODE].models = {"llm": ["small"]}
        self.nodes[OTHER].models = {"llm": ["small", "hf/a:q4 b"], "other": []}

    def test_resources(self) -> None:
        """Without a model, the answer has the last resources of each node that is up."""
        self.assertEqual(self.ask("/api/v1/resources").decoded, {"https://node.invalid/prefix": {}})
        self.nodes[OTHER].resources = {"llm": {"version": "0.1.0", "big": [2**70]}}
        self.clock.pump([1] * 2)
        response = self.ask("/api/v1/resources")
        self.assertEqual(response.code, 200)
        self.assertEqual(
            response.decoded,
            {
                "https://node.invalid/prefix": {},
                "192.0.2.1:4000": {"llm": {"version": "0.1.0", "big": [2**70]}},
            },
        )
        self.fleet.missed(OTHER, "gone")
        self.assertEqual(self.ask("/api/v1/resources").decoded, {"https://node.invalid/prefix": {}})

    def test_long(self) -> None:
        """A long response has no Content-Length, and shows what changes while it is read."""
        said = {"llm": {"version": "x" * 65_500}}
        for address in (NODE, OTHER):
            self.nodes[address].resources = said
        self.clock.pump([1] * 65)
        head = self.successResultOf(self.http.head("http://r.invalid/api/v1/resources"))
        self.assertEqual(head.code, 200)
        self.assertFalse(head.headers.hasHeader("content-length"))
        both = {"https://node.invalid/prefix": said, "192.0.2.1:4000": said}
        self.assertEqual(self.read("/api/v1/resources", lambda: None), both)
        del both["192.0.2.1:4000"]
        gone = self.read("/api/v1/resources", lambda: self.fleet.missed(OTHER, "gone"))
        self.assertEqual(gone, both)

    def test_support(self) -> None:
        """With a model, the answer says which containers support it; its id may be unescaped."""
        for model in ("hf/a:q4+b", "hf%2Fa%3Aq4%20b"):
            response = self.ask(f"/api/v1/resources?model_id={model}")
            self.assertEqual(response.code, 200)
            self.assertEqual(
                response.decoded,
                {
                    "https://node.invalid/prefix": {"llm": {"supported": False}},
                    "192.0.2.1:4000": {
                        "llm": {"supported": True},
                        "other": {"supported": False},
                    },
                },
            )
        self.fleet.missed(NODE, "gone")
        response = self.ask("/api/v1/resources?model_id=hf/a:q4+b")
        self.assertEqual(list(response.decoded), ["192.0.2.1:4000"])

    def test_in_time(self) -> None:
        """The answer comes within 2 seconds, without the nodes that take longer."""
        self.nodes[NODE].silent = True
        asked = self.http.get("http://r.invalid/api/v1/resources?model_id=small")
        self.clock.advance(1.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.http.flush()
        response = self.successResultOf(asked)
        body = json.loads(self.successResultOf(response.content()))
        self.assertEqual(list(body), ["192.0.2.1:4000"])

    def test_gone(self) -> None:
        """When a client leaves before its answer, nothing is logged."""
        self.nodes[NODE].silent = True
        asked = self.http.get("http://r.invalid/api/v1/resources?model_id=small")
        asked.cancel()
        self.failureResultOf(asked)
        self.http.flush()
        self.clock.advance(3)

    def test_ip(self) -> None:
        """With a model, /ip returns a node where one of the containers supports it."""
        for _ in range(3):
            response = self.ask("/api/v1/ip?container=llm&model_id=hf/a:q4+b")
            self.assertEqual((response.code, response.decoded), (200, {"ip": "192.0.2.1:4000"}))
        self.assertAlmostEqual(self.jobs(OTHER), 5.0)
        self.ask("/api/v1/ip?container=llm&model_id=hf/a:q4+b", "HEAD")
        self.assertAlmostEqual(self.jobs(OTHER), 5.0)
        response = self.ask("/api/v1/ip?container=llm&model_id=small")
        self.assertEqual(response.decoded, {"ip": "https://node.invalid/prefix"})

    def test_ips(self) -> None:
        """With a model, /ips lists only nodes where one of the containers supports it."""
        response = self.ask("/api/v1/ips?container=llm&model_id=small")
        self.assertEqual(response.decoded, ["https://node.invalid/prefix", "192.0.2.1:4000"])
        response = self.ask("/api/v1/ips?container=llm&model_id=hf/a:q4+b&n=1000")
        self.assertEqual(response.decoded, ["192.0.2.1:4000"])
        response = self.ask("/api/v1/ips?container=llm&model_id=unknown")
        self.assertEqual((response.code, response.decoded), (200, []))

    def test_none(self) -> None:
        """A 503 names a model that no node supports; without a candidate, no node is asked."""
        self.nodes[NODE].silent = True
        self.assert_error(
            "/api/v1/ip?container=unknown&model_id=small", 503, "no up node runs 'unknown'"
        )
        self.assertEqual(self.ask("/api/v1/ips?container=unknown&model_id=small").decoded, [])
        self.nodes[NODE].silent = False
        response = self.assert_error(
            "/api/v1/ip?container=llm&model_id=large",
            503,
            "no up node is known to support the model 'large' in 'llm'",
        )
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])

    def test_bad(self) -> None:
        """A malformed model is refused."""
        for query, reason in (
            ("model_id=", "model_id is empty"),
            ("model_id=a&model_id=a", "model_id is given 2 times"),
            ("model_id=%ff", "model_id is not UTF-8"),
            (f"model_id={'x' * 501}", "model_id has more than 500 characters"),
        ):
            for path in ("ip", "ips", "resources"):
                self.assert_error(f"/api/v1/{path}?container=llm&{query}", 400, reason)

    def test_too_many(self) -> None:
        """A 429 or 503 says which limit of models was met, and when to come again."""
        for number in range(26):
            self.ask(f"/api/v1/resources?model_id={number}")
        paths = [f"/api/v1/{path}?container=llm&model_id=x" for path in ("ip", "ips", "resources")]
        for path in paths:
            response = self.ask(path)
            self.assertEqual(response.code, 429)
            self.assertIn("this client asks about too many models", response.decoded["error"])
            self.assertEqual(response.headers.getRawHeaders("retry-after"), ["2"])
        for number in range(100, 124):
            self.successResultOf(self.surveyor.survey(str(number), number))
        for path in paths:
            response = self.ask(path)
            self.assertEqual(response.code, 503)
            self.assertIn("nodes are asked about too many models", response.decoded["error"])
            self.assertEqual(response.headers.getRawHeaders("retry-after"), ["30"])


class LongWorkTests(ApiTestCase):
    def test_later(self) -> None:
        """An answer that takes long to make comes later, and is the same."""
        self.nodes[NODE].models = {"llm": ["m"]}
        paths = (
            "/api/v1/ip?container=llm&model_id=m",
            "/api/v1/ips?container=llm",
            "/api/v1/ips?container=llm&container=model/7b:q4?&model_id=m",
            "/api/v1/containers",
            "/api/v1/resources",
        )
        at_once = [self.ask(path).decoded for path in paths]
        self.work_seconds = partial(next, count(10.0))
        for path, expected in zip(paths, at_once, strict=True):
            asked: Deferred[Any] = self.http.get(f"http://r.invalid{path}")
            self.assertNoResult(asked)
            self.clock.advance(1.0)
            self.http.flush()
            response: Any = self.successResultOf(asked)
            self.assertEqual(json.loads(self.successResultOf(response.content())), expected)


class FirstPollTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fleet.replace([OTHER])
        self.first_polls.startService()

    def begin(self, path: str, method: str = "GET") -> Deferred[Any]:
        """A request that has no answer yet."""
        asked: Deferred[Any] = self.http.request(method, f"http://r.invalid{path}")
        self.assertNoResult(asked)
        return asked

    def end(self, asked: Deferred[Any]) -> tuple[int, Any]:
        """The answer, which is there now."""
        self.http.flush()
        response: Any = self.successResultOf(asked)
        body = self.successResultOf(response.content())
        return response.code, json.loads(body) if body else None

    def test_up(self) -> None:
        """A request is answered as soon as the first poll of a node for it is back."""
        address, ip = "192.0.2.1:4000", {"ip": "192.0.2.1:4000"}
        asked = [
            (self.begin("/api/v1/ip?container=llm"), ip),
            (self.begin("/api/v1/ip?container=llm", "HEAD"), None),
            (self.begin("/api/v1/ip?container=%6Clm&jobs=2"), ip),
            (self.begin("/api/v1/ips?container=llm"), [address]),
        ]
        self.clock.advance(0.5)
        self.fleet.observed(OTHER, report("llm"))
        self.clock.advance(0.01)
        for each, body in asked:
            self.assertEqual(self.end(each), (200, body))
        self.assertEqual(self.jobs(OTHER), 4.0)

    def test_second(self) -> None:
        """After a second, a request is answered as any other."""
        why = {"error": "the first polls are not back yet"}
        asked, listed = self.begin("/api/v1/ip?container=x"), self.begin("/api/v1/ips?container=x")
        self.clock.pump([0.01] * 98)
        self.assertNoResult(asked)
        self.clock.pump([0.01] * 3)
        self.assertEqual(self.end(asked), (503, why))
        self.assertEqual(self.end(listed), (200, []))

    def test_back(self) -> None:
        """Once all first polls are back, no request waits, nor is any held longer."""
        asked = self.begin("/api/v1/ip?container=x")
        self.fleet.observed(OTHER, report("llm"))
        self.clock.advance(0.01)
        self.assertEqual(self.end(asked), (503, {"error": "no up node runs 'x'"}))
        self.assert_error("/api/v1/ip?container=x", 503, "no up node runs 'x'")
        self.assertEqual(self.ask("/api/v1/ips?container=x").decoded, [])

    def test_page(self) -> None:
        """A page after the last of a list does not wait."""
        self.fleet.replace([NODE, OTHER])
        self.fleet.observed(OTHER, report("llm"))
        self.assertEqual(self.ask("/api/v1/ips?container=llm&offset=7").decoded, [])

    def test_bad(self) -> None:
        """An invalid request does not wait."""
        self.assert_error("/api/v1/ips", 400, "No containers specified")


class HealthTests(ApiTestCase):
    def test_healthy(self) -> None:
        """The router is healthy while a node is up."""
        response = self.ask("/health")
        self.assertEqual(response.code, 200)
        states = {"up": 1, "suspect": 0, "down": 0, "unknown": 1}
        self.assertEqual(response.decoded, {"status": "healthy", **states})

    def test_suspect(self) -> None:
        """It is healthy, too, while its only node is a suspect."""
        self.fleet.missed(NODE, "timeout after 3 s", timed_out=True)
        response = self.ask("/health")
        self.assertEqual((response.code, response.decoded["suspect"]), (200, 1))

    def test_unhealthy(self) -> None:
        """Without a node that is up, it is unhealthy, and says why."""
        self.fleet.replace([OTHER])
        response = self.assert_error("/health", 503, "the first polls are not back yet")
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])
        self.fleet.missed(OTHER, "HTTP 500")
        self.assert_error("/health", 503, "no node is up; 192.0.2.1:4000 is down: HTTP 500")
        self.fleet.replace([])
        self.assert_error("/health", 503, "no node is known")

    def test_silent(self) -> None:
        """It is unhealthy when no polls go out, and says for how long."""
        self.silence = 12.3
        why = "no node has been polled for 12 seconds, although polls are due"
        self.assert_error("/health", 503, why)
        self.fleet.replace([])
        self.assert_error("/health", 503, "no node is known")

    def test_closing(self) -> None:
        """From the moment its site is being closed, it is unhealthy."""
        site = ClosableSite(self.api, self.clock, 100)
        channel: Any = site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        closed = Deferred.fromCoroutine(site.close())
        channel.dataReceived(b"GET /health HTTP/1.1\r\nHost: r.invalid\r\n\r\n")
        self.assertIn(b" 503 ", transport.value())
        self.assertIn(b'{"error":"the router is shutting down"}', transport.value())
        channel.connectionLost(None)
        self.clock.advance(1)
        self.successResultOf(closed)


class OpenAPITests(ApiTestCase):
    def test_served(self) -> None:
        """The OpenAPI document is served."""
        response = self.ask("/openapi.json")
        self.assertEqual(response.code, 200)
        self.assertEqual(response.decoded["openapi"], "3.1.0")
        self.assertEqual(response.decoded["info"]["version"], __version__)
