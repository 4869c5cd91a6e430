"""Joins the parts of a router: what twistd runs, with `Options` and `makeService`."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from secrets import token_bytes
from time import monotonic
from typing import Any

from treq.client import HTTPClient
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, Logger
from twisted.web.resource import Resource

from infernet_router import __version__
from infernet_router.api import (
    Api,
    Clients,
    CrossOrigin,
    Decisions,
    FirstPolls,
    Outcomes,
    RateLimited,
    Turns,
)
from infernet_router.files import OffLoop, in_thread
from infernet_router.fleet import Fleet, Weights
from infernet_router.nodes import (
    BadCertificates,
    HostnameResolver,
    NodeConnections,
    Paces,
    Poller,
    Resources,
    Surveyor,
    WithHeaders,
    http_client,
)
from infernet_router.options import CannotStart, Options, Settings
from infernet_router.process import (
    CannotLog,
    Freezer,
    HangupListener,
    Log,
    Slices,
    keep_time,
    open_log,
    raise_limit,
)
from infernet_router.serving import CannotServe, ClosableSite, Server
from infernet_router.signals import ending_at_once, stop_once
from infernet_router.sources import (
    AddressFile,
    AskedSource,
    BadSource,
    DnsWatcher,
    NameServers,
    Sources,
    ask_explorer,
    system_servers,
)

_POLLS_A_QUESTION = 10
"""Polls for each request for a node's resources, when there are many nodes."""

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
            own_log = None if options.parent is None else open_log(options.parent)
        except CannotLog as error:
            raise CannotStart(str(error)) from None
        router = make_router(options.settings, reactor)
    if own_log is not None:
        router.log = own_log
        reactor.addSystemEventTrigger("after", "shutdown", own_log.writer.end)
    if options.parent is not None:
        reactor.callWhenRunning(stop_once)
    return router


def make_router(
    settings: Settings, reactor: Any, make_fleet: Callable[..., Fleet] = Fleet
) -> "_Router":
    """
    A router with these settings.

    :param make_fleet: called as Fleet is.
    :raises CannotStart: when it cannot be made, or later when it cannot listen.
    """
    log.info("infernet-router {version}: {settings}", version=__version__, settings=settings)
    appointments = keep_time(reactor, settings.timeout)
    limits = raise_limit()
    reactor.installNameResolver(HostnameResolver(reactor, threads=limits.lookups))
    weights = Weights(settings.job_weight, settings.pending_weight)
    fleet = make_fleet(monotonic, Random(), weights, settings.max_utilization)
    pool = NodeConnections(reactor, most_kept=limits.kept, patience=min(1.0, settings.timeout / 3))
    router = _Router(pool)
    try:
        http = http_client(reactor, pool, settings.ca_file)
        freezer = Freezer(fleet)
        slices = Slices(reactor, freezer.freezing_later)
        sources = tuple(
            _sources(settings, reactor, appointments, Sources(fleet, slices), slices, http)
        )
        paces = Paces()
        nodes = WithHeaders(http, settings.node_header) if settings.node_header else http
        poller = Poller(
            fleet,
            nodes,
            reactor,
            interval=settings.interval,
            busy_interval=settings.busy_interval,
            timeout=settings.timeout,
            max_polls=settings.max_polls,
            at_once=limits.polls,
            paces=paces,
        )
        resources = Resources(
            fleet,
            nodes,
            reactor,
            Random(),
            interval=settings.resources_interval,
            max_questions=settings.max_polls / _POLLS_A_QUESTION,
            at_once=limits.resources,
            paces=paces,
        )
        surveyor = Surveyor(fleet, nodes, reactor, at_once=limits.surveys, paces=paces)
        decisions = Decisions(monotonic, token_bytes(32))
        clients = Clients(settings.trust_proxy)
        outcomes = Outcomes(fleet, decisions, clients.identify, monotonic)
        turns = Turns(reactor, monotonic)
        first_polls = FirstPolls(fleet, reactor, turns)
        api = Api(
            fleet,
            resources,
            surveyor,
            decisions,
            outcomes,
            clients.identify,
            turns,
            first_polls,
            lambda: poller.silence,
        )
        guarded = _guarded(api, clients, settings)
        site = ClosableSite(guarded, reactor, limits.clients, settings.idle_timeout)
        server = Server(site, settings.endpoints, reactor)
    except (BadSource, BadCertificates, CannotServe) as error:
        raise CannotStart(str(error)) from None
    for service in (*sources, poller, resources, surveyor, first_polls, server, freezer):
        service.setServiceParent(router)
    return router


def _guarded(api: Resource, clients: Clients, settings: Settings) -> Resource:
    """The API behind the rate limit and CORS, where these are on."""
    if settings.rate_limit is not None:
        api = RateLimited(api, settings.rate_limit, clients, monotonic)
    return CrossOrigin(api, settings.cors_origin) if settings.cors_origin else api


def _sources(
    settings: Settings,
    reactor: Any,
    appointments: IReactorTime,
    sources: Sources,
    slices: Slices,
    http: HTTPClient,
) -> Iterator[IService]:
    """
    The services that keep the addresses of all sources up to date.

    :param appointments: the clock by which sources are asked again.

    :raises BadSource: when the address file is bad.
    """
    explorer, resolver = settings.node_explorer, settings.resolver
    servers = NameServers(reactor, system_servers if resolver is None else lambda: (resolver,))
    # What only a name server of its own knows, clients cannot look up either.
    targets = "name" if resolver is None else "address"
    watcher = DnsWatcher(sources, servers.ask, appointments, targets=targets)
    may_be_missing = explorer is not None and not settings.ips_given
    off_loop = OffLoop[Any](partial(in_thread, reactor), reactor)
    ips = AddressFile(
        settings.ips,
        sources,
        watcher.watch,
        appointments,
        slices,
        off_loop,
        may_be_missing=may_be_missing,
    )
    yield from (ips, watcher, HangupListener(reactor, ips.read_again))
    if explorer is not None:
        yield AskedSource(
            explorer, partial(ask_explorer, http, explorer, reactor, slices), sources, appointments
        )


class _Router(MultiService):
    """The running router."""

    log: Log | None = None
    """What twistd logs to, in place of a log of its own."""

    def __init__(self, pool: NodeConnections) -> None:
        super().__init__()
        self._pool = pool

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        if self.log is not None:
            parent.setComponent(ILogObserver, self.log)

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotServe as error:
            raise CannotStart(str(error)) from None

    def stopService(self) -> Deferred[Any]:
        """Stop all services, then close the idle connections to nodes."""
        stopped: Deferred[Any] = super().stopService()
        return stopped.addCallback(lambda _: self._pool.closeCachedConnections())
