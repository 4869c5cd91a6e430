"""Secured resources: the root of an endpoint for operators, with its headers and checks."""

from typing import cast

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.admin.access import Access, Role
from infernet_router.api.answers import answer_failure
from infernet_router.serving.errors import HTTPError

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    b" base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    b"Content-Security-Policy": _POLICY,
    b"X-Content-Type-Options": b"nosniff",
    b"Cache-Control": b"no-store",
}


class Secured(Resource):
    """
    The root of an endpoint for operators; every error is JSON.

    :param access: decides which requests are allowed.
    """

    isLeaf = True
    app: Klein

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access
        self._routes = self.app.resource()

    def render(self, request: Request) -> bytes | int:
        """Answer a request; an exception is answered as a JSON error."""
        for name, value in _HEADERS.items():
            request.responseHeaders.setRawHeaders(name, [value])
        # Doubled leading slashes change nothing, for the checks as for the routes.
        request.path = b"/" + request.path.lstrip(b"/")
        try:
            self.check(request)
            if request.getHeader(b"host") is None:  # Klein needs one
                request.requestHeaders.setRawHeaders(b"host", [b"localhost"])
            if request.method != request.method.upper():  # Klein would treat get as GET
                raise HTTPError(501, "there is no such method")
            # As sent, so that a path can have the address of a node in it, slashes encoded.
            request.postpath = request.path[1:].split(b"/")
            return cast(int, self._routes.render(request))
        except Exception:
            return answer_failure(request, Failure())

    def check(self, request: Request) -> None:
        """
        Check that a request is allowed.

        :raises HTTPError: when it is not.
        """
        self._access.admit(request, Role.ANYONE)
