"""Tests of infernet_router.serving.errors."""

import json

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.serving.errors import RETRY_SOON, HTTPError


class HTTPErrorTests(SynchronousTestCase):
    def test_body(self) -> None:
        """The body is JSON with the message, however odd, on one line; headers describe it."""
        error = HTTPError(429, 'too "many"\n→')
        self.assertEqual(json.loads(error.body), {"error": 'too "many"\n→'})
        self.assertEqual(error.body.find(b"\n"), len(error.body) - 1)
        self.assertEqual(
            error.headers,
            {
                b"Content-Type": b"application/json",
                b"Cache-Control": b"no-store",
                b"Content-Length": b"%d" % len(error.body),
            },
        )
        self.assertEqual(str(error), 'too "many"\n→')

    def test_status(self) -> None:
        """Each status has the reason phrase of its standard."""
        for status, phrase in ((400, b"Bad Request"), (429, b"Too Many Requests")):
            error = HTTPError(status, "")
            self.assertEqual((error.status, error.phrase), (status, phrase))

    def test_headers(self) -> None:
        """Further headers are added to those of every JSON response."""
        headers = HTTPError(503, "", RETRY_SOON).headers
        self.assertEqual(headers[b"Retry-After"], b"1")
        self.assertEqual(headers[b"Content-Type"], b"application/json")
