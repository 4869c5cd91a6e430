"""The routes of the endpoints for operators, each from a query to an answer."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from infernet_router.addresses import BadAddress, NodeAddress, parse_address
from infernet_router.admin.access import Access, Role
from infernet_router.admin.census import Count
from infernet_router.admin.draining import Drainer, is_drained
from infernet_router.admin.node_list import Wanted, listed, parse, parse_state, selected
from infernet_router.admin.node_metrics import CONTENT_TYPE, lines
from infernet_router.admin.overview import Overview
from infernet_router.admin.scraped import Scraped
from infernet_router.admin.secured import Secured
from infernet_router.admin.shown import Viewer, is_ordered_drained, rfc3339, rounded
from infernet_router.admin.transitions import Transitions
from infernet_router.admin.turns import Turns
from infernet_router.api.answers import answer, answer_chunks, answer_encoded, answer_failure
from infernet_router.api.probes import answer_alive, answer_ready
from infernet_router.api.query import BadRequest, Query
from infernet_router.fleet import Fleet, NodeView
from infernet_router.serving.errors import HTTPError
from infernet_router.serving.streaming import send
from infernet_router.sources import Sources

_OPEN = frozenset((b"/metrics", b"/livez", b"/readyz"))
"""Paths that anyone may read, without a token: programs of other machines do."""

_READ = (b"GET", b"HEAD")

_DEFAULT_WAIT = 300
_MAX_WAIT = 86_400
"""Seconds to wait until a node is drained."""


class AdminRoot(Secured):
    """
    The endpoint for operators.

    :param options: the options in effect, without secrets.
    """

    app = Klein()
    app.url_map.merge_slashes = False

    def __init__(
        self,
        access: Access,
        scraped: Scraped,
        *,
        fleet: Fleet,
        turns: Turns,
        viewer: Viewer,
        overview: Overview,
        transitions: Transitions,
        drainer: Drainer,
        sources: Sources,
        options: dict[str, object],
    ) -> None:
        super().__init__(access)
        self._scraped = scraped
        self._fleet = fleet
        self._turns = turns
        self._viewer = viewer
        self._overview = overview
        self._transitions = transitions
        self._drainer = drainer
        self._sources = sources
        self._options = options

    def check(self, request: Request) -> None:
        """
        Check Host, and that whoever sends a request may read or change.

        :raises HTTPError: when it is not allowed.
        """
        self._access.check_host(request)
        if request.method not in _READ:
            self._access.admit(request, Role.OPERATOR)
        else:
            is_open = request.path in _OPEN
            self._access.admit(request, Role.ANYONE if is_open else Role.VIEWER)

    @app.route("/metrics", methods=["GET"])
    def _metrics(self, request: Request) -> Deferred[bytes]:
        return self._scraped.metrics(request)

    @app.route("/livez", methods=["GET"])
    def _livez(self, request: Request) -> bytes:
        return answer_alive(request)

    @app.route("/readyz", methods=["GET"])
    def _readyz(self, request: Request) -> bytes:
        return answer_ready(request, self._scraped.readiness)

    @app.route("/metrics/nodes", methods=["GET"])
    def _node_metrics(self, request: Request) -> Deferred[bytes]:
        """Metrics of the nodes that are in a state and run containers."""
        query = Query(request.uri)
        containers = tuple(filter(None, query.texts("container")))
        wanted = Wanted(state=parse_state(query), containers=containers)

        def found(addresses: list[NodeAddress]) -> bytes | Deferred[bytes]:
            request.setHeader(b"Content-Type", CONTENT_TYPE)
            if request.method == b"HEAD":
                return b""
            return send(request, lines(self._fleet, addresses))

        return self._turns.do(selected(self._fleet, wanted.has)).addCallback(found)

    @app.route("/admin/v1/overview", methods=["GET"])
    def _overview_route(self, request: Request) -> Deferred[bytes]:
        """How the router and its nodes are; 304 if that has not changed since it was read."""

        def made(overview: tuple[bytes, bytes]) -> bytes:
            content, tag = overview
            request.setHeader(b"ETag", tag)
            if tag in _tags(request):
                request.setResponseCode(304)
                return b""
            return answer_encoded(request, content)

        return self._overview.make().addCallback(made)

    @app.route("/admin/v1/nodes", methods=["GET"])
    def _nodes(self, request: Request) -> Deferred[bytes]:
        """Some of the nodes, sorted."""
        wanted = parse(Query(request.uri))

        def work() -> Any:
            return listed(self._fleet, self._viewer, wanted)

        found = self._turns.once(wanted, work)
        return found.addCallback(lambda content: answer_encoded(request, content))

    @app.route("/admin/v1/nodes/<text>", methods=["GET"])
    def _node(self, request: Request, text: str) -> bytes | Deferred[bytes]:
        """One node, at once or as soon as it is drained."""
        view, query = self._view(text), Query(request.uri)
        wait = query.text("wait", longest=20)
        if wait is None:
            return answer(request, self._detail(view))
        if wait != "drained":
            raise BadRequest("wait must be drained")
        seconds = query.whole_number("timeout", default=_DEFAULT_WAIT, most=_MAX_WAIT)
        if not is_ordered_drained(view):
            raise HTTPError(409, f"{view.address} is not to be drained: there is no such order")

        def waited(now: NodeView | None) -> bytes:
            if now is None:
                raise HTTPError(404, f"{view.address} is not in the fleet any more")
            return answer(request, {**self._detail(now), "drained": is_drained(now)})

        return self._drainer.wait(view.address, seconds).addCallback(waited)

    @app.route("/admin/v1/containers", methods=["GET"])
    def _containers(self, request: Request) -> Deferred[bytes]:
        """The containers that nodes run, those on most nodes first."""

        def counted(count: Count) -> bytes | Deferred[bytes]:
            return answer_chunks(request, self._container_chunks(count))

        return self._scraped.census.count().addCallback(counted)

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
    def _overrides(self, request: Request) -> bytes:
        """The orders of operators."""
        return answer(request, {"overrides": []})

    @app.handle_errors(Exception)
    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        return answer_failure(request, failure)

    def _view(self, text: str) -> NodeView:
        """
        The node whose address is a part of a path.

        :raises HTTPError: 404 when there is no such node.
        """
        try:
            address = parse_address(unquote_to_bytes(text).decode())
        except (BadAddress, UnicodeDecodeError) as error:
            why = error if isinstance(error, BadAddress) else "it is not UTF-8"
            raise HTTPError(400, f"this is not the address of a node: {why}") from None
        view = self._fleet.view(address)
        if view is None:
            raise HTTPError(404, f"there is no node {address}")
        return view

    def _detail(self, view: NodeView) -> dict[str, Any]:
        """A node with its ups and downs, and the decisions that chose it."""
        history = [
            {"time": self._viewer.instant(at), "state": state, "reason": reason}
            for at, state, reason in self._transitions.of(view.address)
        ]
        return {**self._viewer.node(view), "history": history, "decisions": []}

    def _container_chunks(self, count: Count) -> Iterator[bytes]:
        """The answer to a request for the containers, in parts."""
        descriptions = {container.id: container.description for container in self._fleet.running}
        separator = b'{"containers":['
        for id in count.most_common(len(count.containers)):
            counted = count.containers[id]
            busy = counted.utilization
            yield separator + msgspec.json.encode(
                {
                    "id": id,
                    "description": descriptions.get(id),
                    "nodes": {state.value: number for state, number in counted.nodes.items()},
                    "jobs": rounded(counted.jobs),
                    "capacity_jobs_per_second": rounded(counted.capacity),
                    "utilization": None if busy is None else rounded(busy),
                }
            )
            separator = b","
        yield b"]}" if count.containers else separator + b"]}"


def _tags(request: HTTPRequest) -> set[bytes]:
    """The entity tags in If-None-Match; those that a proxy weakened count too."""
    values = request.requestHeaders.getRawHeaders(b"if-none-match", ())
    return {tag.strip().removeprefix(b"W/") for tag in b",".join(values).split(b",")}
