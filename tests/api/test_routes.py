"""Tests of infernet_router.api.routes."""

import json
from functools import partial
from itertools import count
from random import Random
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from infernet_router import __version__
from infernet_router.addresses import NodeAddress
from infernet_router.api.decisions import VALID
from infernet_router.api.outcomes import PAUSE
from infernet_router.fleet import Fleet, Steps
from infernet_router.serving import ClosableSite
from tests.doubles import NODE, OTHER, ApiTestCase, BrokenFleet, report


class CountingFleet(Fleet):
    """A fleet that counts how often it is asked for a node."""

    picks = 0

    def pick(self, *arguments: Any, **options: Any) -> NodeAddress:
        self.picks += 1
        return super().pick(*arguments, **options)

    def picking(self, *arguments: Any, **options: Any) -> Steps[NodeAddress]:
        self.picks += 1
        return super().picking(*arguments, **options)


class IpTests(ApiTestCase):
    def test_ip(self) -> None:
        """The answer is the address as the operator wrote it, without a trailing slash."""
        response = self.ask("/api/v1/ip?container=llm")
        self.assertEqual(response.code, 200)
        self.assertEqual(response.decoded, {"ip": "https://node.invalid/prefix"})

    def test_several_containers(self) -> None:
        """The node must run every `container`; unknown parameters are ignored."""
        for query in (
            "container=llm&container=zum%20%C3%9Cbersetzen",
            "container=zum+%C3%9Cbersetzen&x=1",
            "container=a;container=b",
            "container=a%3Bcontainer=b&&x=%ff;container=c",
            "%63ontainer=model/7b:q4?",
        ):
            self.assertEqual(self.ask(f"/api/v1/ip?{query}").code, 200)

    def test_recorded_decision(self) -> None:
        """The id in the header leads to the decision that the fleet recorded, and back."""
        records = self.fleet.keep_records(Random(2))
        for path in ("ip?container=llm", "ip?container=llm&jobs=3", "ips?container=llm"):
            self.clock.advance(1.5)
            response = self.ask(f"/api/v1/{path}")
            id = response.headers.getRawHeaders("infernet-decision")[0]
            number = self.decisions.number_of(id)
            assert number is not None
            decision = records.decisions.get(number)
            assert decision is not None
            self.assertEqual((decision.node, decision.time), (NODE, self.clock.seconds()))
            self.assertEqual(self.decisions.id_of(number, decision.time), id)
        self.assertEqual(self.fleet.decided, 3)

    def test_leading_slashes(self) -> None:
        """Repeated slashes count as one at the start of a path, and only there."""
        self.assertEqual(self.ask("//api/v1/ip?container=llm").code, 200)
        self.assertEqual(self.ask("///api/v1/ip?container=llm").code, 200)
        self.assert_error("/api//v1/ip", 404, "no such path: '/api//v1/ip'")

    def test_head(self) -> None:
        """HEAD has the status of GET, no body, and assigns no job."""
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
        """A request without a container, or with an empty one, is refused."""
        for query in ("", "?", "?containers=llm", "?Container=llm", "?x=%ff"):
            self.assert_error(f"/api/v1/ip{query}", 400, "No containers specified")
        for query in ("?container", "?container=", "?container=llm&container="):
            self.assert_error(
                f"/api/v1/ip{query}", 400, "No containers specified: container is empty"
            )

    def test_exclude(self) -> None:
        """Excluded nodes are never handed out, however their addresses are written."""
        self.fleet.observed(OTHER, report("llm", pending=2))
        query = "container=llm&exclude=HTTPS://Node.invalid:443/prefix/&exclude=192.0.2.9"
        for path in (f"/api/v1/ip?{query}", f"/%61pi/v1/ip?{query}&model_id=m"):
            self.nodes[OTHER].models = {"llm": ["m"]}
            self.assertEqual(self.ask(path, "HEAD").code, 200)
            self.assertEqual(self.ask(path).decoded, {"ip": "192.0.2.1:4000"})
        self.assertEqual(self.ask(f"/api/v1/ips?{query}").decoded, ["192.0.2.1:4000"])
        query += "&exclude=http://192.0.2.1:4000"
        for _ in range(2):
            response = self.assert_error(
                f"/api/v1/ip?{query}", 503, "every up node that runs 'llm' is excluded"
            )
            self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])
        self.assertEqual(self.ask(f"/api/v1/ip?{query}", "HEAD").code, 503)
        self.assertEqual(self.ask(f"/api/v1/ips?{query}").decoded, [])

    def test_decision(self) -> None:
        """Each answer to GET bears an id of its own; HEAD, and an error, have none."""
        ids = {
            self.ask("/api/v1/ip?container=llm").headers.getRawHeaders("infernet-decision")[0]
            for _ in range(10)
        }
        self.assertEqual(len(ids), 10)
        for path, method in (("ip?container=llm", "HEAD"), ("ip?container=x", "GET")):
            response = self.ask(f"/api/v1/{path}", method)
            self.assertFalse(response.headers.hasHeader("infernet-decision"))

    def test_bad_exclude(self) -> None:
        """At most 16 nodes are excluded; a malformed address is refused, and named."""
        for path in ("/api/v1/ip", "/api/v1/ips"):
            excluded = "&".join(["exclude=192.0.2.9"] * 16)
            self.assertEqual(self.ask(f"{path}?container=llm&{excluded}").code, 200)
            for query, reason in (
                (f"{excluded}&exclude=192.0.2.9", " is given 17 times; the limit is 16"),
                ("exclude=ftp://x", "='ftp://x' is not an address: the scheme must be http or"),
                ("exclude=192.0.2.9&exclude=", "='' is not an address: it is empty"),
                ("exclude=%ff", " is not UTF-8"),
            ):
                response = self.ask(f"{path}?container=llm&{query}")
                self.assertEqual(response.code, 400)
                self.assertIn(f"exclude{reason}", response.decoded["error"])

    def test_jobs(self) -> None:
        """One answer counts as many jobs as `jobs` says; HEAD counts none."""
        for query, method, jobs in (
            ("&jobs=7", "GET", 7.0),
            ("", "GET", 8.0),
            ("&jobs=9", "HEAD", 8.0),
        ):
            self.assertEqual(self.ask(f"/api/v1/ip?container=llm{query}", method).code, 200)
            self.assertAlmostEqual(self.jobs(NODE), jobs)
        for text in ("0", "101", "-1", "", "x", "1&jobs=1"):
            for method in ("GET", "HEAD"):
                self.assertEqual(
                    self.ask(f"/api/v1/ip?container=llm&jobs={text}", method).code, 400
                )
            self.assert_error(
                f"/api/v1/ip?container=llm&jobs={text}",
                400,
                "jobs must be one whole number from 1 to 100",
            )

    def test_bad_container(self) -> None:
        """A container that is not UTF-8, or too many parameters, are refused."""
        for container in ("%ff", "%C3", "%ED%B3%BF", "%C3&container=%9C", "llm&container=%ff"):
            self.assert_error(f"/api/v1/ip?container={container}", 400, "container is not UTF-8")
        many = "&".join(["container=llm"] * 100)
        self.assertEqual(self.ask(f"/api/v1/ip?{many}").code, 200)
        for more in ("container=llm", "x", ""):
            self.assert_error(
                f"/api/v1/ip?{many}&{more}", 400, "the query has more than 100 parameters"
            )

    def test_no_node(self) -> None:
        """When no node can do the job, a 503 says why, and has Retry-After."""
        response = self.assert_error(
            "/api/v1/ip?container=%22%0A%3Cb%3E",
            503,
            "no up node runs '\"\\n<b>'; the first polls of 1 more are not back",
        )
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["1"])

    def test_front(self) -> None:
        """The front page says what this is, how to ask it, and where it is described."""
        for path in ("/", "//", "/?container=llm"):
            front = self.ask(path).decoded
            self.assertEqual(front["service"], "infernet-router")
            self.assertIn("GET /api/v1/ip?container=", front["usage"])
            self.assertIn("paths", self.ask(front["openapi"]).decoded)

    def test_no_such_path(self) -> None:
        """An unknown path is a JSON 404."""
        for path in ("/x", "/api/v1/ip/", "/api/v1", "/favicon.ico"):
            self.assert_error(path, 404, f"no such path: '{path}'")
        self.assert_error("/%0a%3Cb%3E", 404, "no such path: '/%0a%3Cb%3E'")

    def test_small_letters(self) -> None:
        """A method in lower case is 501: methods are case-sensitive."""
        channel, socket = self.connect()
        channel.dataReceived(b"get /api/v1/ip?container=llm HTTP/1.1\r\nHost: r.invalid\r\n\r\n")
        self.assertTrue(socket.value().startswith(b"HTTP/1.1 501 Not Implemented\r\n"))
        self.assertTrue(socket.value().endswith(b'{"error":"there is no such method"}\n'))

    def test_other_method(self) -> None:
        """Other methods are 405, with the allowed ones in Allow."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            response = self.assert_error(
                "/api/v1/ip?container=llm", 405, "'/api/v1/ip': method not allowed", method
            )
            allowed = response.headers.getRawHeaders("allow")[0]
            self.assertEqual(set(allowed.split(", ")), {"GET", "HEAD"})

    def test_not_utf8(self) -> None:
        """A path that is not UTF-8 is refused, and nothing is logged."""
        with capturedLogs() as logged:
            self.assert_error("/%ff", 400, "the request line or Host is not UTF-8")
            self.assertEqual(self.ask("/%ff", "HEAD").code, 400)
        self.assertEqual(logged, [])

    def test_escaped(self) -> None:
        """A query means the same whichever of its characters are escaped."""
        for query in ("container=l%6Cm", "c%6Fntainer=llm", "container=llm&x=1", "x&container=llm"):
            self.assertEqual(self.ask(f"/api/v1/ip?{query}").code, 200, query)
        self.assert_error("/api/v1/ip?container=llm&model%5Fid=", 400, "model_id is empty")

    def test_host(self) -> None:
        """A Host that is not a host name is refused, and nothing is logged; others are accepted."""
        for host in ("a..b", "x" * 70, "x" * 5000, "r.invalid..:4000"):
            response = self.ask("/api/v1/ip?container=llm", host=host)
            self.assertEqual(response.code, 400)
            self.assertEqual(response.decoded, {"error": "Host is not a host name"})
        for host in ("192.0.2.1:4000", "[2001:db8::1]:4000", "a_b", "localhost", ""):
            self.assertEqual(self.ask("/api/v1/ip?container=llm", host=host).code, 200, host)

    def test_no_host(self) -> None:
        """HTTP/1.0 needs no Host, on a unix socket too."""
        channel: Any = ClosableSite(self.api, self.clock, 100).buildProtocol(None)
        transport = StringTransport(UNIXAddress("r.sock"), UNIXAddress(None))
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /api/v1/ip?container=llm HTTP/1.0\r\n\r\n")
        self.assertIn(b'{"ip":"https://node.invalid/prefix"}', transport.value())
        channel.connectionLost(None)

    def test_bug(self) -> None:
        """An unexpected exception is logged once, and is a 500 without details."""
        for path in ("/api/v1/ip?container=llm", "/api/v1/ip?container=%6Clm"):
            fleet = BrokenFleet(self.clock.seconds, Random(1))
            self.http = self.serve(fleet)
            self.assert_error(path, 500, "internal error")
            self.assertEqual(fleet.picks, 1)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_once(self) -> None:
        """The fleet is asked once for each request, also when it has no node for it."""
        fleet = CountingFleet(self.clock.seconds, Random(1))
        self.http = self.serve(fleet)
        self.assert_error("/api/v1/ip?container=llm", 503, "no node is known")
        self.assert_error("/api/v1/ip?container=%6Clm", 503, "no node is known")
        self.assertEqual(fleet.picks, 2)


class ListTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fleet.observed(OTHER, report("llm", pending=2))

    def test_ips(self) -> None:
        """The addresses of the best nodes are listed, best first."""
        addresses = ["https://node.invalid/prefix", "192.0.2.1:4000"]
        for query, listed in (
            ("", addresses),
            ("&n=1", addresses[:1]),
            ("&n=0", []),
            ("&offset=1&n=1000", addresses[1:]),
            ("&offset=1000000", []),
        ):
            response = self.ask(f"/api/v1/ips?container=llm{query}", "HEAD")
            self.assertEqual(response.code, 200)
            response = self.ask(f"/api/v1/ips?container=llm{query}")
            self.assertEqual((response.code, response.decoded), (200, listed))
            self.setUp()

    def test_assigned(self) -> None:
        """GET assigns the job to the first node, HEAD does not."""
        for method in ("GET", "HEAD", "GET", "HEAD", "HEAD"):
            self.ask("/api/v1/ips?container=llm", method)
        self.assertAlmostEqual(self.jobs(NODE), 2.0)
        self.assertAlmostEqual(self.jobs(OTHER), 2.0)

    def test_decision(self) -> None:
        """A list with a node bears the id of a decision for its first one, but not for HEAD."""
        for query, method, decisions in (("", "GET", 1), ("", "HEAD", 0), ("&n=0", "GET", 0)):
            response = self.ask(f"/api/v1/ips?container=llm{query}", method)
            ids = response.headers.getRawHeaders("infernet-decision", [])
            self.assertEqual([self.decisions.use(id) for id in ids], [NODE] * decisions)

    def test_none(self) -> None:
        """The list is empty when no node can do the job."""
        response = self.ask("/api/v1/ips?container=llm&container=unknown")
        self.assertEqual((response.code, response.decoded), (200, []))

    def test_bad(self) -> None:
        """A request without a container, or with a malformed number, is refused."""
        self.assert_error("/api/v1/ips", 400, "No containers specified")
        self.assert_error(
            "/api/v1/ips?container=llm&container",
            400,
            "No containers specified: container is empty",
        )
        for text in ("abc", "-1", "1.5", "", "1001", "9" * 5000, "1&n=1"):
            self.assert_error(
                f"/api/v1/ips?container=llm&n={text}",
                400,
                "n must be one whole number from 0 to 1000",
            )
        for text in ("abc", "-1", "1000001", "9" * 5000):
            self.assert_error(
                f"/api/v1/ips?container=llm&offset={text}",
                400,
                "offset must be one whole number from 0 to 1000000",
            )


class OutcomesTests(ApiTestCase):
    def decision(self) -> str:
        """The id of a decision."""
        response = self.ask("/api/v1/ip?container=llm")
        return str(response.headers.getRawHeaders("infernet-decision")[0])

    def tell(self, query: str) -> int:
        """The status of the response to an outcome; one of 204 has neither body nor type."""
        response = self.successResultOf(self.http.post(f"http://r.invalid/api/v1/outcomes?{query}"))
        if response.code == 204:
            self.assertEqual(self.successResultOf(response.content()), b"")
            for name in ("content-type", "content-length", "transfer-encoding"):
                self.assertFalse(response.headers.hasHeader(name), name)
        return int(response.code)

    def assert_refused(self, status: int, error: str, query: str) -> None:
        self.assert_error(f"/api/v1/outcomes?{query}", status, error, "POST")

    def test_told(self) -> None:
        """Each outcome is accepted once for a decision, with 204."""
        for outcome in ("failed", "unreachable", "done"):
            query = f"decision={self.decision()}&outcome={outcome}"
            self.assertEqual(self.tell(query), 204)
            self.assert_refused(409, "the decision has an outcome already", query)

    def test_doubt(self) -> None:
        """A node is doubted when jobs fail there, and still handed out."""
        for _ in range(20):
            self.assertEqual(self.tell(f"decision={self.decision()}&outcome=failed"), 204)
            self.clock.advance(PAUSE)
        view = self.fleet.view(NODE)
        assert view is not None
        self.assertGreater(view.doubt, 1.0)
        self.assertEqual(self.ask("/api/v1/ip?container=llm").code, 200)

    def test_unknown(self) -> None:
        """An id that was made up, or is too old, is 404."""
        unknown = "the decision is unknown or older than 10 minutes"
        self.assert_refused(404, unknown, "decision=0-0-0-0&outcome=done")
        decision = self.decision()
        self.clock.advance(VALID + 1)
        self.assert_refused(404, unknown, f"decision={decision}&outcome=done")

    def test_bad(self) -> None:
        """A missing or malformed parameter is refused, and does not use up the id."""
        decision = self.decision()
        outcomes = "outcome must be one of failed, unreachable, done"
        for query, reason in (
            ("", "decision is missing"),
            ("outcome=done", "decision is missing"),
            ("decision=&outcome=done", "decision is empty"),
            (f"decision={'0' * 101}&outcome=done", "decision has more than 100 characters"),
            (f"decision={decision}", outcomes),
            (f"decision={decision}&outcome=", outcomes),
            (f"decision={decision}&outcome=FAILED", outcomes),
            (f"decision={decision}&outcome=done&outcome=done", outcomes),
        ):
            self.assert_refused(400, reason, query)
        self.assertEqual(self.tell(f"decision={decision}&outcome=done"), 204)

    def test_other_method(self) -> None:
        """Only POST tells an outcome."""
        query = f"decision={self.decision()}&outcome=done"
        for method in ("GET", "PUT", "OPTIONS"):
            response = self.assert_error(
                f"/api/v1/outcomes?{query}", 405, "'/api/v1/outcomes': method not allowed", method
            )
            self.assertEqual(response.headers.getRawHeaders("allow"), ["POST"])
        self.assertEqual(self.ask(f"/api/v1/outcomes?{query}", "HEAD").code, 405)
        self.assertEqual(self.tell(query), 204)

    def test_form(self) -> None:
        """The media type of the empty body does not matter."""
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data", "\xff"):
            channel, socket = self.connect()
            query = f"decision={self.decision()}&outcome=done"
            channel.dataReceived(
                f"POST /api/v1/outcomes?{query} HTTP/1.1\r\nHost: r.invalid\r\n"
                f"Content-Type: {kind}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
            )
            self.assertTrue(socket.value().startswith(b"HTTP/1.1 204 No Content\r\n"), kind)


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
