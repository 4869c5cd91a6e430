"""CORS: the pages of which other origins may use the API in a browser."""

from collections.abc import Iterable
from typing import cast

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.addresses import BadAddress, parse_address

ANY = "*"
"""In place of an origin, every one."""

_MAX_AGE = b"7200"
"""Seconds a browser need not ask again, the most that Chromium takes."""


def parse_origin(text: str) -> str:
    """
    Read an origin, http or https, and give it as browsers write it, or ANY.

    `null` is none: it is the origin of every page that hides its own.

    :raises ValueError: when it is no origin; the message says what it must be.
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
    The API, for pages of other origins too: https://fetch.spec.whatwg.org/#http-cors-protocol.

    Every answer, errors included, says whether the page that asked may read it. Preflights, with
    which browsers ask first, are answered here, for every path.

    :param origins: as parse_origin gives them.
    """

    isLeaf = True

    def __init__(self, api: Resource, origins: Iterable[str]) -> None:
        super().__init__()
        self._api = api
        self._origins = {origin.encode("ascii") for origin in origins}
        self._any = ANY.encode("ascii") in self._origins

    def render(self, request: Request) -> bytes | int:
        """Say what the page may do, and pass the request on if it is no preflight."""
        preflight = request.method == b"OPTIONS" and request.requestHeaders.hasHeader(
            b"access-control-request-method"
        )
        allowed = self._allowed(request)
        if allowed is not None:
            request.setHeader(b"access-control-allow-origin", allowed)
            if preflight:
                request.setHeader(b"access-control-allow-methods", b"GET, HEAD")
                request.setHeader(b"access-control-allow-headers", b"*, Authorization")
                request.setHeader(b"access-control-max-age", _MAX_AGE)
            else:
                request.setHeader(b"access-control-expose-headers", b"Retry-After")
        if not preflight:
            return cast(int, self._api.render(request))
        request.setResponseCode(204)
        request.finish()
        return NOT_DONE_YET

    def _allowed(self, request: Request) -> bytes | None:
        """Which origin to allow: all, the one that asks, or none."""
        if self._any:
            return b"*"
        request.setHeader(b"vary", b"Origin")
        origin = request.getHeader(b"origin")
        return origin if origin in self._origins else None
