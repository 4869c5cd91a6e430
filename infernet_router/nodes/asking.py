"""Sends one HTTP request, and gives the body of the answer or the reason for the failure."""

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
"""Seconds an idle connection is kept open: a node closes it after 5.0 (Hypercorn's default)."""

_KEEP = {"accept": "application/json", "user-agent": f"infernet-router/{__version__}"}
_CLOSE = _KEEP | {"connection": "close"}
"""Request headers: the connection is kept for the next request, or closed after the answer."""

_MAX_CHUNKS = 1000
"""The most chunks in which a body may arrive. Each costs time: a MiB in chunks of one byte blocks
the reactor for half a second, while a network delivers a MiB in 724 packets. Each chunk may have
up to a KiB of chunk header, which is Twisted's limit."""


class NoAnswer(Exception):
    """
    A request failed; the message is the reason.

    :param status: the HTTP status of the answer, when that is the reason.
    :param retry_after: seconds after which the node wants to be asked again, if it said so.
    :param timed_out: whether there was no answer in time, and no other reason.
    :param kind: a word for the reason, to count by: refused, closed, tls, report or other; a status
        or timeout has its own.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        *,
        retry_after: float | None = None,
        timed_out: bool = False,
        kind: str = "other",
    ) -> None:
        super().__init__(reason)
        if status is not None:
            kind = "limited" if status == 429 else "status"
        self.kind = "timeout" if timed_out else kind
        self.status = status
        self.retry_after = retry_after
        self.timed_out = timed_out


class Asker(Protocol):
    """The part of treq that `ask` uses; both HTTPClient and StubTreq have it."""

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
    GET `url`, and fire with the body of a 200 response.

    The whole body must arrive within `timeout` seconds, and have at most `most` bytes. Redirects
    are not followed. On a timeout, an oversized body or cancellation, the connection is closed.

    :param keep: whether to keep the connection open for another request soon.
    :raises NoAnswer: in the Deferred, when the request fails.
    """

    def timed_out(result: object, seconds: float) -> object:
        raise NoAnswer(f"timeout after {seconds:g} s", timed_out=True)

    asked: Deferred[Any] = maybeDeferred(
        http.get,
        _AsciiURL.from_text(url),
        headers=_KEEP if keep else _CLOSE,
        allow_redirects=False,
        unbuffered=True,
    )
    answered: Deferred[bytes] = asked.addCallback(_body, most)
    answered.addTimeout(timeout, clock, onTimeoutCancel=timed_out)
    return answered.addErrback(_give_reason)


class _AsciiURL(EncodedURL):
    """
    A URL that is already ASCII.

    treq has hyperlink encode URLs, which in hyperlink 21.0 fails for IPv6 hosts.
    """

    def to_uri(self) -> "_AsciiURL":
        return self


class _Body(TwistedProtocol):
    """
    Collects the body of a response, or closes the connection to abandon it.

    :param most: the most bytes a body may have.
    """

    def __init__(self, most: int = 0) -> None:
        self.received: Deferred[bytes] = Deferred(lambda _: self.abandon())
        self._most = most
        self._content = bytearray()
        self._chunks = 0

    def abandon(self) -> None:
        """Close the connection, even if the node is still sending."""
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """
        Add a chunk.

        :raises NoAnswer: when a limit is exceeded, so that Twisted parses no more of the data.
        """
        self._content += data
        self._chunks += 1
        if len(self._content) > self._most:
            why = f"its answer is larger than {self._most // 1024} KiB"
        elif self._chunks > _MAX_CHUNKS:
            why = f"its answer comes in more than {_MAX_CHUNKS} chunks"
        else:
            return
        self.abandon()
        if not self.received.called:
            self.received.errback(NoAnswer(why, kind="report"))
        raise NoAnswer(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.received.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.received.callback(bytes(self._content))
        else:
            self.received.errback(reason)


def abandon(response: IResponse) -> None:
    """Close the connection of a response instead of reading its body."""
    body = _Body()
    body.received.addErrback(lambda _: None)
    _deliver(response, body)
    body.received.cancel()


def _body(response: IResponse, most: int) -> Deferred[bytes]:
    """The body of a 200 response; any other response is abandoned."""
    if response.code != 200:
        abandon(response)
        redirected = " (redirects are not followed)" if 300 <= response.code < 400 else ""
        retry_after = _retry_after(response) if response.code == 429 else None
        raise NoAnswer(f"HTTP {response.code}{redirected}", response.code, retry_after=retry_after)
    body = _Body(most)
    _deliver(response, body)
    return body.received


def _retry_after(response: IResponse) -> float | None:
    """
    The longest time in Retry-After, in seconds; None without a valid one.

    Nodes send the field twice, or two numbers in one.
    """
    values = b",".join(response.headers.getRawHeaders(b"retry-after", ())).split(b",")
    numbers = [value.strip() for value in values]
    return max((float(n) for n in numbers if n.isdigit() and len(n) <= 5), default=None)


def _deliver(response: IResponse, body: _Body) -> None:
    """Deliver the body received so far, and the rest as it arrives."""
    with suppress(NoAnswer):  # `body.received` has it
        response.deliverBody(body)


def _give_reason(failure: Failure) -> Failure:
    """Turn any failure into NoAnswer."""
    return failure if failure.check(NoAnswer) else Failure(_no_answer(failure.value))


def _no_answer(problem: BaseException | None, otherwise: str = "request failed") -> NoAnswer:
    """
    Why a request failed, for an operator; without any text that the node sent.

    `otherwise` is the reason for exceptions not listed here.
    """
    match problem:
        case ResponseFailed() if problem.reasons:
            # The first reason is either that of the connection's end or a parser's exception.
            return _no_answer(problem.reasons[0].value, "the answer is not HTTP")
        case NoAnswer():
            return problem
        case error.ConnectionRefusedError():
            return NoAnswer("connection refused", kind="refused")
        case error.DNSLookupError():
            return NoAnswer("unknown host name")
        case error.ConnectError(osError=int(number)):
            return NoAnswer(f"cannot connect: {os.strerror(number)}")
        case error.ConnectionClosed():
            why = "it closed the connection before the answer was complete"
            return NoAnswer(why, kind="closed")
        case SSL.Error():
            parts = ", ".join(part[2] for part in problem.args[0])
            return NoAnswer(f"TLS failed: {parts}", kind="tls")
        case _:
            return NoAnswer(f"{otherwise} ({type(problem).__name__})")
