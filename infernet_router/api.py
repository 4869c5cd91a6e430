"""The public HTTP API: Klein routes from a query through the fleet to JSON."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from operator import attrgetter
from typing import cast

import msgspec
from attrs import asdict
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, HTTPException

from infernet_router.addresses import NodeAddress
from infernet_router.catalogue import RunningContainer
from infernet_router.fleet import Among, Fleet, NoNode
from infernet_router.models import CannotSurvey, Surveyor
from infernet_router.openapi import DEFAULT_N, DESCRIPTION, MAX_MODEL, MAX_N, MAX_OFFSET
from infernet_router.pieces import LENGTH, in_pieces, send
from infernet_router.query import BadRequest, Query
from infernet_router.quoting import quoted
from infernet_router.resources import Resources

_RETRY_AFTER = b"1"
"""Seconds after which an answer may differ: a node that is down is asked again after one."""

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
"""Twisted has no words for 429."""

_USUAL = re.compile(rb"/api/v1/ip\?container=[^&%]*(?:&container=[^&%]*)*")
"""What is asked most by far: it waits for nothing, unlike a question that names a model."""

_HOST = re.compile(rb"(?:[\w-]{1,63}\.)*[\w-]{1,63}(?::[0-9]+)?")
"""The usual Host; whether another is one is left to Klein."""

_JSON, _NO_STORE = [b"application/json"], [b"no-store"]

log = Logger()


class _Unhealthy(Exception):
    """The router is of no use now; the message says why."""


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
        """Route a request; one whose method, host or path cannot be read is refused here."""
        host = request.getHeader(b"host")
        if host is None:  # in HTTP/1.0; Klein wants one, and a unix socket has no name for it
            host = b"localhost"
            request.requestHeaders.setRawHeaders(b"host", [host])
        if _USUAL.fullmatch(request.uri) and request.method == b"GET" and _HOST.fullmatch(host):
            # Klein takes longer to route it than all else takes together. Errors are left to it.
            with suppress(Exception):
                return cast(bytes, self._ip(request))
        if request.method != request.method.upper():  # Klein would take get for GET
            return error_body(request, 501, "there is no such method")
        path = request.postpath or []
        try:
            b"/".join((request.method, host, *path)).decode()
        except UnicodeDecodeError:
            return error_body(request, 400, "The request line or Host is not UTF-8")
        while len(path) > 1 and not path[0]:
            del path[0]
        try:
            return cast(int, self._routes.render(request))
        except BadHost:
            return error_body(request, 400, "The Host is not a host name")

    @app.route("/api/v1/ip", methods=["GET"])
    def _ip(self, request: Request) -> bytes | Deferred[bytes]:
        """The node to use for one job. HEAD answers alike, but hands out nothing."""
        choose = self._fleet.peek if request.method == b"HEAD" else self._fleet.pick
        query = Query(request.uri)
        containers = _asked(query)

        def answer(among: Among | None) -> bytes:
            return _answer(request, {"ip": str(choose(containers, among))})

        return self._among(query, containers, answer)

    @app.route("/api/v1/ips", methods=["GET"])
    def _ips(self, request: Request) -> bytes | Deferred[bytes]:
        """The best nodes for one job, best first: the first is handed out, but not to HEAD."""
        query = Query(request.uri)
        containers = _asked(query)
        count = query.whole_number("n", DEFAULT_N, MAX_N)
        offset = query.whole_number("offset", 0, MAX_OFFSET)

        def answer(among: Among | None) -> bytes:
            assign = request.method != b"HEAD"
            best = self._fleet.rank(containers, count, offset, among, assign=assign)
            return _answer(request, [str(address) for address in best])

        return self._among(query, containers, answer)

    @app.route("/api/v1/containers", methods=["GET"])
    def _containers(self, request: Request) -> bytes | Deferred[bytes]:
        """What runs on how many of the nodes that are up, as it is when it is sent."""

        def parts() -> Iterator[bytes]:
            before, following = b"[", ""
            while container := _first(self._fleet.running, following):
                yield before + msgspec.json.encode(container)
                before, following = b",", container.id + "\0"
            yield b"[]" if before == b"[" else b"]"

        return _send_parts(request, parts())

    @app.route("/api/v1/resources", methods=["GET"])
    def _resources_of_nodes(self, request: Request) -> bytes | Deferred[bytes]:
        """What nodes say of themselves, or, of a model, whether they support it."""
        model = Query(request.uri).text("model_id", MAX_MODEL)
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

        return _send_parts(request, parts())

    @app.route("/health", methods=["GET"])
    def _health(self, request: Request) -> bytes:
        """Whether the router is of use: a node is up, and it is not about to end."""
        if getattr(request.site, "closing", False):
            raise _Unhealthy("the router is shutting down")
        states = self._fleet.states
        if not states.up:
            raise _Unhealthy(self._fleet.why_none_up())
        return _answer(request, {"status": "healthy", **asdict(states)})

    @app.route("/openapi.json", methods=["GET"])
    def _openapi(self, request: Request) -> bytes:
        """What all of this is, for programs."""
        return _send(request, 200, DESCRIPTION)

    def _among(
        self, query: Query, containers: list[str], answer: Callable[[Among | None], bytes]
    ) -> bytes | Deferred[bytes]:
        """
        Answer, given the nodes that support the model the query names, if it names one.

        No node is asked when none can do the job, whatever the model.
        """
        model = query.text("model_id", MAX_MODEL)
        if model is None or not self._fleet.can(containers):
            return answer(None)
        surveyed = self._surveyor.survey(model)
        return surveyed.addCallback(lambda survey: answer(survey.among(containers)))

    @app.handle_errors(BadRequest)
    def _bad_request(self, request: IRequest, failure: Failure) -> bytes:
        return error_body(request, 400, str(failure.value))

    @app.handle_errors(NoNode, CannotSurvey, _Unhealthy)
    def _not_now(self, request: IRequest, failure: Failure) -> bytes:
        request.setHeader(b"retry-after", _RETRY_AFTER)
        return error_body(request, 503, str(failure.value))

    @app.handle_errors(HTTPException)
    def _not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No route has this path (404) or method (405)."""
        error = cast(HTTPException, failure.value)
        for name, value in error.get_headers():
            if name == "Allow":
                request.setHeader("allow", value)
        path = quoted(request.path.decode("ascii", "replace"))
        what = f"no such path: {path}" if error.code == 404 else f"{path}: {error.name.lower()}"
        return error_body(request, error.code or 500, what)

    @app.handle_errors(Exception)
    def _broken(self, request: IRequest, failure: Failure) -> bytes:
        log.failure("no answer to a request", failure)
        return error_body(request, 500, "internal error")


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


def _answer(request: IRequest, content: object) -> bytes:
    """The body of a JSON answer."""
    return _send(request, 200, msgspec.json.encode(content))


def error_body(request: IRequest, status: int, error: str) -> bytes:
    """The body of a JSON answer that says what is wrong."""
    return _send(request, status, msgspec.json.encode({"error": error}))


def _send(request: IRequest, status: int, body: bytes) -> bytes:
    """Set status and headers of a JSON answer; gives its body, which HEAD does without."""
    if status != 200:
        request.setResponseCode(status, _PHRASES[status])
    _describe(request)
    request.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(body)])
    return b"" if request.method == b"HEAD" else body


def _send_parts(request: Request, parts: Iterable[bytes]) -> bytes | Deferred[bytes]:
    """The body of a JSON answer that may be long: then it is made as its client reads it."""
    pieces = in_pieces(parts)
    first = next(pieces)
    if len(first) <= LENGTH:
        return _send(request, 200, first)
    _describe(request)
    return b"" if request.method == b"HEAD" else send(request, first, pieces)


def _describe(request: IRequest) -> None:
    """Set the headers of every JSON answer."""
    request.responseHeaders.setRawHeaders(b"content-type", _JSON)
    request.responseHeaders.setRawHeaders(b"cache-control", _NO_STORE)
