"""Pieces: sends an answer of any length as its client reads it."""

from collections.abc import Iterable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

LENGTH = 64 * 1024
"""Bytes of a piece, at least, but of the last: at so many, a transport wants no more for now."""


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts of an answer to pieces that are worth sending; none is kept when it is taken."""
    joined: list[bytes] = []
    length = 0
    for part in parts:
        joined.append(part)
        length += len(part)
        del part  # or it would be kept while the client reads
        if length > LENGTH:
            yield _taken(joined)
            length = 0
    if length:
        yield _taken(joined)


def _taken(parts: list[bytes]) -> bytes:
    """Join these parts, and leave none."""
    whole = b"".join(parts)
    parts.clear()
    return whole


def send(request: Request, first: bytes, others: Iterator[bytes]) -> Deferred[bytes]:
    """
    Send pieces, of which none is made before the client has read those before it.

    So what clients do not read takes little memory, however long it is.

    :return: fires with no bytes when all are sent.
    """
    sender = _Sender(request, others)
    request.registerProducer(sender, streaming=True)
    request.write(first)
    if not sender.paused:
        sender.resumeProducing()
    return sender.sent


@implementer(IPushProducer)
class _Sender:
    """Sends pieces while the client reads."""

    def __init__(self, request: Request, pieces: Iterator[bytes]) -> None:
        self._request = request
        self._pieces = pieces
        self.paused = False
        self.sent: Deferred[bytes] = Deferred()

    def resumeProducing(self) -> None:
        """Send pieces until the client has enough for now."""
        self.paused = False
        while not self.paused:
            piece = next(self._pieces, None)
            if piece is None:
                self.paused = True
                self._request.unregisterProducer()
                self.sent.callback(b"")
            else:
                self._request.write(piece)

    def pauseProducing(self) -> None:
        """Send nothing until there is room again."""
        self.paused = True

    def stopProducing(self) -> None:
        """Send nothing any more: the client has gone."""
        self.paused = True
