"""Turns what a route returns or raises into a JSON response."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, MethodNotAllowed, NotFound

from infernet_router.api.query import BadRequest
from infernet_router.fleet import NoNode, Steps
from infernet_router.nodes.model_support import CannotSurvey
from infernet_router.quoting import quoted
from infernet_router.serving.errors import JSON_HEADERS, RETRY_SOON, HTTPError
from infernet_router.serving.streaming import BUFFER_SIZE, join, send

JSON = JSON_HEADERS[b"Content-Type"]

log = Logger()


def answer(request: IRequest, content: object) -> bytes:
    """Answer 200 with this content as JSON; returns the body to send, empty for HEAD."""
    return answer_encoded(request, msgspec.json.encode(content))


def answer_directly(request: IRequest, content: object) -> bytes:
    """
    The same for a GET that is not routed by Klein, in less time: Twisted sets the Content-Length of
    what a resource returns.
    """
    _set_headers(request)
    return msgspec.json.encode(content) + b"\n"


def answer_encoded(request: IRequest, content: bytes) -> bytes:
    """Answer 200 with content that is JSON already; returns the body to send."""
    return _answer_whole(request, content + b"\n")


def answer_chunks(
    request: Request,
    chunks: Iterable[bytes],
    run: Callable[[Steps[bytes]], Any],
    content_type: bytes = JSON,
) -> bytes | Deferred[bytes]:
    """
    Answer 200 with text, usually JSON, in chunks of any size; returns the body to send.

    A long response is sent while its client reads it, and has no Content-Length.

    :param run: makes them, as Turns.run does.
    """
    made = iter(chain(chunks, (b"\n",) if content_type is JSON else ()))

    def begin(first: bytes) -> bytes | Deferred[bytes]:
        if len(first) <= BUFFER_SIZE:  # joined chunks are longer, except for the last
            return _answer_whole(request, first, content_type)
        _set_headers(request, content_type)
        return b"" if request.method == b"HEAD" else send(request, first, made, run)

    joining: bytes | Deferred[bytes] = run(join(made))
    return joining.addCallback(begin) if isinstance(joining, Deferred) else begin(joining)


def list_chunks(name: bytes, items: Iterable[object]) -> Iterator[bytes]:
    """An object with one list, as JSON in chunks: each item is made and encoded when it is sent."""
    separator = b'{"%b":[' % name
    for item in items:
        yield separator + msgspec.json.encode(item)
        separator = b","
    yield b"]}" if separator == b"," else separator + b"]}"


def _answer_whole(request: IRequest, body: bytes, content_type: bytes = JSON) -> bytes:
    _set_headers(request, content_type)
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return b"" if request.method == b"HEAD" else body


def answer_error(request: IRequest, error: HTTPError) -> bytes:
    """Answer with an error; returns the body to send, empty for HEAD."""
    request.setResponseCode(error.status, error.phrase)
    for name, value in error.headers.items():
        request.setHeader(name, value)
    return b"" if request.method == b"HEAD" else error.body


def answer_failure(request: IRequest, failure: Failure) -> bytes:
    """Answer with the error for what a route raised: 500, and a logged failure, if unexpected."""
    return answer_error(request, _http_error(request, failure))


def _http_error(request: IRequest, failure: Failure) -> HTTPError:
    match failure.value:
        case HTTPError() as error:
            return error
        case BadRequest() as error:
            return HTTPError(400, str(error))
        case NoNode() as error:
            return HTTPError(503, str(error), RETRY_SOON)
        case CannotSurvey(is_share=is_share, wait=wait) as error:
            return HTTPError(429 if is_share else 503, str(error), {b"Retry-After": b"%d" % wait})
        case BadHost():
            return HTTPError(400, "Host is not a host name")
        case NotFound():
            return HTTPError(404, f"no such path: {_path(request)}")
        case MethodNotAllowed(valid_methods=methods):
            allowed = {b"Allow": ", ".join(sorted(methods or ())).encode("ascii")}
            return HTTPError(405, f"{_path(request)}: method not allowed", allowed)
        case _:
            log.failure("a request failed", failure, event="internal.error")
            return HTTPError(500, "internal error")


def _path(request: IRequest) -> str:
    return quoted(request.path.decode("ascii", "replace"))


def _set_headers(request: IRequest, content_type: bytes = JSON) -> None:
    for name, value in JSON_HEADERS.items():
        request.responseHeaders.setRawHeaders(name, [value])
    if content_type is not JSON:
        request.responseHeaders.setRawHeaders(b"Content-Type", [content_type])
