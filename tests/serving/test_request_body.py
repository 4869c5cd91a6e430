"""Tests of infernet_router.serving.request_body."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.serving.errors import HTTPError
from infernet_router.serving.request_body import MAX_BODY, Body, ChunkedBody, SizedBody

NEXT = b"GET / HTTP/1.1\r\n"
"""What follows a body."""

GOOD = (
    b"0\r\n\r\n",
    b"000\r\n\r\n",
    b"2\r\n{}\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n00a;x\r\n\r\n\r\n\r\n\r\n\r\n\r\n0;y\r\n\r\n",
    b'1 ;a="b;c" ; d\t\r\nx\r\n0\r\n\r\n',
    b"1\r\n0\r\n0\r\nTrailer: a\r\nB:\r\n\r\n",
    b"%x\r\n%b\r\n0\r\n\r\n" % (MAX_BODY, bytes(MAX_BODY)),
    b"1\r\nx\r\n" * MAX_BODY + b"0\r\n\r\n",
)
"""Complete bodies in chunks."""

BAD = (
    (400, "malformed", b"\r\n"),
    (400, "malformed", b"x\r\n"),
    (400, "malformed", b"0x1\r\n"),
    (400, "malformed", b"-1\r\n"),
    (400, "malformed", b"1\n"),
    (400, "malformed", b" 1\r\n"),
    (400, "malformed", b"1 \r\n"),
    (400, "malformed", b"1;\0\r\n"),
    (400, "malformed", b"1;a\rb\r\n"),
    (400, "malformed", b"0\n\r\n"),
    (400, "malformed", b"0\r\n\n"),
    (400, "malformed", b"0\r\n: x\r\n\r\n"),
    (400, "malformed", b"0\r\n a: x\r\n\r\n"),
    (400, "malformed", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    (400, "not followed", b"2\r\n{}0\r\n\r\n"),
    (400, "not followed", b"2\r\n{}\n0\r\n\r\n"),
    (400, "not followed", b"2\r\n{}\rx"),
    (400, "longer than 4 KiB", b"0" * 4097),
    (400, "longer than 4 KiB", b"0" * 5000 + b"\r\n\r\n"),
    (400, "longer than 4 KiB", b"1;" + b"x" * 5000 + b"\r\n"),
    (400, "longer than 4 KiB", b"0\r\nA: " + b"x" * 5000 + b"\r\n"),
    (413, "larger than 64 KiB", b"10001\r\n"),
    (413, "larger than 64 KiB", b"f" * 4000 + b"\r\n"),
    (413, "larger than 64 KiB", b"1\r\nx\r\n" * MAX_BODY + b"1\r\n"),
    (413, "larger than 64 KiB", b"0\r\n" + b"A: b\r\n" * 100_000),
    (413, "larger than 64 KiB", (b"1;" + b"x" * 4000 + b"\r\nx\r\n") * 200),
)
"""Status and a part of the message for each of these beginnings of a body in chunks."""


def skipped(body: Body, *pieces: bytes) -> bytes:
    """Skip what arrives in these pieces; returns what does not belong to the body."""
    received = b""
    for piece in pieces:
        received += piece
        if not body.ended:
            received = body.skip(received)
    return received


class SizedBodyTests(SynchronousTestCase):
    @given(st.lists(st.integers(0, 5)))
    def test_pieces(self, sizes: list[int]) -> None:
        """A body ends after as many bytes as it has, however they arrive."""
        body = SizedBody(10)
        total = sum(sizes)
        self.assertEqual(len(skipped(body, *map(bytes, sizes))), max(0, total - 10))
        self.assertEqual(body.ended, total >= 10)


class ChunkedBodyTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A body ends with the empty line after its last chunk and trailer fields."""
        for sent in GOOD:
            body = ChunkedBody()
            self.assertEqual(skipped(body, sent + NEXT), NEXT, sent[:80])
            self.assertTrue(body.ended)

    def test_pieces(self) -> None:
        """It may arrive byte by byte."""
        for sent in GOOD[:-2]:
            body = ChunkedBody()
            skipped(body, *(bytes([byte]) for byte in sent[:-1]))
            self.assertFalse(body.ended)
            body = ChunkedBody()
            left = skipped(body, *(bytes([byte]) for byte in sent), NEXT)
            self.assertEqual((left, body.ended), (NEXT, True), sent)

    def test_bad(self) -> None:
        """A malformed or large body is refused, whether it arrives at once or in pieces."""
        for status, why, sent in BAD:
            for size in (len(sent), 1000, 2):
                pieces = (sent[at : at + size] for at in range(0, len(sent), size))
                with self.assertRaises(HTTPError, msg=sent[:80]) as caught:
                    skipped(ChunkedBody(), *pieces)
                self.assertEqual(caught.exception.status, status, sent[:80])
                self.assertIn(why, str(caught.exception), sent[:80])

    @given(st.lists(st.sampled_from([b"0", b"1", b"\r", b"\n", b"\r\n", b";", b"x", b":"])))
    def test_any(self, pieces: list[bytes]) -> None:
        """Where a body ends, or that it is refused, does not depend on how it arrives."""

        def result(*pieces: bytes) -> object:
            body = ChunkedBody()
            try:
                return skipped(body, *pieces) if pieces else b"", body.ended
            except HTTPError as error:
                return error.status

        self.assertEqual(result(b"".join(pieces)), result(*pieces))
