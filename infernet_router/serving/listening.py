"""Listens on endpoints, and logs their addresses; stops gracefully."""

import re
from collections.abc import Iterable
from functools import partial
from os import fsdecode
from pathlib import Path
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

from infernet_router.files import check_file, in_time
from infernet_router.quoting import host_port, quoted
from infernet_router.serving.site import ClosableSite
from infernet_router.serving.unix_sockets import (
    remove_lock,
    remove_stale,
    who_can_connect,
    with_mode,
)

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged, as an event without text is not printed."""

_ARGUMENT = re.compile(r":((?:\\.|[^\\:])+)")
"""An argument in the description of an endpoint."""

_MAX_FILE = 1024 * 1024
"""The largest key or certificate, in bytes."""

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
                _check_files(endpoint)
                listener = in_time(partial(service, with_mode(endpoint), site, reactor))
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
                remove_stale(endpoint)
                listener.privilegedStartService()
            except Exception as error:  # each kind of endpoint raises exceptions of its own
                if isinstance(error, CannotListenError):
                    remove_lock(endpoint)
                cause = error.socketError if isinstance(error, CannotListenError) else error
                why = getattr(cause, "strerror", None) or cause
                if self._required:
                    raise CannotServe(f"cannot listen on {quoted(endpoint)}: {why}") from None
                log.warn(
                    "cannot listen on {endpoint}: {why}; going on without it",
                    event="listening.failed",
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
        log.info(
            "listening on {address} for {purpose}",
            event="listening",
            address=address,
            purpose=purpose,
        )
    else:
        log.info("listening on {address}", event="listening", address=address)
    return port


def _check_files(endpoint: str) -> None:
    """
    Refuse an endpoint with a key or certificate that cannot be read to its end.

    :raises BadFile: when it is not a regular file.
    """
    if "ssl:" in endpoint:
        for argument in _ARGUMENT.findall(endpoint):
            path = Path(argument.rpartition("=")[2])
            if in_time(path.exists):
                in_time(partial(check_file, path, _MAX_FILE))


def _shown(address: IAddress) -> str:
    """
    Host and port, or the path of a Unix socket and who can connect.

    Characters that are not printable are escaped.
    """
    match address:
        case IPv4Address() | IPv6Address():
            return host_port(address.host, address.port)
        case UNIXAddress(name=bytes(name)):
            path = fsdecode(name)
            who = who_can_connect(Path(path))
            shown = path if path.isprintable() else quoted(path)
            return f"{shown} ({who})" if who else shown
        case _:
            return quoted(str(address))
