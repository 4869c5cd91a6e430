"""Tests of infernet_router.nodes.asking."""

import errno
from collections.abc import Mapping
from typing import Any

from OpenSSL import SSL
from treq.testing import StubTreq
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import ParseError
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.nodes.asking import NoAnswer, ask
from infernet_router.nodes.rate_fields import RateLimit
from infernet_router.reports import MAX_BYTES


class Fixed(Resource):
    """A node that always gives the same answer."""

    isLeaf = True

    def __init__(
        self,
        status: int,
        body: bytes,
        *,
        ends: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._headers = headers or {}
        self._status = status
        self._body = body
        self._ends = ends
        self.lost: list[Failure] = []
        """Why requests ended before their answer."""

    def render(self, request: Request) -> bytes | int:
        request.notifyFinish().addErrback(self.lost.append)
        request.setResponseCode(self._status)
        for name, value in self._headers.items():
            request.setHeader(name, value)
        if self._ends:
            return self._body
        request.write(self._body)
        return NOT_DONE_YET


class Failing:
    """A treq whose requests all fail with the same exception."""

    def __init__(self, problem: BaseException, *, at_once: bool = False) -> None:
        self._problem = problem
        self._at_once = at_once

    def get(self, url: object, **options: object) -> Deferred[Any]:
        if self._at_once:
            raise self._problem
        failed: Deferred[Any] = Deferred()
        failed.errback(self._problem)
        return failed


class AskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def ask(self, http: Any, url: str = "http://node.invalid/info") -> Deferred[bytes]:
        return ask(http, url, self.clock, 3.0)

    def assert_none(self, http: Any, reason: str, status: int | None = None) -> None:
        """The request fails for this reason."""
        problem = self.failureResultOf(self.ask(http), NoAnswer).value
        self.assertEqual((str(problem), problem.status), (reason, status))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answer(self) -> None:
        """A 200 response gives its body."""
        for body in (b"", b"x" * MAX_BYTES):
            answered = self.ask(StubTreq(Fixed(200, body)))
            self.assertEqual(self.successResultOf(answered), body)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_large(self) -> None:
        """A body that exceeds its limit by a byte is refused at once."""
        for size, ends in ((1025, True), (1025, False), (5000, False)):
            node = Fixed(200, b"x" * size, ends=ends)
            http: Any = StubTreq(node)
            answered = ask(http, "http://192.0.2.1/", self.clock, 3.0, 1024)
            problem = self.failureResultOf(answered, NoAnswer).value
            self.assertEqual(str(problem), "its answer is larger than 1 KiB")
            http.flush()
            self.assertEqual(len(node.lost), 0 if ends else 1)
        http = StubTreq(Fixed(200, b"x" * 1024))
        answered = ask(http, "http://192.0.2.1/", self.clock, 3.0, 1024)
        self.assertEqual(len(self.successResultOf(answered)), 1024)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hosts(self) -> None:
        """IPv6 hosts and encoded paths work."""
        for url in ("http://[2001:db8::1]:4000/info", "http://node.invalid/%C3%A4/info"):
            answered = self.ask(StubTreq(Fixed(200, b"{}")), url)
            self.assertEqual(self.successResultOf(answered), b"{}")

    def test_status(self) -> None:
        """Any other status fails at once, without waiting for the body."""
        for status in (201, 204, 404, 500, 503):
            self.assert_none(StubTreq(Fixed(status, b"x")), f"HTTP {status}", status)
        self.assert_none(
            StubTreq(Fixed(429, b"x")), "HTTP 429 (it limits the rate of requests)", 429
        )
        endless = Fixed(503, b"x", ends=False)
        http: Any = StubTreq(endless)
        self.assert_none(http, "HTTP 503", 503)
        http.flush()
        self.assertEqual(len(endless.lost), 1)

    def test_rate_limit(self) -> None:
        """What an answer says about the rate limit is passed on, of a 429 with the failure."""
        fields = {"retry-after": "7", "ratelimit-remaining": "2", "ratelimit-reset": "8"}
        expected = RateLimit(retry_after=7.0, pace=4.0)
        heard: list[RateLimit] = []
        http: Any = StubTreq(Fixed(200, b"{}", headers=fields))
        self.successResultOf(ask(http, "http://192.0.2.1/", self.clock, 3.0, hear=heard.append))
        self.successResultOf(ask(http, "http://192.0.2.1/", self.clock, 3.0))
        self.assertEqual(heard, [expected])
        http = StubTreq(Fixed(429, b"", headers=fields))
        self.assertEqual(self.failureResultOf(self.ask(http), NoAnswer).value.limit, expected)

    def test_redirect(self) -> None:
        """A redirect is not followed, and the reason says so."""
        self.assert_none(StubTreq(Fixed(302, b"")), "HTTP 302 (redirects are not followed)", 302)

    def test_timeout(self) -> None:
        """The timeout covers headers and body, and closes the connection."""
        for node in (Fixed(200, b"", ends=False), Fixed(200, b"{", ends=False)):
            http: Any = StubTreq(node)
            answered = self.ask(http)
            self.clock.advance(2.9)
            self.assertNoResult(answered)
            self.clock.advance(0.2)
            problem = self.failureResultOf(answered, NoAnswer).value
            self.assertEqual(str(problem), "timeout after 3 s")
            http.flush()
            self.assertEqual(len(node.lost), 1)

    def test_cancel(self) -> None:
        """Cancelling ends the request at once, and closes the connection."""
        node = Fixed(200, b"{", ends=False)
        http: Any = StubTreq(node)
        answered = self.ask(http)
        answered.cancel()
        self.failureResultOf(answered, NoAnswer)
        http.flush()
        self.assertEqual(len(node.lost), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kinds(self) -> None:
        """Every failure has a word to count it by."""
        for problem, kind in (
            (error.ConnectionRefusedError(), "refused"),
            (error.DNSLookupError("node.invalid"), "other"),
            (ResponseNeverReceived([Failure(error.ConnectionLost())]), "closed"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "tls"),
            (ResponseFailed([Failure(NoAnswer("x", kind="tls"))]), "tls"),
            (ValueError(), "other"),
        ):
            failed = self.failureResultOf(self.ask(Failing(problem)), NoAnswer)
            self.assertEqual(failed.value.kind, kind)
        for status, kind in ((500, "status"), (302, "status"), (429, "limited")):
            failed = self.failureResultOf(self.ask(StubTreq(Fixed(status, b""))), NoAnswer)
            self.assertEqual(failed.value.kind, kind)
        large = self.ask(StubTreq(Fixed(200, b"x" * (MAX_BYTES + 1))))
        self.assertEqual(self.failureResultOf(large, NoAnswer).value.kind, "report")
        late = self.ask(StubTreq(Fixed(200, b"", ends=False)))
        self.clock.advance(3)
        self.assertEqual(self.failureResultOf(late, NoAnswer).value.kind, "timeout")

    def test_reasons(self) -> None:
        """Every failure has a plain reason, without any text that the node sent."""
        closed = "it closed the connection before the answer was complete"
        for problem, reason in (
            (error.ConnectionRefusedError(), "connection refused"),
            (error.DNSLookupError("node.invalid"), "unknown host name"),
            (
                error.ConnectError(osError=errno.ENETUNREACH),
                "cannot connect: Network is unreachable",
            ),
            (error.ConnectionDone(), closed),
            (error.ConnectionLost(), closed),
            (ResponseNeverReceived([Failure(error.ConnectionLost())]), closed),
            (ResponseFailed([Failure(NoAnswer("too much"))]), "too much"),
            (
                SSL.Error([("SSL routines", "", "wrong version number")]),
                "TLS failed: there is no TLS at this port (wrong version number)",
            ),
            (
                ResponseNeverReceived([Failure(ParseError("no", b"<b>"))]),
                "the answer is not HTTP (ParseError)",
            ),
            (
                ResponseFailed([Failure(ValueError("<b>"))]),
                "the answer is not HTTP (ValueError)",
            ),
            (ResponseFailed([]), "request failed (ResponseFailed)"),
            (ValueError("<b>"), "request failed (ValueError)"),
        ):
            self.assert_none(Failing(problem), reason)
            self.assert_none(Failing(problem, at_once=True), reason)
