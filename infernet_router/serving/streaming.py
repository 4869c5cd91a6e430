"""Streams a long response: the next chunk is made when the client has read the one before."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

BUFFER_SIZE = 64 * 1024
"""Bytes in a transport's buffer above which the transport pauses its producer."""


def join(chunks: Iterator[bytes]) -> Generator[None, None, bytes]:
    """
    Join the next chunks, of any size: until they are longer than BUFFER_SIZE, or there are no more.

    Yields after each; no reference is kept to any when this has ended.
    """
    joined: list[bytes] = []
    size = 0
    for chunk in chunks:
        joined.append(chunk)
        size += len(chunk)
        del chunk  # this name would keep it while the client reads
        if size > BUFFER_SIZE:
            break
        yield
    return b"".join(joined)


def send(
    request: Request,
    first: bytes,
    chunks: Iterator[bytes],
    run: Callable[[Generator[None, None, bytes]], Any],
) -> Deferred[bytes]:
    """
    Send a first chunk, longer than BUFFER_SIZE, and others of any size until their iterator ends.

    At most BUFFER_SIZE bytes and one joined chunk are waiting for the client at any time, so a
    response that a client does not read takes little memory, however long it is.

    :param run: does the steps of `join`; returns their result or a Deferred.
    :return: fires with no bytes when all chunks are sent.
    """
    sender = _Sender(request, chunks, run)
    request.registerProducer(sender, streaming=True)
    request.write(first)
    return sender.sent


@implementer(IPushProducer)
class _Sender:
    """
    Sends one long chunk at a time.

    A chunk longer than BUFFER_SIZE makes the transport pause its producer and resume it later. The
    sender stops after each of these without waiting for that pause: a transport that is closing
    drops what is written and never pauses, so all other chunks would be made at once, for nobody.
    """

    def __init__(
        self,
        request: Request,
        chunks: Iterator[bytes],
        run: Callable[[Generator[None, None, bytes]], Any],
    ) -> None:
        self._request = request
        self._chunks = chunks
        self._run = run
        self._making: Deferred[bytes] | None = None
        self.sent: Deferred[bytes] = Deferred()

    def resumeProducing(self) -> None:
        """Make and send the next chunk: the transport has room for it."""
        if self._making is None:
            self._making = maybeDeferred(self._run, join(self._chunks))
            self._making.addCallbacks(self._send, self._fail)

    def _send(self, chunk: bytes) -> None:
        self._making = None
        if chunk:
            self._request.write(chunk)
        if len(chunk) <= BUFFER_SIZE:
            self._request.unregisterProducer()
            self.sent.callback(b"")

    def _fail(self, failure: Failure) -> None:
        """Pass a failure on, unless it is that the client is gone."""
        if not failure.check(CancelledError):
            self.sent.errback(failure)

    def pauseProducing(self) -> None:
        """Nothing is sent anyway until resumeProducing is called."""

    def stopProducing(self) -> None:
        """The client is gone, and nothing more is sent."""
        if self._making is not None:
            self._making.cancel()
