"""Tests of infernet_router.serving.request_head."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from infernet_router.serving.errors import HTTPError
from infernet_router.serving.request_body import ChunkedBody, SizedBody
from infernet_router.serving.request_head import MAX_HEAD, Head, parse_head

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
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    LINE + b"Host:" + BLANKS + b"r\r\n\r\n",
    LINE + b"X-Host: r\r\nX-Content-Length: 9\r\n" + HOST + b"\r\n",
    LINE + HOST + b"X: y\r\n" * 99 + b"\r\n",
    LINE + HOST + b"X:" + b"y" * (MAX_HEAD - len(LINE + HOST) - 6) + b"\r\n\r\n",
)
"""Valid heads, which Twisted parses as they are."""

REWRITTEN = (
    (b"GET http://r.invalid:80/a?b=/c?d HTTP/1.1", b"GET /a?b=/c?d HTTP/1.1", b"r.invalid:80"),
    (b"GET HTTPS://[::1]:4000/ HTTP/1.1", b"GET / HTTP/1.1", b"[::1]:4000"),
    (b"GET http://r HTTP/1.1", b"GET / HTTP/1.1", b"r"),
    (b"GET http://r?a=b HTTP/1.0", b"GET /?a=b HTTP/1.0", b"r"),
    (b"OPTIONS http://r:1 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"r:1"),
    (b"OPTIONS http://r/ HTTP/1.1", b"OPTIONS / HTTP/1.1", b"r"),
    (b"OPTIONS http://r?a HTTP/1.1", b"OPTIONS /?a HTTP/1.1", b"r"),
)
"""Request lines with a URL, and the request line and Host that Twisted is given."""

EMPTY = (
    b"Content-Length: 0 \r\n",
    b"content-length:\t0\r\n",
    b"Content-Length:" + BLANKS + b"0\t \r\n",
    b"Content-Length: " + b"0" * 5000 + b"\r\n",
)
SIZED = (b"Content-Length: 1\r\n", b"Content-Length: 00065536\r\n")
CHUNKED = (b"Transfer-Encoding: chunked\r\n", b"TRANSFER-ENCODING:\tChunked \r\n")
"""Fields that announce a body."""

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
    (400, "must be a path", b"GET * HTTP/1.1\r\n"),
    (400, "must be a path", b"OPTIONS ** HTTP/1.1\r\n"),
    (400, "must be a path", b"GET ftp://r/ HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http:/r/ HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http:///a HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http://:80/ HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http://user@r/ HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http://r:x/ HTTP/1.1\r\n"),
    (400, "must be a path", b"GET http://<r>/ HTTP/1.1\r\n"),
    (400, "must be a path", b"CONNECT r.invalid:443 HTTP/1.1\r\n"),
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
    (400, "Host is missing", b"GET http://r.invalid/ HTTP/1.1\r\n\r\n"),
    (413, "larger than 64 KiB", LINE + HOST + b"Content-Length: 65537\r\n\r\n"),
    (413, "larger than 64 KiB", LINE + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    (400, "Transfer-Encoding needs", LINE + HOST + EMPTY[0] + CHUNKED[0] + b"\r\n"),
    (400, "Transfer-Encoding needs", LINE + HOST + CHUNKED[0] + SIZED[0] + b"\r\n"),
    (400, "Transfer-Encoding needs", b"GET / HTTP/1.0\r\n" + CHUNKED[0] + b"\r\n"),
    (501, "transfer coding", LINE + HOST + CHUNKED[0] * 2 + b"\r\n"),
    (501, "transfer coding", LINE + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    (501, "transfer coding", LINE + HOST + b"Transfer-Encoding: chunked, x\r\n\r\n"),
    (501, "transfer coding", LINE + HOST + b"Transfer-Encoding: xchunked\r\n\r\n"),
    (501, "transfer coding", LINE + HOST + b"Transfer-Encoding: identity\r\n\r\n"),
    (501, "transfer coding", LINE + HOST + b"Transfer-Encoding:\r\n\r\n"),
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
    b"Transfer-Encoding: chunked",
    b"http://r",
)


class Parsed(Request):
    """A request that Twisted's parser accepted."""

    def process(self) -> None:
        self.setHeader(b"content-length", b"0")
        self.finish()


class ParseHeadTests(SynchronousTestCase):
    def parse(self, received: bytes) -> Head:
        head = parse_head(received)
        assert head is not None, received
        return head

    def test_good(self) -> None:
        """A head ends with its empty line, whatever follows; until then it is incomplete."""
        for sent in GOOD:
            expected = Head(len(sent), sent)
            self.assertEqual(self.parse(sent), expected)
            self.assertEqual(self.parse(sent + b"\0garbage\r\n\r\n"), expected)
            for end in range(0, len(sent), 1 + len(sent) // 1000):
                self.assertIsNone(parse_head(sent[:end]), sent[:end])

    def test_url(self) -> None:
        """A URL as the target becomes a path, and its host replaces that of Host."""
        for line, rewritten, host in REWRITTEN:
            sent = line + b"\r\nX: y\r\nHOST: other\r\nZ:\r\n\r\n"
            head = self.parse(sent)
            self.assertEqual(head.length, len(sent))
            self.assertEqual(
                head.content, rewritten + b"\r\nHost: " + host + b"\r\nX: y\r\nZ:\r\n\r\n"
            )
            self.assertIsNone(head.body)
            for end in range(len(sent)):
                self.assertIsNone(parse_head(sent[:end]), sent[:end])

    def test_body(self) -> None:
        """Twisted is not told of a body; one that is empty needs no skipping."""
        for fields, kind in ((EMPTY, type(None)), (SIZED, SizedBody), (CHUNKED, ChunkedBody)):
            for field in fields:
                head = self.parse(LINE + HOST + field + b"X: y\r\n\r\n")
                self.assertEqual(head.content, LINE + HOST + b"X: y\r\n\r\n")
                self.assertIs(type(head.body), kind, field)
                self.assertFalse(head.expects_continue)

    def test_size(self) -> None:
        """The body is as long as Content-Length says."""
        body = self.parse(LINE + HOST + SIZED[1] + b"\r\n").body
        assert body is not None
        self.assertEqual((body.skip(bytes(65536) + b"next"), body.ended), (b"next", True))

    def test_expect(self) -> None:
        """Clients of HTTP/1.1 may expect 100 Continue."""
        for value, version, expects in (
            (b"100-Continue", b"1", True),
            (b"100-continue", b"0", False),
            (b"100-continued", b"1", False),
        ):
            line = LINE.replace(b"1.1", b"1." + version)
            sent = line + HOST + b"Expect: " + value + b"\r\n" + SIZED[0] + b"\r\n"
            head = self.parse(sent)
            self.assertIs(head.expects_continue, expects, sent)
            self.assertEqual(head.content, line + HOST + b"\r\n")
        sent = LINE + b"Expect: 100-continue\r\n" + HOST + b"\r\n"
        self.assertEqual(self.parse(sent).content, LINE + HOST + b"\r\n")

    def test_bad(self) -> None:
        """An invalid head is refused as soon as it cannot become valid, with a fitting status."""
        for status, why, received in BAD:
            with self.assertRaises(HTTPError, msg=received[:80]) as caught:
                parse_head(received)
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
        rewritten = (line + b"\r\n" + HOST + b"\r\n" for line, _, _ in REWRITTEN)
        for sent in (*GOOD, *rewritten):
            head = self.parse(sent).content
            answer = self.twisted(head)
            self.assertEqual((answer.count(b"HTTP/1."), answer.count(b" 200 OK")), (1, 1), head)

    @given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3)).map(b"".join))
    def test_any(self, rest: bytes) -> None:
        """Any bytes are refused, incomplete, or a head that Twisted accepts as one request."""
        for received in (rest, LINE + HOST + rest, LINE + HOST + rest + b"\r\n\r\n"):
            try:
                head = parse_head(received)
            except HTTPError as refusal:
                self.assertIn(refusal.status, (400, 413, 414, 431, 501, 505))
                continue
            if head:
                answer = self.twisted(head.content)
                self.assertEqual(
                    (answer.count(b"HTTP/1."), answer.count(b" 200 OK")), (1, 1), received
                )
