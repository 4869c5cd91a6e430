"""What twistd runs: the options, and the service that they describe."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger

from infernet_router import __version__
from infernet_router.admin import BadState, BadTokens
from infernet_router.api import Readiness
from infernet_router.assembly import Assembly
from infernet_router.fleet import Fleet
from infernet_router.nodes import BadCertificates, NodeConnections
from infernet_router.options import CannotStart, Options
from infernet_router.process import CannotLog, Log, line_format, linger, open_log
from infernet_router.serving import CannotServe
from infernet_router.settings import Settings
from infernet_router.signals import ending_at_once, stop_once
from infernet_router.sources import BadSource

log = Logger()


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    The router that these options describe, with the log that twistd's options ask for.

    :raises CannotStart: when it cannot be made.
    """
    if reactor is None:
        from twisted.internet import reactor
    with ending_at_once():
        try:
            own_log = None
            if options.parent is not None:
                settings = options.settings
                lines = line_format(settings.log_format, settings.log_level)
                own_log = open_log(options.parent, lines)
        except CannotLog as error:
            raise CannotStart(str(error)) from None
        router = make_router(options.settings, reactor, unknown=options.unknown_variables())
    if own_log is not None:
        router.log = own_log
        reactor.addSystemEventTrigger("after", "shutdown", own_log.writer.end)
    if options.parent is not None:
        reactor.callWhenRunning(stop_once)
    return router


def make_router(
    settings: Settings,
    reactor: Any,
    make_fleet: Callable[..., Fleet] | None = None,
    unknown: Iterable[tuple[str, str]] = (),
) -> "_Router":
    """
    A router with these settings.

    :param make_fleet: as in Assembly.
    :param unknown: environment variables to warn of, each with a hint.
    :raises CannotStart: when it cannot be made, or later when it cannot listen, or
        its user cannot write to the state directory.
    """
    log.info(
        "infernet-router {version}: {settings}",
        event="router.starting",
        version=__version__,
        settings=settings,
    )
    for variable, hint in unknown:
        log.warn(
            "{variable} is not a variable of the router{hint}",
            event="variable.unknown",
            variable=variable,
            hint=hint,
        )
    try:
        assembly = Assembly(settings, reactor, make_fleet)
        router = _Router(assembly.pool, assembly.readiness, settings.linger, reactor)
        services = tuple(assembly.services(lambda: router.log.lines_dropped if router.log else 0))
    except (BadSource, BadCertificates, BadState, BadTokens, CannotServe) as error:
        raise CannotStart(str(error)) from None
    for service in services:
        service.setServiceParent(router)
    return router


class _Router(MultiService):
    """The running router."""

    log: Log | None = None
    """What twistd logs to, in place of a log of its own."""

    def __init__(
        self, pool: NodeConnections, readiness: Readiness, linger: float, reactor: Any
    ) -> None:
        super().__init__()
        self._pool = pool
        self._readiness = readiness
        self._linger = linger
        self._reactor = reactor

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        if self.log is not None:
            parent.setComponent(ILogObserver, self.log)

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotServe as error:
            raise CannotStart(str(error)) from None

    def startService(self) -> None:
        try:
            super().startService()
        except BadState as error:
            raise CannotStart(str(error)) from None
        self._readiness.listening()

    def stopService(self) -> Deferred[Any]:
        """
        Stop all services, then close the idle connections to nodes.

        Load balancers are told before: all goes on until they have had time to notice.
        """
        self._readiness.closing()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._linger:
            log.info("stopping in {seconds:g} s", event="router.stopping", seconds=self._linger)
            await linger(self._reactor, self._linger)
        await super().stopService()
        await self._pool.closeCachedConnections()
