"""Streams a long response: the next chunk is made when the client has read the one before."""

from collections.abc import Iterable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

BUFFER_SIZE = 64 * 1024
"""Bytes in a transport's buffer above which the transport pauses its producer."""


def joined(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """
    Join chunks of any size into chunks that are each longer than BUFFER_SIZE, but for the last.

    Nothing is yielded when there is not a byte. No reference is kept to a yielded chunk.
    """
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        del chunk  # this name would keep it while the client reads
        if size > BUFFER_SIZE:
            yield _take(waiting)
            size = 0
    if size:
        yield _take(waiting)


def _take(chunks: list[bytes]) -> bytes:
    """Join these chunks, and empty their list."""
    whole = b"".join(chunks)
    chunks.clear()
    return whole


def send(request: Request, chunks: Iterable[bytes]) -> Deferred[bytes]:
    """
    Send chunks of any size until their iterator ends.

    At most BUFFER_SIZE bytes and one chunk are waiting for the client at any time, so a response
    that a client does not read takes little memory, however long it is.

    :return: fires with no bytes when all chunks are sent.
    """
    sender = _Sender(request, joined(chunks))
    request.registerProducer(sender, streaming=True)
    sender.resumeProducing()
    return sender.sent


@implementer(IPushProducer)
class _Sender:
    """
    Sends one long chunk at a time.

    A chunk longer than BUFFER_SIZE makes the transport pause its producer and resume it later. The
    sender stops after each of these without waiting for that pause: a transport that is closing
    drops what is written and never pauses, so all other chunks would be made at once, for nobody.
    """

    def __init__(self, request: Request, chunks: Iterator[bytes]) -> None:
        self._request = request
        self._chunks = chunks
        self.sent: Deferred[bytes] = Deferred()

    def resumeProducing(self) -> None:
        """Send the next chunk: the transport has room for it."""
        for chunk in self._chunks:
            self._request.write(chunk)
            if len(chunk) > BUFFER_SIZE:
                return
        self._request.unregisterProducer()
        self.sent.callback(b"")

    def pauseProducing(self) -> None:
        """Nothing is sent anyway until resumeProducing is called."""

    def stopProducing(self) -> None:
        """The client is gone, and nothing more is sent."""
