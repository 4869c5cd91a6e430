"""
The link to Redis: publishes on one channel, hears what is published there, and keeps one hash.

It takes two connections, as one that subscribes can do nothing else. txredisapi has the protocol;
its own reconnecting is not used, since it ends for good at a wrong password, logs each attempt, and
lets commands wait for a connection without end.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol, InvalidData, RedisError, ResponseError, SubscriberProtocol

from infernet_router.nodes.asking import no_answer
from infernet_router.nodes.tls import VerifiedTLS, make_trust
from infernet_router.quoting import quoted
from infernet_router.replicas.link import LinkLost, Listener
from infernet_router.replicas.redis_url import RedisUrl

_PATIENCE = 2.0
"""Seconds for each reply of Redis, and for both connections to be made."""

_DEAFEST = 5.0
"""Seconds without a message, though some are published, after which the link is made anew."""

_FIRST_DELAY, _LAST_DELAY = 0.25, 2.0
"""Seconds before the first retry, and at most; each waits twice as long as the one before."""

_LASTING = 10.0
"""Seconds after which a link counts as good, so that the next retry is the first again."""

_REFUSED_DELAY = 10.0
"""Seconds before a retry when Redis refuses what only an operator can allow."""

_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "ERR max number of clients")
"""What the errors of Redis begin with that end by themselves."""


_LATE = f"no reply of Redis within {_PATIENCE:g} s"
_CLOSED = "Redis closed the connection"


class Refused(LinkLost):
    """Redis refuses what only an operator can allow; the message has its words."""


def redis_endpoint(url: RedisUrl, reactor: Any, ca_file: Path | None) -> IStreamClientEndpoint:
    """
    The endpoint that leads to a server.

    :param ca_file: PEM certificates to trust in addition to the platform's.
    :raises BadCertificates: when that file cannot be read.
    """
    if url.path:
        return UNIXClientEndpoint(reactor, url.path)
    endpoint = HostnameEndpoint(reactor, url.host, url.port)
    if not url.tls:
        return endpoint
    return wrapClientTLS(VerifiedTLS(url.host, make_trust(ca_file), limit=inf), endpoint)


class _Ending:
    """A connection to Redis that says how it ended."""

    def __init__(self, ended: Callable[[BaseException | None], None]) -> None:
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self._ended = ended

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except InvalidData as problem:
            self._ended(problem)

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self._ended(why.value)
        super().connectionLost(why)  # type: ignore[misc]


class _Publisher(_Ending, HiredisProtocol):  # type: ignore[misc]
    """The connection for commands."""


class _Subscriber(_Ending, SubscriberProtocol):  # type: ignore[misc]
    """The connection on which messages arrive."""

    heard: Callable[[bytes], None]

    def messageReceived(self, pattern: object, channel: object, message: object) -> None:
        if isinstance(message, bytes):
            self.heard(message)


class RedisLink:
    """
    A link to Redis that is made again whenever it is lost.

    :param prefix: what the names of the channel and the hash begin with.
    :param endpoint: leads to the server.
    """

    def __init__(
        self,
        url: RedisUrl,
        prefix: str,
        endpoint: IStreamClientEndpoint,
        reactor: Any,
        random: Random,
    ) -> None:
        self._url = url
        self._channel = f"{prefix}:1"
        self._hash = f"{prefix}:overrides"
        self._endpoint = endpoint
        self._reactor = reactor
        self._random = random
        self._connections: list[Any] = []
        """Those of the link, or of the attempt to make it."""
        self._publisher: _Publisher | None = None
        """The connection for commands, while the link is there."""
        self._end: Deferred[LinkLost] = Deferred()
        """Fires with the reason when the link is lost, or cannot be made."""
        self._unheard_since: float | None = None
        """When the first message was published of those after the last that arrived."""
        self._running: Deferred[None] | None = None

    def start(self, listener: Listener) -> None:
        """Connect, and tell this listener from now on."""
        self._listener = listener
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stop(self) -> Deferred[None]:
        """Disconnect, and tell nobody any more; fires when no connection is left."""
        if self._running is not None:
            self._running.cancel()
        ends = [made.whenDisconnected() for made in self._connections if made.connected]
        self._close()
        return gatherResults(ends).addCallback(lambda _: None)

    def publish(self, message: bytes) -> Deferred[None]:
        """
        Publish a message; fires when Redis has it.

        :raises LinkLost: in the Deferred, when Redis does not take it in time. The link is lost
            then, too.
        """
        return Deferred.fromCoroutine(self._publish(message))

    def read_orders(self) -> Deferred[Mapping[bytes, bytes]]:
        """
        The whole hash of operators' orders.

        :raises LinkLost: in the Deferred, when Redis does not give it.
        """
        return Deferred.fromCoroutine(self._read_orders())

    def write_orders(self, orders: Mapping[bytes, bytes]) -> Deferred[Any]:
        """
        Write these fields of the hash of operators' orders.

        :raises LinkLost: in the Deferred, when Redis does not take them.
        """
        fields = [part for pair in orders.items() for part in pair]
        return Deferred.fromCoroutine(self._command("HSET", self._hash, *fields))

    def forget_orders(self, fields: Iterable[bytes]) -> Deferred[Any]:
        """
        Remove these fields of the hash of operators' orders.

        :raises LinkLost: in the Deferred, when Redis does not.
        """
        return Deferred.fromCoroutine(self._command("HDEL", self._hash, *fields))

    async def _publish(self, message: bytes) -> None:
        end, now = self._end, self._reactor.seconds()
        try:
            if self._unheard_since is not None and now - self._unheard_since > _DEAFEST:
                raise LinkLost("Redis delivers no messages")
            await self._command("PUBLISH", self._channel, message)
        except LinkLost as lost:
            _lose(end, lost)
            raise
        if self._unheard_since is None:
            self._unheard_since = now

    async def _read_orders(self) -> Mapping[bytes, bytes]:
        parts = await self._command("HGETALL", self._hash)
        return dict(zip(parts[::2], parts[1::2], strict=True))

    async def _command(self, *words: str | bytes) -> Any:
        if self._publisher is None:
            raise LinkLost("there is no connection to Redis")
        return await self._reply(self._publisher, *words)

    async def _reply(self, connection: Any, *words: str | bytes) -> Any:
        """
        The reply to a command.

        :raises LinkLost: when there is none in time, or it is an error.
        """
        try:
            reply: Deferred[Any] = connection.execute_command(*words)
            return await reply.addTimeout(_PATIENCE, self._reactor, _too_late)
        except ResponseError as error:
            kind = LinkLost if str(error).startswith(_PASSING) else Refused
            said = str(error)
            if words[0] == "AUTH":
                said = said.partition(" ")[0]  # the rest may repeat the password
            raise kind(f"Redis refuses {words[0]!s}: {quoted(said)}") from None
        except RedisError:
            raise LinkLost(_CLOSED) from None

    def _hear(self, message: bytes) -> None:
        self._unheard_since = None
        self._listener.heard(message)

    async def _run(self) -> None:
        """Make the link, and make it again whenever it is lost."""
        delay = _FIRST_DELAY
        while True:
            self._end = Deferred()
            self._unheard_since = None
            began = self._reactor.seconds()
            making = Deferred.fromCoroutine(self._make(self._end))
            making.addErrback(partial(_failed, self._end))
            try:
                lost = await self._end
            finally:
                making.cancel()
            self._close()
            self._listener.lost(str(lost))
            if self._reactor.seconds() - began > _LASTING:
                delay = _FIRST_DELAY
            wait = _REFUSED_DELAY if isinstance(lost, Refused) else delay
            delay = min(_LAST_DELAY, delay * 2)
            await deferLater(self._reactor, wait * self._random.uniform(0.75, 1.25))

    def _close(self) -> None:
        """Close all connections at once."""
        self._publisher = None
        for connection in self._connections:
            if connection.connected:
                connection.transport.abortConnection()
        self._connections = []

    async def _make(self, end: Deferred[LinkLost]) -> None:
        """
        Make the link.

        :param end: fires when one of its connections ends.
        :raises LinkLost: when that takes too long, or fails.
        """
        connecting = Deferred.fromCoroutine(self._connect(end))
        connecting.addTimeout(_PATIENCE, self._reactor, _too_late)
        self._publisher = await connecting
        self._listener.connected()

    async def _connect(self, end: Deferred[LinkLost]) -> _Publisher:
        """
        Make both connections; returns the one for commands.

        :raises LinkLost: when one cannot be made, or Redis refuses something.
        """
        ended = partial(_ended, end)
        subscriber, publisher = _Subscriber(ended), _Publisher(ended)
        subscriber.heard = self._hear
        self._connections = [subscriber, publisher]
        for connection in self._connections:
            await self._log_in(connection)
        if self._url.database:
            await self._reply(publisher, "SELECT", str(self._url.database))
        await self._reply(subscriber, "SUBSCRIBE", self._channel)
        return publisher

    async def _log_in(self, connection: Any) -> None:
        """
        Connect, and say who the router is.

        :raises LinkLost: when that fails.
        """
        factory = Factory.forProtocol(lambda: connection)
        factory.noisy = False
        try:
            await self._endpoint.connect(factory)
        except CancelledError:
            raise
        except Exception as problem:  # each kind of endpoint raises exceptions of its own
            raise LinkLost(_why(problem)) from None
        if self._url.password is not None:
            user = [self._url.user] if self._url.user else []
            await self._reply(connection, "AUTH", *user, self._url.password)


def _too_late(result: object, seconds: float) -> object:
    raise LinkLost(_LATE)


def _lose(end: Deferred[LinkLost], lost: LinkLost) -> None:
    """Say that a link is lost; the first reason counts."""
    if not end.called:
        end.callback(lost)


def _failed(end: Deferred[LinkLost], failure: Failure) -> None:
    """The link could not be made, or its end came first and cancelled that."""
    if isinstance(failure.value, LinkLost):
        _lose(end, failure.value)
    else:
        failure.trap(CancelledError)


def _ended(end: Deferred[LinkLost], problem: BaseException | None) -> None:
    """One of the connections of a link ended."""
    _lose(end, LinkLost(_why(problem)))


def _why(problem: BaseException | None) -> str:
    """Why there is no connection, for an operator."""
    match problem:
        case ConnectionClosed():
            return _CLOSED
        case InvalidData():
            return "what is there does not speak the protocol of Redis"
        case _:
            return str(no_answer(problem, "cannot connect"))
