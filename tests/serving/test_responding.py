"""Tests of infernet_router.serving.responding; see also those of channel."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.serving.errors import HTTPError
from infernet_router.serving.responding import last_response


class LastResponseTests(SynchronousTestCase):
    def test_body(self) -> None:
        """The last response of a connection says so, and has the error as JSON."""
        head, _, body = last_response(HTTPError(400, "wrong"), to_head=False).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 400 Bad Request")
        self.assertIn(b"Server: infernet-router", lines)
        self.assertIn(b"Connection: close", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertEqual(body, b'{"error":"wrong"}\n')

    def test_head(self) -> None:
        """The response to HEAD has no body."""
        response = last_response(HTTPError(503, "full"), to_head=True)
        self.assertTrue(response.endswith(b"\r\n\r\n"))
