"""Finds, checks and parses the head of an HTTP response from a node."""

import re

from infernet_router.nodes.asking import NoAnswer

_MAX_HEAD = 8 * 1024
"""The longest response head, in bytes: the limit nginx has for upstream servers."""

_MAX_FIELDS = 100
"""The most header fields in a response, as in Python's http.client."""

_END = re.compile(rb"\n\r?\n")
"""
RFC 9112, section 2.1: HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]

Section 2.2 lets a recipient take a single LF as the end of a line.
"""

_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([2-5][0-9]{2})(?: (.*))?", re.DOTALL)
"""RFC 9112, section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]"""

_START = b"HTTP/0.0 000 "
"""The start of a response, with a 0 for each digit. The status may also end the line."""

_TO_ZERO = bytes.maketrans(b"123456789\r\n", b"000000000  ")

_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*)", re.DOTALL)
"""RFC 9112, section 5: field-line = field-name ":" OWS field-value OWS; the name is a token."""

_LENGTH = re.compile(rb"[0-9]{1,18}")
"""RFC 9110, section 8.6: Content-Length = 1*DIGIT"""

_HAS_NO_BODY = (204, 304)

_HOP = b"connection", b"transfer-encoding", b"content-length", b"content-encoding"
"""The fields that say where a response ends, how it is encoded and what follows it."""


class ResponseHead:
    """
    The head of a response.

    :raises ValueError: when it is malformed.
    :raises NoAnswer: when the response is compressed, which was not asked for. A small body can be
        huge once it is decompressed.
    """

    __slots__ = ("fields", "is_chunked", "length", "persists", "phrase", "status", "version")

    def __init__(self, head: bytes) -> None:
        first, *lines = head.split(b"\n")
        found = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
        if found is None:
            raise ValueError("malformed status line")
        major, minor, status, phrase = found.groups(b"")
        self.version = int(major), int(minor)
        self.status = int(status)
        self.phrase = phrase
        self.fields = _parse_fields(lines)
        self._set_framing()

    def values(self, name: bytes) -> list[bytes]:
        """The elements of a list-based field, in lower case."""
        lines = self.fields.get(name)
        if lines is None:
            return []
        return [part.strip(b" \t").lower() for part in b",".join(lines).split(b",")]

    def _set_framing(self) -> None:
        """
        Find out where the body ends, and whether another response may follow it.

        RFC 9112, section 6.3, for the response to a GET; section 9.3 for persistence.
        """
        connection, coding, lengths, compression = map(self.values, _HOP)
        if any(part not in (b"", b"identity") for part in compression):
            raise NoAnswer("it sent a compressed answer, which was not asked for")
        self.is_chunked = bool(coding)
        if coding not in ([], [b"chunked"]):
            raise ValueError("unknown transfer coding")
        self.length: int | None = None
        """The length of the body in bytes; None when it is chunked or ends with the connection."""
        if self.status in _HAS_NO_BODY:
            self.length, self.is_chunked = 0, False
        elif lengths and not coding:
            self.length = _parse_length(lengths)
        self.persists = (
            self.version >= (1, 1)
            and b"close" not in connection
            and (self.length is not None or self.is_chunked)
            and not (coding and lengths)  # an attempt at response smuggling, or a confused proxy
        )


def find_end(head: bytes, searched: int) -> int | None:
    """
    Where the head of a response ends, in bytes of which it may be a part; None if it goes on.

    :param searched: how many of the bytes were searched before.
    :raises NoAnswer: when it is malformed from the start, or exceeds a limit.
    """
    start = head[: len(_START)]
    status = start[9:10]
    if not _START.startswith(start.translate(_TO_ZERO)) or status not in b"12345":
        raise NoAnswer("the answer is not HTTP")
    if status == b"1":
        raise NoAnswer("it sent an interim answer (1xx), which was not asked for")
    end = _END.search(head, max(0, searched - 2), _MAX_HEAD)
    if end is None:
        if len(head) >= _MAX_HEAD:
            raise NoAnswer(f"its headers are longer than {_MAX_HEAD // 1024} KiB")
        return None
    if head.count(b"\n", 0, end.end()) > _MAX_FIELDS + 2:
        raise NoAnswer(f"it sent more than {_MAX_FIELDS} headers")
    return end.end()


def _parse_fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """The values of each header field by its name, in lower case."""
    fields: dict[bytes, list[bytes]] = {}
    values: list[bytes] = []
    for line in lines:
        line = line.rstrip(b" \t\r")
        if not line:
            continue
        if line[0] in b" \t":  # section 5.2: it continues the line before
            values[-1] += b" " + line.lstrip(b" \t")
            continue
        found = _FIELD_LINE.fullmatch(line)
        if found is None:
            raise ValueError("malformed header field")
        values = fields.setdefault(found[1].lower(), [])
        values.append(found[2])
    return fields


def _parse_length(values: list[bytes]) -> int:
    """The value of Content-Length, which may be given several times if it is the same."""
    if not all(map(_LENGTH.fullmatch, values)) or len(lengths := set(map(int, values))) > 1:
        raise ValueError("malformed Content-Length")
    return lengths.pop()
