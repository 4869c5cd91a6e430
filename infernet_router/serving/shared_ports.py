"""Lets several processes listen on one TCP port; the system divides the connections among them."""

import socket
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory


class SharedPorts:
    """
    A reactor that listens on TCP ports with SO_REUSEPORT.

    Linux lets processes share a port only if all of them do this, as the same user (socket(7)).
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listenTCP(
        self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        family = socket.AF_INET
        address: Any = interface, port
        if isIPv6Address(interface):
            family = socket.AF_INET6
            address = socket.getaddrinfo(interface, port, family)[0][4]  # it may have a zone
        with socket.socket(family, socket.SOCK_STREAM) as listening:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                listening.bind(address)
            except OSError as error:
                raise CannotListenError(interface, port, error) from None
            listening.listen(backlog)
            adopt = self._reactor.adoptStreamPort  # it duplicates the descriptor
            adopted: IListeningPort = adopt(listening.fileno(), family, factory)
        return adopted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
