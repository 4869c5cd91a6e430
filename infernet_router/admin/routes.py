"""The routes of the endpoints for operators, each from a query to an answer."""

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Request

from infernet_router.addresses import NodeAddress
from infernet_router.admin.access import Access, Role, peer_of
from infernet_router.admin.census import Count, nodes_of
from infernet_router.admin.changing import address_in, body_of, check_change
from infernet_router.admin.choices import Choices
from infernet_router.admin.demand import Demand
from infernet_router.admin.draining import Drainer
from infernet_router.admin.node_list import Wanted, listed, parse, parse_states, selected
from infernet_router.admin.node_map import NodeMap
from infernet_router.admin.node_metrics import CONTENT_TYPE, lines
from infernet_router.admin.ordering import parse_wanted
from infernet_router.admin.overview import Overview
from infernet_router.admin.page import page_file
from infernet_router.admin.results import Results
from infernet_router.admin.scraped import MetricsRoot, Scraped, app_for_programs
from infernet_router.admin.shown import Viewer, is_ordered_drained, rfc3339, rounded
from infernet_router.admin.steering import Steering
from infernet_router.api.answers import answer, answer_chunks, answer_encoded, list_chunks
from infernet_router.api.openapi import MAX_EXCLUDED
from infernet_router.api.query import BadRequest, Query
from infernet_router.fleet import ContainerView, Fleet, NodeView
from infernet_router.serving.errors import HTTPError
from infernet_router.sources import Sources

_OPEN = frozenset((b"/metrics", b"/livez", b"/readyz"))
"""Paths that anyone may read, without a token: programs of other machines do."""

_PAGE = b"/page/"
"""Where the status page's own files are, which are no secret; the page asks for a token."""

_READ = (b"GET", b"HEAD")

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 1000
_MAX_TEXT = 500
"""The longest name of a container or model, in characters."""

_DECISIONS_SHOWN = 20
"""How many of the decisions that chose a node are shown with it."""

_DEFAULT_WAIT = 300
_MAX_WAIT = 86_400
"""Seconds to wait until a node is drained."""


class AdminRoot(MetricsRoot):
    """
    The endpoint for operators: what programs read, and more.

    :param options: the options in effect, without secrets.
    """

    app = app_for_programs()

    def __init__(
        self,
        access: Access,
        scraped: Scraped,
        *,
        fleet: Fleet,
        results: Results,
        viewer: Viewer,
        overview: Overview,
        node_map: NodeMap,
        demand: Demand,
        choices: Choices,
        drainer: Drainer,
        steering: Steering,
        sources: Sources,
        options: dict[str, object],
    ) -> None:
        super().__init__(access, scraped)
        self._fleet = fleet
        self._results = results
        self._viewer = viewer
        self._overview = overview
        self._node_map = node_map
        self._demand = demand
        self._choices = choices
        self._drainer = drainer
        self._steering = steering
        self._sources = sources
        self._options = options

    def check(self, request: Request) -> None:
        """
        Check Host, and that whoever sends a request may read or change.

        :raises HTTPError: when it is not allowed.
        """
        if request.method not in _READ:
            check_change(request, self._access, self._steering)
        else:
            self._access.check_host(request)
            path = request.path
            is_open = path in _OPEN or path == b"/" or path.startswith(_PAGE)
            self._access.admit(request, Role.ANYONE if is_open else Role.VIEWER)
            if not is_open:
                self._demand.take()

    @app.route("/", methods=["GET"])
    def _index(self, request: Request) -> bytes:
        """The status page."""
        return self._page(request, "index.html")

    @app.route("/page/<name>", methods=["GET"])
    def _page(self, request: Request, name: str) -> bytes:
        """A file of the status page, which browsers keep until it changes."""
        file = page_file(name)
        request.setHeader(b"Content-Type", file.content_type)
        request.setHeader(b"Cache-Control", b"no-cache")
        if _is_known(request, file.tag):
            return b""
        request.setHeader(b"Content-Length", b"%d" % len(file.content))
        return b"" if request.method == b"HEAD" else file.content

    @app.route("/metrics/nodes", methods=["GET"])
    def _node_metrics(self, request: Request) -> Deferred[bytes]:
        """Metrics of the nodes that are in a state and run containers."""
        query = Query(request.uri)
        containers = tuple(filter(None, query.texts("container")))
        wanted = Wanted(states=parse_states(query), containers=containers)

        def found(addresses: list[NodeAddress]) -> bytes | Deferred[bytes]:
            chunks = lines(self._fleet, addresses)
            return answer_chunks(request, chunks, self._results.turns.run, CONTENT_TYPE)

        return self._results.make(selected(self._fleet, wanted.has)).addCallback(found)

    @app.route("/admin/v1/overview", methods=["GET"])
    def _overview_route(self, request: Request) -> Deferred[bytes]:
        """How the router and its nodes are; 304 if that has not changed since it was read."""

        def made(overview: tuple[bytes, bytes]) -> bytes:
            content, tag = overview
            return b"" if _is_known(request, tag) else answer_encoded(request, content)

        self._demand.looked()
        return self._overview.make().addCallback(made)

    @app.route("/admin/v1/map", methods=["GET"])
    def _map(self, request: Request) -> Deferred[bytes]:
        """The state of every node, and how long a job would wait there, in one letter each."""
        query = Query(request.uri)
        known = query.text("list", longest=50)
        is_grouped = query.whole_number("grouped", default=0, most=1) == 1
        made = self._node_map.make(known, is_grouped=is_grouped)
        return made.addCallback(lambda content: answer_encoded(request, content))

    @app.route("/admin/v1/nodes", methods=["GET"])
    def _nodes(self, request: Request) -> Deferred[bytes]:
        """Some of the nodes, sorted."""
        wanted = parse(Query(request.uri))

        def work() -> Any:
            return listed(self._fleet, self._viewer, wanted)

        found = self._results.once(wanted, work)
        return found.addCallback(lambda content: answer_encoded(request, content))

    @app.route("/admin/v1/nodes/<text>", methods=["GET"])
    def _node(self, request: Request, text: str) -> bytes | Deferred[bytes]:
        """One node, at once or as soon as it is drained."""
        view, query = self._view(text), Query(request.uri)
        wait = query.text("wait", longest=20)
        if wait is None:
            return self._detail(view).addCallback(lambda detail: answer(request, detail))
        if wait != "drained":
            raise BadRequest("wait must be drained")
        seconds = query.whole_number("timeout", default=_DEFAULT_WAIT, most=_MAX_WAIT)
        if not is_ordered_drained(view):
            raise HTTPError(409, f"{view.address} is not to be drained: there is no such order")

        def waited(now: NodeView | None) -> Deferred[bytes]:
            if now is None:
                raise HTTPError(404, f"{view.address} is not in the fleet any more")
            waits_for = self._drainer.waits_for(now)
            drained = {"drained": waits_for is None, "waits_for": waits_for}
            detail = self._detail(now)
            return detail.addCallback(lambda detail: answer(request, detail | drained))

        return self._drainer.wait(view.address, seconds).addCallback(waited)

    @app.route("/admin/v1/decisions", methods=["GET"])
    def _decisions_route(self, request: Request) -> Deferred[bytes]:
        """The last decisions, newest first."""
        query = Query(request.uri)
        container, node = query.text("container", longest=_MAX_TEXT), _node_of(query)
        limit = query.whole_number("limit", default=_DEFAULT_LIMIT, least=1, most=_MAX_LIMIT)
        found = self._choices.newest(container, node, limit)
        return found.addCallback(lambda shown: self._answer_list(request, b"decisions", shown))

    @app.route("/admin/v1/decisions/<id>", methods=["GET"])
    def _decision(self, request: Request, id: str) -> bytes:
        """One decision."""
        return answer(request, self._choices.get(id))

    @app.route("/admin/v1/explain", methods=["GET"])
    def _explain(self, request: Request) -> Deferred[bytes]:
        """What a job would cost at each node, and why one would not get it."""
        query = Query(request.uri)
        containers = query.texts("container")
        if not containers or "" in containers:
            raise BadRequest("No containers specified")
        model, node = query.text("model_id", longest=_MAX_TEXT), _node_of(query)
        exclude = query.addresses("exclude", most=MAX_EXCLUDED)
        limit = query.whole_number("limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT)
        found = self._choices.explain(containers, model, exclude, node, limit)
        return found.addCallback(lambda shown: answer(request, shown))

    @app.route("/admin/v1/whatif", methods=["GET"])
    def _whatif(self, request: Request) -> Deferred[bytes]:
        """What would change if nodes were drained."""
        drained = Query(request.uri).addresses("drain", most=_MAX_LIMIT)
        if not drained:
            raise BadRequest("drain is missing: name the address of a node")
        return self._choices.whatif(drained).addCallback(lambda shown: answer(request, shown))

    @app.route("/admin/v1/containers", methods=["GET"])
    def _containers(self, request: Request) -> Deferred[bytes]:
        """The containers that nodes run, those on most nodes first."""

        def counted(count: Count) -> bytes | Deferred[bytes]:
            return self._answer_list(request, b"containers", map(_container, count.containers))

        return self.scraped.census.count().addCallback(counted)

    @app.route("/admin/v1/sources", methods=["GET"])
    def _sources_route(self, request: Request) -> bytes:
        """The sources of addresses."""
        shown = [
            {
                "name": source.name,
                "kind": source.kind,
                "addresses": source.addresses,
                "last_success": source.last_success and rfc3339(source.last_success),
                "reason": source.reason,
                "flaw": source.flaw,
            }
            for source in self._sources.states()
        ]
        return answer(request, {"sources": shown})

    @app.route("/admin/v1/options", methods=["GET"])
    def _options_route(self, request: Request) -> bytes:
        """The options in effect."""
        return answer(request, {"options": self._options})

    @app.route("/admin/v1/overrides", methods=["GET"])
    def _overrides(self, request: Request) -> bytes | Deferred[bytes]:
        """The orders of operators, newest first."""
        return self._answer_list(request, b"overrides", self._steering.listed())

    @app.route("/admin/v1/nodes/<text>/override", methods=["GET"])
    def _one_override(self, request: Request, text: str) -> bytes:
        """The override for an address."""
        address = address_in(text)
        shown = self._steering.shown_of(address)
        if shown is None:
            raise HTTPError(404, f"there is no override for {address}")
        return answer(request, shown)

    @app.route("/admin/v1/nodes/<text>/override", methods=["PUT"])
    def _override(self, request: Request, text: str) -> Deferred[bytes]:
        """Put an override into force."""
        address, wanted = address_in(text), parse_wanted(body_of(request))
        name = self._access.admit(request, Role.OPERATOR).name
        ordered = self._steering.override(address, wanted, name, peer_of(request))
        return ordered.addCallback(lambda shown: answer(request, shown))

    @app.route("/admin/v1/nodes/<text>/override", methods=["DELETE"])
    def _end_override(self, request: Request, text: str) -> Deferred[bytes]:
        """End an override."""
        if body_of(request):
            raise BadRequest("DELETE takes no body")
        name = self._access.admit(request, Role.OPERATOR).name

        def ended(_: None) -> bytes:
            request.setResponseCode(204)
            return b""

        return self._steering.end(address_in(text), name, peer_of(request)).addCallback(ended)

    @app.route("/admin/v1/audit", methods=["GET"])
    def _audit(self, request: Request) -> bytes:
        """The last changes and refusals, newest first."""
        query = Query(request.uri)
        limit = query.whole_number("limit", default=_DEFAULT_LIMIT, least=1, most=_MAX_LIMIT)
        return answer(request, {"audit": self._steering.audit.newest(limit)})

    def _view(self, text: str) -> NodeView:
        """
        The node whose address is a part of a path.

        :raises HTTPError: 404 when there is no such node.
        """
        address = address_in(text)
        view = self._fleet.view(address)
        if view is None:
            raise HTTPError(404, f"there is no node {address}")
        return view

    def _detail(self, view: NodeView) -> Deferred[dict[str, Any]]:
        """A node with its ups and downs, and the decisions that chose it."""
        history = [
            {
                "time": self._viewer.instant(entered.time),
                "state": entered.state.value,
                "reason": entered.reason,
            }
            for entered in self._fleet.history(view.address)
        ]
        decisions = self._choices.newest(None, view.address, _DECISIONS_SHOWN)
        return decisions.addCallback(
            lambda shown: {**self._viewer.node(view), "history": history, "decisions": [*shown]}
        )

    def _answer_list(
        self, request: Request, name: bytes, items: Iterable[object]
    ) -> bytes | Deferred[bytes]:
        """Answer with a list, which may be long, in slices."""
        return answer_chunks(request, list_chunks(name, items), self._results.turns.run)


def _container(container: ContainerView) -> dict[str, Any]:
    """A container as operators see it."""
    busy = container.utilization
    return {
        "id": container.id,
        "description": container.description,
        "nodes": {state.value: n for state, n in nodes_of(container).items()},
        "jobs": rounded(container.jobs),
        "capacity_jobs_per_second": rounded(container.capacity),
        "utilization": None if busy is None else rounded(busy),
    }


def _node_of(query: Query) -> NodeAddress | None:
    """The node that a query names, if any."""
    return next(iter(query.addresses("node", most=1)), None)


def _is_known(request: HTTPRequest, tag: bytes) -> bool:
    """Answer with this entity tag; whether it is a 304, as the client has what it names."""
    request.setHeader(b"ETag", tag)
    if tag not in _tags(request):
        return False
    request.setResponseCode(304)
    return True


def _tags(request: HTTPRequest) -> set[bytes]:
    """The entity tags in If-None-Match; those that a proxy weakened count too."""
    values = request.requestHeaders.getRawHeaders(b"if-none-match", ())
    return {tag.strip().removeprefix(b"W/") for tag in b",".join(values).split(b",")}
