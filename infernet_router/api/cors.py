"""CORS: tells browsers which other origins may use the API."""

from collections.abc import Iterable
from typing import cast

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.addresses import BadAddress, parse_address

ANY = "*"
"""Stands for every origin."""

_MAX_AGE = b"7200"
"""Seconds that a browser may cache a preflight; Chromium caches it no longer."""

_EXPOSED = b"Retry-After, Infernet-Decision"
"""The response headers that a page may read."""


def parse_origin(text: str) -> str:
    """
    Parse an http or https origin, or ANY; returns it in the form that browsers send.

    `null` is refused: every page that hides its origin sends it.

    :raises ValueError: when it is malformed; the message says what it must be.
    """
    if text == ANY:
        return ANY
    try:
        url = parse_address(text).url
    except BadAddress:
        url = ""
    if "://" not in text or url.count("/") != 2:
        raise ValueError("must be *, or an origin such as https://app.example.org:8443")
    return url


class CrossOrigin(Resource):
    """
    The API, open to pages of other origins: https://fetch.spec.whatwg.org/#http-cors-protocol.

    CORS restricts browsers only. Every response, errors included, says whether the page that sent
    the request may read it. Preflight requests are answered here, for every path.

    :param origins: the allowed origins, as parse_origin returns them.
    """

    isLeaf = True

    def __init__(self, api: Resource, origins: Iterable[str]) -> None:
        super().__init__()
        self._api = api
        self._origins = {origin.encode("ascii") for origin in origins}
        self._any = ANY.encode("ascii") in self._origins

    def render(self, request: Request) -> bytes | int:
        """Set the CORS headers; answer a preflight, and pass any other request on."""
        preflight = request.method == b"OPTIONS" and request.requestHeaders.hasHeader(
            b"access-control-request-method"
        )
        allowed = self._allowed(request)
        if allowed is not None:
            request.setHeader(b"access-control-allow-origin", allowed)
            if preflight:
                request.setHeader(b"access-control-allow-methods", b"GET, HEAD, POST")
                request.setHeader(b"access-control-allow-headers", b"*, Authorization")
                request.setHeader(b"access-control-max-age", _MAX_AGE)
            else:
                request.setHeader(b"access-control-expose-headers", _EXPOSED)
        if not preflight:
            return cast(int, self._api.render(request))
        request.setResponseCode(204)
        request.finish()
        return NOT_DONE_YET

    def _allowed(self, request: Request) -> bytes | None:
        """The origin to allow: any, the one that sent the request, or None."""
        if self._any:
            return b"*"
        request.setHeader(b"vary", b"Origin")
        origin = request.getHeader(b"origin")
        return origin if origin in self._origins else None
