"""Tests of infernet_router.replicas.redis."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import hiredis
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from infernet_router.nodes.tls import BadCertificates
from infernet_router.replicas.link import LinkLost
from infernet_router.replicas.redis import RedisLink, Refused, redis_endpoint
from infernet_router.replicas.redis_url import parse_redis_url


class Server:
    """One connection to a server that replies as the test says."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport = Transport(self)
        self._reader = hiredis.Reader()
        protocol.makeConnection(self.transport)

    def commands(self) -> list[Any]:
        """The commands that came since this was called last."""
        self._reader.feed(self.transport.value())
        self.transport.clear()
        return list(iter(self._reader.gets, False))

    def say(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def end(self, problem: Exception) -> None:
        if self.protocol.connected:
            self.protocol.connectionLost(Failure(problem))


class Transport(StringTransport):
    """A transport that closes at once."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def abortConnection(self) -> None:
        self._server.end(error.ConnectionAborted())


@implementer(IStreamClientEndpoint)
class Endpoint:
    """An endpoint whose connections are in memory; with a problem, there are none."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.problem: Exception | None = None
        self.is_silent = False
        self.attempts = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self.attempts += 1
        if self.is_silent:
            return Deferred()
        if self.problem is not None:
            return fail(self.problem)
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        self.servers.append(Server(protocol))
        return succeed(protocol)


class RedisLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.endpoint = Clock(), Endpoint()
        self.told: list[str] = []
        self.link = self.make("redis://a.invalid")

    def make(self, url: str) -> RedisLink:
        link = RedisLink(parse_redis_url(url), "p", self.endpoint, self.clock, Random(1))
        self.addCleanup(link.stop)
        return link

    def connected(self) -> None:
        self.told.append("connected")

    def lost(self, reason: str) -> None:
        self.told.append(reason)

    def heard(self, message: bytes) -> None:
        self.told.append(f"heard {message!r}")

    def subscribed(self) -> tuple[Server, Server]:
        """Start, and let Redis accept the subscription: the servers of both connections."""
        self.link.start(self)
        return self.accept()

    def accept(self) -> tuple[Server, Server]:
        """Let Redis accept the subscription on the latest two connections."""
        subscriber, publisher = self.endpoint.servers[-2:]
        self.assertEqual(subscriber.commands(), [[b"SUBSCRIBE", b"p:1"]])
        subscriber.say(b"*3\r\n$9\r\nsubscribe\r\n$3\r\np:1\r\n:1\r\n")
        self.assertEqual(self.told[-1:], ["connected"])
        return subscriber, publisher

    def test_hears(self) -> None:
        """Messages are heard as they are, whatever bytes they have."""
        subscriber, _ = self.subscribed()
        for message in (b"12", b"", b"\xff\r\n", b"QUEUED"):
            subscriber.say(b"*3\r\n$7\r\nmessage\r\n$3\r\np:1\r\n$%d\r\n" % len(message))
            subscriber.say(message + b"\r\n")
            self.assertEqual(self.told[-1], f"heard {message!r}")

    def test_strange_messages(self) -> None:
        """What is no message is ignored."""
        subscriber, _ = self.subscribed()
        subscriber.say(b"*3\r\n$7\r\nmessage\r\n$3\r\np:1\r\n:1\r\n")
        self.assertEqual(self.told, ["connected"])

    def test_publishes(self) -> None:
        """A message is published when Redis says so."""
        _, publisher = self.subscribed()
        published = self.link.publish(b"\x00\r\n")
        self.assertEqual(publisher.commands(), [[b"PUBLISH", b"p:1", b"\x00\r\n"]])
        self.assertNoResult(published)
        publisher.say(b":2\r\n")
        self.assertIsNone(self.successResultOf(published))

    def test_not_connected(self) -> None:
        """Without a connection, everything fails at once."""
        for asked in (
            self.link.publish(b""),
            self.link.read_orders(),
            self.link.write_orders({b"a": b"1"}),
            self.link.forget_orders([b"a"]),
        ):
            why = self.failureResultOf(asked, LinkLost).getErrorMessage()
            self.assertEqual(why, "there is no connection to Redis")

    def test_orders(self) -> None:
        """The hash is read, written and shortened."""
        _, publisher = self.subscribed()
        read = self.link.read_orders()
        publisher.say(b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$2\r\n\xff2\r\n")
        self.assertEqual(self.successResultOf(read), {b"a": b"1", b"b": b"\xff2"})
        written = self.link.write_orders({b"a": b"3", b"c": b"4"})
        forgotten = self.link.forget_orders([b"b"])
        self.assertEqual(
            publisher.commands(),
            [
                [b"HGETALL", b"p:overrides"],
                [b"HSET", b"p:overrides", b"a", b"3", b"c", b"4"],
                [b"HDEL", b"p:overrides", b"b"],
            ],
        )
        publisher.say(b":1\r\n:1\r\n")
        self.assertEqual((self.successResultOf(written), self.successResultOf(forgotten)), (1, 1))

    def test_refused_order(self) -> None:
        """The link stays when Redis refuses orders only."""
        _, publisher = self.subscribed()
        read = self.link.read_orders()
        publisher.say(b"-NOPERM no permission\r\n")
        why = self.failureResultOf(read, Refused).getErrorMessage()
        self.assertEqual(why, "Redis refuses HGETALL: 'NOPERM no permission'")
        self.assertEqual(self.told, ["connected"])

    def test_logs_in(self) -> None:
        """Both connections give the user and the password, and one selects the database."""
        self.link = self.make("redis://u:p@a.invalid/7")
        self.link.start(self)
        for server in range(2):
            self.assertEqual(self.endpoint.servers[server].commands(), [[b"AUTH", b"u", b"p"]])
            self.endpoint.servers[server].say(b"+OK\r\n")
        publisher = self.endpoint.servers[1]
        self.assertEqual(publisher.commands(), [[b"SELECT", b"7"]])
        publisher.say(b"+OK\r\n")
        self.accept()

    def test_wrong_password(self) -> None:
        """A wrong password is tried again every 10 seconds, or nearly so."""
        self.link = self.make("redis://:p@a.invalid")
        self.link.start(self)
        self.assertEqual(self.endpoint.servers[0].commands(), [[b"AUTH", b"p"]])
        self.endpoint.servers[0].say(b"-WRONGPASS invalid\r\n")
        self.assertEqual(self.told, ["Redis refuses AUTH: 'WRONGPASS'"])
        self.assert_patient()

    def test_password_repeated(self) -> None:
        """A password that a server repeats is not told."""
        self.link = self.make("redis://:hunter2@a.invalid")
        self.link.start(self)
        said = b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n"
        self.endpoint.servers[0].say(said)
        self.assertEqual(self.told, ["Redis refuses AUTH: 'ERR'"])

    def assert_patient(self) -> None:
        """The next attempt is about 10 seconds away."""
        attempts, began = self.endpoint.attempts, self.clock.seconds()
        while self.endpoint.attempts == attempts:
            self.clock.advance(0.5)
        self.assertTrue(7 < self.clock.seconds() - began < 13)

    def test_no_publishing(self) -> None:
        """A user who may not publish has no link, and tries again every 10 seconds."""
        _, publisher = self.subscribed()
        published = self.link.publish(b"")
        publisher.say(b"-NOPERM this user has no permissions\r\n")
        self.failureResultOf(published, Refused)
        why = "Redis refuses PUBLISH: 'NOPERM this user has no permissions'"
        self.assertEqual(self.told, ["connected", why])
        self.assert_patient()

    def test_passing_error(self) -> None:
        """An error that ends by itself is tried again soon."""
        self.link.start(self)
        self.endpoint.servers[0].say(b"-LOADING the dataset\r\n")
        self.assertEqual(self.told, ["Redis refuses SUBSCRIBE: 'LOADING the dataset'"])
        self.clock.advance(0.4)
        self.assertEqual(self.endpoint.attempts, 4)

    def test_retries(self) -> None:
        """Retries are ever later, up to 2 seconds, and begin anew after a link that lasted."""
        self.endpoint.problem = error.ConnectionRefusedError()
        self.link.start(self)
        at = []
        for _ in range(160):
            before = self.endpoint.attempts
            self.clock.advance(0.1)
            if self.endpoint.attempts > before:
                at.append(self.clock.seconds())
        gaps = [b - a for a, b in zip([0.0, *at], at, strict=False)]
        for gap, usual in zip(gaps, (0.25, 0.5, 1, 2, 2, 2), strict=False):
            self.assertTrue(0.7 * usual <= gap <= 1.3 * usual + 0.1, gaps)
        self.assertEqual(set(self.told), {"connection refused"})
        self.endpoint.problem = None
        self.clock.advance(2.6)
        subscriber, _ = self.accept()
        self.clock.advance(11)
        subscriber.end(error.ConnectionDone())
        self.assertEqual(self.told[-1], "Redis closed the connection")
        before = self.endpoint.attempts
        self.clock.advance(0.4)
        self.assertEqual(self.endpoint.attempts, before + 2)

    def test_one_connection_ends(self) -> None:
        """When one connection ends, the other is closed, too, and commands in flight fail."""
        for which in range(2):
            servers = self.subscribed() if which == 0 else self.accept()
            published = self.link.publish(b"")
            servers[which].end(error.ConnectionLost())
            self.failureResultOf(published, LinkLost)
            self.assertEqual(self.told, ["connected", "Redis closed the connection"])
            self.assertFalse(servers[0].protocol.connected or servers[1].protocol.connected)
            self.told = []
            self.clock.advance(1)

    def test_cannot_connect(self) -> None:
        """The reason why there is no connection is that of the system."""
        for problem, why in (
            (error.ConnectError(2), "cannot connect: No such file or directory"),
            (error.DNSLookupError(), "unknown host name"),
            (ValueError(), "cannot connect (ValueError)"),
        ):
            self.endpoint.problem = problem
            link = self.make("redis://a.invalid")
            link.start(self)
            self.assertEqual(self.told.pop(), why)
            self.successResultOf(link.stop())

    def test_slow_connection(self) -> None:
        """A server that does not answer in time counts as unreachable."""
        self.endpoint.is_silent = True
        self.link.start(self)
        self.clock.advance(1.9)
        self.assertEqual(self.told, [])
        self.clock.advance(0.1)
        self.assertEqual(self.told, ["no reply of Redis within 2 s"])

    def test_slow_login(self) -> None:
        """So does one that accepts connections and says nothing; they are closed."""
        self.link.start(self)
        self.clock.advance(2)
        self.assertEqual(self.told, ["no reply of Redis within 2 s"])
        self.assertEqual([server.protocol.connected for server in self.endpoint.servers], [0, 0])

    def test_slow_publish(self) -> None:
        """A message that is not taken in time ends the link."""
        self.subscribed()
        published = self.link.publish(b"")
        self.clock.advance(2)
        self.failureResultOf(published, LinkLost)
        self.assertEqual(self.told, ["connected", "no reply of Redis within 2 s"])
        self.clock.advance(0.4)
        self.accept()

    def test_deaf(self) -> None:
        """A link on which nothing arrives of what is published is made anew."""
        subscriber, publisher = self.subscribed()
        self.clock.advance(60)
        self.published(publisher)
        self.clock.advance(4.9)
        subscriber.say(b"*3\r\n$7\r\nmessage\r\n$3\r\np:1\r\n$1\r\na\r\n")
        self.clock.advance(60)
        self.published(publisher)
        self.clock.advance(4.9)
        self.published(publisher)
        self.clock.advance(0.2)
        self.failureResultOf(self.link.publish(b""), LinkLost)
        self.assertEqual(self.told, ["connected", "heard b'a'", "Redis delivers no messages"])

    def published(self, publisher: Server) -> None:
        """Publish a message, which Redis takes."""
        published = self.link.publish(b"")
        publisher.say(b":1\r\n")
        self.successResultOf(published)

    def test_no_redis(self) -> None:
        """A server that speaks something else is named, and nothing is logged."""
        self.link.start(self)
        self.endpoint.servers[0].say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(self.told, ["what is there does not speak the protocol of Redis"])

    def test_stop(self) -> None:
        """Stopping closes both connections, at any time, and leaves nothing behind."""
        states: list[Callable[[], object]] = [
            lambda: None,
            lambda: self.link.start(self),
            self.subscribed,
            lambda: self.subscribed()[0].end(error.ConnectionDone()),
        ]
        for state in states:
            self.link = self.make("redis://a.invalid")
            state()
            told = list(self.told)
            self.successResultOf(self.link.stop())
            self.assertEqual(self.told, told)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertFalse(any(server.protocol.connected for server in self.endpoint.servers))


class RedisEndpointTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """The endpoint is the one that the URL says; with TLS, it is wrapped."""
        reactor = MemoryReactorClock()
        for url, kind in (
            ("redis://a.invalid", HostnameEndpoint),
            ("unix:///r", UNIXClientEndpoint),
        ):
            self.assertIsInstance(redis_endpoint(parse_redis_url(url), reactor, None), kind)
        wrapped = redis_endpoint(parse_redis_url("rediss://a.invalid"), reactor, None)
        self.assertNotIsInstance(wrapped, HostnameEndpoint)

    def test_bad_authorities(self) -> None:
        """A file without certificates is refused."""
        path = Path(self.mktemp())
        path.touch()
        with self.assertRaises(BadCertificates):
            redis_endpoint(parse_redis_url("rediss://a.invalid"), MemoryReactorClock(), path)
