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
from twisted.logger import Logger
from twisted.web.resource import Resource

from infernet_router import __version__
from infernet_router.admin import BadTokens, Endpoints, Parts, Tokens
from infernet_router.api import (
    Api,
    Clients,
    CrossOrigin,
    Decisions,
    Outcomes,
    RateLimited,
    Readiness,
)
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet, Weights
from infernet_router.nodes import (
    BadCertificates,
    HostnameResolver,
    NodeConnections,
    Poller,
    Resources,
    Surveyor,
    http_client,
)
from infernet_router.options import CannotStart, Options, Settings
from infernet_router.process import Freezer, HangupListener, linger, raise_limit
from infernet_router.serving import CannotServe, ClosableSite, Server
from infernet_router.sources import (
    AddressFile,
    AskedSource,
    BadSource,
    DnsWatcher,
    Sources,
    ask_explorer,
    dns_resolver,
)

_POLLS_A_QUESTION = 10
"""Polls for each request for a node's resources, when there are many nodes."""

log = Logger()


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    The router that these options describe.

    :raises CannotStart: when it cannot be made.
    """
    if reactor is None:
        from twisted.internet import reactor
    return make_router(options.settings, reactor)


def make_router(
    settings: Settings, reactor: Any, make_fleet: Callable[..., Fleet] = Fleet
) -> IService:
    """
    A router with these settings.

    :param make_fleet: called as Fleet is.
    :raises CannotStart: when it cannot be made, or later when it cannot listen.
    """
    log.info("infernet-router {version}: {settings}", version=__version__, settings=settings)
    limits = raise_limit()
    reactor.installNameResolver(HostnameResolver(reactor, threads=limits.lookups))
    weights = Weights(settings.job_weight, settings.pending_weight)
    fleet = make_fleet(monotonic, Random(), weights, settings.max_utilization)
    pool = NodeConnections(reactor, most_kept=limits.kept)
    counts, readiness = Counts(), Readiness(fleet, monotonic)
    router = _Router(pool, readiness, settings.linger, reactor)
    sources = Sources(fleet, counts)
    try:
        tokens = Tokens(settings.admin_tokens, settings.admin_token)
        http = http_client(reactor, pool, settings.ca_file)
        finders = tuple(_sources(settings, reactor, sources, http, tokens))
        poller = Poller(
            fleet,
            http,
            reactor,
            interval=settings.interval,
            busy_interval=settings.busy_interval,
            timeout=settings.timeout,
            max_polls=settings.max_polls,
            at_once=limits.polls,
            counts=counts,
        )
        resources = Resources(
            fleet,
            http,
            reactor,
            Random(),
            interval=settings.resources_interval,
            max_questions=settings.max_polls / _POLLS_A_QUESTION,
            at_once=limits.resources,
        )
        surveyor = Surveyor(fleet, http, reactor, at_once=limits.surveys)
        decisions = Decisions(monotonic, token_bytes(32))
        clients = Clients(settings.trust_proxy)
        outcomes = Outcomes(fleet, decisions, clients.identify, monotonic)
        root = Api(fleet, resources, surveyor, decisions, outcomes, readiness, counts)
        api = _guarded(root, clients, settings, counts)
        site = ClosableSite(api, reactor, limits.clients, counts)
        services = [
            *(*finders, poller, resources, surveyor),
            Server(site, settings.endpoints, reactor),
            Freezer(fleet),
        ]
        if settings.admin is not None or settings.metrics is not None:
            parts = Parts(
                fleet=fleet,
                poller=poller,
                resources=resources,
                sources=sources,
                readiness=readiness,
                counts=counts,
                connections={"client": lambda: site.connections, "node": lambda: pool.open},
                options=settings.shown(),
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
    except (BadSource, BadCertificates, BadTokens, CannotServe) as error:
        raise CannotStart(str(error)) from None
    for service in services:
        service.setServiceParent(router)
    return router


def _guarded(api: Resource, clients: Clients, settings: Settings, counts: Counts) -> Resource:
    """The API behind the rate limit and CORS, where these are on."""
    if settings.rate_limit is not None:
        api = RateLimited(api, settings.rate_limit, clients, monotonic, counts=counts)
    return CrossOrigin(api, settings.cors_origin) if settings.cors_origin else api


def _sources(
    settings: Settings, reactor: Any, sources: Sources, http: HTTPClient, tokens: Tokens
) -> Iterator[IService]:
    """
    The services that read all sources, and the one that reads files again on SIGHUP.

    :raises BadSource: when the address file is bad.
    """
    explorer = settings.node_explorer
    watcher = DnsWatcher(sources, partial(dns_resolver, reactor, settings.resolver), reactor)
    may_be_missing = explorer is not None and not settings.ips_given
    ips = AddressFile(settings.ips, sources, watcher.watch, reactor, may_be_missing=may_be_missing)
    yield from (ips, watcher, HangupListener(reactor, ips.read_again, tokens.read_again))
    if explorer is not None:
        yield AskedSource(
            explorer, partial(ask_explorer, http, explorer, reactor), sources, reactor
        )


class _Router(MultiService):
    """The running router."""

    def __init__(
        self, pool: NodeConnections, readiness: Readiness, linger: float, reactor: Any
    ) -> None:
        super().__init__()
        self._pool = pool
        self._readiness = readiness
        self._linger = linger
        self._reactor = reactor

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
            log.info("stopping in {seconds:g} s", seconds=self._linger)
            await linger(self._reactor, self._linger)
        await super().stopService()
        await self._pool.closeCachedConnections()
