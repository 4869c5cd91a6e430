"""Tests of the link to Redis with a real server."""

import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import trustme
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase

from benchmarks.loopback.redis_server import Redis
from infernet_router.replicas.link import LinkLost
from infernet_router.replicas.redis import RedisLink, Refused, redis_endpoint
from infernet_router.replicas.redis_url import parse_redis_url
from tests.integration.test_polls import PRIVATE, nameless

TURN = 0.01
"""Seconds from one look at a condition to the next."""


class Listener:
    """Notes what a link tells."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.states: list[str] = []
        """"connected", and the reasons for which the link was lost."""

    def heard(self, message: bytes) -> None:
        self.messages.append(message)

    def connected(self) -> None:
        self.states.append("connected")

    def lost(self, reason: str) -> None:
        self.states.append(reason)


class RedisTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def serve(self, *flags: str) -> Redis:
        redis = Redis(*flags)
        self.addCleanup(redis.close)
        return redis

    def link(self, url: str, ca_file: Path | None = None) -> tuple[RedisLink, Listener]:
        """A link that is being made."""
        where, listener = parse_redis_url(url), Listener()
        endpoint = redis_endpoint(where, self.reactor, ca_file)
        link = RedisLink(where, "p", endpoint, self.reactor, Random())
        self.addCleanup(link.stop)
        link.start(listener)
        return link, listener

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(self.reactor, TURN)

    async def check(self, link: RedisLink, listener: Listener) -> None:
        """The link carries messages and orders."""
        await self.until(lambda: listener.states[-1:] == ["connected"])
        await link.publish(b"\x00\xff\r\n")
        await self.until(lambda: listener.messages[-1:] == [b"\x00\xff\r\n"])
        await link.write_orders({b"a": b"\xff", b"b": b"1"})
        await link.forget_orders([b"b"])
        self.assertEqual(await link.read_orders(), {b"a": b"\xff"})

    async def test_kinds(self) -> None:
        """Redis is reached by TCP and by a Unix socket, and has databases."""
        redis = self.serve()
        for url in (f"redis://127.0.0.1:{redis.port}/3", f"redis://localhost:{redis.port}"):
            await self.check(*self.link(url))
        await self.check(*self.link(f"{redis.url}?db=2"))
        self.assertEqual(redis.ask("EXISTS", "p:overrides"), b":1\r\n")
        _, listener = self.link(f"{redis.url}?db=16")
        await self.until(lambda: listener.states)
        why = "Redis refuses SELECT: 'ERR DB index is out of range'"
        self.assertEqual(listener.states, [why])

    async def test_users(self) -> None:
        """A password, and a user with few rights, are enough; without them, Redis refuses."""
        redis = self.serve("--requirepass", "a b@c")
        await self.check(*self.link(f"unix://:a%20b%40c@{redis.socket}"))
        rights = ("&p:*", "~p:*", "+subscribe", "+publish", "+hgetall", "+hset", "+hdel")
        for name, *more in (("few", *rights), ("deaf", *rights, "-subscribe"), ("none",)):
            words = ("ACL", "SETUSER", name, "on", ">pw", *more)
            self.assertEqual(redis.ask("AUTH", "a b@c", then=words), b"+OK\r\n+OK\r\n")
        await self.check(*self.link(f"unix://few:pw@{redis.socket}"))
        for user, why in (
            ("", "Redis refuses SUBSCRIBE: 'NOAUTH Authentication required.'"),
            ("few:bad@", "Redis refuses AUTH: 'WRONGPASS'"),
            (":bad@", "Redis refuses AUTH: 'WRONGPASS'"),
            ("deaf:pw@", 'Redis refuses SUBSCRIBE: "NOPERM User deaf has no permissions'),
        ):
            _, listener = self.link(f"unix://{user}{redis.socket}")
            await self.until(lambda told=listener: told.states)  # type: ignore[misc]
            self.assertTrue(listener.states[0].startswith(why), listener.states)

    async def test_no_publishing(self) -> None:
        """A user who may hear, but not publish, has no link."""
        redis = self.serve("--user", *["default", "on", "nopass", "&*", "~*", "+@all", "-publish"])
        link, listener = self.link(redis.url)
        await self.until(lambda: listener.states == ["connected"])
        await self.assertFailure(link.publish(b""), Refused)
        self.assertEqual(len(listener.states), 2)
        self.assertIn("Redis refuses PUBLISH: ", listener.states[1])

    async def test_tls(self) -> None:
        """With rediss://, the certificate and the name in it are verified."""
        redis = self.serve()
        authority = Path(self.mktemp())
        PRIVATE.cert_pem.write_to_path(str(authority))
        for certificate, host, trust, why in (
            (PRIVATE.issue_cert("127.0.0.1"), "127.0.0.1", authority, None),
            (PRIVATE.issue_cert("localhost"), "localhost", authority, None),
            (PRIVATE.issue_cert("localhost"), "127.0.0.1", authority, "not for this host"),
            (nameless("localhost"), "localhost", authority, "no valid subjectAltName"),
            (trustme.CA().issue_cert("localhost"), "localhost", authority, "not trusted"),
            (PRIVATE.issue_cert("localhost"), "localhost", None, "not trusted"),
        ):
            port = self.proxy(redis, certificate)
            link, listener = self.link(f"rediss://{host}:{port}", trust)
            if why is None:
                await self.check(link, listener)
                for _ in range(200):  # more than a node may send at a time
                    await link.publish(b"x" * 20_000)
                await self.until(lambda told=listener: len(told.messages) > 200)  # type: ignore[misc]
            else:
                await self.until(lambda told=listener: told.states)  # type: ignore[misc]
                self.assertIn(why, listener.states[0])
            await link.stop()
        _, listener = self.link(f"rediss://localhost:{redis.port}", authority)
        await self.until(lambda: listener.states)
        self.assertNotIn("connected", listener.states)

    def proxy(self, redis: Redis, certificate: trustme.LeafCert) -> int:
        """The port of a TLS proxy in front of Redis, as the server of the tests has no TLS."""
        pem = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        key = certificate.private_key_pem.bytes()
        pair = ssl.PrivateCertificate.loadPEM(key + pem)
        factory = ProxyFactory("127.0.0.1", redis.port)
        factory.noisy = False
        port = self.reactor.listenSSL(0, factory, pair.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def test_other_server(self) -> None:
        """A server of something else is refused."""
        redis = self.serve()
        _, listener = self.link(f"redis://127.0.0.1:{self.proxy(redis, PRIVATE.issue_cert('a'))}")
        await self.until(lambda: listener.states)
        self.assertNotIn("connected", listener.states)

    async def test_comes_back(self) -> None:
        """A server that was killed, and one that stood still, is used again."""
        redis = self.serve()
        link, listener = self.link(redis.url)
        await self.check(link, listener)
        redis.kill()
        await self.until(lambda: listener.states[-1] == "connection refused")
        await self.assertFailure(link.publish(b""), LinkLost)
        redis.start()
        await self.check(link, listener)
        redis.signal(signal.SIGSTOP)
        await self.assertFailure(link.publish(b""), LinkLost)
        self.assertEqual(listener.states[-1], "no reply of Redis within 2 s")
        redis.signal(signal.SIGCONT)
        await self.check(link, listener)

    async def test_large(self) -> None:
        """Messages of any size and content pass."""
        redis = self.serve()
        link, listener = self.link(redis.url)
        await self.check(link, listener)
        for message in (b"", b"1", b"x" * 2_000_000):
            redis.ask("PUBLISH", "p:1", message)
            await self.until(lambda sent=message: listener.messages[-1] == sent)  # type: ignore[misc]
        self.assertEqual(listener.states, ["connected"])

    async def test_two(self) -> None:
        """Two routers hear each other, and not those with another prefix."""
        redis = self.serve()
        (one, one_heard), (two, two_heard) = self.link(redis.url), self.link(redis.url)
        await self.check(one, one_heard)
        await self.check(two, two_heard)
        redis.ask("PUBLISH", "q:1", "not for them")
        waiting: list[Deferred[Any]] = [one.publish(b"1"), two.publish(b"2")]
        for sent in waiting:
            await sent
        for heard in (one_heard, two_heard):
            await self.until(lambda told=heard: {b"1", b"2"} <= set(told.messages))  # type: ignore[misc]
            self.assertNotIn(b"not for them", heard.messages)
