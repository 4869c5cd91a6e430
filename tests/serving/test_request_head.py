"""Tests of infernet_router.serving.request_head."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from infernet_router.serving.errors import HTTPError
from infernet_router.serving.request_head import MAX_HEAD, head_length

LINE = b"GET /api/v1/ip?container=llm HTTP/1.1\r\n"
HOST = b"Host: r.invalid\r\n"
BLANKS = b" \t" * 8000
"""Nearly a head full: a pattern that backtracks takes long for so many."""

GOOD = (
    LINE + HOST + b"\r\n",
    b"\r\n" + LINE + HOST + b"\r\n",
    b"HEAD // HTTP/1.1\r\nhOST:\r\n\r\n",
    b'get /%00%ff;a=b?&&"<> HTTP/1.1\r\nHost: r\r\n\r\n',
    b"VERSION-CONTROL / HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: r\r\nX:\r\nY: \t\xe4\xff \r\n\r\n",
    LINE + b"Content-Length: 0 \r\n" + HOST + b"\r\n",
    LINE + b"Host:" + BLANKS + b"r\r\n\r\n",
    LINE + HOST + b"Content-Length:" + BLANKS + b"0\t \r\n\r\n",
    LINE + b"X-Host: r\r\nX-Content-Length: 9\r\n" + HOST + b"\r\n",
    LINE + HOST + b"X: y\r\n" * 99 + b"\r\n",
    LINE + HOST + b"X:" + b"y" * (MAX_HEAD - len(LINE + HOST) - 6) + b"\r\n\r\n",
)
"""Valid heads."""

BAD = (
    (400, "must be METHOD", b"GET /\r\n"),
    (400, "must be METHOD", b"GET / HTTP/1.1\n"),
    (400, "must be METHOD", b"GET /a b HTTP/1.1\r\n"),
    (400, "must be METHOD", b"GET  / HTTP/1.1\r\n"),
    (400, "must be METHOD", b"GET / http/1.1\r\n"),
    (400, "must be METHOD", b"GET / HTTP/11.1\r\n"),
    (400, "must be METHOD", b"\r\n\r\n"),
    (400, "must be METHOD", b"\n"),
    (400, "must be a path", b"GET x HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http://r.invalid/ HTTP/1.1\r\n"),
    (400, "must be a path", b"OPTIONS * HTTP/1.1\r\n"),
    (400, "malformed method", b" GET / HTTP/1.1\r\n"),
    (400, "malformed method", b"G(T / HTTP/1.1\r\n"),
    (400, "malformed method", b"G\xc3\x84T / HTTP/1.1\r\n"),
    (400, "malformed method", b"\x16\x03\x01\x02"),
    (400, "malformed method", b"\0"),
    (400, "printable ASCII", b"GET /\xff"),
    (400, "printable ASCII", b"GET /\0"),
    (400, "printable ASCII", b"GET /\x7f"),
    (400, "printable ASCII", b"GET /\rX"),
    (501, "no such method", b"A" * 21),
    (501, "no such method", b"A" * 70_000),
    (505, "version of HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (505, "version of HTTP", b"GET / HTTP/0.9\r\n"),
    (505, "version of HTTP", b"GET / HTTP/1.2\r\n"),
    (414, "line is larger", b"GET /" + b"a" * 65_536),
    (414, "line is larger", b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, "NAME: VALUE", LINE + b"Host\r\n"),
    (400, "NAME: VALUE", LINE + b"Host : r\r\n"),
    (400, "NAME: VALUE", LINE + b": r\r\n"),
    (400, "NAME: VALUE", LINE + b" Host: r\r\n"),
    (400, "NAME: VALUE", LINE + HOST + b"\tfolded\r\n"),
    (400, "NAME: VALUE", LINE + b"X: \0\r\n"),
    (400, "NAME: VALUE", LINE + b"X: a\rb\r\n"),
    (400, "NAME: VALUE", LINE + b"Host: r\n\n"),
    (400, "NAME: VALUE", LINE + b"\xff: y\r\n"),
    (400, "Host is missing", LINE + b"\r\n"),
    (400, "not a host name", LINE + b"Host: [\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: [::1\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: r:s\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: r s\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: r/s\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: <r>\r\n\r\n"),
    (400, "not a host name", LINE + b"Host: \xff\r\n\r\n"),
    (400, "more than once", LINE + HOST + b"host: s\r\n\r\n"),
    (400, "more than once", b"GET / HTTP/1.0\r\n" + HOST * 2 + b"\r\n"),
    (413, "a body", LINE + HOST + b"Content-Length: 1\r\n\r\n"),
    (413, "a body", LINE + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    (413, "a body", LINE + HOST + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n"),
    (413, "a body", LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"),
    (413, "a body", LINE + HOST + b"transfer-encoding: x\r\nContent-Length: x\r\n\r\n"),
    (413, "a body", LINE + HOST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length: -1\r\n\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length: +0\r\n\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length:\r\n\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length: 0, 0\r\n\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length: 0\r\n" * 2 + b"\r\n"),
    (400, "Content-Length must", LINE + HOST + b"Content-Length: 0" + BLANKS + b"0\r\n\r\n"),
    (400, "not a host name", LINE + b"Host:" + BLANKS + b"/\r\n\r\n"),
    (431, "100 header fields", LINE + HOST + b"X: y\r\n" * 100),
    (431, "head is larger", LINE + HOST + b"X: " + b"y" * MAX_HEAD),
    (431, "head is larger", LINE + HOST + b"X: " + b"y" * MAX_HEAD + b"\r\n"),
    (431, "head is larger", LINE + HOST + b"X: " + b"y" * MAX_HEAD + b"\r\n\r\n"),
)
"""Status and a part of the message for each of these invalid heads, or beginnings of one."""

FRAGMENTS = (
    b"GET",
    b" ",
    b"/",
    b"HTTP/1.1",
    b"\r\n",
    b"\r",
    b"\n",
    b"Host: r",
    b":",
    b"Content-Length: 0",
)


class Parsed(Request):
    """A request that Twisted's parser accepted."""

    def process(self) -> None:
        self.setHeader(b"content-length", b"0")
        self.finish()


class HeadLengthTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A head ends with its empty line, whatever follows; until then it is incomplete."""
        for head in GOOD:
            self.assertEqual(head_length(head), len(head), head)
            self.assertEqual(head_length(head + b"\0garbage\r\n\r\n"), len(head), head)
            for end in range(0, len(head), 1 + len(head) // 1000):
                self.assertEqual(head_length(head[:end]), 0, head[:end])

    def test_bad(self) -> None:
        """An invalid head is refused as soon as it cannot become valid, with a fitting status."""
        for status, why, received in BAD:
            with self.assertRaises(HTTPError, msg=received[:80]) as caught:
                head_length(received)
            self.assertEqual(caught.exception.status, status, received[:80])
            self.assertIn(why, str(caught.exception), received[:80])

    def twisted(self, head: bytes) -> bytes:
        """What Twisted's own channel answers to a head."""
        factory = HTTPFactory()
        channel = HTTPChannel()
        channel.factory = factory
        channel.requestFactory = Parsed
        channel.timeOut = None
        transport: Any = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(head)
        return bytes(transport.value())

    def test_twisted(self) -> None:
        """Twisted accepts every valid head, as one request."""
        for head in GOOD:
            answer = self.twisted(head)
            self.assertEqual((answer.count(b"HTTP/1."), answer.count(b" 200 OK")), (1, 1), head)

    @given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)).map(b"".join))
    def test_any(self, rest: bytes) -> None:
        """Any bytes are refused, incomplete, or a head that Twisted accepts as one request."""
        for received in (rest, LINE + HOST + rest, LINE + HOST + rest + b"\r\n\r\n"):
            try:
                length = head_length(received)
            except HTTPError as refusal:
                self.assertIn(refusal.status, (400, 413, 414, 431, 501, 505))
                continue
            if length:
                answer = self.twisted(received[:length])
                self.assertEqual(
                    (answer.count(b"HTTP/1."), answer.count(b" 200 OK")), (1, 1), received
                )
