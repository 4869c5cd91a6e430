"""Tests of infernet_router.nodes.response_head; the limits are tested in test_connections."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.asking import NoAnswer
from infernet_router.nodes.response_head import ResponseHead, find_end


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return ResponseHead(b"\r\n".join([first, *lines, b"", b""]))


class ResponseHeadTests(SynchronousTestCase):
    def assert_malformed(self, *lines: bytes) -> None:
        self.assertRaises(ValueError, head, *lines)

    def test_status_line(self) -> None:
        """The version, the status and the reason phrase are those of the first line."""
        for first, version, status, phrase in (
            (b"HTTP/1.1 200 OK", (1, 1), 200, b"OK"),
            (b"HTTP/1.0 404 Not Found", (1, 0), 404, b"Not Found"),
            (b"HTTP/1.1 200 ", (1, 1), 200, b""),
            (b"HTTP/1.1 599", (1, 1), 599, b""),
        ):
            found = head(first=first)
            self.assertEqual((found.version, found.status, found.phrase), (version, status, phrase))
        self.assertRaises(ValueError, head, first=b"HTTP/1.1 200OK")

    def test_fields(self) -> None:
        """Names are in lower case, values without the blanks around them; lines are in order."""
        found = head(b"A: 1", b"b:2 \t", b"a:\t 3", b"empty:")
        self.assertEqual(found.fields, {b"a": [b"1", b"3"], b"b": [b"2"], b"empty": [b""]})

    def test_lines(self) -> None:
        """Lines may end with LF alone; a line that begins with a blank continues the one before."""
        found = ResponseHead(b"HTTP/1.1 200 OK\na: 1\n  2\n\t3\nb: 4\n\n")
        self.assertEqual(found.fields, {b"a": [b"1 2 3"], b"b": [b"4"]})

    def test_malformed_fields(self) -> None:
        """A field needs a name that is a token, directly followed by a colon."""
        for line in (b"nonsense", b": x", b"a b: c", b"a : b", b"\xe4: b", b"a\0: b", b'"a": b'):
            self.assert_malformed(line)
        self.assertRaises(IndexError, head, b" continues: nothing")

    def test_length(self) -> None:
        """A length is digits; it may be given several times if it is the same."""
        for line, length in (
            (b"content-length: 0", 0),
            (b"Content-Length: 007", 7),
            (b"content-length: 7, 7", 7),
            (b"content-length: 7\r\ncontent-length: 7", 7),
        ):
            self.assertEqual(head(line).length, length)
        for value in (b"", b"-5", b"+5", b"0x5", b"5.0", b"5 5", b"5, 6", b"5,", b"1_0", b"9" * 19):
            self.assert_malformed(b"content-length: " + value)
        self.assert_malformed(b"content-length: 5", b"content-length: 6")

    def test_chunked(self) -> None:
        """Chunks are the only transfer coding."""
        found = head(b"Transfer-Encoding: Chunked")
        self.assertEqual((found.is_chunked, found.length, found.persists), (True, None, True))
        for value in (b"", b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity"):
            self.assert_malformed(b"transfer-encoding: " + value)

    def test_both(self) -> None:
        """Of a length and chunks the chunks count, and no response may follow."""
        found = head(b"content-length: 5", b"transfer-encoding: chunked")
        self.assertEqual((found.is_chunked, found.length, found.persists), (True, None, False))

    def test_no_body(self) -> None:
        """Some statuses have no body, whatever the fields say."""
        for status in (b"204", b"304"):
            for line in (b"content-length: 9", b"transfer-encoding: chunked"):
                found = head(line, first=b"HTTP/1.1 " + status)
                self.assertEqual((found.length, found.is_chunked), (0, False))

    def test_persists(self) -> None:
        """Another response may follow unless the node says otherwise, or only its end ends this."""
        for line in (b"x: y", b"connection: keep-alive", b"connection: closed"):
            self.assertTrue(head(b"content-length: 5", line).persists)
        for line in (b"connection: close", b"connection: TE, Close"):
            self.assertFalse(head(b"content-length: 5", line).persists)
        self.assertFalse(head().persists)
        self.assertFalse(head(b"content-length: 5", first=b"HTTP/1.0 200").persists)

    def test_compressed(self) -> None:
        """A content coding other than identity is refused."""
        for value in (b"gzip", b"BR", b"identity, gzip"):
            self.assertRaises(NoAnswer, head, b"content-encoding: " + value)
        for value in (b"", b"Identity", b"identity, identity"):
            head(b"content-encoding: " + value)

    @given(st.binary())
    def test_anything(self, data: bytes) -> None:
        """Anything is parsed, or refused in one of these ways."""
        try:
            end = find_end(b"HTTP/1.1 200" + data, 0)
            if end is not None:
                ResponseHead((b"HTTP/1.1 200" + data)[:end])
        except (NoAnswer, ValueError, IndexError):
            pass

    @given(st.integers(0, 60))
    def test_end(self, split: int) -> None:
        """The end is found wherever the head is split."""
        for end in (b"\r\n\r\n", b"\n\n", b"\n\r\n"):
            whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2" + end
            first = find_end(whole[:split], 0) if split else None
            if first is None:
                first = find_end(whole + b"{}", min(split, len(whole)))
            self.assertEqual(first, len(whole))
