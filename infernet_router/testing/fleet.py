"""Serves simulated nodes, each at an address of its own; they can be killed and revived."""

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.protocols.policies import WrappingFactory
from twisted.web.server import Site

from infernet_router.testing.node import SimulatedNode

_HOSTS = 254
"""The nodes in each of the networks 127.0.1.0/24, 127.0.2.0/24, and so on."""
MAX_NODES = 254 * _HOSTS
_ATTEMPTS = 10
"""How many free ports are tried until one is free at all addresses."""


def loopback_hosts(count: int, network: int = 1) -> list[str]:
    """The addresses 127.0.1.1, 127.0.1.2 and so on; the third number begins at `network`."""
    return [f"127.0.{network + n // _HOSTS}.{1 + n % _HOSTS}" for n in range(count)]


class ServedNode:
    """
    A simulated node that listens.

    :param host: the IP address to listen at.
    :param port: the port; 0 for a free one.
    :raises CannotListenError: when it cannot listen there.
    """

    def __init__(self, reactor: Any, node: SimulatedNode, host: str, port: int) -> None:
        self._reactor = reactor
        self._host = host
        self.node = node
        site = Site(node)
        site.noisy = False
        site.log = lambda request: None  # type: ignore[method-assign]
        self._connections = WrappingFactory(site)
        self._connections.noisy = False
        self._listening: Any = self._listen(port)
        self.port: int = self._listening.getHost().port
        self.address = f"{host}:{self.port}"

    @property
    def is_dead(self) -> bool:
        """Whether it was killed, and not revived."""
        return self._listening is None

    async def kill(self) -> None:
        """End as a process that gets SIGKILL: connections break, jobs are lost."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await listening.stopListening()
            for connection in tuple(self._connections.protocols):
                connection.transport.abortConnection()
            self.node.crash()

    def revive(self) -> None:
        """
        Start again after a kill, without jobs.

        :raises CannotListenError: when something else listens there now.
        """
        if self._listening is None:
            self._listening = self._listen(self.port)

    def _listen(self, port: int) -> Any:
        return self._reactor.listenTCP(port, self._connections, backlog=1024, interface=self._host)


async def serve(
    reactor: Any, nodes: Iterable[SimulatedNode], hosts: Sequence[str], port: int = 0
) -> list[ServedNode]:
    """
    Serve each node at the host in the same place, all on one port.

    :param port: 0 for a port that is free at all of these hosts.
    :raises CannotListenError: when one of them cannot listen.
    """
    nodes, attempts = tuple(nodes), 0
    while True:
        attempts += 1
        served: list[ServedNode] = []
        try:
            for node, host in zip(nodes, hosts, strict=True):
                chosen = port or (served[0].port if served else 0)
                served.append(ServedNode(reactor, node, host, chosen))
        except CannotListenError:
            for one in served:
                await one.kill()
            if port or attempts == _ATTEMPTS:
                raise
        else:
            return served
