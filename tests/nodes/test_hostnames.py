"""Tests of infernet_router.nodes.hostnames."""

from socket import AF_INET, AF_INET6, EAI_NONAME, SOCK_STREAM, gaierror
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from infernet_router.nodes import hostnames as names
from infernet_router.nodes.hostnames import HostnameResolver, NodeEndpoint
from tests.doubles import logged


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

    async def test_no_node(self) -> None:
        """IP addresses that no node can have, as some name servers give them, are left out."""

        def getaddrinfo(*_: object, **__: object) -> Any:
            ips = ("0.0.0.0", "192.0.2.1", "224.0.0.1")
            found = [(AF_INET, SOCK_STREAM, 0, "", (ip, 0)) for ip in ips]
            others = ("::", "fe80::1%lo", "::ffff:0.0.0.0")
            return found + [(AF_INET6, SOCK_STREAM, 0, "", (ip, 0, 0, 0)) for ip in others]

        self.patch(names, "getaddrinfo", getaddrinfo)
        _, done = self.look_up("node.invalid", 80)
        self.assertEqual([address.host for address in await done], ["192.0.2.1", "fe80::1%lo"])

    async def test_only_no_node(self) -> None:
        """A name that leads to no node is logged once, until it leads to one."""
        lines = logged(self, "infernet_router.nodes.hostnames")
        line = "warn: the host name node.invalid leads to 0.0.0.0, which no node can have"
        for ips, told in (("0.0.0.0", True), ("0.0.0.0", False), ("192.0.2.1", False),
                          ("0.0.0.0", True), ("", False), ("0.0.0.0", False)):  # fmt: skip

            def getaddrinfo(*_: object, ips: str = ips, **__: object) -> Any:
                return [(AF_INET, SOCK_STREAM, 0, "", (ip, 0)) for ip in ips.split()]

            self.patch(names, "getaddrinfo", getaddrinfo)
            _, done = self.look_up("node.invalid", 80)
            self.assertEqual(len(await done), int(ips == "192.0.2.1"))
            self.assertEqual(lines, [line] if told else [])
            lines.clear()

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


class NodeEndpointTests(TestCase):
    async def test_any_name(self) -> None:
        """A connection is made to a name that IDNA forbids, when the resolver knows it."""
        from twisted.internet import reactor as installed_reactor

        reactor: Any = installed_reactor
        asked: list[object] = []

        def getaddrinfo(name: object, *_: object, **__: object) -> Any:
            asked.append(name)
            return [(AF_INET, SOCK_STREAM, 0, "", ("127.0.0.1", 0))]

        self.patch(names, "getaddrinfo", getaddrinfo)
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        before = reactor.installNameResolver(HostnameResolver(reactor, threads=1))
        self.addCleanup(reactor.installNameResolver, before)
        for name in ("my_node_1", "-a-.ab--cd.invalid", "xn--zzzzzz9999"):
            endpoint = NodeEndpoint(reactor, name, listening.getHost().port)
            protocol = await endpoint.connect(factory)
            protocol.transport.loseConnection()  # type: ignore[attr-defined]
        self.assertEqual(asked, ["my_node_1", "-a-.ab--cd.invalid", "xn--zzzzzz9999"])
