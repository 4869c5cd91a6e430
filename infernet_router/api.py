"""The public HTTP API: Klein routes from a query through the fleet to JSON."""

from typing import cast
from urllib.parse import unquote_to_bytes

import msgspec
from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, HTTPException

from infernet_router.fleet import Fleet, NoNode
from infernet_router.quoting import quoted

_MAX_FIELDS = 100
"""The most fields of a query that are read."""

_RETRY_AFTER = b"1"
"""Seconds after which an answer may differ: a node that is down is asked again after one."""

log = Logger()


class BadRequest(Exception):
    """A request that cannot be answered; the message says why."""


class Api(Resource):
    """
    The root resource: every route, and JSON for every error.

    :param fleet: knows which node to use.
    """

    isLeaf = True
    _app = Klein()
    _app.url_map.merge_slashes = False

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self._routes = self._app.resource()

    def render(self, request: Request) -> bytes | int:
        """Route a request; one whose method, host or path cannot be read is refused here."""
        path = request.postpath or []
        try:
            for part in (request.method, request.getRequestHostname(), *path):
                part.decode()
        except UnicodeDecodeError:
            return _answer(request, 400, {"error": "The request line or Host is not UTF-8"})
        while len(path) > 1 and not path[0]:
            del path[0]
        try:
            return cast(int, self._routes.render(request))
        except BadHost:
            return _answer(request, 400, {"error": "The Host is not a host name"})

    @_app.route("/api/v1/ip", methods=["GET"])
    def _ip(self, request: Request) -> bytes:
        """The node to use for one job. HEAD answers alike, but hands out nothing."""
        choose = self._fleet.peek if request.method == b"HEAD" else self._fleet.pick
        return _answer(request, 200, {"ip": str(choose(_containers(request)))})

    @_app.handle_errors(BadRequest)
    def _bad_request(self, request: IRequest, failure: Failure) -> bytes:
        return _answer(request, 400, {"error": str(failure.value)})

    @_app.handle_errors(NoNode)
    def _no_node(self, request: IRequest, failure: Failure) -> bytes:
        request.setHeader(b"retry-after", _RETRY_AFTER)
        return _answer(request, 503, {"error": str(failure.value)})

    @_app.handle_errors(HTTPException)
    def _not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No route has this path (404) or method (405)."""
        error = cast(HTTPException, failure.value)
        for name, value in error.get_headers():
            if name == "Allow":
                request.setHeader("allow", value)
        path = quoted(request.path.decode("ascii", "replace"))
        what = f"no such path: {path}" if error.code == 404 else f"{path}: {error.name.lower()}"
        return _answer(request, error.code or 500, {"error": what})

    @_app.handle_errors(Exception)
    def _broken(self, request: IRequest, failure: Failure) -> bytes:
        log.failure("no answer to a request", failure)
        return _answer(request, 500, {"error": "internal error"})


def _containers(request: Request) -> list[str]:
    """
    The containers a request names, at least one.

    Twisted's own reading of the query ends a field at `;`, which an id may have.
    """
    query = request.uri.partition(b"?")[2]
    if query.count(b"&") >= _MAX_FIELDS:
        raise BadRequest(f"the query has more than {_MAX_FIELDS} fields")
    fields = [field.partition(b"=") for field in query.replace(b"+", b" ").split(b"&")]
    try:
        containers = [
            unquote_to_bytes(value).decode()
            for name, _, value in fields
            if unquote_to_bytes(name) == b"container"
        ]
    except UnicodeDecodeError:
        raise BadRequest("container is not UTF-8") from None
    if not containers:
        raise BadRequest("No containers specified")
    if "" in containers:
        raise BadRequest("No containers specified: container is empty")
    return containers


def _answer(request: IRequest, status: int, content: object) -> bytes:
    """Set status and headers of a JSON answer, and give its body."""
    body = msgspec.json.encode(content)
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    return body
