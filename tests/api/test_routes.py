"""Tests of infernet_router.api.routes: nodes for jobs, and their outcomes."""

from random import Random
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from infernet_router.api.decisions import VALID
from infernet_router.api.outcomes import PAUSE
from infernet_router.serving import ClosableSite
from tests.api.case import CountingFleet
from tests.doubles import NODE, OTHER, ApiTestCase, BrokenFleet, report


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
