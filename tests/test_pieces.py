"""Tests of infernet_router.pieces."""

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.pieces import LENGTH, in_pieces, send


class InPiecesTests(SynchronousTestCase):
    def test_short(self) -> None:
        """What is short is one piece."""
        for parts in ([b"answer"], [b"a", b"ns", b"", b"wer"], [b"x" * LENGTH]):
            self.assertEqual(list(in_pieces(parts)), [b"".join(parts)])

    def test_long(self) -> None:
        """All pieces but the last are longer than LENGTH, by one part at most."""
        parts = [bytes([n % 256]) * (n * 10) for n in range(300)]
        *pieces, last = in_pieces(parts)
        self.assertEqual(b"".join([*pieces, last]), b"".join(parts))
        self.assertGreater(len(pieces), 5)
        for piece in pieces:
            self.assertIn(len(piece), range(LENGTH + 1, LENGTH + 3000))
        self.assertIn(len(last), range(1, LENGTH + 1))

    def test_no_rest(self) -> None:
        """There is no empty piece at the end."""
        part = bytes(LENGTH + 1)
        self.assertEqual(list(in_pieces([part, part])), [part, part])


class Client:
    """A request of a client that reads one piece, and then another whenever it is told to."""

    def __init__(self) -> None:
        self.read: list[bytes] = []
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, piece: bytes) -> None:
        self.read.append(piece)
        self.producer.pauseProducing()


class SendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.made = 0
        self.client: Any = Client()

    def pieces(self) -> Iterator[bytes]:
        for piece in (b"an", b"sw", b"er"):
            self.made += 1
            yield piece

    def test_send(self) -> None:
        """A piece is made when the one before it is read, and it fires after the last."""
        sent = send(self.client, b"the ", self.pieces())
        for count in (0, 1, 2, 3):
            self.assertEqual((self.made, len(self.client.read)), (count, 1 + count))
            self.assertNoResult(sent)
            self.client.producer.resumeProducing()
        self.assertEqual(self.successResultOf(sent), b"")
        self.assertEqual(b"".join(self.client.read), b"the answer")
        self.assertIsNone(self.client.producer)

    def test_gone(self) -> None:
        """For a client that has gone, no more is made."""
        sent = send(self.client, b"the ", self.pieces())
        self.client.producer.stopProducing()
        self.assertEqual(self.made, 0)
        self.assertNoResult(sent)
