"""Tests of infernet_router.pieces."""

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


class Piece(bytes):
    """A piece; they are counted."""

    made = 0
    kept = 0

    def __init__(self, length: int) -> None:
        Piece.made += 1
        Piece.kept += 1

    def __del__(self) -> None:
        Piece.kept -= 1


class Client:
    """A request whose transport never says that it is full, as one that is about to close."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, piece: bytes) -> None:
        self.written.append(len(piece))


class SendTests(SynchronousTestCase):
    def assert_sent(self, *lengths: int, calls: int) -> None:
        """Pieces are sent with so many calls for another, one with each, and then it fires."""
        client: Any = Client()
        first, *others = lengths
        Piece.made = 0
        sent = send(client, Piece(first), map(Piece, others))
        for count in range(1, calls + 1):
            self.assertEqual(client.written, list(lengths[:count]))
            self.assertEqual((Piece.made, Piece.kept), (count, 0))
            self.assertNoResult(sent)
            client.producer.resumeProducing()
        self.assertEqual(self.successResultOf(sent), b"")
        self.assertEqual(client.written, list(lengths))
        self.assertEqual(Piece.kept, 0)
        self.assertIsNone(client.producer)

    def test_send(self) -> None:
        """A piece is made when it is asked for, and not kept; a short one is the last."""
        self.assert_sent(LENGTH + 1, LENGTH + 2, 1, calls=2)
        self.assert_sent(LENGTH + 1, LENGTH + 2, calls=2)
        self.assert_sent(LENGTH + 1, LENGTH, calls=1)
