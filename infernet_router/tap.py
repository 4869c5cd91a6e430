"""Joins the parts of a router: what twistd runs, with `Options` and `makeService`."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from secrets import token_bytes, token_hex
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from treq.client import HTTPClient
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, Logger
from twisted.web.resource import Resource

from infernet_router import __version__
from infernet_router.admin import (
    Audit,
    BadState,
    BadTokens,
    Endpoints,
    Parts,
    State,
    Steering,
    Tokens,
)
from infernet_router.api import (
    Api,
    Clients,
    CrossOrigin,
    Decisions,
    FirstPolls,
    Outcomes,
    RateLimited,
    Readiness,
)
from infernet_router.counting import Counts
from infernet_router.files import OffLoop, in_thread
from infernet_router.fleet import Fleet, Overrides, Weights
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
from infernet_router.options import CannotStart, Options
from infernet_router.process import (
    CannotLog,
    Freezer,
    HangupListener,
    Log,
    Slices,
    Systemd,
    Turns,
    keep_time,
    line_format,
    linger,
    notifier,
    open_log,
    raise_limit,
    watchdog_seconds,
)
from infernet_router.serving import CannotServe, ClosableSite, Server
from infernet_router.settings import Settings
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

if TYPE_CHECKING:
    from infernet_router.replicas.sharing import Sharing

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
            own_log = None
            if options.parent is not None:
                settings = options.settings
                lines = line_format(settings.log_format, settings.log_level)
                own_log = open_log(options.parent, lines)
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
    settings: Settings, reactor: Any, make_fleet: Callable[..., Fleet] | None = None
) -> "_Router":
    """
    A router with these settings.

    :param make_fleet: called as Fleet is; it makes a SharedFleet for a router that shares its own.
    :raises CannotStart: when it cannot be made, or later when it cannot listen.
    """
    log.info(
        "infernet-router {version}: {settings}",
        event="router.starting",
        version=__version__,
        settings=settings,
    )
    appointments = keep_time(reactor, settings.timeout)
    limits = raise_limit()
    reactor.installNameResolver(HostnameResolver(reactor, threads=limits.lookups))
    weights = Weights(settings.job_weight, settings.pending_weight)
    make_fleet = make_fleet or _fleet_class(settings)
    fleet = make_fleet(monotonic, Random(), weights, settings.max_utilization)
    pool = NodeConnections(reactor, most_kept=limits.kept, patience=min(1.0, settings.timeout / 3))
    counts, readiness = Counts(), Readiness(fleet, monotonic)
    router = _Router(pool, readiness, settings.linger, reactor)
    try:
        off_loop = OffLoop[Any](partial(in_thread, reactor), reactor)
        tokens = Tokens(settings.admin_tokens, settings.admin_token, off_loop)
        http = http_client(reactor, pool, settings.ca_file)
        freezer = Freezer(fleet)
        slices = Slices(reactor, freezer.freezing_later)
        sources = Sources(fleet, slices, counts)
        finders = tuple(_sources(settings, reactor, appointments, sources, slices, http, tokens))
        paces = Paces()
        nodes = WithHeaders(http, settings.node_header) if settings.node_header else http
        sharing = _sharing(settings, fleet, reactor)
        make_poller: Callable[..., Poller] = Poller if sharing is None else sharing.make_poller
        poller = make_poller(
            fleet,
            nodes,
            reactor,
            interval=settings.interval,
            busy_interval=settings.busy_interval,
            timeout=settings.timeout,
            max_polls=settings.max_polls,
            at_once=limits.polls,
            paces=paces,
            counts=counts,
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
        router_name = "" if sharing is None else sharing.router
        decisions = Decisions(monotonic, token_bytes(32), router_name)
        clients = Clients(settings.trust_proxy)
        outcomes = Outcomes(fleet, decisions, clients.identify, monotonic)
        if sharing is not None:
            outcomes.pass_on, sharing.passed = sharing.pass_on, outcomes.hear
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
            readiness,
            counts,
        )
        guarded = _guarded(api, clients, settings, counts)
        site = ClosableSite(guarded, reactor, limits.clients, settings.idle_timeout, counts)
        server = Server(site, settings.endpoints, _listener(settings, reactor))
        overrides = Overrides(fleet, monotonic, time, router_name or token_hex(8))
        if sharing is not None:
            from infernet_router.replicas.joining import share_orders

            share_orders(sharing, overrides, reactor)
        state = None
        if settings.state is not None:
            state = State(settings.state, OffLoop[Any](partial(in_thread, reactor), reactor))
        audit = Audit(state, reactor, time)
        steering = Steering(fleet, overrides, state, audit, counts, reactor)
        services = [steering, *finders, poller, resources, surveyor, first_polls, server, freezer]
        services += [] if sharing is None else [sharing]
        if settings.admin is not None or settings.metrics is not None:
            parts = Parts(
                steering=steering,
                fleet=fleet,
                records=fleet.keep_records(Random()),
                surveyor=surveyor,
                poller=poller,
                sources=sources,
                readiness=readiness,
                counts=counts,
                decisions=decisions,
                lines_dropped=lambda: router.log.lines_dropped if router.log else 0,
                connections={"client": lambda: site.connections, "node": lambda: pool.open},
                options=settings.shown(),
                replication=sharing,
            )
            endpoints = Endpoints(
                parts,
                tokens,
                reactor,
                admin=settings.admin,
                metrics=settings.metrics,
                required=settings.admin_given,
                hosts=settings.admin_host,
                most_connections=limits.operators,
            )
            services.append(endpoints)
        notify = notifier()
        if notify is not None:
            systemd = Systemd(
                reactor,
                notify,
                is_ready=lambda: readiness.is_ready,
                is_alive=lambda: poller.silence is None,
                status=lambda: _status(fleet),
                watchdog=watchdog_seconds(),
            )
            services.append(systemd)
    except (BadSource, BadCertificates, BadState, BadTokens, CannotServe) as error:
        raise CannotStart(str(error)) from None
    for service in services:
        service.setServiceParent(router)
    return router


def _listener(settings: Settings, reactor: Any) -> Any:
    """The reactor that listens for clients: with --reuse-port, other routers may, too."""
    if not settings.reuse_port:
        return reactor
    from infernet_router.serving.shared_ports import SharedPorts

    if settings.redis is None:
        log.warn(
            "--reuse-port without --redis: routers on one port do not know what the others hand"
            " out",
            event="replicas.apart",
        )
    return SharedPorts(reactor)


def _status(fleet: Fleet) -> str:
    """How many nodes are up, for systemd."""
    states = fleet.states
    there = states.up + states.suspect
    return f"{there:,} of {there + states.down + states.unknown:,} nodes up"


def _guarded(api: Resource, clients: Clients, settings: Settings, counts: Counts) -> Resource:
    """The API behind the rate limit and CORS, where these are on."""
    if settings.rate_limit is not None:
        api = RateLimited(api, settings.rate_limit, clients, monotonic, counts=counts)
    return CrossOrigin(api, settings.cors_origin) if settings.cors_origin else api


def _fleet_class(settings: Settings) -> type[Fleet]:
    """The kind of fleet that a router needs; what is for replicas only is imported for them."""
    if settings.redis is None:
        return Fleet
    from infernet_router.fleet.shared import SharedFleet

    return SharedFleet


def _sharing(settings: Settings, fleet: Any, reactor: Any) -> "Sharing | None":
    """What shares a fleet, a SharedFleet, with other routers, if this router does."""
    if settings.redis is None:
        return None
    from infernet_router.replicas.joining import join

    return join(settings.redis, settings.redis_ca_file, settings.redis_prefix, fleet, reactor)


def _sources(
    settings: Settings,
    reactor: Any,
    appointments: IReactorTime,
    sources: Sources,
    slices: Slices,
    http: HTTPClient,
    tokens: Tokens,
) -> Iterator[IService]:
    """
    The services that keep the addresses of all sources up to date, and read files on SIGHUP.

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
        waits=settings.wait_for_nodes,
    )
    yield from (ips, watcher, HangupListener(reactor, ips.read_again, tokens.read_again))
    if explorer is not None:
        yield AskedSource(
            explorer, partial(ask_explorer, http, explorer, reactor, slices), sources, appointments
        )


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
        super().startService()
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
