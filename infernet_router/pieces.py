"""Pieces: sends an answer of any length as its client reads it."""

from collections.abc import Iterable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from zope.interface import implementer

LENGTH = 64 * 1024
"""Bytes after which a transport wants no more for now. All pieces but the last are longer."""


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

    :param others: all but the last longer than LENGTH; a shorter one is taken for the end.
    :return: fires with no bytes when all are sent.
    """
    sender = _Sender(request, others)
    request.registerProducer(sender, streaming=True)
    sender.send(first)
    return sender.sent


@implementer(IPushProducer)
class _Sender:
    """
    Sends a piece whenever the client has read the one before.

    It waits after each but the last even if no transport says so: one that is about to close drops
    what it is given, and would otherwise be given everything at once.
    """

    def __init__(self, request: Request, pieces: Iterator[bytes]) -> None:
        self._request = request
        self._pieces = pieces
        self.sent: Deferred[bytes] = Deferred()

    def resumeProducing(self) -> None:
        """Send the next piece: there is room for it."""
        self.send(next(self._pieces, b""))

    def send(self, piece: bytes) -> None:
        """Send this piece; a short one is the last."""
        if piece:
            self._request.write(piece)
        if len(piece) <= LENGTH:
            self._request.unregisterProducer()
            self.sent.callback(b"")

    def pauseProducing(self) -> None:
        """There is no room for more; none is sent anyway."""

    def stopProducing(self) -> None:
        """The client has gone."""
