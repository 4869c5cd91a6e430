"""Tests of infernet_router.testing.fleet, over loopback."""

from socket import create_server
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed

from infernet_router.testing import ServedNode, SimulatedNode, loopback_hosts, serve
from infernet_router.testing.fleet import MAX_NODES


class HostTests(TestCase):
    def test_hosts(self) -> None:
        """Each node has an address of its own, within 127.0.0.0/8."""
        self.assertEqual(loopback_hosts(2), ["127.0.1.1", "127.0.1.2"])
        self.assertEqual(loopback_hosts(255, network=7)[253:], ["127.0.7.254", "127.0.8.1"])
        self.assertEqual(loopback_hosts(MAX_NODES)[-1], "127.0.254.254")


class ServeTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        pool = HTTPConnectionPool(reactor)
        self.http = HTTPClient(Agent(reactor, pool=pool))
        self.served: list[ServedNode] = []
        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop(pool)))

    async def stop(self, pool: HTTPConnectionPool) -> None:
        await pool.closeCachedConnections()
        for one in self.served:
            await one.kill()

    async def serve(self, count: int) -> None:
        nodes = [SimulatedNode(self.reactor, [f"c{n}"]) for n in range(count)]
        self.served = await serve(self.reactor, nodes, loopback_hosts(count, network=3))

    async def container(self, place: int) -> str:
        """The container that the node at this place says it runs."""
        info = await (await self.http.get(f"http://{self.served[place].address}/info")).json()
        return str(info["containers"][0]["id"])

    async def test_addresses(self) -> None:
        """Each node is at the address it is listed with; all have one port."""
        await self.serve(3)
        port = self.served[0].port
        self.assertEqual(
            [one.address for one in self.served], [f"127.0.3.{n}:{port}" for n in (1, 2, 3)]
        )
        self.assertEqual([await self.container(n) for n in range(3)], ["c0", "c1", "c2"])

    async def test_kill(self) -> None:
        """A killed node breaks its connections and refuses new ones, until it is revived."""
        await self.serve(2)
        victim = self.served[0]
        victim.node.silent = True
        victim.node.submit(["c0"])
        asked = self.http.get(f"http://{victim.address}/info")
        while not victim.node.polls:
            await _turn(self.reactor)
        for _ in range(2):
            await victim.kill()
        self.assertTrue(victim.is_dead)
        await self.assertFailure(asked, ResponseFailed)
        await self.assertFailure(
            self.http.get(f"http://{victim.address}/info"), ConnectionRefusedError
        )
        self.assertEqual(await self.container(1), "c1")
        for _ in range(2):
            victim.revive()
        self.assertEqual(await self.container(0), "c0")
        self.assertEqual((victim.is_dead, victim.node.pending), (False, 0))

    async def test_taken(self) -> None:
        """A port that is taken at one of the addresses is an error, and nothing listens then."""
        nodes = [SimulatedNode(self.reactor, ["llm"]) for _ in range(2)]
        with create_server(("127.0.4.2", 0)) as taken:
            port = taken.getsockname()[1]
            serving = Deferred.fromCoroutine(
                serve(self.reactor, nodes, loopback_hosts(2, network=4), port)
            )
            await self.assertFailure(serving, CannotListenError)
        create_server(("127.0.4.1", port)).close()

    async def test_free_port(self) -> None:
        """A port that is taken at a later address is not chosen."""
        reactor: Any = _Chooses(self.reactor)
        with create_server(("127.0.5.2", 0)) as taken:
            reactor.first = taken.getsockname()[1]
            nodes = [SimulatedNode(reactor, ["llm"]) for _ in range(2)]
            self.served = await serve(reactor, nodes, loopback_hosts(2, network=5))
        self.assertEqual(len({one.port for one in self.served}), 1)
        self.assertNotIn(reactor.first, {0, self.served[0].port})


class _Chooses:
    """A reactor whose first choice of a free port is given."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.first = 0
        self._has_chosen = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, *arguments: Any, **options: Any) -> Any:
        if not port and not self._has_chosen:
            port, self._has_chosen = self.first, True
        return self._reactor.listenTCP(port, *arguments, **options)


def _turn(reactor: Any) -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    return turn
