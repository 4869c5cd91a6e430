"""The endpoints for operators: joins what they see with the parts of the router that know it."""

from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.application.service import MultiService

from infernet_router.admin.access import Access
from infernet_router.admin.census import Census
from infernet_router.admin.choices import Choices
from infernet_router.admin.demand import Demand
from infernet_router.admin.draining import Drainer
from infernet_router.admin.node_map import NodeMap
from infernet_router.admin.overview import Overview
from infernet_router.admin.results import Results
from infernet_router.admin.shown import Viewer
from infernet_router.admin.steering import Steering
from infernet_router.admin.tokens import Tokens
from infernet_router.admin.traffic import Traffic
from infernet_router.api.decisions import Decisions
from infernet_router.api.probes import Readiness
from infernet_router.counting import Counts
from infernet_router.fleet import Fleet, Records
from infernet_router.nodes import Poller, Surveyor
from infernet_router.process.turns import Turns
from infernet_router.serving import ClosableSite, Server
from infernet_router.sources import Sources

if TYPE_CHECKING:
    from infernet_router.admin.replication import Replication
    from infernet_router.admin.scraped import Scraped

_SLICE = 0.002
"""Seconds of work for operators in one turn of the reactor: clients are answered in between."""


@frozen(kw_only=True)
class Parts:
    """The parts of the router that operators see."""

    fleet: Fleet
    poller: Poller
    records: Records
    surveyor: Surveyor
    sources: Sources
    steering: Steering
    readiness: Readiness
    counts: Counts
    decisions: Decisions
    lines_dropped: Callable[[], int]
    """Lines of the log that could not be written."""
    connections: Mapping[str, Callable[[], int]]
    """By side, client or node: returns how many connections there are."""
    options: Mapping[str, object]
    """The options in effect, without secrets."""
    replication: "Replication | None" = None
    """What shares the fleet with other routers."""


class Endpoints(MultiService):
    """
    Serves operators, and programs that read metrics.

    :param admin: the description of the endpoint for operators, if there is one.
    :param metrics: that of the endpoint for programs only.
    :param required: whether the router must be able to listen for operators.
    :param hosts: the names by which operators reach the router.
    :param most_connections: the limit of each endpoint.
    :raises CannotServe: when a description is malformed.
    """

    def __init__(
        self,
        parts: Parts,
        tokens: Tokens,
        reactor: Any,
        *,
        admin: str | None,
        metrics: str | None,
        required: bool,
        hosts: tuple[str, ...],
        most_connections: int,
    ) -> None:
        super().__init__()
        # prometheus_client takes 10 ms and a megabyte, so it is imported only when it is used.
        from infernet_router.admin.metrics import Exposition, Gauges
        from infernet_router.admin.scraped import MetricsRoot, Scraped

        self._parts = parts
        self._reactor = reactor
        self._most_connections = most_connections
        self._results = Results(Turns(reactor, monotonic, _SLICE), reactor)
        self._census = Census(parts.fleet, self._results)
        self._traffic = Traffic(parts.counts, lambda: parts.fleet.decided, self._up, reactor)
        self._traffic.setServiceParent(self)
        gauges = Gauges(
            connections=parts.connections,
            poll_interval=lambda: parts.poller.interval,
            fleet=parts.fleet,
            lines_dropped=parts.lines_dropped,
            delay=self._traffic.delay,
            sources=parts.sources,
            replication=parts.replication,
        )
        scraped = Scraped(Exposition(parts.counts, gauges), self._census, parts.readiness)

        def access(endpoint: str) -> Access:
            return Access(tokens, hosts, trust_local=not endpoint.startswith("haproxy:"))

        if admin is not None:
            root = self._admin_root(access(admin), scraped)
            self._serve(root, admin, "operators", required=required, reads_bodies=True)
        if metrics is not None:
            self._serve(MetricsRoot(access(metrics), scraped), metrics, "metrics", required=True)

    def _up(self) -> int:
        """How many nodes are up or suspect."""
        states = self._parts.fleet.states
        return states.up + states.suspect

    def _serve(
        self,
        root: Any,
        endpoint: str,
        purpose: str,
        *,
        required: bool,
        reads_bodies: bool = False,
    ) -> None:
        """
        Serve on an endpoint while this runs.

        :param purpose: what the log calls it.
        """
        site = ClosableSite(root, self._reactor, self._most_connections, reads_bodies=reads_bodies)
        server = Server(site, [endpoint], self._reactor, purpose=purpose, required=required)
        server.setServiceParent(self)

    def _admin_root(self, access: Access, scraped: "Scraped") -> Any:
        """What operators are served."""
        from infernet_router.admin.routes import AdminRoot

        parts, results, started = self._parts, self._results, time()
        viewer = Viewer(parts.sources.naming, monotonic, time, parts.steering.shown_of)
        demand = Demand(monotonic)
        overview = Overview(
            census=self._census,
            results=results,
            fleet=parts.fleet,
            traffic=self._traffic,
            sources=parts.sources,
            viewer=viewer,
            started=started,
            poll_interval=lambda: parts.poller.interval,
            least_interval=parts.poller.least_interval,
            replication=parts.replication,
            page_interval=lambda: demand.interval,
        )
        choices = Choices(
            parts.fleet,
            parts.records,
            parts.decisions,
            parts.surveyor,
            results,
            viewer,
            monotonic,
        )
        return AdminRoot(
            access,
            scraped,
            fleet=parts.fleet,
            results=results,
            viewer=viewer,
            overview=overview,
            node_map=NodeMap(parts.fleet, results, started),
            demand=demand,
            choices=choices,
            drainer=Drainer(parts.fleet, self._reactor, parts.replication),
            steering=parts.steering,
            sources=parts.sources,
            options=dict(parts.options),
        )
