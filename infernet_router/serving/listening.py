"""Listens on endpoints, and logs their addresses; stops gracefully."""

from collections.abc import Iterable
from os import fsdecode
from typing import Any

from attrs import frozen
from twisted.application.service import MultiService
from twisted.application.strports import service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
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
from infernet_router.serving.site import ClosableSite

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged, as an event without text is not printed."""

log = Logger()


class CannotServe(Exception):
    """The router cannot listen on an endpoint; the message says which and why."""


class Server(MultiService):
    """
    Serves a site on endpoints. Stopping it waits for the requests in flight.

    :param endpoints: Twisted server endpoint descriptions, such as `tcp:4000`.
    :param purpose: what they are for, as the log says it; empty for clients.
    :param required: whether listening must succeed; otherwise a failure is logged.
    :raises CannotServe: when one of them is malformed.
    """

    def __init__(
        self,
        site: ClosableSite,
        endpoints: Iterable[str],
        reactor: Any,
        *,
        purpose: str = "",
        required: bool = True,
    ) -> None:
        super().__init__()
        self._required = required
        self._site = site
        self._endpoints = tuple(endpoints)
        for endpoint in self._endpoints:
            try:
                listener = service(endpoint, site, reactor)
            except Exception as error:  # each kind of endpoint raises exceptions of its own
                unknown = endpoint.startswith("systemd:") and isinstance(error, LookupError)
                why = "systemd passed no such socket" if unknown else error
                raise CannotServe(f"cannot listen on {quoted(endpoint)}: {why}") from None
            listener.endpoint = LoggedEndpoint(listener.endpoint, purpose)
            self.addService(listener)

    def privilegedStartService(self) -> None:
        """
        Listen on all endpoints.

        :raises CannotServe: when that fails for one of them, and it is required.
        """
        for endpoint, listener in zip(self._endpoints, tuple(self), strict=True):
            try:
                listener.privilegedStartService()
            except Exception as error:  # each kind of endpoint raises exceptions of its own
                cause = error.socketError if isinstance(error, CannotListenError) else error
                why = getattr(cause, "strerror", None) or cause
                if self._required:
                    raise CannotServe(f"cannot listen on {quoted(endpoint)}: {why}") from None
                log.warn(
                    "cannot listen on {endpoint}: {why}; going on without it",
                    endpoint=quoted(endpoint),
                    why=why,
                )
                self.removeService(listener)

    def stopService(self) -> Deferred[None]:
        """Stop listening, and close the site."""
        stopped: Deferred[Any] = super().stopService()
        return stopped.addCallback(lambda _: Deferred.fromCoroutine(self._site.close()))


@implementer(IStreamServerEndpoint)
@frozen
class LoggedEndpoint:
    """An endpoint that logs the address it listens on, in place of Twisted's own line."""

    endpoint: IStreamServerEndpoint
    purpose: str = ""

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        listening: Deferred[Any] = callWithContext(_SILENT, self.endpoint.listen, protocolFactory)
        return listening.addCallback(_log_address, self.purpose)


def _log_address(port: IListeningPort, purpose: str) -> IListeningPort:
    address = _shown(port.getHost())
    if purpose:
        log.info("listening on {address} for {purpose}", address=address, purpose=purpose)
    else:
        log.info("listening on {address}", address=address)
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
