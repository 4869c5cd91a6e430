"""Lets several processes listen on one TCP port; the system divides the connections among them."""

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory


class SharedPorts:
    """
    A reactor that listens on TCP ports with SO_REUSEPORT.

    Linux lets processes share a port only if all of them do this, as the same user (socket(7)).
    Twisted before 26.10 cannot do it, so the reactor adopts a socket.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenTCP(
        self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as shared:
            try:
                shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                shared.bind(_resolved(interface, port, family))
                shared.listen(backlog)
                shared.setblocking(False)
            except OSError as error:
                raise CannotListenError(interface, port, error) from None
            adopted: IListeningPort = self._reactor.adoptStreamPort(
                shared.fileno(), family, factory
            )
        return adopted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def _resolved(interface: str, port: int, family: socket.AddressFamily) -> Any:
    """What a socket is bound to, with the scope of an IPv6 address."""
    numeric = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    found = socket.getaddrinfo(interface or None, port, family, socket.SOCK_STREAM, flags=numeric)
    return found[0][4]
