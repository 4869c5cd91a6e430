"""The routes of the HTTP API, each from a query through the fleet to an answer."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
from attrs import asdict
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.addresses import NodeAddress
from infernet_router.api.answers import (
    answer,
    answer_chunks,
    answer_directly,
    answer_encoded,
    answer_failure,
)
from infernet_router.api.decisions import MAX_ID, Decisions
from infernet_router.api.first_polls import FirstPolls
from infernet_router.api.openapi import (
    DEFAULT_N,
    DESCRIPTION,
    FRONT,
    MAX_EXCLUDED,
    MAX_JOBS,
    MAX_MODEL,
    MAX_N,
    MAX_OFFSET,
)
from infernet_router.api.outcomes import Outcomes
from infernet_router.api.probes import Readiness, answer_alive, answer_ready
from infernet_router.api.query import BadRequest, Query
from infernet_router.counting import Counts
from infernet_router.fleet import Among, Fleet, NoNode, Outcome, Reason
from infernet_router.nodes import CannotSurvey, Resources, Surveyor
from infernet_router.process.turns import Turns
from infernet_router.serving.errors import RETRY_SOON, HTTPError

_CONTAINER = rb"container=[^&%+\x80-\xff]++"

_USUAL_TARGET = re.compile(rb"/api/v1/ip\?(%b(?:&%b){0,9})" % (_CONTAINER, _CONTAINER))
"""The usual request target: it has no model_id, so its answer waits for no node."""

_USUAL_HOST = re.compile(rb"(?:[\w-]{1,63}\.)*[\w-]{1,63}(?::[0-9]+)?")
"""The usual Host; Klein validates any other."""


class Api(Resource):
    """
    The root resource, with all routes; every error is JSON.

    :param fleet: picks the nodes.
    :param resources: the resources that nodes reported.
    :param surveyor: asks nodes whether they support a model.
    :param decisions: gives each decision an id.
    :param outcomes: takes the outcomes of jobs.
    :param client_of: identifies the client of a request, as Clients.identify does.
    :param turns: does what takes long.
    :param first_polls: holds requests that come too early.
    :param silence: the seconds since the last poll was sent, if that is too long; None otherwise.
    :param readiness: whether the router is ready.
    :param counts: counts the requests for which there is no node.
    """

    isLeaf = True
    app = Klein()
    app.url_map.merge_slashes = False

    def __init__(
        self,
        fleet: Fleet,
        resources: Resources,
        surveyor: Surveyor,
        decisions: Decisions,
        outcomes: Outcomes,
        client_of: Callable[[Request], bytes | None],
        turns: Turns,
        first_polls: FirstPolls,
        silence: Callable[[], float | None],
        readiness: Readiness | None = None,
        counts: Counts | None = None,
    ) -> None:
        super().__init__()
        self._client_of = client_of
        self._fleet = fleet
        self._resources = resources
        self._surveyor = surveyor
        self._decisions = decisions
        self._outcomes = outcomes
        self._turns = turns
        self._first_polls = first_polls
        self._silence = silence
        self._readiness = readiness or Readiness(fleet)
        self._counts = counts or Counts()
        self._counts.name_paths(PATHS)
        self._routes = self.app.resource()

    def render(self, request: Request) -> bytes | int:
        """Answer a request; an exception is answered as a JSON error."""
        try:
            return self._route(request)
        except Exception:
            return cast(bytes, self._failed(request, Failure()))

    def _route(self, request: Request) -> bytes | int:
        """
        Call the route of a request: directly if it is a usual one, or through Klein.

        :raises HTTPError: when Klein would misread the method, the Host or the path.
        """
        host = request.getHeader(b"host")
        if host is None:  # HTTP/1.0 allows that; Klein needs one, and a unix socket has none
            host = b"localhost"
            request.requestHeaders.setRawHeaders(b"host", [host])
        usual = _USUAL_TARGET.fullmatch(request.uri)
        if usual and request.method == b"GET" and _USUAL_HOST.fullmatch(host):
            # Routing by Klein would take longer than everything else together.
            containers = usual[1][len("container=") :].decode("ascii").split("&container=")
            if self._fleet.is_quick(containers):
                try:
                    address = self._fleet.pick(containers)
                    self._name_decision(request, address)
                    return answer_directly(request, {"ip": str(address)})
                except NoNode:
                    if not self._first_polls.are_out:
                        raise
        if request.method != request.method.upper():  # Klein would treat get as GET
            raise HTTPError(501, "there is no such method")
        path = request.postpath or []
        try:
            b"/".join((request.method, host, *path)).decode()
        except UnicodeDecodeError:
            raise HTTPError(400, "the request line or Host is not UTF-8") from None
        while len(path) > 1 and not path[0]:
            del path[0]
        return cast(int, self._routes.render(request))

    @app.route("/", methods=["GET"])
    def _front(self, request: Request) -> bytes:
        """What this service is, and where it is described."""
        return answer(request, FRONT)

    @app.route("/api/v1/ip", methods=["GET"])
    def _ip(self, request: Request) -> bytes | Deferred[bytes]:
        """The node to use for one job or several. GET assigns them to it, HEAD does not."""
        query = Query(request.uri)
        containers = _containers_of(query)
        exclude = query.addresses("exclude", most=MAX_EXCLUDED)
        jobs = query.whole_number("jobs", default=1, least=1, most=MAX_JOBS)

        assign = request.method != b"HEAD"

        def answer_with(address: NodeAddress) -> bytes:
            if assign:
                self._name_decision(request, address)
            return answer(request, {"ip": str(address)})

        def answer_among(among: Among | None, is_last: bool) -> Any:
            picking = self._fleet.picking(
                containers, among, exclude=exclude, jobs=jobs if assign else 0
            )
            return _then(self._turns.run(picking), answer_with)

        return self._among(request, query, containers, answer_among)

    @app.route("/api/v1/ips", methods=["GET"])
    def _ips(self, request: Request) -> bytes | Deferred[bytes]:
        """The best nodes for one job. GET assigns the job to the first of them, HEAD does not."""
        query = Query(request.uri)
        containers = _containers_of(query)
        exclude = query.addresses("exclude", most=MAX_EXCLUDED)
        count = query.whole_number("n", default=DEFAULT_N, most=MAX_N)
        offset = query.whole_number("offset", default=0, most=MAX_OFFSET)

        assign = request.method != b"HEAD"

        def answer_with(best: list[NodeAddress], is_last: bool) -> bytes:
            if not best and not is_last and not self._fleet.can(containers):
                raise NoNode("the first polls are not back yet", Reason.FIRST_POLLS)
            if assign and best:
                self._name_decision(request, best[0])
            return answer(request, [str(address) for address in best])

        def answer_among(among: Among | None, is_last: bool) -> Any:
            ranking = self._fleet.ranking(
                containers, count, offset, among, exclude=exclude, assign=assign
            )
            return _then(self._turns.run(ranking), answer_with, is_last)

        return self._among(request, query, containers, answer_among)

    @app.route("/api/v1/outcomes", methods=["POST"])
    def _outcome(self, request: Request) -> bytes:
        """Report the outcome of the job that a decision was made for."""
        query = Query(request.uri)
        decision = query.text("decision", longest=MAX_ID)
        if decision is None:
            raise BadRequest("decision is missing")
        try:
            (outcome,) = map(Outcome, query.texts("outcome"))
        except ValueError:
            raise BadRequest(f"outcome must be one of {', '.join(Outcome)}") from None
        self._outcomes.tell(request, decision, outcome)
        self._counts.outcomes[outcome.value] += 1
        request.setResponseCode(204)
        return b""

    @app.route("/api/v1/containers", methods=["GET"])
    def _containers(self, request: Request) -> bytes | Deferred[bytes]:
        """The containers that run, and on how many nodes that are up, read while they are sent."""

        def chunks() -> Iterator[bytes]:
            yield b"["
            separator = b""
            for container in self._fleet.list_running():
                if container is None:
                    yield b""
                else:
                    yield separator + msgspec.json.encode(container)
                    separator = b","
            yield b"]"

        return answer_chunks(request, chunks(), self._turns.run)

    @app.route("/api/v1/resources", methods=["GET"])
    def _resources_of_nodes(self, request: Request) -> bytes | Deferred[bytes]:
        """The resources that nodes reported or, with model_id, whether they support that model."""
        model = Query(request.uri).text("model_id", longest=MAX_MODEL)
        if model is None:
            return self._by_node(request, self._resources.said)
        surveyed = self._surveyor.survey(model, self._client_of(request))
        return surveyed.addCallback(lambda survey: self._by_node(request, survey.answers.get))

    def _by_node(
        self, request: Request, report_of: Callable[[NodeAddress], msgspec.Raw | None]
    ) -> bytes | Deferred[bytes]:
        """Answer with what each node that is up reported, read while it is sent."""

        def chunks() -> Iterator[bytes]:
            yield b"{"
            separator = b""
            for address in self._fleet.addresses:
                reported = report_of(address) if self._fleet.is_up(address) else None
                if reported is None:
                    yield b""
                else:
                    yield b"%s%s:%s" % (separator, msgspec.json.encode(str(address)), reported)
                    separator = b","
            yield b"}"

        return answer_chunks(request, chunks(), self._turns.run)

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        """Health check: healthy while a node is up and the router is not shutting down."""
        if self._readiness.is_closing or getattr(request.site, "closing", False):
            raise HTTPError(503, "the router is shutting down", RETRY_SOON)
        states = self._fleet.states
        if not states.up and not states.suspect:
            raise HTTPError(503, self._fleet.why_none_up(), RETRY_SOON)
        if silence := self._silence():
            why = f"no node has been polled for {silence:.0f} seconds, although polls are due"
            raise HTTPError(503, why, RETRY_SOON)
        return answer(request, {"status": "healthy", **asdict(states)})

    @app.route("/livez", methods=["GET"])
    def _livez(self, request: Request) -> bytes:
        """Whether the reactor turns."""
        return answer_alive(request)

    @app.route("/readyz", methods=["GET"])
    def _readyz(self, request: Request) -> bytes:
        """Whether the router is ready for clients."""
        return answer_ready(request, self._readiness)

    @app.route("/openapi.json", methods=["GET"])
    def _openapi(self, request: Request) -> bytes:
        """This API in OpenAPI."""
        return answer_encoded(request, DESCRIPTION)

    def _among(
        self,
        request: Request,
        query: Query,
        containers: list[str],
        answer_among: Callable[[Among | None, bool], Any],
    ) -> Deferred[bytes]:
        """
        Answer with the nodes that support the model_id of the query, if it has one.

        Nodes are asked about the model only if one of them runs the containers.

        :param answer_among: is given the nodes that support the model, None without a model_id,
            and whether this is the last attempt: as in FirstPolls.
        """
        model = query.text("model_id", longest=MAX_MODEL)

        def attempt(is_last: bool) -> Any:
            if model is None or not self._fleet.can(containers):
                return answer_among(None, is_last)
            surveyed = self._surveyor.survey(model, self._client_of(request))
            return surveyed.addCallback(
                lambda survey: answer_among(survey.among(containers), is_last)
            )

        return self._first_polls.hold(tuple(containers), attempt)

    def _name_decision(self, request: Request, address: NodeAddress) -> None:
        """Give the answer the id of the decision that chose a node."""
        id = self._decisions.made(address, self._fleet.decided, self._fleet.decided_at)
        request.responseHeaders.setRawHeaders(b"Infernet-Decision", [id])

    @app.handle_errors(Exception)
    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        match failure.value:
            case NoNode(reason=reason):
                self._counts.no_node[reason] += 1
            case CannotSurvey(is_share=False):
                self._counts.no_node[Reason.MODEL] += 1
        return answer_failure(request, failure)


PATHS = frozenset(rule.rule.encode() for rule in Api.app.url_map.iter_rules())
"""All paths that have a route."""


def _containers_of(query: Query) -> list[str]:
    """The containers that a request names: at least one, each with a name."""
    containers = query.texts("container")
    if not containers:
        raise BadRequest("No containers specified")
    if "" in containers:
        raise BadRequest("No containers specified: container is empty")
    return containers


def _then(result: Any, answer_with: Callable[..., bytes], *more: object) -> Any:
    """Answer with a result, or a Deferred's result once it is there."""
    if isinstance(result, Deferred):
        return result.addCallback(answer_with, *more)
    return answer_with(result, *more)
