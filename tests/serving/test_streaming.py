"""Tests of infernet_router.serving.streaming."""

from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Steps, finish
from infernet_router.serving.streaming import BUFFER_SIZE, join, send

FIRST = bytes(BUFFER_SIZE + 1)


def joined(chunks: Iterable[bytes]) -> list[bytes]:
    """All chunks, joined."""
    left = iter(chunks)
    return list(iter(lambda: finish(join(left)), b""))


class JoinTests(SynchronousTestCase):
    def test_short(self) -> None:
        """Chunks of BUFFER_SIZE bytes or less together are joined to one."""
        for chunks in ([b"answer"], [b"a", b"ns", b"", b"wer"], [b"x" * BUFFER_SIZE]):
            self.assertEqual(joined(chunks), [b"".join(chunks)])

    def test_long(self) -> None:
        """All joined chunks but the last are longer than BUFFER_SIZE, by one chunk at most."""
        chunks = [bytes([n % 256]) * (n * 10) for n in range(300)]
        *long, last = joined(chunks)
        self.assertEqual(b"".join([*long, last]), b"".join(chunks))
        self.assertGreater(len(long), 5)
        for chunk in long:
            self.assertIn(len(chunk), range(BUFFER_SIZE + 1, BUFFER_SIZE + 3000))
        self.assertIn(len(last), range(1, BUFFER_SIZE + 1))

    def test_empty(self) -> None:
        """A joined chunk is empty only at the end."""
        self.assertEqual(joined([FIRST, FIRST]), [FIRST, FIRST])
        for chunks in ([], [b""], [b""] * 3):
            self.assertEqual(joined(chunks), [])

    def test_steps(self) -> None:
        """Each chunk that is too short is a step, so that others can be made later."""
        self.assertEqual(len(list(join(iter([b"", b"a", b""])))), 3)


class Chunk(bytes):
    """A chunk, of which those that are made and those that still exist are counted."""

    made = 0
    kept = 0

    def __init__(self, length: int) -> None:
        Chunk.made += 1
        Chunk.kept += 1

    def __del__(self) -> None:
        Chunk.kept -= 1


class Client:
    """A request whose transport never pauses its producer, like one that is closing."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, chunk: bytes) -> None:
        self.written.append(len(chunk))


def broken() -> Iterator[int]:
    """Lengths of chunks of which one cannot be made."""
    yield 1
    yield 1 // 0


class SendTests(SynchronousTestCase):
    def send(self, lengths: Iterable[int]) -> tuple[Any, Any]:
        """A client, and the result of sending it chunks of these lengths."""
        client: Any = Client()
        Chunk.made = 0
        return client, send(client, FIRST, map(Chunk, lengths), self.run_steps)

    def run_steps(self, steps: Steps[bytes]) -> Any:
        return finish(steps)

    def assert_sent(self, *lengths: int) -> None:
        """All of these are sent, long ones one by one, and then the result fires."""
        client, sent = self.send(lengths)
        resumed = 0
        while client.producer is not None:
            self.assertNoResult(sent)
            client.producer.resumeProducing()
            resumed += 1
        self.assertEqual(self.successResultOf(sent), b"")
        self.assertEqual(sum(client.written), len(FIRST) + sum(lengths))
        self.assertEqual(resumed, sum(length > BUFFER_SIZE for length in client.written))
        self.assertNotIn(0, client.written)
        self.assertEqual((Chunk.made, Chunk.kept), (len(lengths), 0))

    def test_one_by_one(self) -> None:
        """A long chunk is made when the transport has room for it, and is not kept."""
        lengths = (BUFFER_SIZE + 1, BUFFER_SIZE + 2, BUFFER_SIZE + 3)
        client, sent = self.send(lengths)
        for count in (0, 1, 2, 3):
            self.assertEqual(client.written, [len(FIRST), *lengths[:count]])
            self.assertEqual((Chunk.made, Chunk.kept), (count, 0))
            self.assertNoResult(sent)
            client.producer.resumeProducing()
        self.assertEqual(self.successResultOf(sent), b"")

    def test_end(self) -> None:
        """A response ends with its iterator, whatever the length of its last chunk."""
        self.assert_sent()
        self.assert_sent(0)
        self.assert_sent(BUFFER_SIZE)
        self.assert_sent(BUFFER_SIZE, 0, BUFFER_SIZE)
        self.assert_sent(BUFFER_SIZE + 1, 0)
        self.assert_sent(BUFFER_SIZE + 1, 1)
        self.assert_sent(2 * BUFFER_SIZE, 2 * BUFFER_SIZE)

    def test_short_between(self) -> None:
        """A short or empty chunk in the middle does not end a response."""
        self.assert_sent(BUFFER_SIZE + 1, 1, BUFFER_SIZE + 1)
        self.assert_sent(1, 0, BUFFER_SIZE, 0, 0, 3 * BUFFER_SIZE, 2)

    def test_later(self) -> None:
        """A chunk that takes long to make is sent once it is made, and is made only once."""
        made: list[Deferred[bytes]] = []
        self.run_steps = lambda steps: made.append(Deferred()) or made[-1]  # type: ignore
        client, sent = self.send([])
        for _ in range(2):
            client.producer.resumeProducing()
        made.pop().callback(FIRST)
        self.assertEqual((client.written, made), ([len(FIRST)] * 2, []))
        client.producer.resumeProducing()
        made.pop().callback(b"end")
        self.assertEqual(self.successResultOf(sent), b"")

    def test_gone(self) -> None:
        """When the client is gone, the chunk that is being made is cancelled."""
        made: Deferred[bytes] = Deferred()
        self.run_steps = lambda steps: made  # type: ignore[method-assign]
        client, sent = self.send([])
        client.producer.stopProducing()
        client.producer.resumeProducing()
        client.producer.stopProducing()
        self.assertTrue(made.called)
        self.assertNoResult(sent)

    def test_failed(self) -> None:
        """When a chunk cannot be made, the result fails."""
        client, sent = self.send(broken())
        client.producer.resumeProducing()
        self.failureResultOf(sent, ZeroDivisionError)

    @given(st.lists(st.integers(0, 3) | st.integers(BUFFER_SIZE - 1, BUFFER_SIZE + 1), max_size=9))
    def test_any(self, lengths: list[int]) -> None:
        """Chunks of any size are sent completely."""
        self.assert_sent(*lengths)
