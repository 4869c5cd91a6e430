"""The errors that clients get: a status, a message that becomes the JSON body, and headers."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

JSON_HEADERS = {b"Content-Type": b"application/json", b"Cache-Control": b"no-store"}
"""The headers of every JSON response."""

RETRY_SOON = {b"Retry-After": b"1"}
"""Headers of a 503: a node that is down is polled again within a second or so."""


class HTTPError(Exception):
    """
    A request is answered with an error, whose body is `{"error": message}` and a newline.

    :param status: the status code.
    :param headers: headers besides those of every JSON response.
    """

    def __init__(
        self, status: int, message: str, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.phrase = HTTPStatus(status).phrase.encode("ascii")
        self.body = msgspec.json.encode({"error": message}) + b"\n"
        length = {b"Content-Length": b"%d" % len(self.body)}
        self.headers = {**JSON_HEADERS, **length, **(headers or {})}
