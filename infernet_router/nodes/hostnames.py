"""Host names of nodes: looks them up with the system's resolver, and connects to them."""

from functools import partial
from socket import AF_INET6, SOCK_STREAM, getaddrinfo
from threading import Thread
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
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

from infernet_router.hosts import not_a_node

log = Logger()


@implementer(IHostResolution)
@define
class _Lookup:
    """One request to look up a host name."""

    name: str
    receiver: IResolutionReceiver | None

    def cancel(self) -> None:
        self.receiver = None


@implementer(IHostnameResolver)
class HostnameResolver:
    """
    Looks up host names with getaddrinfo, which reads /etc/hosts and knows search domains.

    IP addresses that no node can have are left out: some name servers answer 0.0.0.0 for a name
    that they block, and a connection to it leads to this machine.

    Concurrent requests for one name share one thread. The reactor's own resolver has ten threads,
    which ten names of a dead name server block. The process can exit while lookups are running.

    :param threads: how many names can be looked up at the same time.
    """

    def __init__(self, reactor: IReactorThreads, *, threads: int) -> None:
        self._reactor = reactor
        self._waiting: dict[str, list[tuple[_Lookup, int]]] = {}
        self._useless: set[str] = set()
        """The names that had no address of a node when they were looked up last."""
        self._threads = ThreadPool(0, threads, "names")
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
        """Give the receiver every address of a name; none when the lookup fails."""
        lookup = _Lookup(hostName, resolutionReceiver)
        resolutionReceiver.resolutionBegan(lookup)
        waiting = self._waiting.setdefault(hostName, [])
        waiting.append((lookup, portNumber))
        if len(waiting) == 1:
            found: Deferred[list[Any]] = maybeDeferred(
                deferToThreadPool, self._reactor, self._threads, _addresses, hostName
            )
            found.addErrback(self._no_thread).addCallback(self._found, hostName)
        return lookup

    def _no_thread(self, failure: Failure) -> list[Any]:
        """Give no addresses when no thread can be started; a later request tries again."""
        log.warn("cannot look up host names: {reason}", event="lookup.failed", reason=failure.value)
        return []

    def _found(self, found: list[tuple[int, str]], name: str) -> None:
        addresses = [(kind, ip) for kind, ip in found if not not_a_node(ip.partition("%")[0])]
        if addresses:
            self._useless.discard(name)
        elif found and name not in self._useless:
            self._useless.add(name)
            log.warn(
                "the host name {name} leads to {ip}, which no node can have",
                event="lookup.useless",
                name=name,
                ip=found[0][1],
            )
        for lookup, port in self._waiting.pop(name):
            if lookup.receiver is None:
                continue
            for family, host in addresses:
                kind = IPv6Address if family == AF_INET6 else IPv4Address
                lookup.receiver.addressResolved(kind("TCP", host, port))
            lookup.receiver.resolutionComplete()


def _addresses(name: str) -> list[tuple[int, str]]:
    """The address families and IP addresses of a name, in the system's order; or none."""
    try:
        found = getaddrinfo(name, None, type=SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(family, str(address[0])) for family, _, _, _, address in found]


class NodeEndpoint(HostnameEndpoint):
    """Connects to a host name in ASCII, to whichever of its addresses answers first (RFC 8305)."""

    @staticmethod
    def _hostAsBytesAndText(host: Any) -> tuple[bool, bytes, str]:
        """Accept names that IDNA forbids, as with underscores, and that DNS or Docker may know."""
        return False, host.encode("ascii"), host
