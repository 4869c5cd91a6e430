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
from infernet_router.nodes.rate_fields import NO_LIMIT, RateLimit, rate_limit
from infernet_router.nodes.tls_errors import why_failed
from infernet_router.reports import MAX_BYTES

KEEP_ALIVE = 4.5
"""Seconds an idle connection is kept open: a node closes it after 5.0 (Hypercorn's default)."""

_KEEP = {"accept": "application/json", "user-agent": f"infernet-router/{__version__}"}
_CLOSE = _KEEP | {"connection": "close"}
"""Request headers: the connection is kept for the next request, or closed after the answer."""

LIMITED = "HTTP 429 (it limits the rate of requests)"
"""The reason when a node answers 429."""

_MAX_CHUNKS = 1000
"""The most chunks in which a body may arrive. Each costs time: a MiB in chunks of one byte blocks
the reactor for half a second, while a network delivers a MiB in 724 packets. Each chunk may have
up to a KiB of chunk header, which is Twisted's limit."""


class NoAnswer(Exception):
    """
    A request failed; the message is the reason.

    :param status: the HTTP status of the answer, when that is the reason.
    :param limit: what the answer says about the node's rate limit.
    :param timed_out: whether there was no answer in time, and no other reason.
    :param kind: a word for the reason, to count by: refused, closed, tls, report or other; a status
        or timeout has its own.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        *,
        limit: RateLimit = NO_LIMIT,
        timed_out: bool = False,
        kind: str = "other",
    ) -> None:
        super().__init__(reason)
        if status is not None:
            kind = "limited" if status == 429 else "status"
        self.kind = "timeout" if timed_out else kind
        self.status = status
        self.limit = limit
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
    hear: Callable[[RateLimit], object] | None = None,
) -> Deferred[bytes]:
    """
    GET `url`, and fire with the body of a 200 response.

    The whole body must arrive within `timeout` seconds, and have at most `most` bytes. Redirects
    are not followed. On a timeout, an oversized body or cancellation, the connection is closed.

    :param keep: whether to keep the connection open for another request soon.
    :param hear: called with what a 200 response says about the node's rate limit.
    :raises NoAnswer: in the Deferred, when the request fails.
    """

    def timed_out(result: object, seconds: float) -> object:
        raise NoAnswer(f"timeout after {seconds:g} s", timed_out=True)

    asked: Deferred[Any] = maybeDeferred(
        http.get,
        _AsciiURL(url),
        headers=_KEEP if keep else _CLOSE,
        allow_redirects=False,
        unbuffered=True,
    )
    answered: Deferred[bytes] = asked.addCallback(_body, most, hear)
    answered.addTimeout(timeout, clock, onTimeoutCancel=timed_out)
    return answered.addErrback(_give_reason)


class _AsciiURL(EncodedURL):
    """
    A URL that is already ASCII, so that treq need not encode it.

    hyperlink would parse it for each request, and its `to_uri` fails for IPv6 hosts in 21.0.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def to_uri(self) -> "_AsciiURL":
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self._text


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


def _body(
    response: IResponse, most: int, hear: Callable[[RateLimit], object] | None
) -> Deferred[bytes]:
    """The body of a 200 response; any other response is abandoned."""
    if response.code == 429:
        abandon(response)
        raise NoAnswer(LIMITED, 429, limit=rate_limit(response.headers))
    if response.code != 200:
        abandon(response)
        redirected = " (redirects are not followed)" if 300 <= response.code < 400 else ""
        raise NoAnswer(f"HTTP {response.code}{redirected}", response.code)
    if hear is not None:
        hear(rate_limit(response.headers))
    body = _Body(most)
    _deliver(response, body)
    return body.received


def _deliver(response: IResponse, body: _Body) -> None:
    """Deliver the body received so far, and the rest as it arrives."""
    with suppress(NoAnswer):  # `body.received` has it
        response.deliverBody(body)


def _give_reason(failure: Failure) -> Failure:
    """Turn any failure into NoAnswer."""
    return failure if failure.check(NoAnswer) else Failure(no_answer(failure.value))


def no_answer(problem: BaseException | None, otherwise: str = "request failed") -> NoAnswer:
    """
    Why a request failed, for an operator; without any text that the node sent.

    `otherwise` is the reason for exceptions not listed here.
    """
    match problem:
        case ResponseFailed() if problem.reasons:
            # The first reason is either that of the connection's end or a parser's exception.
            return no_answer(problem.reasons[0].value, "the answer is not HTTP")
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
            return NoAnswer(why_failed(problem), kind="tls")
        case _:
            return NoAnswer(f"{otherwise} ({type(problem).__name__})")
