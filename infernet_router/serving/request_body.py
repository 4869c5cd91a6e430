"""
Skips the body of a request, or keeps it for a site that reads bodies.

Clients' routes need no body, but many HTTP libraries and proxies send a small or empty one with
every request. The router reads it to find where the next request begins, and discards it.
Operators' routes read it, so it is kept for them. A request whose body is large, or whose body
length is ambiguous, is refused and its connection closed: the router and a proxy in front of it
could disagree on where the next request begins (request smuggling: RFC 9112, section 11.2).

The grammar above each pattern is that of RFC 9112, section 7.1.
"""

import re
from typing import Protocol

from infernet_router.serving.errors import HTTPError

MAX_BODY = 64 * 1024
"""The most bytes of a body."""

_MAX_ENCODED = 8 * MAX_BODY
"""The most bytes of a body in chunks. Chunks of one byte take six bytes each."""

_MAX_LINE = 4096
"""The most bytes of a chunk header or a trailer field."""

# chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
# chunk-size = 1*HEXDIG
# last-chunk = 1*("0") [ chunk-ext ] CRLF
# chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
_CHUNK_HEADER = re.compile(rb"([0-9A-Fa-f]++)(?:[\t ]*+;[\t -~\x80-\xff]*+)?\r\n")

# trailer-section = *( field-line CRLF )
_TRAILER_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n")

_TOO_LONG = f"a chunk header or trailer field of the body is longer than {_MAX_LINE // 1024} KiB"


class Body(Protocol):
    """
    A body that is being skipped as it arrives.

    :ivar ended: whether all of it was skipped.
    :ivar kept: what was skipped, without its encoding; None if it is not to be kept.
    """

    ended: bool
    kept: bytearray | None

    def skip(self, received: bytes) -> bytes:
        """
        Skip the bytes that belong to the body; returns the rest.

        Until the body has ended, pass the rest again together with the bytes that follow it.

        :raises HTTPError: when the body is too large, or malformed.
        """


class SizedBody:
    """A body with a Content-Length, above 0."""

    ended = False
    kept: bytearray | None = None

    def __init__(self, length: int) -> None:
        self._left = length

    def skip(self, received: bytes) -> bytes:
        """Skip the bytes that belong to the body; returns the rest."""
        skipped = min(self._left, len(received))
        self._left -= skipped
        if self.kept is not None:
            self.kept += received[:skipped]
        self.ended = not self._left
        return received[skipped:]


class ChunkedBody:
    """A body in chunks (Transfer-Encoding: chunked), with optional trailer fields."""

    ended = False
    kept: bytearray | None = None

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the current chunk to skip, with the CRLF after it."""
        self._is_last = False
        """Whether the last chunk was skipped, so that trailer fields follow."""
        self._size = self._encoded = 0

    def skip(self, received: bytes) -> bytes:
        """
        Skip the bytes that belong to the body; returns the rest.

        Until the body has ended, pass the rest again together with the bytes that follow it.

        :raises HTTPError: when the body is too large, or malformed.
        """
        at = 0
        while not self.ended:
            end = self._skip_next(received, at)
            if end == at:
                break
            at = end
        self._encoded += at
        if self._size > MAX_BODY or self._encoded > _MAX_ENCODED:
            raise too_large()
        if not self.ended and len(received) - at > _MAX_LINE:
            raise HTTPError(400, _TOO_LONG)
        return received[at:]

    def _skip_next(self, received: bytes, at: int) -> int:
        """The end of the chunk data, chunk header or trailer field at `at`; `at` if incomplete."""
        if self._left > 2:
            skipped = min(self._left - 2, len(received) - at)
            self._left -= skipped
            if self.kept is not None:
                self.kept += received[at : at + skipped]
            return at + skipped
        if self._left or self._is_last:
            start = received[at : at + 2]
            if start == b"\r\n":
                self.ended = self._is_last
                self._left = 0
                return at + 2
            if b"\r\n".startswith(start):
                return at
            if self._left:
                raise HTTPError(400, "a chunk of the body is not followed by CR LF")
        line = (_TRAILER_FIELD if self._is_last else _CHUNK_HEADER).match(received, at)
        if line is None:
            if b"\n" in received[at : at + _MAX_LINE]:
                raise HTTPError(400, "the body has a malformed chunk header or trailer field")
            return at
        if line.end() - at > _MAX_LINE:
            raise HTTPError(400, _TOO_LONG)
        if not self._is_last:
            size = int(line[1], 16)
            self._size += size
            self._left = size + 2 if size else 0
            self._is_last = not size
            if self._size > MAX_BODY:
                raise too_large()
        return line.end()


def too_large() -> HTTPError:
    """The error for a body that is too large."""
    return HTTPError(413, f"the request body is larger than {MAX_BODY // 1024} KiB")
