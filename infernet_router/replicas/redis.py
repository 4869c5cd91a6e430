"""
The link to Redis: publishes on one channel, hears what is published there, and keeps one hash.

Redis needs two connections for that, as one that subscribes can do nothing else. txredisapi has the
protocol; its own reconnecting is not used, as it ends for good at a wrong password, logs each
attempt, and lets commands wait for a connection without end.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol, InvalidData, RedisError, ResponseError, SubscriberProtocol

from infernet_router.nodes.asking import no_answer
from infernet_router.quoting import quoted
from infernet_router.replicas.redis_url import RedisUrl

_PATIENCE = 2.0
"""Seconds for a reply of Redis, and for both connections to be made."""

_DEAFEST = 5.0
"""Seconds without a message, though messages are published, after which the link is made anew."""

_FIRST_DELAY, _LAST_DELAY = 0.25, 5.0
"""Seconds before the first retry, and at most; each is twice as late as the one before."""

_REFUSED_DELAY = 10.0
"""Seconds before a retry when Redis refused what only an operator can allow."""

_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "ERR max number of clients")
"""Errors of Redis that end by themselves begin with one of these."""

log = Logger()


class LinkLost(Exception):
    """
    There is no link to Redis; the message says why.

    :ivar refused: whether Redis refuses what only an operator can allow.
    """

    refused = False


class Refused(LinkLost):
    """Redis refuses a command; the message has its words."""

    refused = True


class _Told:
    """A connection to Redis that tells how it ended."""

    def __init__(self, ended: Callable[[BaseException], None]) -> None:
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self._ended = ended

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except InvalidData:
            self._ended(LinkLost("it does not speak the protocol of Redis"))

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self._ended(why.value)
        super().connectionLost(why)  # type: ignore[misc]


class _Publisher(_Told, HiredisProtocol):  # type: ignore[misc]
    """The connection for commands."""


class _Subscriber(_Told, SubscriberProtocol):  # type: ignore[misc]
    """The connection that hears messages."""

    heard: Callable[[bytes], None]

    def messageReceived(self, pattern: object, channel: bytes, message: object) -> None:
        if isinstance(message, bytes):
            self.heard(message)


class RedisLink:
    """
    A link to Redis that is made again, for ever, when it is lost.

    :param endpoint: leads to the server; it encrypts and verifies if the URL says so.
    :param prefix: begins the names of the channel and of the hash.
    """

    def __init__(
        self,
        url: RedisUrl,
        endpoint: IStreamClientEndpoint,
        prefix: str,
        reactor: Any,
        random: Random,
    ) -> None:
        self._url = url
        self._endpoint = endpoint
        self._channel = f"{prefix}:1"
        self._hash = f"{prefix}:overrides"
        self._reactor = reactor
        self._random = random
        self._open: list[Any] = []
        """The connections that are there."""
        self._publisher: _Publisher | None = None
        """The one for commands, once both can be used."""
        self._end: Deferred[None] = Deferred()
        """Fails when the link is lost."""
        self._heard_at = 0.0
        self._running: Deferred[None] | None = None

    def start(
        self,
        heard: Callable[[bytes], None],
        connected: Callable[[], None],
        lost: Callable[[LinkLost], None],
    ) -> None:
        """
        Make the link, and keep it.

        :param heard: called with each message.
        :param connected: called when messages can be published and are heard.
        :param lost: called when that ends, and when an attempt to make the link fails.
        """
        self._heard = heard
        self._connected = connected
        self._lost = lost
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError))
        self._running.addErrback(lambda failure: log.failure("the link to Redis", failure))

    async def stop(self) -> None:
        """End the link."""
        if self._running is not None:
            self._running.cancel()
        ends = [connection.whenDisconnected() for connection in self._open]
        self._close()
        for end in ends:
            await end

    def publish(self, message: bytes) -> Deferred[None]:
        """
        Send a message to all who hear the channel, this router included.

        :raises LinkLost: in the Deferred, when Redis did not take it within 2 seconds. The link is
            lost then, too.
        """
        now = self._reactor.seconds()
        if self._publisher is not None and now - self._heard_at > _DEAFEST:
            self._lose(LinkLost("Redis delivers no messages"))
        return Deferred.fromCoroutine(self._publish(message))

    async def _publish(self, message: bytes) -> None:
        try:
            await self._command("PUBLISH", self._channel, message)
        except Refused as refused:
            self._lose(refused)
            raise

    async def read_orders(self) -> dict[bytes, bytes]:
        """
        Everything in the hash.

        :raises LinkLost: when it cannot be read.
        """
        found = await self._command("HGETALL", self._hash)
        return dict(zip(found[::2], found[1::2], strict=True))

    async def write_orders(self, fields: Mapping[bytes, bytes]) -> None:
        """
        Set fields of the hash.

        :raises LinkLost: when they cannot be written.
        """
        await self._command("HSET", self._hash, *(part for pair in fields.items() for part in pair))

    async def _command(self, *words: str | bytes) -> Any:
        if self._publisher is None:
            raise LinkLost("there is no connection to Redis")
        return await self._reply(self._publisher, *words)

    async def _reply(self, connection: Any, *words: str | bytes) -> Any:
        """
        Redis's reply to a command. If there is none in time, the link is lost.

        :raises LinkLost: when there is none, or an error.
        """
        end = self._end
        try:
            reply: Deferred[Any] = connection.execute_command(*words)
            return await reply.addTimeout(_PATIENCE, self._reactor, _no_reply)
        except ResponseError as error:
            kind = LinkLost if str(error).startswith(_PASSING) else Refused
            raise kind(f"Redis refuses {words[0]!s}: {quoted(str(error))}") from None
        except RedisError:  # the connection ended
            raise LinkLost(_why(end)) from None
        except LinkLost as lost:
            self._lose(lost)
            raise

    async def _run(self) -> None:
        """Make the link whenever it is lost."""
        delay = _FIRST_DELAY
        while True:
            self._end = Deferred()
            began = self._reactor.seconds()
            try:
                making = Deferred.fromCoroutine(self._make())
                await making.addTimeout(_PATIENCE, self._reactor, _no_reply)
                self._heard_at = self._reactor.seconds()
                self._connected()
                await self._end
            except LinkLost as lost:
                self._publisher = None
                self._close()
                if self._reactor.seconds() - began > _LAST_DELAY:
                    delay = _FIRST_DELAY
                self._lost(lost)
                wait = _REFUSED_DELAY if lost.refused else delay * self._random.uniform(0.5, 1.5)
            delay = min(_LAST_DELAY, delay * 2)
            await deferLater(self._reactor, wait)

    async def _make(self) -> None:
        """
        Make both connections.

        :raises LinkLost: when one cannot be made, or Redis refuses.
        """
        subscriber = _Subscriber(self._ended)
        subscriber.heard = self._hear
        publisher = _Publisher(self._ended)
        for connection in (subscriber, publisher):
            self._open.append(connection)
            factory = Factory.forProtocol(lambda made=connection: made)
            factory.noisy = False
            try:
                await self._endpoint.connect(factory)
            except CancelledError:
                raise
            except Exception as error:  # endpoints raise exceptions of many kinds
                raise LinkLost(str(no_answer(error))) from None
            if self._url.password is not None:
                user = (self._url.user,) if self._url.user else ()
                await self._reply(connection, "AUTH", *user, self._url.password)
        await self._reply(publisher, "SELECT", str(self._url.database))
        await self._reply(subscriber, "SUBSCRIBE", self._channel)
        self._publisher = publisher
