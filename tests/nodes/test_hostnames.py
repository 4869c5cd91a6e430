"""Tests of infernet_router.nodes.hostnames."""

from socket import EAI_NONAME, gaierror
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IResolutionReceiver
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from infernet_router.nodes import hostnames as names
from infernet_router.nodes.hostnames import HostnameResolver


@implementer(IResolutionReceiver)
class Receiver:
    """Collects the addresses of one name, then fires `done` with them."""

    def __init__(self, done: Any) -> None:
        self.addresses: list[Any] = []
        self._done = done

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.lookup = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self._done.callback(self.addresses)


class HostnameResolverTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        self.resolver = HostnameResolver(reactor, threads=10)  # type: ignore[arg-type]
        self.deferred: Any = Deferred

    def look_up(self, name: str, port: int) -> tuple[Receiver, Any]:
        done = self.deferred()
        receiver = Receiver(done)
        self.resolver.resolveHostName(receiver, name, port)
        return receiver, done

    async def test_found(self) -> None:
        """A known name gives its addresses, each with the requested port."""
        _, first = self.look_up("localhost", 80)
        _, second = self.look_up("localhost", 81)
        addresses = await first
        known = {IPv4Address("TCP", "127.0.0.1", 80), IPv6Address("TCP", "::1", 80)}
        self.assertTrue(addresses)
        self.assertLessEqual(set(addresses), known)
        self.assertEqual({address.port for address in await second}, {81})

    async def test_not_found(self) -> None:
        """An unknown or invalid name gives no addresses."""
        for problem in (gaierror(EAI_NONAME, "Name or service not known"), UnicodeError()):

            def getaddrinfo(*_: object, problem: Exception = problem, **__: object) -> Any:
                raise problem

            self.patch(names, "getaddrinfo", getaddrinfo)
            _, done = self.look_up("node.invalid", 80)
            self.assertEqual(await done, [])

    async def test_no_thread(self) -> None:
        """When no thread can be started, the lookup gives no addresses, and a later one works."""

        def start(thread: Thread) -> None:
            raise RuntimeError("can't start new thread")

        with MonkeyPatcher((Thread, "start", start)):
            _, done = self.look_up("localhost", 80)
            self.assertEqual(await done, [])
        _, done = self.look_up("localhost", 80)
        self.assertTrue(await done)

    async def test_cancelled(self) -> None:
        """A cancelled lookup gets no addresses; another one for the same name does."""
        cancelled, done = self.look_up("localhost", 80)
        _, other = self.look_up("localhost", 80)
        cancelled.lookup.cancel()
        await other
        self.assertFalse(done.called)
        self.assertEqual(cancelled.addresses, [])
