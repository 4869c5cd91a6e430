"""One request to a node and its response, on whichever connection brings it."""

from math import inf
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from infernet_router.nodes.connection import NodeConnection, Pool, Response

MAX_AGE = 60.0
"""Seconds after which a connection is given up: the host name may have moved to another address. It
is used for longer while the name is unknown, and as long as it takes to look it up."""

_SERIAL = 86400.0
"""Seconds for which no connection is kept to a node that handles one at a time. After that, it may
be locked for a minute until that is noticed again."""

_SILENT = 600.0
"""The same for a node on whose kept connection a request got no answer soon."""

_SOON = 0.3
"""Seconds after a kept connection was closed within which an answer is taken to be due to that."""


_REPEATED = (408, 421)
"""Answers on a kept connection after which a request may be repeated on a new one: 408 comes from
a server that gave up waiting for it, and 421 from one that cannot use the connection (RFC 9110,
sections 15.5.9 and 15.5.20)."""


class Connections(Pool, Protocol):
    """What an exchange needs of the connections to nodes."""

    def seconds(self) -> float:
        """The time."""

    def take(self, host: Any, max_age: float = MAX_AGE) -> NodeConnection | None:
        """Take a kept connection to a host, if there is one."""

    def watch(self, exchange: "Exchange") -> None:
        """Call `no_answer` when this exchange has not ended after some time."""

    def unwatch(self, exchange: "Exchange") -> None:
        """Do not call `no_answer`."""

    def close_only(self, host: Any) -> bool:
        """Close the kept connection to a host, if there is exactly one."""

    def distrust(self, host: Any, seconds: float, reason: str) -> None:
        """Keep no connections to a host for some time."""

    def seems_locked(self, host: Any, seconds: float) -> None:
        """A host answered as soon as a kept connection was closed: distrust it the second time."""

    def handles_several(self, host: Any) -> None:
        """A host answered on a new connection: while another was open, if one is kept."""


class Opener(Protocol):
    """Opens connections."""

    def connect(self, connection: NodeConnection) -> None:
        """Begin to open a connection."""


class Exchange:
    """
    One request to a node, and its response.

    The request goes over a kept connection if there is one. When the node closes that, answers that
    it cannot be used, or sends nothing on it for some time, the request is sent on a new connection
    too, and the first response is taken. A GET may be repeated in this way (RFC 9112, section
    9.3.1).

    When there is no answer on a new connection while one is kept, that is closed: the node may
    handle one connection at a time.

    :param host: where connections lead.
    :param keeps: whether kept connections are used.
    """

    __slots__ = (
        "_host",
        "_opener",
        "_pool",
        "_response",
        "_tries",
        "_unlocked",
        "keeps",
        "message",
    )

    def __init__(
        self, pool: Connections, opener: Opener, host: Any, message: bytes, *, keeps: bool
    ) -> None:
        self.message = message
        self._pool = pool
        self._opener = opener
        self._host = host
        self.keeps = keeps
        self._response: Deferred[IResponse] | None = None
        self._tries: list[NodeConnection] = []
        """The connections on which the request was sent: a kept one, a new one, or both."""
        self._unlocked: float | None = None
        """When a kept connection was closed as there was no answer."""

    def start(self) -> Deferred[IResponse]:
        """Send the request; fires with its response."""
        response: Deferred[IResponse] = Deferred(self._cancelled)
        self._response = response
        if not (self.keeps and self._try_kept()):
            self._try_new()
        if self._response is not None:
            self._pool.watch(self)
        return response

    def _try_kept(self, max_age: float = MAX_AGE) -> bool:
        """Send the request on a kept connection; whether there is one."""
        kept = self._pool.take(self._host, max_age)
        if kept is None:
            return False
        self._tries.append(kept)
        kept.send(self)
        return True

    def _try_new(self) -> None:
        connection = NodeConnection(self._pool, self._host, self)
        self._tries.append(connection)
        self._opener.connect(connection)

    def no_answer(self) -> None:
        """Called when there was no response for some time, and again after that."""
        self._pool.watch(self)
        first = self._tries[0]
        if len(self._tries) == 1 and first.is_reused:
            if first.is_silent:
                self._try_new()
        elif len(self._tries) == 1 and self.keeps and not first.is_open:
            # The name of the node is still being looked up, perhaps by a dead name server.
            self._try_kept(inf)
        elif self._unlocked is None and self._pool.close_only(self._host):
            self._unlocked = self._pool.seconds()

    def answered(self, connection: NodeConnection, response: Response) -> None:
        """Take the first response, and learn from how it came."""
        self._tries.remove(connection)
        if connection.is_reused and response.code in _REPEATED:
            self._pool.distrust(self._host, _SILENT, f"one brought the answer HTTP {response.code}")
            if not self._tries:
                self._try_new()
            return
        if self._unlocked is not None and self._pool.seconds() - self._unlocked < _SOON:
            self._pool.seems_locked(self._host, _SERIAL)
        elif any(other.is_open for other in self._tries):
            # Or else each request to a slow node would be sent twice.
            self._pool.distrust(self._host, _SILENT, "one was dead, or is slow")
        elif not connection.is_reused:
            self._pool.handles_several(self._host)
        self._end().callback(response)

    def failed(self, connection: NodeConnection, reason: Failure) -> None:
        """Go on with another connection if a kept one was lost; otherwise give up."""
        if self._response is None:
            return
        self._tries.remove(connection)
        is_lost = connection.is_reused and connection.is_silent
        is_unknown = reason.check(DNSLookupError) is not None
        if self._tries and (is_lost or is_unknown):
            return
        if is_lost:
            self._try_new()
        elif not (is_unknown and self.keeps and self._try_kept(2 * MAX_AGE)):
            self._end().errback(reason)

    def _cancelled(self, response: Deferred[IResponse]) -> None:
        self._end()

    def _end(self) -> Deferred[IResponse]:
        """Close the connections on which no response is wanted any more; gives who waits for it."""
        waiting, self._response = self._response, None
        assert waiting is not None
        self._pool.unwatch(self)
        for connection in self._tries:
            connection.abort()
        self._tries.clear()
        return waiting
