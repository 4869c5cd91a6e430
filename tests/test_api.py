"""Tests of infernet_router.api."""

import json
from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.api import Api
from infernet_router.fleet import Fleet
from tests.test_fleet import report

NODE = parse_address("https://node.invalid/prefix/")
OTHER = parse_address("192.0.2.1:4000")


class BrokenFleet(Fleet):
    def pick(self, containers: object) -> Any:
        raise ZeroDivisionError("a bug")


class ApiTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fleet = Fleet(Clock().seconds, Random(1))
        self.fleet.replace([NODE, OTHER])
        containers = ("llm", "zum Übersetzen", "a;container=b", "model/7b:q4?")
        self.fleet.observed(NODE, report(*containers))
        self.http: Any = StubTreq(Api(self.fleet))

    def ask(self, path: str, method: str = "GET", host: str = "r.invalid") -> Any:
        """The response to a request, its body decoded as JSON."""
        response = self.successResultOf(
            self.http.request(method, f"http://r.invalid{path}", headers={"host": host})
        )
        body = self.successResultOf(response.content())
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])
        self.assertEqual(response.headers.getRawHeaders("cache-control"), ["no-store"])
        self.assertEqual(response.length, len(body))
        response.decoded = json.loads(body) if body else None
        return response

    def assert_error(self, path: str, status: int, error: str, method: str = "GET") -> Any:
        response = self.ask(path, method)
        self.assertEqual((response.code, response.decoded), (status, {"error": error}))
        return response

    def test_ip(self) -> None:
        """The answer is the address as the operator wrote it, without a trailing slash."""
        response = self.ask("/api/v1/ip?container=llm")
        self.assertEqual(response.code, 200)
        self.assertEqual(response.decoded, {"ip": "https://node.invalid/prefix"})

    def test_several_containers(self) -> None:
        """Each `container` is one the node must run; other parameters count for nothing."""
        for query in (
            "container=llm&container=zum%20%C3%9Cbersetzen",
            "container=zum+%C3%9Cbersetzen&x=1",
            "container=a;container=b",
            "container=a%3Bcontainer=b&&x=%ff;container=c",
            "%63ontainer=model/7b:q4?",
        ):
            self.assertEqual(self.ask(f"/api/v1/ip?{query}").code, 200)

    def test_leading_slashes(self) -> None:
        """Doubled leading slashes are fine; others are another path."""
        self.assertEqual(self.ask("//api/v1/ip?container=llm").code, 200)
        self.assertEqual(self.ask("///api/v1/ip?container=llm").code, 200)
        self.assert_error("/api//v1/ip", 404, "no such path: '/api//v1/ip'")

    def test_head(self) -> None:
        """HEAD says what GET would, without a body, and hands out nothing."""
        self.fleet.observed(OTHER, report("llm", pending=2))
        for _ in range(5):
            response = self.successResultOf(
                self.http.head("http://r.invalid/api/v1/ip?container=llm")
            )
            self.assertEqual(response.code, 200)
            self.assertEqual(self.successResultOf(response.content()), b"")
        self.assertEqual(self.fleet.pick(["llm"]), NODE)
        self.assertEqual(self.fleet.pick(["llm"]), NODE)
        response = self.successResultOf(self.http.head("http://r.invalid/api/v1/ip"))
        self.assertEqual(response.code, 400)

    def test_no_container(self) -> None:
        """Without a container there is nothing to route by."""
        for query in ("", "?", "?containers=llm", "?Container=llm", "?x=%ff"):
            self.assert_error(f"/api/v1/ip{query}", 400, "No containers specified")
        for query in ("?container", "?container=", "?container=llm&container="):
            self.assert_error(
                f"/api/v1/ip{query}", 400, "No containers specified: container is empty"
            )

    def test_bad_container(self) -> None:
        """Containers that are none, or too many, are refused."""
        for container in ("%ff", "%C3", "%ED%B3%BF", "%C3&container=%9C", "llm&container=%ff"):
            self.assert_error(f"/api/v1/ip?container={container}", 400, "container is not UTF-8")
        many = "&".join(["container=llm"] * 100)
        self.assertEqual(self.ask(f"/api/v1/ip?{many}").code, 200)
        for more in ("container=llm", "x", ""):
            self.assert_error(
                f"/api/v1/ip?{many}&{more}", 400, "the query has more than 100 fields"
            )

    def test_no_node(self) -> None:
        """When no node can do it, 503 says why, and when to ask again."""
        response = self.assert_error(
            "/api/v1/ip?container=%22%0A%3Cb%3E",
            503,
            "no up node runs '\"\\n<b>'; the first polls of 1 more are not back",
        )
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])

    def test_no_such_path(self) -> None:
        """Any other path is 404, in JSON."""
        for path in ("/", "/api/v1/ip/", "/api/v1", "/favicon.ico"):
            self.assert_error(path, 404, f"no such path: '{path}'")
        self.assert_error("/%0a%3Cb%3E", 404, "no such path: '/%0a%3Cb%3E'")

    def test_other_method(self) -> None:
        """Any other method is 405, and says which are allowed."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            response = self.assert_error(
                "/api/v1/ip?container=llm", 405, "'/api/v1/ip': method not allowed", method
            )
            allowed = response.headers.getRawHeaders("allow")[0]
            self.assertEqual(set(allowed.split(", ")), {"GET", "HEAD"})

    def test_not_utf8(self) -> None:
        """A path that is not UTF-8 is refused, with nothing in the log."""
        self.assert_error("/%ff", 400, "The request line or Host is not UTF-8")

    def test_host(self) -> None:
        """A Host that is no name is refused, with nothing in the log; any other is fine."""
        for host in ("a..b", "x" * 70, "x" * 5000, "r.invalid..:4000"):
            response = self.ask("/api/v1/ip?container=llm", host=host)
            self.assertEqual(response.code, 400)
            self.assertEqual(response.decoded, {"error": "The Host is not a host name"})
        for host in ("192.0.2.1:4000", "[2001:db8::1]:4000", "a_b", "localhost", ""):
            self.assertEqual(self.ask("/api/v1/ip?container=llm", host=host).code, 200, host)

    def test_bug(self) -> None:
        """A bug of ours is a 500 in JSON that tells nothing, and is in the log."""
        self.http = StubTreq(Api(BrokenFleet(Clock().seconds, Random(1))))
        self.assert_error("/api/v1/ip?container=llm", 500, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
