"""Headers of the operator's choice, such as a key, which are sent to nodes and are kept secret."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from infernet_router.files import BadFile, TooSlow, in_time, read_file
from infernet_router.nodes.asking import Asker
from infernet_router.quoting import quoted

_MAX_LENGTH = 4096
"""The longest value, in characters: about half of what nginx reads by default."""

_MAX_FILE = 2**20
"""The largest file of headers, in bytes."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""RFC 9110, 5.6.2."""

_VALUE = re.compile(r"[\t\x20-\x7e]+")

_OWN = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("content-length", "expect", "host", "http2-settings", "upgrade"),
        *("accept-encoding", "range", "if-match", "if-none-match", "if-range"),
        *("if-modified-since", "if-unmodified-since"),
    )
)
"""Headers that would change what an answer means, or break the connection."""


class BadHeader(ValueError):
    """Text that is not a header for nodes; the message says why, without the text itself."""


@frozen
class NodeHeader:
    """A header that is sent to nodes; only its name is ever shown."""

    name: str
    value: str = field(repr=False)

    def __str__(self) -> str:
        return self.name


def parse_headers(text: str) -> tuple[NodeHeader, ...]:
    """
    The header `NAME: VALUE`, or those of the lines of a file, `@PATH`.

    :raises BadHeader: when the file cannot be read, or a header is malformed or not allowed.
    """
    if not text.startswith("@"):
        return (_parse(text, ""),)
    path = text[1:]
    try:
        lines = in_time(lambda: read_file(Path(path), _MAX_FILE)).decode().split("\n")
    except BadFile as error:
        raise BadHeader(str(error)) from None
    except TooSlow as error:
        raise BadHeader(f"cannot read {quoted(path)}: {error}") from None
    except ValueError:
        raise BadHeader(f"cannot read {quoted(path)}: it is not UTF-8 text") from None
    headers = tuple(
        _parse(line.removesuffix("\r"), f"{quoted(path)}, line {number}: ")
        for number, line in enumerate(lines, 1)
        if line.strip()
    )
    if not headers:
        raise BadHeader(f"{quoted(path)} is empty")
    return headers


def _parse(text: str, where: str) -> NodeHeader:
    """
    Parse a header.

    :param where: what an error message begins with.
    """
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        raise BadHeader(f"{where}it must be 'NAME: VALUE', and NAME the name of an HTTP header")
    if name.lower() in _OWN:
        raise BadHeader(f"{where}{name} is a header that the router sets itself, or cannot send")
    if not value:
        raise BadHeader(f"{where}{name} has no value")
    if not _VALUE.fullmatch(value):
        raise BadHeader(f"{where}the value of {name} has characters that are not printable ASCII")
    if len(value) > _MAX_LENGTH:
        raise BadHeader(f"{where}the value of {name} has more than {_MAX_LENGTH} characters")
    return NodeHeader(name, value)


class WithHeaders:
    """An HTTP client that adds headers to each request."""

    def __init__(self, http: Asker, headers: Iterable[NodeHeader]) -> None:
        self._http = http
        self._headers: dict[str, list[str]] = {}
        for header in headers:
            self._headers.setdefault(header.name.lower(), []).append(header.value)

    def get(self, url: object, *, headers: Mapping[str, str], **options: Any) -> Deferred[Any]:
        """GET a URL with these headers, and those of the operator's choice in their place."""
        return self._http.get(url, headers={**headers, **self._headers}, **options)
