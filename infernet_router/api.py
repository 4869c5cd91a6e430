"""The public HTTP API: Klein routes from a query through the fleet to JSON."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import cast

import msgspec
from attrs import asdict
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.addresses import NodeAddress
from infernet_router.answers import answer, answer_chunks, answer_encoded, answer_failure
from infernet_router.errors import RETRY_SOON, HTTPError
from infernet_router.fleet import Among, Fleet, RunningContainer
from infernet_router.models import Surveyor
from infernet_router.openapi import DEFAULT_N, DESCRIPTION, MAX_MODEL, MAX_N, MAX_OFFSET
from infernet_router.query import BadRequest, Query
from infernet_router.resources import Resources

_USUAL = re.compile(rb"/api/v1/ip\?container=[^&%]*(?:&container=[^&%]*)*")
"""What is asked most by far: it waits for nothing, unlike a question that names a model."""

_HOST = re.compile(rb"(?:[\w-]{1,63}\.)*[\w-]{1,63}(?::[0-9]+)?")
"""The usual Host; whether another is one is left to Klein."""


class Api(Resource):
    """
    The root resource: every route, and JSON for every error.

    :param fleet: knows which node to use.
    :param resources: what nodes say of themselves.
    :param surveyor: asks nodes about a model.
    """

    isLeaf = True
    app = Klein()
    app.url_map.merge_slashes = False

    def __init__(self, fleet: Fleet, resources: Resources, surveyor: Surveyor) -> None:
        super().__init__()
        self._fleet = fleet
        self._resources = resources
        self._surveyor = surveyor
        self._routes = self.app.resource()

    def render(self, request: Request) -> bytes | int:
        """Answer a request; whatever is raised on the way is answered as a JSON error."""
        try:
            return self._route(request)
        except Exception:
            return answer_failure(request, Failure())

    def _route(self, request: Request) -> bytes | int:
        """
        Call the route of a request, directly or through Klein.

        :raises HTTPError: when Klein could not read the method, the Host or the path.
        """
        host = request.getHeader(b"host")
        if host is None:  # in HTTP/1.0; Klein wants one, and a unix socket has no name for it
            host = b"localhost"
            request.requestHeaders.setRawHeaders(b"host", [host])
        if _USUAL.fullmatch(request.uri) and request.method == b"GET" and _HOST.fullmatch(host):
            # Klein takes longer to route it than all else takes together.
            return cast(bytes, self._ip(request))
        if request.method != request.method.upper():  # Klein would take get for GET
            raise HTTPError(501, "there is no such method")
        path = request.postpath or []
        try:
            b"/".join((request.method, host, *path)).decode()
        except UnicodeDecodeError:
            raise HTTPError(400, "The request line or Host is not UTF-8") from None
        while len(path) > 1 and not path[0]:
            del path[0]
        return cast(int, self._routes.render(request))

    @app.route("/api/v1/ip", methods=["GET"])
    def _ip(self, request: Request) -> bytes | Deferred[bytes]:
        """The node to use for one job. HEAD answers alike, but hands out nothing."""
        choose = self._fleet.peek if request.method == b"HEAD" else self._fleet.pick
        query = Query(request.uri)
        containers = _asked(query)

        def answer_among(among: Among | None) -> bytes:
            return answer(request, {"ip": str(choose(containers, among))})

        return self._among(query, containers, answer_among)

    @app.route("/api/v1/ips", methods=["GET"])
    def _ips(self, request: Request) -> bytes | Deferred[bytes]:
        """The best nodes for one job, best first: the first is handed out, but not to HEAD."""
        query = Query(request.uri)
        containers = _asked(query)
        count = query.whole_number("n", default=DEFAULT_N, most=MAX_N)
        offset = query.whole_number("offset", default=0, most=MAX_OFFSET)

        def answer_among(among: Among | None) -> bytes:
            assign = request.method != b"HEAD"
            best = self._fleet.rank(containers, count, offset, among, assign=assign)
            return answer(request, [str(address) for address in best])

        return self._among(query, containers, answer_among)

    @app.route("/api/v1/containers", methods=["GET"])
    def _containers(self, request: Request) -> bytes | Deferred[bytes]:
        """What runs on how many of the nodes that are up, as it is when it is sent."""

        def parts() -> Iterator[bytes]:
            before, following = b"[", ""
            while container := _first(self._fleet.running, following):
                yield before + msgspec.json.encode(container)
                before, following = b",", container.id + "\0"
            yield b"[]" if before == b"[" else b"]"

        return answer_chunks(request, parts())

    @app.route("/api/v1/resources", methods=["GET"])
    def _resources_of_nodes(self, request: Request) -> bytes | Deferred[bytes]:
        """What nodes say of themselves, or, of a model, whether they support it."""
        model = Query(request.uri).text("model_id", longest=MAX_MODEL)
        if model is None:
            return self._by_node(request, self._resources.said)
        surveyed = self._surveyor.survey(model)
        return surveyed.addCallback(lambda survey: self._by_node(request, survey.answers.get))

    def _by_node(
        self, request: Request, said: Callable[[NodeAddress], msgspec.Raw | None]
    ) -> bytes | Deferred[bytes]:
        """Answer with what each node that is up says, as it is when it is sent."""

        def parts() -> Iterator[bytes]:
            before = b"{"
            for address in self._fleet.addresses:
                of_one = said(address) if self._fleet.is_up(address) else None
                if of_one is not None:
                    yield b"%s%s:%s" % (before, msgspec.json.encode(str(address)), of_one)
                    before = b","
            yield b"{}" if before == b"{" else b"}"

        return answer_chunks(request, parts())

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        """Whether the router is of use: a node is up, and it is not about to end."""
        if getattr(request.site, "closing", False):
            raise HTTPError(503, "the router is shutting down", RETRY_SOON)
        states = self._fleet.states
        if not states.up:
            raise HTTPError(503, self._fleet.why_none_up(), RETRY_SOON)
        return answer(request, {"status": "healthy", **asdict(states)})

    @app.route("/openapi.json", methods=["GET"])
    def _openapi(self, request: Request) -> bytes:
        """What all of this is, for programs."""
        return answer_encoded(request, DESCRIPTION)

    def _among(
        self, query: Query, containers: list[str], answer: Callable[[Among | None], bytes]
    ) -> bytes | Deferred[bytes]:
        """
        Answer, given the nodes that support the model the query names, if it names one.

        No node is asked when none can do the job, whatever the model.
        """
        model = query.text("model_id", longest=MAX_MODEL)
        if model is None or not self._fleet.can(containers):
            return answer(None)
        surveyed = self._surveyor.survey(model)
        return surveyed.addCallback(lambda survey: answer(survey.among(containers)))

    @app.handle_errors(Exception)
    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        return answer_failure(request, failure)


PATHS = frozenset(rule.rule.encode() for rule in Api.app.url_map.iter_rules())
"""Every path that has a route."""


def _asked(query: Query) -> list[str]:
    """The containers a request names, at least one."""
    containers = query.texts("container")
    if not containers:
        raise BadRequest("No containers specified")
    if "" in containers:
        raise BadRequest("No containers specified: container is empty")
    return containers


def _first(running: Sequence[RunningContainer], id: str) -> RunningContainer | None:
    """The first of these containers that has this id or a later one."""
    at = bisect_left(running, id, key=attrgetter("id"))
    return running[at] if at < len(running) else None
