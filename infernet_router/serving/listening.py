"""Logs the addresses that the router listens on."""

from os import fsdecode
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.log import callWithContext
from zope.interface import implementer

from infernet_router.quoting import quoted

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged, as an event without text is not printed."""

log = Logger()


@implementer(IStreamServerEndpoint)
@frozen
class LoggedEndpoint:
    """An endpoint that logs the address it listens on, in place of Twisted's own line."""

    endpoint: IStreamServerEndpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        listening: Deferred[Any] = callWithContext(_SILENT, self.endpoint.listen, protocolFactory)
        return listening.addCallback(_log_address)


def _log_address(port: IListeningPort) -> IListeningPort:
    log.info("listening on {address}", address=_shown(port.getHost()))
    return port


def _shown(address: IAddress) -> str:
    """Host and port, or the path of a Unix socket, with escapes for characters not printable."""
    match address:
        case IPv4Address():
            return f"{address.host}:{address.port}"
        case IPv6Address():
            return f"[{address.host}]:{address.port}"
        case UNIXAddress(name=bytes(name)):
            path = fsdecode(name)
            return path if path.isprintable() else quoted(path)
        case _:
            return quoted(str(address))
