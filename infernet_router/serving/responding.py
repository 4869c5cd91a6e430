"""Writes the heads of responses, which say whether the connection is kept."""

from functools import cached_property, lru_cache
from time import time
from typing import Protocol, cast

from twisted.internet.interfaces import IAddress
from twisted.web.http import NO_BODY_CODES, HTTPChannel, Request, datetimeToString
from twisted.web.http_headers import Headers

from infernet_router.serving.errors import HTTPError

_SERVER = b"infernet-router"
"""The Server field of every response, without any versions."""


_WRITTEN = (b"Server", b"Date")
"""The fields that every response has, whatever its resource sets."""


@lru_cache(maxsize=1)
def _server_and_date(second: int) -> bytes:
    """These fields, in a second since the epoch."""
    return b"Server: %b\r\nDate: %b\r\n" % (_SERVER, datetimeToString(second))


class Closing(Protocol):
    """Tells whether it is closing."""

    closing: bool


class RespondingChannel(HTTPChannel):
    """
    The part of a client's connection that writes the heads of responses.

    :ivar factory: its site; when that is closing, the connection ends with its next response.
    """

    factory: Closing

    # HTTPChannel makes these system calls for every request. They are made once, but not before
    # the first request: a haproxy: endpoint learns the addresses from the first bytes it receives.
    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def isSecure(self) -> bool:
        return self._is_secure

    @cached_property
    def _peer(self) -> IAddress:
        return cast(IAddress, super().getPeer())

    @cached_property
    def _host(self) -> IAddress:
        return cast(IAddress, super().getHost())

    @cached_property
    def _is_secure(self) -> bool:
        return bool(super().isSecure())

    # HTTPChannel looks for close in the first Connection field only, does not expect commas in it,
    # and ends every connection of HTTP/1.0.
    def checkPersistence(self, request: Request, version: bytes) -> bool:
        fields = request.requestHeaders.getRawHeaders(b"Connection")
        if not fields:
            return version == b"HTTP/1.1"
        options = {option.strip(b"\t ").lower() for option in b",".join(fields).split(b",")}
        return b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options)

    # HTTPChannel keeps connections while its site is closing, and does not tell HTTP/1.0 clients
    # whether theirs are kept. A Request names the version of Twisted, and makes a Date each time.
    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        if version == b"HTTP/1.0":
            request = self.requests[0]
            has_end = headers.hasHeader(b"Content-Length") or request.method == b"HEAD"
            self.persistent = self.persistent and (has_end or int(code) in NO_BODY_CODES)
            if self.persistent:
                headers.setRawHeaders(b"Connection", [b"keep-alive"])
        if not self.persistent or self.factory.closing:
            self.persistent = False
            headers.setRawHeaders(b"Connection", [b"close"])
        parts = [version, b" ", code, b" ", reason, b"\r\n", _server_and_date(int(time()))]
        for name, values in headers.getAllRawHeaders():
            if name not in _WRITTEN:
                for value in values:
                    parts.extend((name, b": ", value, b"\r\n"))
        parts.append(b"\r\n")
        self.writeSequence(parts)


def last_response(error: HTTPError, *, to_head: bool) -> bytes:
    """The last response on a connection; a response to HEAD has no body."""
    lines = [
        b"HTTP/1.1 %d %b" % (error.status, error.phrase),
        _server_and_date(int(time())).rstrip(),
        *(b"%b: %b" % header for header in error.headers.items()),
        b"Connection: close",
    ]
    head = b"\r\n".join((*lines, b"", b""))
    return head if to_head else head + error.body
