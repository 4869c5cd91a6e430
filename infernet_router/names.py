"""Host names: looked up as the system does it, in threads that hold up nobody else."""

from functools import partial
from socket import AF_INET6, SOCK_STREAM, getaddrinfo
from threading import Thread
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorThreads,
    IResolutionReceiver,
)
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

_THREADS = 200
"""Names that can be looked up at once: many, since a dead name server holds each for seconds."""

log = Logger()


@implementer(IHostResolution)
@define
class _Lookup:
    """One question for the addresses of a name."""

    name: str
    receiver: IResolutionReceiver | None

    def cancel(self) -> None:
        self.receiver = None


@implementer(IHostnameResolver)
class NameResolver:
    """
    Looks host names up with getaddrinfo, and so by /etc/hosts, search domains and all.

    A name is looked up by one thread at a time, however often it is asked for meanwhile; the
    reactor's own resolver has ten threads, which ten names of a dead name server hold up.
    Nothing waits for the threads at the end of the process.
    """

    def __init__(self, reactor: IReactorThreads) -> None:
        self._reactor = reactor
        self._waiting: dict[str, list[tuple[_Lookup, int]]] = {}
        self._threads = ThreadPool(0, _THREADS, "names")
        self._threads.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._threads.start()

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Tell the receiver every address of a name; none when there is none."""
        lookup = _Lookup(hostName, resolutionReceiver)
        resolutionReceiver.resolutionBegan(lookup)
        waiting = self._waiting.setdefault(hostName, [])
        waiting.append((lookup, portNumber))
        if len(waiting) == 1:
            found: Deferred[list[Any]] = maybeDeferred(
                deferToThreadPool, self._reactor, self._threads, _addresses, hostName
            )
            found.addErrback(self._not_looked_up).addCallback(self._tell, hostName)
        return lookup

    def _not_looked_up(self, failure: Failure) -> list[Any]:
        """No addresses, when no thread can be started: the name can be asked for again."""
        log.warn("cannot look names up: {reason}", reason=failure.value)
        return []

    def _tell(self, addresses: list[Any], name: str) -> None:
        for lookup, port in self._waiting.pop(name):
            if lookup.receiver is None:
                continue
            for family, host in addresses:
                kind = IPv6Address if family == AF_INET6 else IPv4Address
                lookup.receiver.addressResolved(kind("TCP", host, port))
            lookup.receiver.resolutionComplete()


def _addresses(name: str) -> list[tuple[int, str]]:
    """The families and IP addresses of a name, in the system's order; none if it is not known."""
    try:
        found = getaddrinfo(name, None, type=SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(family, str(address[0])) for family, _, _, _, address in found]
