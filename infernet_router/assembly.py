"""Assembles a router: makes its parts from the settings, each with the parts that it uses."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from secrets import token_bytes, token_hex
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.web.resource import Resource

from infernet_router.admin import (
    Audit,
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
    HostnameResolver,
    NodeConnections,
    Paces,
    Poller,
    Resources,
    Surveyor,
    WithHeaders,
    http_client,
)
from infernet_router.process import (
    Freezer,
    HangupListener,
    Slices,
    Systemd,
    Turns,
    keep_time,
    notifier,
    raise_limit,
    watchdog_seconds,
)
from infernet_router.serving import ClosableSite, Server
from infernet_router.settings import Settings
from infernet_router.sources import (
    AddressFile,
    AskedSource,
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


class Assembly:
    """
    The parts of one router that several others use; `services` makes the rest.

    :param make_fleet: called as Fleet is; it makes a SharedFleet for a router that shares its own.
    :raises BadCertificates: when a file of certificates to trust cannot be used.
    :raises BadTokens: when the file of tokens is bad.
    """

    def __init__(
        self, settings: Settings, reactor: Any, make_fleet: Callable[..., Fleet] | None = None
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._appointments = keep_time(reactor, settings.timeout)
        """The clock by which sources are asked again."""
        self._limits = raise_limit()
        reactor.installNameResolver(HostnameResolver(reactor, threads=self._limits.lookups))
        weights = Weights(settings.job_weight, settings.pending_weight)
        make_fleet = make_fleet or _fleet_class(settings)
        self._fleet = make_fleet(monotonic, Random(), weights, settings.max_utilization)
        patience = min(1.0, settings.timeout / 3)
        self.pool = NodeConnections(reactor, most_kept=self._limits.kept, patience=patience)
        self._counts = Counts()
        self.readiness = Readiness(self._fleet, monotonic)
        self._tokens = Tokens(settings.admin_tokens, settings.admin_token, self._off_loop())
        self._http = http_client(reactor, self.pool, settings.ca_file)
        self._freezer = Freezer(self._fleet)
        self._slices = Slices(reactor, self._freezer.freezing_later)
        self._sources = Sources(self._fleet, self._slices, self._counts)
        self._sharing = _sharing(settings, self._fleet, reactor)
        self._name = "" if self._sharing is None else self._sharing.router
        """What this router is called among those that share a fleet; empty if it shares none."""
        self._decisions = Decisions(monotonic, token_bytes(32), self._name)

    def services(self, lines_dropped: Callable[[], int]) -> Iterator[IService]:
        """
        The services of the router, in the order in which they are to start.

        :param lines_dropped: returns how many lines of the log could not be written.
        :raises BadSource: when the address file is bad.
        :raises BadState: when the state directory cannot be used.
        :raises CannotServe: when the description of an endpoint is malformed.
        """
        finders = tuple(self._finders())
        poller, resources, surveyor = self._askers()
        first_polls, site, server = self._api(poller, resources, surveyor)
        steering = self._steering()
        yield from (steering, *finders, poller, resources, surveyor, first_polls, server)
        yield self._freezer
        if self._sharing is not None:
            yield self._sharing
        if self._settings.admin is not None or self._settings.metrics is not None:
            yield self._endpoints(poller, surveyor, steering, site, lines_dropped)
        notify = notifier()
        if notify is not None:
            yield Systemd(
                self._reactor,
                notify,
                is_ready=lambda: self.readiness.is_ready,
                is_alive=lambda: poller.silence is None,
                status=lambda: _status(self._fleet),
                watchdog=watchdog_seconds(),
            )

    def _finders(self) -> Iterator[IService]:
        """What keeps the addresses of all sources up to date, and reads files on SIGHUP."""
        settings, reactor, clock = self._settings, self._reactor, self._appointments
        explorer, resolver = settings.node_explorer, settings.resolver
        servers = NameServers(reactor, system_servers if resolver is None else lambda: (resolver,))
        # What only a name server of its own knows, clients cannot look up either.
        targets = "name" if resolver is None else "address"
        watcher = DnsWatcher(self._sources, servers.ask, clock, targets=targets)
        ips = AddressFile(
            settings.ips,
            self._sources,
            watcher.watch,
            clock,
            self._slices,
            self._off_loop(),
            may_be_missing=explorer is not None and not settings.ips_given,
            waits=settings.wait_for_nodes,
        )
        yield from (ips, watcher)
        yield HangupListener(reactor, ips.read_again, self._tokens.read_again)
        if explorer is not None:
            ask = partial(ask_explorer, self._http, explorer, reactor, self._slices)
            yield AskedSource(explorer, ask, self._sources, clock)

    def _askers(self) -> tuple[Poller, Resources, Surveyor]:
        """What asks nodes, in a common pace."""
        settings, limits, http, paces = self._settings, self._limits, self._http, Paces()
        nodes = WithHeaders(http, settings.node_header) if settings.node_header else http
        make_poller: Callable[..., Poller] = Poller
        if self._sharing is not None:
            make_poller = self._sharing.make_poller
        poller = make_poller(
            self._fleet,
            nodes,
            self._reactor,
            interval=settings.interval,
            busy_interval=settings.busy_interval,
            timeout=settings.timeout,
            max_polls=settings.max_polls,
            at_once=limits.polls,
            paces=paces,
            counts=self._counts,
        )
        resources = Resources(
            self._fleet,
            nodes,
            self._reactor,
            Random(),
            interval=settings.resources_interval,
            max_questions=settings.max_polls / _POLLS_A_QUESTION,
            at_once=limits.resources,
            paces=paces,
        )
        surveyor = Surveyor(self._fleet, nodes, self._reactor, at_once=limits.surveys, paces=paces)
        return poller, resources, surveyor

    def _api(
        self, poller: Poller, resources: Resources, surveyor: Surveyor
    ) -> tuple[FirstPolls, ClosableSite, Server]:
        """The API for clients, with the limits that are set, and what serves it."""
        settings, reactor, fleet = self._settings, self._reactor, self._fleet
        clients = Clients(settings.trust_proxy)
        outcomes = Outcomes(fleet, self._decisions, clients.identify, monotonic)
        if self._sharing is not None:
            outcomes.pass_on, self._sharing.passed = self._sharing.pass_on, outcomes.hear
        turns = Turns(reactor, monotonic)
        first_polls = FirstPolls(fleet, reactor, turns, lambda: self._sources.are_awaited)
        root: Resource = Api(
            fleet,
            resources,
            surveyor,
            self._decisions,
            outcomes,
            clients.identify,
            turns,
            first_polls,
            lambda: poller.silence,
            self.readiness,
            self._counts,
        )
        if settings.rate_limit is not None:
            root = RateLimited(root, settings.rate_limit, clients, monotonic, counts=self._counts)
        if settings.cors_origin:
            root = CrossOrigin(root, settings.cors_origin)
        most, idle_timeout = self._limits.clients, settings.idle_timeout
        site = ClosableSite(root, reactor, most, idle_timeout, self._counts)
        return first_polls, site, Server(site, settings.endpoints, _listener(settings, reactor))

    def _steering(self) -> Steering:
        """What applies, keeps and records the orders of operators."""
        overrides = Overrides(self._fleet, monotonic, time, self._name or token_hex(8))
        if self._sharing is not None:
            from infernet_router.replicas.joining import share_orders

            share_orders(self._sharing, overrides, self._reactor)
        state = None
        if self._settings.state is not None:
            state = State(self._settings.state, self._off_loop())
        audit = Audit(state, self._reactor, time)
        return Steering(self._fleet, overrides, state, audit, self._counts, self._reactor)

    def _endpoints(
        self,
        poller: Poller,
        surveyor: Surveyor,
        steering: Steering,
        site: ClosableSite,
        lines_dropped: Callable[[], int],
    ) -> Endpoints:
        """What serves operators and scrapers, and remembers what they may ask for."""
        settings, pool = self._settings, self.pool
        parts = Parts(
            steering=steering,
            fleet=self._fleet,
            records=self._fleet.keep_records(Random()),
            surveyor=surveyor,
            poller=poller,
            sources=self._sources,
            readiness=self.readiness,
            counts=self._counts,
            decisions=self._decisions,
            lines_dropped=lines_dropped,
            connections={"client": lambda: site.connections, "node": lambda: pool.open},
            options=settings.shown(),
            replication=self._sharing,
        )
        return Endpoints(
            parts,
            self._tokens,
            self._reactor,
            admin=settings.admin,
            metrics=settings.metrics,
            required=settings.admin_given,
            hosts=settings.admin_host,
            most_connections=self._limits.operators,
        )

    def _off_loop(self) -> OffLoop[Any]:
        """Runs what may hang, for one part of the router."""
        return OffLoop[Any](partial(in_thread, self._reactor), self._reactor)


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
    drained = f", {fleet.drained:,} of them drained" if fleet.drained else ""
    return f"{there:,} of {there + states.down + states.unknown:,} nodes up{drained}"
