"""Tests of infernet_router.api.cors."""

from random import Random
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.api.clients import Clients
from infernet_router.api.cors import CrossOrigin, parse_origin
from infernet_router.api.rate_limit import RateLimited
from tests.doubles import ApiTestCase, BrokenFleet

APP = "https://app.invalid"
OTHER_APP = "http://localhost:3000"
PREFLIGHT = {"access-control-request-method": "GET", "access-control-request-headers": "x-mine"}


class ParseOriginTests(SynchronousTestCase):
    def test_origin(self) -> None:
        """An origin is returned in the form that browsers send."""
        for text, origin in (
            ("https://app.invalid", "https://app.invalid"),
            ("HTTPS://App.Invalid:443/", "https://app.invalid"),
            ("http://app.invalid:80", "http://app.invalid"),
            ("http://app.invalid:443", "http://app.invalid:443"),
            ("http://bücher.invalid", "http://xn--bcher-kva.invalid"),
            ("http://[2001:DB8:0::1]:3000", "http://[2001:db8::1]:3000"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("*", "*"),
        ):
            self.assertEqual(parse_origin(text), origin)

    def test_bad(self) -> None:
        """Anything else is refused: other schemes, a path, a wildcard inside, `null`."""
        for text in (
            *("", "null", "app.invalid", "//app.invalid", "https://", "https://app.invalid/path"),
            *("https://*.invalid", "https://a.invalid,https://b.invalid", "https://a.invalid:0"),
            *("file:///x", "ftp://a.invalid", "https://me@a.invalid", "https://a.invalid?", "* "),
        ):
            with self.assertRaises(ValueError, msg=text) as caught:
                parse_origin(text)
            self.assertEqual(
                str(caught.exception),
                "must be *, or an origin such as https://app.example.org:8443",
            )


class CrossOriginTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.allow(APP, OTHER_APP)

    def allow(self, *origins: str) -> None:
        self.http: Any = StubTreq(CrossOrigin(self.api, origins))

    def send(self, path: str, method: str = "GET", **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.successResultOf(
            self.http.request(method, f"http://r.invalid{path}", headers=headers)
        )

    def assert_headers(self, response: Any, **expected: str) -> None:
        """The response has exactly these CORS headers, each once."""
        found = {
            name.decode().lower(): [value.decode() for value in values]
            for name, values in response.headers.getAllRawHeaders()
            if name.lower() == b"vary" or name.lower().startswith(b"access-control-")
        }
        self.assertEqual(
            found, {name.replace("_", "-"): [value] for name, value in expected.items()}
        )

    def assert_allowed(self, response: Any, origin: str = APP) -> None:
        self.assert_headers(
            response,
            access_control_allow_origin=origin,
            access_control_expose_headers="Retry-After, Infernet-Decision",
            vary="Origin",
        )

    def test_listed(self) -> None:
        """A page of an allowed origin may read the response."""
        for origin in (APP, OTHER_APP):
            response = self.send("/api/v1/ip?container=llm", origin=origin)
            self.assertEqual(response.code, 200)
            self.assert_allowed(response, origin)

    def test_not_listed(self) -> None:
        """A page of another origin is answered without the header that lets it read."""
        for origin in (
            "https://evil.invalid",
            f"{APP}:443",
            f"{APP}.evil",
            APP.upper(),
            "null",
            "",
        ):
            response = self.send("/api/v1/ip?container=llm", origin=origin)
            self.assertEqual(response.code, 200)
            self.assert_headers(response, vary="Origin")
        self.assert_headers(self.send("/health"), vary="Origin")

    def test_any(self) -> None:
        """With *, every page may read the response, which does not vary by origin."""
        self.allow("*", APP)
        for headers in ({}, {"origin": "null"}, {"origin": APP}):
            self.assert_headers(
                self.send("/api/v1/containers", **headers),
                access_control_allow_origin="*",
                access_control_expose_headers="Retry-After, Infernet-Decision",
            )

    def test_errors(self) -> None:
        """A page of an allowed origin may read every error."""
        for path, method, status in (
            ("/api/v1/ip", "GET", 400),
            ("/%ff", "GET", 400),
            ("/nothing", "GET", 404),
            ("/api/v1/ip", "POST", 405),
            ("/api/v1/ip?container=unknown", "GET", 503),
        ):
            response = self.send(path, method, origin=APP)
            self.assertEqual(response.code, status)
            self.assert_allowed(response)

    def test_bug(self) -> None:
        """A page of an allowed origin may read a 500."""
        self.serve(BrokenFleet(self.clock.seconds, Random(1)))
        self.allow(APP)
        response = self.send("/api/v1/ip?container=llm", origin=APP)
        self.assertEqual(response.code, 500)
        self.assert_allowed(response)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_limited(self) -> None:
        """It may read a 429 too; preflights do not count towards the rate limit."""
        limited = RateLimited(self.api, 1, Clients(), self.clock.seconds)
        self.http = StubTreq(CrossOrigin(limited, [APP]))
        for status in (200, 429):
            for _ in range(3):
                self.assertEqual(
                    self.send("/api/v1/containers", "OPTIONS", origin=APP, **PREFLIGHT).code, 204
                )
            response = self.send("/api/v1/containers", origin=APP)
            self.assertEqual(response.code, status)
            self.assert_allowed(response)

    def test_preflight(self) -> None:
        """A preflight allows GET, HEAD and POST with any header, for two hours."""
        for path in ("/api/v1/ip", "/nothing"):
            response = self.send(path, "OPTIONS", origin=APP, **PREFLIGHT)
            self.assertEqual(response.code, 204)
            self.assertEqual(self.successResultOf(response.content()), b"")
            self.assertFalse(response.headers.hasHeader("content-length"))
            self.assertFalse(response.headers.hasHeader("content-type"))
            self.assert_headers(
                response,
                access_control_allow_origin=APP,
                access_control_allow_methods="GET, HEAD, POST",
                access_control_allow_headers="*, Authorization",
                access_control_max_age="7200",
                vary="Origin",
            )

    def test_preflight_not_listed(self) -> None:
        """A preflight from another origin allows nothing, so the browser sends no request."""
        response = self.send("/api/v1/ip", "OPTIONS", origin="https://evil.invalid", **PREFLIGHT)
        self.assertEqual(response.code, 204)
        self.assert_headers(response, vary="Origin")

    def test_options(self) -> None:
        """OPTIONS without the preflight header is 405, as without CORS."""
        response = self.send("/api/v1/ip", "OPTIONS", origin=APP)
        self.assertEqual(response.code, 405)
        self.assertEqual(
            set(response.headers.getRawHeaders("allow")[0].split(", ")), {"GET", "HEAD"}
        )
        self.assert_allowed(response)
