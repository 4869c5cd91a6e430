"""How a node is asked over HTTP: for the body of its answer, or the reason there is none."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from hyperlink import EncodedURL
from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from infernet_router import __version__
from infernet_router.reports import MAX_BYTES

KEEP_ALIVE = 4.5
"""Seconds an idle connection is kept: a node closes it after 5.0 (Hypercorn's default)."""

_KEPT = {"accept": "application/json", "user-agent": f"infernet-router/{__version__}"}
_CLOSED = _KEPT | {"connection": "close"}
"""The headers of a request whose connection is kept for the next, or is not."""

_MAX_PIECES = 1000
"""Pieces in which an answer may come. Each takes time to read: a MiB in chunks of one byte takes
half a second, for which everybody else waits; a network brings it in 724. With each may come a
KiB that is not of the body, where Twisted draws the line."""


class NoAnswer(Exception):
    """
    A node gave no answer that can be used; the message is the reason in words.

    `status` is the HTTP status it answered with, if it was that.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class Asker(Protocol):
    """What `ask` needs of treq: its HTTPClient and its StubTreq both have it."""

    @property
    def get(self) -> Callable[..., Deferred[Any]]: ...


def ask(
    http: Asker,
    url: str,
    clock: IReactorTime,
    timeout: float,
    most: int = MAX_BYTES,
    *,
    keep: bool = False,
) -> Deferred[bytes]:
    """
    GET `url`, and fire with the body of a 200.

    The body must be there `timeout` seconds after the call, and not be longer than `most` bytes.
    Redirects are not followed. When the time is up, there is too much, or the Deferred is
    cancelled, the connection is closed.

    :param keep: whether the next question is to be so soon that it may use the same connection.
    :raises NoAnswer: in the Deferred, when anything else happens.
    """

    def timed_out(result: object, seconds: float) -> object:
        raise NoAnswer(f"time-out after {seconds:g} s")

    asked: Deferred[Any] = maybeDeferred(
        http.get,
        _AsciiURL.from_text(url),
        headers=_KEPT if keep else _CLOSED,
        allow_redirects=False,
        unbuffered=True,
    )
    answered: Deferred[bytes] = asked.addCallback(_body, most)
    answered.addTimeout(timeout, clock, onTimeoutCancel=timed_out)
    return answered.addErrback(_give_reason)


class _AsciiURL(EncodedURL):
    """
    A URL that is in ASCII already.

    treq has hyperlink encode it, and hyperlink 21.0 fails at IPv6 hosts.
    """

    def to_uri(self) -> "_AsciiURL":
        return self


class _Body(TwistedProtocol):
    """
    Collects the body of a response, or closes the connection when it is not wanted.

    :param most: bytes it may have.
    """

    def __init__(self, most: int = 0) -> None:
        self.received: Deferred[bytes] = Deferred(lambda _: self.abandon())
        self._most = most
        self._content = bytearray()
        self._pieces = 0

    def abandon(self) -> None:
        """Close the connection, whatever is still to come."""
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece.

        :raises NoAnswer: when it is too much, so that the rest of what came is not even parsed.
        """
        self._content += data
        self._pieces += 1
        if len(self._content) > self._most:
            why = f"its answer is larger than {self._most // 1024} KiB"
        elif self._pieces > _MAX_PIECES:
            why = f"its answer comes in more than {_MAX_PIECES} pieces"
        else:
            return
        self.abandon()
        if not self.received.called:
            self.received.errback(NoAnswer(why))
        raise NoAnswer(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.received.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.received.callback(bytes(self._content))
        else:
            self.received.errback(reason)


def abandon(response: IResponse) -> None:
    """Close the connection a response comes on, instead of reading its body."""
    body = _Body()
    body.received.addErrback(lambda _: None)
    _deliver(response, body)
    body.received.cancel()


def _body(response: IResponse, most: int) -> Deferred[bytes]:
    """The body of a response with status 200; any other is abandoned."""
    if response.code != 200:
        abandon(response)
        redirected = " (redirects are not followed)" if 300 <= response.code < 400 else ""
        raise NoAnswer(f"HTTP {response.code}{redirected}", response.code)
    body = _Body(most)
    _deliver(response, body)
    return body.received


def _deliver(response: IResponse, body: _Body) -> None:
    """Deliver what came of a body by now, and what is still to come."""
    with suppress(NoAnswer):  # which the body knows by then
        response.deliverBody(body)


def _give_reason(failure: Failure) -> Failure:
    """Any failure to ask a node, as NoAnswer."""
    return failure if failure.check(NoAnswer) else Failure(NoAnswer(_in_words(failure.value)))


def _in_words(problem: BaseException | None, otherwise: str = "cannot ask it") -> str:
    """
    Why there was no answer, for an operator; free of any text a node sent.

    `otherwise` is said of a problem that has no words of its own.
    """
    match problem:
        case ResponseFailed() if problem.reasons:
            # An answer ends with its connection, or with what went wrong where it was parsed.
            return _in_words(problem.reasons[0].value, "the answer is not HTTP")
        case NoAnswer():
            return str(problem)
        case error.ConnectionRefusedError():
            return "connection refused"
        case error.DNSLookupError():
            return "the host name is not known"
        case error.ConnectError(osError=int(number)):
            return f"cannot connect: {os.strerror(number)}"
        case error.ConnectionClosed():
            return "it closed the connection before the answer was complete"
        case SSL.Error():
            return "TLS failed: " + ", ".join(part[2] for part in problem.args[0])
        case _:
            return f"{otherwise} ({type(problem).__name__})"
